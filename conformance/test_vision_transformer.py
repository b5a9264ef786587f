"""The Vision Transformer, with a class token and without."""

import unittest

from tests.test_modeling_common import floats_tensor
from transformers import ViTImageProcessorPil

from seqnlp import VisionTransformerConfig, VisionTransformerForImageClassification, VisionTransformerModel
from seqnlp.models.modeling_vision_transformer import PatchEmbeddings

from .family import AttentionTester, FamilyTest


class VisionTransformerTester(AttentionTester):
    """Pictures instead of texts."""

    sizes = {
        "hidden_size": 32,
        "intermediate_size": 37,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 30,
        "patch_size": 10,
    }

    def prepare_config_and_inputs_for_common(self):
        """The configuration and pictures."""
        config = self.get_config()
        self.seq_length = config.max_position_embeddings
        return config, {"pixel_values": floats_tensor([self.batch_size, config.num_channels, *config.image_shape])}


class VisionTransformerTest(FamilyTest):
    """What holds for every configuration of the Vision Transformer."""

    config_class = VisionTransformerConfig
    model_tester_class = VisionTransformerTester
    common_properties = ("hidden_size", "num_hidden_layers", "num_attention_heads")
    all_model_classes = (VisionTransformerModel, VisionTransformerForImageClassification)
    pipeline_model_mapping = {
        "image-feature-extraction": VisionTransformerModel,
        "image-classification": VisionTransformerForImageClassification,
    }
    reads_text = False
    test_resize_embeddings = False  # there are none: a patch is embedded by a linear map of its pixels
    not_applicable = {
        "test_model_get_set_embeddings": "The suite expects an nn.Embedding; below is the same for patch embeddings.",
        "test_training_overfit": "The suite has no training data for images: it raises for every such model.",
    }

    @classmethod
    def tiny_model(cls, model_class):
        """A model, no tokenizer, and an image processor."""
        config = cls.config_class(**{**cls.model_tester_class.sizes, **cls.config_fields})
        height, width = config.image_shape
        return model_class(config), None, ViTImageProcessorPil(size={"height": height, "width": width})

    def test_patch_embeddings_are_the_input_embeddings(self):
        config, _ = self.model_tester.prepare_config_and_inputs_for_common()
        for model_class in self.all_model_classes:
            model = model_class(config)
            other = PatchEmbeddings(config)
            model.set_input_embeddings(other)
            assert model.get_input_embeddings() is other
            assert model.get_output_embeddings() is None


class TestClassToken(VisionTransformerTest, unittest.TestCase):
    config_fields = {}


class TestMeanPooling(VisionTransformerTest, unittest.TestCase):
    config_fields = {
        "pooling": "mean",
        "image_size": [20, 30],
        "position_embedding_type": "sinusoidal",
        "norm_type": "rms_norm",
        "norm_position": "post",
        "hidden_act": "swiglu",
        "use_bias": False,
        "num_key_value_heads": 2,
    }
