"""What a card says, beside the record that it was made from and the weights."""

import hashlib
import json
import shutil

import pytest
from finished_run import change, edit_card, write_run
from safetensors.torch import load_file, save_file

from seqnlp import __version__
from seqnlp.publishing import PublishingError, build_bundle, tag_of
from seqnlp.publishing.claims import check_claims


def agreement(folder):
    return next(check for check in check_claims(folder, None, False) if check.name.startswith("the card says"))


@pytest.fixture
def compared(run_folder, tmp_path):
    """A bundle whose card has a baseline, a dataset with a license, and what its training was told."""
    write_run(
        run_folder,
        baselines={"most_frequent_class": {"test": {"accuracy": 0.5, "f1": 0.25}}},
        dataset={"name": "alice/films", "config": None, "revision": "0abc", "splits": {}},
        hyperparameters={"architecture": "lstm", "dataset_name": "alice/films", "learning_rate": 0.002},
        versions={"seqnlp": __version__},
    )
    (tmp_path / "bundle").mkdir()
    build_bundle(run_folder, tmp_path / "bundle", "alice/films", license="mit", dataset_license="cc_by [4] & more")
    return tmp_path / "bundle"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("| this model          | test    | 75.0%", "| this model          | test    | 95.0%", "| this model"),
        (
            "| most frequent class | test    | 50.0%",
            "| most frequent class | test    | 10.0%",
            "| most frequent class",
        ),
        (
            "| most frequent class |",
            "| the best of others | test | 1.0% | 1.0% | |\n| most frequent class |",
            "| model",
        ),
        ("of 2 classes.", "of 20 classes.", "- Accuracy: share of the examples"),
        (": 666 parameters", ": 6 parameters", "Sentiment classification"),
        ("revision 0abc", "revision 0abd", "[alice/films]"),
        ("0.002", "0.001", "| `learning_rate` | 0.002"),
        ("--seed 3", "--seed 4", "seqnlp train sentiment_analysis --seed 3"),
        ('revision = "run-', 'revision = "run-0', 'revision = "run-'),
        ("## Results", "## Results\n\nBetter than all.\n\n<!--", None),
    ],
)
def test_text_that_follows_from_the_record_and_was_edited(compared, old, new, told):
    assert agreement(compared)[1:] == ("passed", "3 numbers, and the text")
    edit_card(compared, old, new)
    found = agreement(compared)
    if told is None:  # what follows from the record is all there
        assert found.outcome == "passed"
        assert "paragraphs that do not follow from it: 2, the first: Better than all." in found.detail
    else:
        assert found.outcome == "failed"
        assert found.detail.startswith(f"missing or changed: {told}")


def test_what_an_owner_adds_or_words_anew_is_named(compared):
    edit_card(compared, "## Data", "## How to use it\n\nAsk 7 times.\n\n## Data")
    edit_card(compared, "# films\n", "# films\n\nOurs. License: none.\n")
    edit_card(compared, "- Not for decisions about people.", "- Not for decisions about people or films.")
    (compared / "README.md").write_text((compared / "README.md").read_text(), newline="\r\n")
    found = agreement(compared)
    assert found.outcome == "passed"
    assert "paragraphs that do not follow from it: 4, the first: Ours. License: none." in found.detail


def test_a_card_of_another_version_may_word_it_otherwise(compared):
    tag = tag_of(json.loads((compared / "run.json").read_text()))
    change(compared / "run.json", versions={"seqnlp": "0.0.1"})
    edit_card(compared, tag, tag_of(json.loads((compared / "run.json").read_text())))
    edit_card(compared, __version__, "0.0.1")
    assert agreement(compared).outcome == "passed"
    edit_card(compared, "of 2 classes.", "among 2 classes.")
    assert agreement(compared).outcome == "not checked"
    edit_card(compared, "value: 0.75", "value: 0.95")
    assert agreement(compared).outcome == "failed"


def test_a_number_that_the_card_claims_twice(compared):
    edit_card(
        compared, "    - type: f1\n", "    - type: accuracy\n      value: 0.99\n      name: Accuracy\n    - type: f1\n"
    )
    assert agreement(compared).outcome == "failed"
    edit_card(compared, "value: 0.75", "value: 0.98")
    edit_card(compared, "value: 0.99", "value: 0.75")  # the last one is right
    assert agreement(compared)[1:] == ("failed", "test Accuracy")


def test_a_foreign_record_that_no_card_follows_from(compared):
    record = json.loads((compared / "run.json").read_text())
    del record["model"]["class"]
    (compared / "run.json").write_text(json.dumps(record))
    assert agreement(compared)[1:] == ("failed", "KeyError: 'class'")


def test_weights_in_shards_are_those_of_the_record(run_folder, tmp_path):
    record = json.loads((run_folder / "run.json").read_text())
    record["model"]["sha256"] = hashlib.sha256((run_folder / "model.safetensors").read_bytes()).hexdigest()
    (run_folder / "run.json").write_text(json.dumps(record))
    (sharded := tmp_path / "sharded").mkdir()
    build_bundle(run_folder, sharded, "alice/films", max_shard_size=1000)
    shards = sorted(sharded.glob("model-*.safetensors"))
    assert len(shards) > 1
    assert not (sharded / "model.safetensors").exists()

    def told(folder):
        return [check.detail for check in check_claims(folder, None, False) if check.name.endswith("these weights")]

    assert told(sharded) == []
    tensors = load_file(shards[0])
    name, weight = next(iter(tensors.items()))
    save_file({**tensors, name: weight + 1}, shards[0], {"format": "pt"})
    assert told(sharded) == ["it is the record of another model"]
    again = shutil.copytree(sharded, tmp_path / "again")
    with pytest.raises(PublishingError, match=r"is the record of another model than the weights beside it"):
        build_bundle(again, tmp_path / "never", "alice/films")
    index = "model.safetensors.index.json"
    change(sharded / index, weight_map={name: f"../again/{shards[0].name}"})
    assert "which is no file beside it" in told(sharded)[0]
    (sharded / index).write_text("[]")
    assert "cannot be read" in told(sharded)[0]
