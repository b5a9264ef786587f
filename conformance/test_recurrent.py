"""The recurrent family: every cell, every class, one direction and two."""

import unittest

from tests.generation.test_utils import GenerationTesterMixin

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentForSequenceClassification,
    RecurrentForTokenClassification,
    RecurrentModel,
)
from seqnlp.models.cells import CELLS

from .family import FamilyTest, RecurrentStates


class RecurrentTest(FamilyTest):
    """What holds for every recurrent configuration."""

    config_class = RecurrentConfig
    has_attentions = False  # by this the suite skips all that is about attention weights and implementations
    pipeline_model_mapping = {
        "feature-extraction": RecurrentModel,
        "text-classification": RecurrentForSequenceClassification,
        "zero-shot": RecurrentForSequenceClassification,
        "token-classification": RecurrentForTokenClassification,
    }


class RecurrentGenerationTest(RecurrentStates, RecurrentTest, GenerationTesterMixin):
    """The configurations that read in one direction, of which a language model can be made."""

    all_model_classes = (
        RecurrentModel,
        RecurrentForCausalLM,
        RecurrentForSequenceClassification,
        RecurrentForTokenClassification,
    )
    training_class = RecurrentForCausalLM
    pipeline_model_mapping = {**RecurrentTest.pipeline_model_mapping, "text-generation": RecurrentForCausalLM}


class TestElman(RecurrentGenerationTest, unittest.TestCase):
    config_fields = {"cell_type": "elman", "recurrence_implementation": "eager", "pooling": "max"}


class TestGRU(RecurrentGenerationTest, unittest.TestCase):
    config_fields = {"cell_type": "gru", "tie_word_embeddings": True, "pooling": "mean"}


class TestLSTM(RecurrentGenerationTest, unittest.TestCase):
    config_fields = {"cell_type": "lstm"}


class TestBidirectional(RecurrentTest, unittest.TestCase):
    # A label for each of the token ids 0 to 19 that the suite trains on: the token classifier names the token. Heads
    # this narrow learn it within the suite's 300 steps if they start larger than by default.
    config_fields = {
        "cell_type": "lstm",
        "bidirectional": True,
        "pooling": "attention",
        "initializer_range": 0.5,
        "num_labels": 20,
    }
    all_model_classes = (RecurrentModel, RecurrentForSequenceClassification, RecurrentForTokenClassification)
    training_class = RecurrentForTokenClassification


class TestMinGRU(RecurrentGenerationTest, unittest.TestCase):
    config_fields = {"cell_type": "mingru"}


class TestResidual(RecurrentGenerationTest, unittest.TestCase):
    config_fields = {"cell_type": "mingru", "block": "residual", "conv_kernel_size": 4, "mlp_ratio": 2}


class TestMinLSTM(RecurrentGenerationTest, unittest.TestCase):
    config_fields = {"cell_type": "minlstm", "recurrence_implementation": "eager", "pooling": "mean"}


# Every other cell by itself.
_NAMED = {family.config_fields["cell_type"] for family in RecurrentGenerationTest.__subclasses__()}
for _name in CELLS.keys() - _NAMED:
    globals()[f"Test_{_name}"] = type(
        f"Test_{_name}", (RecurrentGenerationTest, unittest.TestCase), {"config_fields": {"cell_type": _name}}
    )
