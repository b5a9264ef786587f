"""The encoder-decoder Transformer: that of Vaswani et al. 2017, and one of today's parts."""

import unittest

from tests.generation.test_utils import GenerationTesterMixin

from seqnlp import TransformerConfig, TransformerForConditionalGeneration, TransformerModel

from .family import OWN_MATRICES, AttentionTester, EncoderDecoderInputs, EncoderDecoderTest, RecurrentStates


class TransformerTester(EncoderDecoderInputs, AttentionTester):
    """Small sizes, and a start token that is not among those that the suite trains on."""

    sizes = {**AttentionTester.sizes, "decoder_start_token_id": 90}


class TransformerTest(EncoderDecoderTest, GenerationTesterMixin):
    """What holds for every configuration of the encoder-decoder."""

    config_class = TransformerConfig
    model_tester_class = TransformerTester
    common_properties = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    all_model_classes = (TransformerModel, TransformerForConditionalGeneration)
    training_class = TransformerForConditionalGeneration
    pipeline_model_mapping = {"feature-extraction": TransformerModel}


class TestVaswani(TransformerTest, unittest.TestCase):
    # The loss falls by what the suite asks for. The gradient, which behind norms starts with a norm of only 1, falls
    # more slowly, and dropout keeps it from vanishing.
    training_grad_norm_reduction_threshold = 0.6
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
    }
    not_applicable = OWN_MATRICES


class TestLearnedPositions(TransformerTest, unittest.TestCase):
    config_fields = {
        "position_embedding_type": "learned",
        "embedding_norm": True,
        "hidden_act": "gelu",
        "norm_position": "pre",
    }


class CellDecoderTest(RecurrentStates, TransformerTest):
    """What holds for every decoder that has cells in place of self-attention."""

    # The loss falls by what the suite asks for; behind norms the gradient, see above, falls more slowly.
    training_grad_norm_reduction_threshold = 0.7
    not_applicable = dict.fromkeys(
        ("test_attention_outputs", "test_retain_grad_hidden_states_attentions"),
        "The suite asks for the weights of the decoder's self-attention, and it has cells instead.",
    )

    def _check_past_key_values_for_generate(self, batch_size, cache, seq_length, config):
        cells = self.model_tester.get_config().recurrent_config()  # the suite's has lost what begins with decoder_
        super()._check_past_key_values_for_generate(batch_size, cache, seq_length, cells)

    def _check_attentions_for_generate(
        self, batch_size, attentions, prompt_length, output_length, config, decoder_past_key_values
    ):
        assert not any(map(len, attentions))  # of the decoder itself, which has none


class TestSSRUDecoder(CellDecoderTest, unittest.TestCase):
    config_fields = {"decoder_cell": "ssru", "norm_position": "pre"}


class TestMinLSTMDecoder(CellDecoderTest, unittest.TestCase):
    config_fields = {"decoder_cell": "minlstm", "recurrence_implementation": "eager", "tie_word_embeddings": False}
    not_applicable = {**CellDecoderTest.not_applicable, **OWN_MATRICES}
