"""By what a resumed run is compared follows from the role of each flag, and a tokenizer is what it does to a text."""

import dataclasses

import pytest

from seqnlp import RecurrentConfig
from seqnlp.tasks import TASKS
from seqnlp.tokenization import train_tokenizer
from seqnlp.training import RunRecord
from seqnlp.training.fingerprint import describe_setup, differences, tokenizer_fingerprint
from seqnlp.training.flags import role_of


OTHER_VALUES = {
    "hub_revision": "trial",
    "hub_model_id": "alice/other",
    "create_pr": True,
    "num_beams": 4,
    "length_penalty": 0.5,
    "prompt": "Once",
    "temperature": 0.1,
    "num_tunes": 3,
    "output_dir": "elsewhere",
    "logging_steps": 7,
    "max_train_minutes": 1.0,
    "num_threads": 3,
    "train_target_file": "moved/train.de",
    "dataset_name": "moved",
}
COMPARED = {"learning_rate": 0.5, "seed": 7, "architecture": "elman", "vocab_size": 77, "max_length": 33}
COMPARED |= {
    "bpe_dropout": 0.3,
    "max_train_samples": 5,
    "transpositions": 2,
    "context_length": 3,
    "num_train_epochs": 9.0,
}


def setup_of(task, splits=True, **changes):
    record = RunRecord(task.name, "command", 1, 1)
    fields = task.fields()
    values = {name: None if field.default is dataclasses.MISSING else field.default for name, field in fields.items()}
    record.hyperparameters = {**values, **changes}
    record.dataset = {"splits": {"train": {"rows": 3, "fingerprint": "f"}}} if splits else {}
    roles = {name: role_of(field) for name, field in fields.items()}
    return describe_setup(record, roles, RecurrentConfig(), None)


@pytest.mark.parametrize("name", sorted(OTHER_VALUES))
def test_what_acts_after_training_or_says_where_is_no_other_setup(name):
    tasks = [task for task in TASKS.values() if name in task.fields()]
    assert tasks
    for task in tasks:
        assert differences(setup_of(task), setup_of(task, **{name: OTHER_VALUES[name]})) == []


@pytest.mark.parametrize("name", sorted(COMPARED))
def test_what_changes_data_model_or_training_is_another_setup(name):
    tasks = [task for task in TASKS.values() if name in task.fields()]
    assert tasks
    for task in tasks:
        (found,) = differences(setup_of(task), setup_of(task, **{name: COMPARED[name]}))
        assert found.startswith(f"{name} ")
        assert found.endswith(f", {COMPARED[name]} here")


def test_where_data_lies_counts_as_long_as_nobody_knows_what_it_holds():
    task = TASKS["sentiment_analysis"]
    moved = {"dataset_name": "moved"}
    assert len(differences(setup_of(task, splits=False), setup_of(task, splits=False, **moved))) == 1


def test_a_tokenizer_is_the_same_after_it_was_used():
    tokenizer = train_tokenizer(["a good film", "an awful film"], "word", 30, model_max_length=16)
    before = tokenizer_fingerprint(tokenizer)
    tokenizer(["a film", "a good film"], truncation=True, max_length=2, padding=True)
    assert tokenizer_fingerprint(tokenizer) == before
    other = train_tokenizer(["a good film", "an awful movie"], "word", 30, model_max_length=16)
    assert tokenizer_fingerprint(other) != before
