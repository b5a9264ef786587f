"""The Transformer decoder: today's architecture, that of GPT-2, and one with the other choices."""

import unittest

from tests.generation.test_utils import GenerationTesterMixin

from seqnlp import (
    TransformerDecoderConfig,
    TransformerDecoderForCausalLM,
    TransformerDecoderForSequenceClassification,
    TransformerDecoderModel,
)

from .family import AttentionTester, FamilyTest


class TransformerDecoderTest(FamilyTest, GenerationTesterMixin):
    """What holds for every configuration of the decoder."""

    config_class = TransformerDecoderConfig
    model_tester_class = AttentionTester
    common_properties = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    all_model_classes = (
        TransformerDecoderModel,
        TransformerDecoderForCausalLM,
        TransformerDecoderForSequenceClassification,
    )
    training_class = TransformerDecoderForCausalLM
    pipeline_model_mapping = {
        "feature-extraction": TransformerDecoderModel,
        "text-classification": TransformerDecoderForSequenceClassification,
        "zero-shot": TransformerDecoderForSequenceClassification,
        "text-generation": TransformerDecoderForCausalLM,
    }


class TestDefaults(TransformerDecoderTest, unittest.TestCase):
    config_fields = {}


class TestGroupedQuery(TransformerDecoderTest, unittest.TestCase):
    config_fields = {"num_key_value_heads": 2, "head_dim": 16, "tie_word_embeddings": True}


class TestAsGPT2(TransformerDecoderTest, unittest.TestCase):
    config_fields = {
        "position_embedding_type": "learned",
        "norm_type": "layer_norm",
        "hidden_act": "gelu",
        "use_bias": True,
        "tie_word_embeddings": True,
    }


class TestPostNorm(TransformerDecoderTest, unittest.TestCase):
    # The loss falls by what the suite asks for. The gradient, which behind norms starts with a norm of only 1, falls
    # more slowly.
    training_grad_norm_reduction_threshold = 0.8
    config_fields = {
        "position_embedding_type": "sinusoidal",
        "scale_embedding": True,
        "embedding_norm": True,
        "norm_type": "layer_norm",
        "norm_position": "post",
        "hidden_act": "relu",
    }


class TestNoPositions(TransformerDecoderTest, unittest.TestCase):
    config_fields = {"position_embedding_type": "none"}
