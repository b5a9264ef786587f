"""What a run tells of itself: facts by hand."""

from dataclasses import asdict
from types import SimpleNamespace

import pytest
from datasets import Dataset
from transformers import BertConfig

from seqnlp import RecurrentConfig
from seqnlp.metrics import Score
from seqnlp.tasks.reporting.run_page import _facts, _finding, flags_of
from seqnlp.tasks.reporting.telling import UNKNOWN_SHARE, described_data, described_kept
from seqnlp.tasks.sentiment_analysis import SentimentAnalysis
from seqnlp.tasks.trajectory import Trajectory
from seqnlp.training import RunRecord


def test_data():
    splits = {"train": {"rows": 12345}, "test": {"rows": 7}}
    assert described_data({"name": "<local:mine>", "splits": splits}) == "mine: rows of train 12,345, test 7"
    assert described_data({"name": "a/b", "config": "en", "splits": {"train": {"streamed": True}}}) == (
        "a/b en: rows of train streamed"
    )


def test_kept():
    share = Score("accuracy", "Accuracy", "", greater_is_better=True, is_share=True, digits=1)
    loss = Score("loss", "Loss", "", greater_is_better=False)
    kept = {"step": 141, "epoch": 3.0, "metric": "accuracy", "value": 0.802}
    assert described_kept(kept, share, 188) == (
        "Kept: the weights of epoch 3 (step 141 of 188), whose validation accuracy is the highest, 80.2%."
    )
    assert "loss is the lowest, 0.802." in described_kept({**kept, "metric": "loss"}, loss, 188)
    assert "the mean of the weights at the last 5 validations" in described_kept({**kept, "average_of": 5}, loss, 188)
    assert described_kept({"average_of": 5}, None, 188).endswith("better than those of the last step.")
    assert described_kept({}, None, 188) == "The weights are those of the last step: no validation could choose."


def loop_of(train, record):
    """As far as tokens are counted by it."""
    return SimpleNamespace(train_dataset=train, record=record)


@pytest.mark.parametrize(
    ("unknown", "told"),
    [
        ({}, "train 3, validation 2"),
        ({"validation": 0.25}, "train 3, validation 2; unknown 25.0% of those of validation"),
    ],
)
def test_tokens_and_those_that_are_unknown(unknown, told):
    examples = {
        "train": Dataset.from_dict({"input_ids": [[5, 6], [7]]}),
        "validation": Dataset.from_dict({"input_ids": [[1, 7]]}),
    }
    record = SimpleNamespace(dataset={})
    data = SimpleNamespace(examples=examples, counts={}, details={UNKNOWN_SHARE: unknown})
    assert SentimentAnalysis.from_record({})._described_tokens(loop_of(examples["train"], record), data) == told
    assert record.dataset == {"tokens": {"train": 3, "validation": 2}}


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"text": [" ", "new\nline", "x" * 200, "good", "better"]}, "good"),
        ({"source": ["to translate"]}, "to translate"),
        ({"image": [1]}, "What a wonderful evening, thank you all!"),  # nothing to read: what a visitor may try
    ],
)
def test_what_is_tried_first_is_a_row_of_validation_that_can_be_typed(columns, text):
    data = SimpleNamespace(loaded=SimpleNamespace(splits={"validation": Dataset.from_dict(columns)}))
    assert SentimentAnalysis.from_record({}).trial(data, None) == ["--text", text]


def record_of(metrics, **hyperparameters):
    """Of a run whose splits all have scores."""
    return RunRecord("any", "", 0, 1, hyperparameters, {"splits": {split: {} for split in metrics}}, metrics=metrics)


@pytest.mark.parametrize(
    ("ours", "baseline", "relation"),
    [(0.8164, 0.8156, "equal to"), (0.82, 0.81, "better than"), (0.80, 0.81, "worse than")],
)
def test_the_page_of_a_run_says_whether_its_baseline_does_as_well(ours, baseline, relation):
    record = record_of({"validation": {"accuracy": 0.9}, "test": {"accuracy": ours}}, metric_for_best_model="accuracy")
    outcome = SimpleNamespace(run=SimpleNamespace(record=record), baselines={"tf_idf": {"accuracy": baseline}})
    task = SentimentAnalysis.from_record({})
    assert _finding(task, outcome) == f"Accuracy {ours:.1%} is {relation} its baseline, tf idf: {baseline:.1%}."
    assert SentimentAnalysis.headline(asdict(record)).shown == f"Accuracy {ours:.1%}"
    outcome.baselines["another"] = {"accuracy": 0.5}
    assert "the best of its baselines, tf idf" in _finding(task, outcome)
    outcome.baselines = {}
    assert _finding(task, outcome) == ""


def test_of_errors_less_is_better():
    record = record_of({"validation": {"loss": 0.1, "mae": 0.25}}, metric_for_best_model="loss", value_unit="m")
    found = Trajectory.headline(asdict(record))
    assert (found.split, found.key, found.shown) == ("validation", "loss", "Loss 0.100")
    del record.metrics["validation"]["loss"]
    outcome = SimpleNamespace(run=SimpleNamespace(record=record), baselines={"last_value": {"mae": 0.5}})
    outcome.baselines["last_8_steps_seen"] = {"mae": 0.2}  # the model itself
    task = Trajectory.from_record({"hyperparameters": {"context_length": 10}})
    assert _finding(task, outcome) == "MAE 0.250 m is better than its baseline, last value: 0.500 m."


def test_the_page_of_a_run_and_that_of_seeds_list_every_flag_that_has_a_value():
    assert (
        flags_of({"seed": 0, "prompt": "", "config": None, "streaming": False})
        == "seed: 0\nprompt: \nstreaming: False"
    )


def test_the_facts_of_a_run():
    record = RunRecord("any", "", 7, 1, {}, {})
    record.model = {"class": "Net", "parameters": 12345, "trained_parameters": 678}
    record.history, record.seconds, record.started = [{"step": 1234}], {"training": 90.0}, "2026-01-02T03:04:05Z"
    record.memory, record.hardware = {"resident": 1536.0}, {"cpu": "some", "cpu_cores": 2, "gpus": ["large"]}
    record.base_model = {"name": "<local:mine>"}
    task = SimpleNamespace(
        label="gru (seqnlp)",
        unknown_share=lambda data: 0.125 if data.processor == "words" else None,
        described_vocabulary=lambda processor: f"of {processor}",
    )
    outcome = SimpleNamespace(run=SimpleNamespace(record=record), data=SimpleNamespace(processor="words"))
    assert _facts(task, outcome) == {
        "model": "gru (seqnlp), Net",
        "started from": "mine",
        "parameters": "12,345, of which 678 were trained",
        "vocabulary": "of words",
        "unknown tokens": "12.5% of those of validation",
        "steps": "1,234",
        "time of training": "1.5 minutes",
        "memory": "1.5 GiB resident",
        "machine": "some, 2 cores, large",
        "seed": "7",
        "begun": "2026-01-02 03:04:05 UTC",
    }
    record.seconds, outcome.data.processor = {}, "pixels"
    assert (_facts(task, outcome)["time of training"], _facts(task, outcome)["unknown tokens"]) == ("0.0 minutes", "")


@pytest.mark.parametrize(
    ("architecture", "config", "has"),
    [("transformer", None, True), ("gru", RecurrentConfig(), False), ("bert", BertConfig(), True)],
)
def test_attention_is_shown_of_models_that_have_heads_of_it(architecture, config, has):
    task = SentimentAnalysis.from_command_line(argv=["--output_dir", "any"])
    task.model_args.architecture = architecture
    assert task.has_attention(config) is has
