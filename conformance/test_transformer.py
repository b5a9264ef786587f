"""The encoder-decoder Transformer: that of Vaswani et al. 2017, and one of today's parts."""

import unittest

from tests.generation.test_utils import GenerationTesterMixin

from seqnlp import TransformerConfig, TransformerForConditionalGeneration, TransformerModel

from .family import AttentionTester, EncoderDecoderInputs, FamilyTest


class TransformerTester(EncoderDecoderInputs, AttentionTester):
    pass


class TransformerTest(FamilyTest, GenerationTesterMixin):
    """What holds for every configuration of the encoder-decoder."""

    config_class = TransformerConfig
    model_tester_class = TransformerTester
    common_properties = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    is_encoder_decoder = True
    all_model_classes = (TransformerModel, TransformerForConditionalGeneration)
    training_class = TransformerForConditionalGeneration
    pipeline_model_mapping = {"feature-extraction": TransformerModel}


class TestVaswani(TransformerTest, unittest.TestCase):
    config_fields = {}


class TestModern(TransformerTest, unittest.TestCase):
    config_fields = {
        "position_embedding_type": "rotary",
        "norm_type": "rms_norm",
        "norm_position": "pre",
        "hidden_act": "swiglu",
        "use_bias": False,
        "num_key_value_heads": 2,
        "tie_word_embeddings": False,
        "decoder_layers": 3,
    }


class TestLearnedPositions(TransformerTest, unittest.TestCase):
    config_fields = {
        "position_embedding_type": "learned",
        "embedding_norm": True,
        "hidden_act": "gelu",
        "norm_position": "pre",
    }
