"""The recipe as a user starts it, on sentences whose words tell their labels."""

import json

import pytest
from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

from seqnlp.publishing.card import build_card
from seqnlp.publishing.recomputation import evaluate_again


RECIPE = "tagging"


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """A name of two words is a person, of one a town; the full stops are outside."""
    folder = tmp_path_factory.mktemp("names")
    for split, count in (("train", 90), ("validation", 12), ("test", 15)):
        sentences = []
        for number in range(count):
            person, town = "ABC"[number % 3] + "nn", "XYZ"[number % 2] + "town"
            words = [(person, "B-PER"), ("Lee", "I-PER"), ("likes", "O"), (town, "B-LOC"), (".", "O")]
            sentences.append("".join(f"{word} {label}\n" for word, label in words))
        (folder / f"{split}.txt").write_text("\n".join(sentences))
    return folder


@pytest.fixture(scope="module")
def finished(launch, names, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("run")
    size = ["--config_overrides", "hidden_size=16,embedding_size=16,embedding_dropout=0,head_dropout=0"]
    flags = ["--num_train_epochs", 5, "--per_device_train_batch_size", 8, "--learning_rate", 0.02, *size]
    best = ["--metric_for_best_model", "f1"]
    result = launch.run(RECIPE, "--dataset_name", names, *flags, *best, "--output_dir", output_dir)
    assert result.returncode == 0, result.stderr
    return output_dir, result


def test_it_prints_a_report_and_nothing_that_needs_explaining(finished):
    output_dir, result = finished
    assert "Test: 75 words in 15 sentences" in result.stdout
    assert "labels in the scheme IOB" in result.stdout
    assert "most frequent label of each word" in result.stdout
    record = json.loads((output_dir / "run.json").read_text())
    assert record["metrics"]["test"]["f1"] == 1.0
    assert record["baselines"]["most_frequent_tag"]["test"]["accuracy"] == 1.0
    assert record["dataset"]["unseen_words"] == {"validation": 0.0, "test": 0.0}
    for word in ("warning", "deprecated", "error:", "traceback", "were not passed"):
        assert word not in result.stderr.lower()


def test_a_pipeline_gives_entities_with_their_place_in_the_text(finished):
    output_dir, _ = finished
    model, tokenizer = AutoModelForTokenClassification.from_pretrained(output_dir), None
    assert set(model.config.id2label.values()) == {"B-LOC", "B-PER", "I-PER", "O"}
    tokenizer = AutoTokenizer.from_pretrained(output_dir)
    tag = pipeline("token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="first")
    text = "Bnn Lee likes Ytown."
    found = [(group["entity_group"], text[group["start"] : group["end"]]) for group in tag(text)]
    assert found == [("PER", "Bnn Lee"), ("LOC", "Ytown")]


def test_it_is_computed_again_and_has_a_card(finished, names):
    output_dir, _ = finished
    record = json.loads((output_dir / "run.json").read_text())
    assert evaluate_again(record, output_dir, str(names)) == {
        split: pytest.approx(record["metrics"][split]) for split in ("validation", "test")
    }
    card = build_card(record, "alice/names")
    assert "harmonic mean of precision and recall of entities" in card
    assert "pipeline_tag: token-classification" in card
    assert "of 4 labels" in card


@pytest.mark.long
def test_the_default_run_is_better_than_the_most_frequent_label(launch, tmp_path):
    result = launch.run(RECIPE, "--output_dir", tmp_path, timeout=900)
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "run.json").read_text())
    ours, baseline = record["metrics"]["test"], record["baselines"]["most_frequent_tag"]["test"]
    assert ours["accuracy"] > baseline["accuracy"] + 0.03
