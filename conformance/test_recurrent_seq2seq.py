"""The recurrent encoder-decoder: every cell, every attention, with and without input feeding."""

import unittest

from tests.generation.test_utils import GenerationTesterMixin

from seqnlp import RecurrentSeq2SeqConfig, RecurrentSeq2SeqForConditionalGeneration, RecurrentSeq2SeqModel

from .family import OWN_MATRICES, EncoderDecoderInputs, EncoderDecoderTest, ModelTester, RecurrentStates


class RecurrentSeq2SeqTester(EncoderDecoderInputs, ModelTester):
    """Small sizes, and a start token that is not among those that the suite trains on."""

    sizes = {**ModelTester.sizes, "decoder_start_token_id": 90}


class RecurrentSeq2SeqTest(RecurrentStates, EncoderDecoderTest, GenerationTesterMixin):
    """What holds for every configuration of the recurrent encoder-decoder."""

    config_class = RecurrentSeq2SeqConfig
    model_tester_class = RecurrentSeq2SeqTester
    has_attentions = False
    all_model_classes = (RecurrentSeq2SeqModel, RecurrentSeq2SeqForConditionalGeneration)
    training_class = RecurrentSeq2SeqForConditionalGeneration
    pipeline_model_mapping = {"feature-extraction": RecurrentSeq2SeqModel}


class TestSutskever(RecurrentSeq2SeqTest, unittest.TestCase):
    config_fields = {"cell_type": "lstm", "attention_type": "none", "bidirectional": False}


class TestBahdanau(RecurrentSeq2SeqTest, unittest.TestCase):
    config_fields = {"cell_type": "gru", "attention_type": "additive", "attention_size": 24}


class TestLuong(RecurrentSeq2SeqTest, unittest.TestCase):
    config_fields = {
        "cell_type": "lstm",
        "attention_type": "multiplicative",
        "input_feeding": True,
        "bidirectional": False,
        "tie_word_embeddings": True,
    }


class TestBlocks(RecurrentSeq2SeqTest, unittest.TestCase):
    # In one direction: the suite wants the first hidden states `hidden_size` wide, and blocks are as wide as both.
    config_fields = {
        "cell_type": "mingru",
        "block": "residual",
        "conv_kernel_size": 4,
        "mlp_ratio": 2,
        "bidirectional": False,
    }


class TestElman(RecurrentSeq2SeqTest, unittest.TestCase):
    config_fields = {
        "cell_type": "elman",
        "attention_type": "additive",
        "recurrence_implementation": "eager",
        "share_embeddings": False,
    }
    not_applicable = OWN_MATRICES
