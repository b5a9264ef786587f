"""The Transformer encoder: BERT's architecture and others."""

import unittest

from seqnlp import (
    TransformerEncoderConfig,
    TransformerEncoderForMaskedLM,
    TransformerEncoderForSequenceClassification,
    TransformerEncoderForTokenClassification,
    TransformerEncoderModel,
)

from .family import AttentionTester, FamilyTest


class TransformerEncoderTest(FamilyTest):
    """What holds for every configuration of the encoder."""

    config_class = TransformerEncoderConfig
    model_tester_class = AttentionTester
    common_properties = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    all_model_classes = (
        TransformerEncoderModel,
        TransformerEncoderForMaskedLM,
        TransformerEncoderForSequenceClassification,
        TransformerEncoderForTokenClassification,
    )
    training_class = TransformerEncoderForMaskedLM
    pipeline_model_mapping = {
        "feature-extraction": TransformerEncoderModel,
        "fill-mask": TransformerEncoderForMaskedLM,
        "text-classification": TransformerEncoderForSequenceClassification,
        "zero-shot": TransformerEncoderForSequenceClassification,
        "token-classification": TransformerEncoderForTokenClassification,
    }


class TestDefaults(TransformerEncoderTest, unittest.TestCase):
    config_fields = {}


class TestAsBERT(TransformerEncoderTest, unittest.TestCase):
    config_fields = {
        "position_embedding_type": "learned",
        "norm_type": "layer_norm",
        "norm_position": "post",
        "hidden_act": "gelu",
        "embedding_norm": True,
        "use_bias": True,
        "tie_word_embeddings": True,
    }


class TestGroupedQuery(TransformerEncoderTest, unittest.TestCase):
    config_fields = {
        "num_key_value_heads": 2,
        "position_embedding_type": "rotary",
        "norm_type": "rms_norm",
        "norm_position": "pre",
        "hidden_act": "swiglu",
        "use_bias": False,
        "pooling": "mean",
    }


class TestSinusoidal(TransformerEncoderTest, unittest.TestCase):
    config_fields = {
        "position_embedding_type": "sinusoidal",
        "scale_embedding": True,
        "hidden_act": "relu",
        "pooling": "max",
    }
