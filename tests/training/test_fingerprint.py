"""By what a resumed run is compared follows from the role of each flag, and a tokenizer is what it does to a text."""

import dataclasses
from types import SimpleNamespace

import pytest
from tiny_runs import TOKENIZER

from seqnlp import RecurrentConfig
from seqnlp.tasks import TASKS
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


def record_of(**dataset):
    record = RunRecord(task="x", command="x", seed=1, num_processes=3)
    record.hyperparameters = {"learning_rate": 0.5, "train_file": "a.txt", "output_dir": "o"}
    record.dataset = dataset
    return record


ROLES = {"learning_rate": "training", "train_file": "data source", "output_dir": "harmless"}


def test_a_setup_holds_what_the_training_depends_on():
    found = describe_setup(record_of(), ROLES, RecurrentConfig(hidden_size=5), None)
    assert {name: found[name] for name in ("learning_rate", "train_file", "num_processes", "model's hidden_size")} == {
        "learning_rate": 0.5,
        "train_file": "a.txt",
        "num_processes": 3,
        "model's hidden_size": 5,
    }
    assert "output_dir" not in found
    assert "tokenizer" not in found
    splits = {"train": {"rows": 3, "fingerprint": "abc"}, "test": {"streamed": True}}
    known = describe_setup(record_of(splits=splits), ROLES, RecurrentConfig(), TOKENIZER)
    assert "train_file" not in known  # the record tells what it holds
    assert (known["data of the split train"], known["data of the split test"]) == ("abc", {"streamed": True})
    assert known["tokenizer"] == tokenizer_fingerprint(TOKENIZER)


def test_a_given_model_counts_by_its_weights_and_not_by_its_place():
    roles = {**ROLES, "model_name_or_path": "model source"}
    setups = []
    for place, digest in (("here/lm", "ab"), ("there/lm", "ab"), ("here/lm", "cd")):
        record = record_of()
        record.hyperparameters["model_name_or_path"] = place
        record.base_model = {"name": place, "sha256": digest}
        setups.append(describe_setup(record, roles, RecurrentConfig(), None))
    assert differences(*setups[:2]) == []
    assert differences(setups[0], setups[2]) == ["starting weights ab there, cd here"]


def test_a_tokenizer_is_what_it_does_and_not_what_it_was_used_for():
    before = tokenizer_fingerprint(TOKENIZER)
    TOKENIZER(["a b c"], truncation=True, max_length=2, padding="max_length")
    assert tokenizer_fingerprint(TOKENIZER) == before
    one, same, other = (
        SimpleNamespace(get_vocab=lambda words=words: words)
        for words in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 2})
    )
    assert tokenizer_fingerprint(one) == tokenizer_fingerprint(same) != tokenizer_fingerprint(other)


def test_differences_are_said_in_the_words_of_the_flags():
    then, now = {"seed": 1, "a": "x" * 70, "same": 2}, {"seed": 2, "same": 2, "b": None, "c": 3}
    assert differences(then, now) == [
        "seed 1 there, 2 here",
        f"a {'x' * 57}... there, not set here",
        "c not set there, 3 here",
    ]
