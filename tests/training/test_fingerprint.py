"""What tells two setups apart."""

from types import SimpleNamespace

from tiny_runs import TOKENIZER

from seqnlp import RecurrentConfig
from seqnlp.training.fingerprint import describe_setup, differences, tokenizer_fingerprint
from seqnlp.training.run_record import RunRecord


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
