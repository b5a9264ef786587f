"""What is known of a score decides how it is shown and how far two machines may differ."""

import pytest

from seqnlp.metrics import (
    BLEU,
    CLASSIFICATION_SCORES,
    F1,
    FORECAST_SCORES,
    LANGUAGE_MODELING_SCORES,
    Accuracy,
    BitsPerCharacter,
    ChrF,
    NegativeLogLikelihood,
    Perplexity,
    Score,
)
from seqnlp.metrics.rouge import ROUGE
from seqnlp.metrics.score import DATA_UNIT
from seqnlp.metrics.tune_validity import TUNE_SCORES
from seqnlp.tasks import TASKS


SCORES = {
    score.key: score
    for score in (
        *CLASSIFICATION_SCORES,
        *LANGUAGE_MODELING_SCORES,
        *BLEU.scores,
        *ChrF.scores,
        *ROUGE.scores,
        *FORECAST_SCORES,
        *TUNE_SCORES,
    )
}


OF_TASKS = [score for task in TASKS.values() for score in task.scores]


@pytest.mark.parametrize("score", dict.fromkeys([*SCORES.values(), *OF_TASKS]), ids=lambda score: score.key)
def test_every_score_is_complete(score):
    assert score.name
    assert score.definition
    assert isinstance(score.greater_is_better, bool) == (score.target is None)
    assert isinstance(score.unit, str)


@pytest.mark.parametrize("metric", [Accuracy, F1, NegativeLogLikelihood, Perplexity, BitsPerCharacter, BLEU, ChrF])
def test_every_metric_describes_itself_as_its_class_does(metric):
    assert metric().description.strip() == metric.__doc__.strip()


def test_in_a_single_process_a_metric_writes_no_file(tmp_path):
    metric = Accuracy(cache_dir=str(tmp_path))
    metric.add_batch(predictions=[0, 1], references=[0, 0])
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert metric.compute() == {"accuracy": 0.5}


def test_directions():
    lower = {key for key, score in SCORES.items() if score.better == "less"}
    assert lower == {
        "loss",
        "perplexity",
        "word_perplexity",
        "bits_per_character",
        "nats_per_character",
        "unknown_share",
        "mae",
        "rmse",
        "nrmse",
        "rmse_last",
        "crps",
        "ncrps",
        "width_50",
        "width_80",
        "width_95",
    }
    aimed = {key: score.better for key, score in SCORES.items() if score.greater_is_better is None}
    assert aimed == {"coverage_50": "near 50.0%", "coverage_80": "near 80.0%", "coverage_95": "near 95.0%"}


def test_errors_of_forecasts_are_in_the_units_of_the_data():
    in_units = {key for key, score in SCORES.items() if score.unit == DATA_UNIT}
    assert in_units == {"mae", "rmse", "rmse_last", "crps", "width_50", "width_80", "width_95"}


OF_EXAMPLES = ["sentiment_analysis", "tagging", "image_classification", "masked_language_modeling"]


@pytest.mark.parametrize("name", OF_EXAMPLES)
def test_what_counts_examples_is_shown_in_percent_and_may_differ_by_an_example(name):
    for score in TASKS[name].scores:
        if score.is_share:
            assert score.shown(0.8726) == "87.3%", score.key
            assert score.agrees(0.5, 0.5 + 1 / 1000, count=1000), score.key
            assert not score.agrees(0.5, 0.5 + 1 / 50, count=1000), score.key


def test_how_a_score_is_shown():
    assert SCORES["accuracy"].shown(0.8724) == "87.2%"
    assert SCORES["bleu"].shown(31.514) == "31.51"
    assert SCORES["unknown_share"].shown(0.01234) == "1.23%"
    assert SCORES["loss"].shown(0.1234567) == "0.123"
    assert SCORES["loss"].shown(None) == ""


@pytest.mark.parametrize(
    ("key", "claimed", "found", "count", "same"),
    [
        ("accuracy", 0.872, 0.873, 1000, True),  # one of 1,000 examples
        ("accuracy", 0.872, 0.874, 1000, False),
        ("loss", 0.5000, 0.5004, 1000, True),
        ("loss", 0.500, 0.502, 1000, False),
        ("bleu", 40.0, 40.08, 1000, True),
        ("bleu", 40.0, 40.2, 1000, False),
        ("rmse", 35.66, 35.60, 1000, False),
        ("valid", 0.9, 0.8, 100, True),  # by chance, of 100 tunes: 4 sqrt(2 x 0.85 x 0.15 / 100) = 0.2
        ("valid", 0.9, 0.72, 100, True),  # 4 sqrt(2 x 0.81 x 0.19 / 100) = 0.22: both are samples
        ("valid", 0.9, 0.6, 100, False),
        ("valid", 1.0, 1.0, 100, True),
        ("valid", 90.0, 0.9, 100, False),
    ],
)
def test_what_counts_as_the_same_number(key, claimed, found, count, same):
    score: Score = SCORES[key]
    assert score.agrees(claimed, found, count) == same
    if not score.is_sampled and not score.is_of_texts:
        assert score.agrees(claimed, claimed * 0.995, count, mixed_precision=True)
        assert not score.agrees(claimed, claimed * 0.98, count, mixed_precision=True)


@pytest.mark.parametrize("key", ["bleu", "bleu_lowercase", "chrf", "rougeL"])
def test_many_texts_are_written_otherwise_in_mixed_precision(key):
    """Of an H200's translations of 1,014 sentences in bfloat16, cased BLEU was 9.44, and a CPU's 9.32."""
    score = SCORES[key]
    assert not score.agrees(9.4416, 9.3211, 1014)
    assert score.agrees(9.4416, 9.3211, 1014, mixed_precision=True)
    # sqrt(1024) / 8 = 4 of 1,024 sentences, which count 100 / 1024 = 0.098 each: 0.39.
    assert score.agrees(9.0, 9.385, 1024, mixed_precision=True)
    assert not score.agrees(9.0, 9.395, 1024, mixed_precision=True)
    assert score.agrees(9.0, 15.0, 16, mixed_precision=True)  # one sentence at the least, 100 / 16 = 6.25
    assert not score.agrees(9.0, 15.5, 16, mixed_precision=True)
