"""What the tests of every family of models share: a model tester, and the suite's mixins with our skips.

A family's test file has a [`ModelTester`] that makes a small configuration and inputs, and one test class a
configuration, which inherits [`FamilyTest`], the suite's `GenerationTesterMixin` if any of its models generates, and
`unittest.TestCase`.
"""

import functools
import re

import torch
from tests.test_configuration_common import ConfigTester
from tests.test_modeling_common import ModelTesterMixin, ids_tensor, random_attention_mask
from tests.test_pipeline_mixin import PipelineTesterMixin, tiny_model_summary
from tests.test_training_mixin import TrainingTesterMixin

from .tiny_models import save_tiny_model, small_tokenizer


OWN_MATRICES = {
    "test_inputs_embeds_matches_input_ids": "The suite embeds the target by the source's matrix, and it has its own."
}


class ModelTester:
    """
    A small configuration and inputs for it, under the names by which the suite asks for them.

    Args:
        parent: The test that asks.
        config_class: The family's configuration.
        config_fields: What differs from the small sizes below.
    """

    is_training = True
    batch_size = 13
    seq_length = 7
    sizes = {
        "vocab_size": 99,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }

    def __init__(self, parent, config_class, config_fields):
        self.parent = parent
        self.config_class = config_class
        self.config_fields = {**self.sizes, **config_fields}
        config = self.get_config()
        for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"):
            if hasattr(config, name):
                setattr(self, name, getattr(config, name))

    def get_config(self):
        """The configuration, made anew: tests change it."""
        return self.config_class(**self.config_fields)

    def prepare_config_and_inputs_for_common(self):
        """The configuration and the inputs that every class of the family takes."""
        shape = [self.batch_size, self.seq_length]
        inputs = {"input_ids": ids_tensor(shape, self.vocab_size), "attention_mask": random_attention_mask(shape)}
        return self.get_config(), inputs


class AttentionTester(ModelTester):
    """Sizes of a small Transformer."""

    sizes = {**ModelTester.sizes, "num_attention_heads": 4, "intermediate_size": 37}


class EncoderDecoderInputs:
    """For a tester of models that read a source and write a target, of as many tokens."""

    def prepare_config_and_inputs_for_common(self):
        """Source and target. The target's mask has no holes: the suite goes on from it and keeps no count of them."""
        config, inputs = super().prepare_config_and_inputs_for_common()
        target = ids_tensor([self.batch_size, self.seq_length], self.vocab_size)
        mask = torch.ones_like(target)
        return config, {**inputs, "decoder_input_ids": target, "decoder_attention_mask": mask}


class FamilyTest(ModelTesterMixin, PipelineTesterMixin, TrainingTesterMixin):
    """
    The suite for one configuration of a family.

    Attributes:
        config_class: The family's configuration.
        config_fields: The fields by which this configuration differs from the tester's sizes.
        model_tester_class: The family's [`ModelTester`].
        training_class: The class that `test_training_overfit` trains; it gets token ids, and the same ids as labels.
        all_model_classes: The classes to test.
        pipeline_model_mapping: For each pipeline task the class it runs.
        common_properties: Fields that every configuration is expected to have and this family has.
        reads_text: Whether the family has a vocabulary.
        not_applicable: For each test that cannot apply, by name, the reason.
    """

    config_class = None
    config_fields = {}
    model_tester_class = ModelTester
    training_class = None
    common_properties = ("hidden_size", "num_hidden_layers")
    reads_text = True
    not_applicable = {}

    model_tester = None
    # Without this the suite checks only models whose configuration file bears a copyright line of 2023 or later.
    test_can_init_all_missing_weights_before_2023 = True

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        tests = [name for name in dir(cls) if name.startswith("test_")]
        for skipped in cls.not_applicable:
            if not any(_is_test(name, skipped) for name in tests):
                raise AssertionError(f"{cls.__name__}.not_applicable names {skipped}, and there is no such test.")
        for model_class in set(cls.pipeline_model_mapping.values()):
            tiny_model_summary[model_class.__name__] = save_tiny_model(*cls.tiny_model(model_class))

    @classmethod
    def tiny_model(cls, model_class) -> tuple:
        """A model for the pipeline tests, and its tokenizer."""
        tokenizer = _tokenizer()
        special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
        sizes = {**cls.model_tester_class.sizes, **cls.config_fields, **special, "vocab_size": len(tokenizer)}
        return model_class(cls.config_class(**sizes)), tokenizer

    def setUp(self):
        for skipped, reason in self.not_applicable.items():
            if _is_test(self._testMethodName, skipped):
                self.skipTest(reason)
        self.model_tester = self.model_tester_class(self, self.config_class, self.config_fields)
        # A configuration's file holds num_labels as id2label, and the suite looks for it by name.
        fields = {name: value for name, value in self.model_tester.config_fields.items() if name != "num_labels"}
        self.config_tester = ConfigTester(
            self,
            config_class=self.config_class,
            has_text_modality=self.reads_text,
            common_properties=list(self.common_properties),
            **fields,
        )

    def _get_trainable_model_class(self):
        return self.training_class

    def test_config(self):
        self.config_tester.run_common_tests()


class RecurrentStates:
    """For the tests of generation with recurrent layers, before the suite's own among the bases."""

    def _check_past_key_values_for_generate(self, batch_size, cache, seq_length, config):
        # The suite expects keys and values that grow with the text, or the state of a convolution.
        assert cache.get_seq_length() == seq_length
        cache = getattr(cache, "self_attention_cache", cache)
        assert len(cache) == config.num_hidden_layers
        for states in cache:
            assert len(states) == config.number_of_conv_states
            if getattr(config, "conv_kernel_size", None) is not None:
                *states, read = states
                assert tuple(read.shape) == (batch_size, config.conv_kernel_size - 1, config.hidden_size)
            for state in states:
                assert tuple(state.shape) == (batch_size, 1, config.hidden_size)


class EncoderDecoderTest(FamilyTest):
    """The suite for one configuration of a family that reads a source and writes a target."""

    is_encoder_decoder = True

    def _get_trainable_model_class(self):
        text = self._create_text_training_batch(1, self.training_overfit_seq_length, self.model_tester.vocab_size)

        class Copier(self.training_class):
            """Trained on a text with the text itself as labels, it copies: it is given all of it."""

            def generate(self, prompt, **kwargs):
                kwargs["max_new_tokens"] += 1
                return super().generate(text["input_ids"], **kwargs)[:, 1:]  # behind the start token

        return Copier


def _is_test(name: str, skipped: str) -> bool:
    # A parameterized test goes by its name, a number and perhaps words.
    return re.fullmatch(rf"{skipped}(_\d+(_.*)?)?", name) is not None


_tokenizer = functools.cache(small_tokenizer)
