"""Scores of several labels per text and of numbers, by scikit-learn and SciPy, and what a model got wrong as text."""

import math
from collections.abc import Sequence
from dataclasses import replace

import datasets
import numpy as np
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import (
    accuracy_score,
    precision_recall_fscore_support,
)
from tabulate import tabulate

from ..digits import significant
from .classification import F1, CrossEntropy, compared, f1_of, table_of_classes, without_handles
from .score import ONE_EXAMPLE, OfflineMetric, Score


THRESHOLD = 0.5
"""A label is given to a text where its probability is above that: where its logit is above 0."""

_LABELS = """
Args:
    predictions: For each text, 1 for each label that is predicted, else 0.
    references: The same of the right labels.
"""
_NUMBERS = """
Args:
    predictions: The predicted numbers.
    references: The right numbers.
"""


class MicroF1(OfflineMetric):
    """
    The harmonic mean of precision and recall over all pairs of a text and a label: a frequent label counts as often
    as it occurs (van Rijsbergen 1979, chapter 7; Tsoumakas & Katakis 2007).
    """

    scores = (
        Score(
            "micro_f1",
            "Micro F1",
            f"harmonic mean of precision and recall over all labels of all texts, given above {THRESHOLD}",
            greater_is_better=True,
            is_share=True,
            digits=1,
            weight_of_an_example=ONE_EXAMPLE,
        ),
    )
    inputs = _LABELS
    columns = datasets.Features(
        {name: datasets.Sequence(datasets.Value("int64")) for name in ("predictions", "references")}
    )

    def _compute(self, predictions, references) -> dict[str, float]:
        return {"micro_f1": f1_of(np.array(references), np.array(predictions), "micro")}


class SubsetAccuracy(OfflineMetric):
    """The share of texts all of whose labels are the right ones, none missing and none too many."""

    scores = (
        Score(
            "subset_accuracy",
            "Subset accuracy",
            "share of the texts whose labels are exactly the right ones",
            greater_is_better=True,
            is_share=True,
            digits=1,
            weight_of_an_example=ONE_EXAMPLE,
        ),
    )
    inputs = _LABELS
    columns = MicroF1.columns

    def _compute(self, predictions, references) -> dict[str, float]:
        return {"subset_accuracy": float(accuracy_score(np.array(references), np.array(predictions)))}


class _NumberMetric(OfflineMetric):
    """What compares predicted numbers with the right ones."""

    inputs = _NUMBERS
    columns = datasets.Features({"predictions": datasets.Value("float64"), "references": datasets.Value("float64")})


class SquaredError(_NumberMetric):
    """The mean squared error, which is the loss of a regression too, and the mean absolute error."""

    scores = (
        Score("mse", "MSE", "mean squared error, in squares of the labels' unit", greater_is_better=False),
        Score("mae", "MAE", "mean absolute error, in the labels' unit", greater_is_better=False),
    )

    def _compute(self, predictions, references) -> dict[str, float]:
        # Not by scikit-learn, which refuses what a model that has diverged says.
        errors = np.array(predictions) - np.array(references)
        return {"mse": float((errors**2).mean()), "mae": float(np.abs(errors).mean())}


class Correlation(_NumberMetric):
    """
    How far predictions rise with the right numbers, from -1 to 1: on a line (Pearson 1895), or in their order
    (Spearman 1904). Numbers that are all alike do not rise with anything: 0.
    """

    scores = (
        Score(
            "pearson",
            "Pearson",
            "Pearson's correlation of predicted and right numbers, from -1 to 1",
            greater_is_better=True,
            weight_of_an_example=2 * ONE_EXAMPLE,  # its scale is twice as long as that of a share
        ),
        Score(
            "spearman",
            "Spearman",
            "the same of their ranks",
            greater_is_better=True,
            weight_of_an_example=2 * ONE_EXAMPLE,
        ),
    )

    def _compute(self, predictions, references) -> dict[str, float]:
        if not np.isfinite(predictions).all():
            return {"pearson": math.nan, "spearman": math.nan}
        if min(np.ptp(predictions), np.ptp(references)) == 0:
            return {"pearson": 0.0, "spearman": 0.0}
        return {
            "pearson": float(pearsonr(references, predictions).statistic),
            "spearman": float(spearmanr(references, predictions).statistic),
        }


_macro_f1 = next(score for score in F1.scores if score.key == "macro_f1")
_loss = next(score for score in CrossEntropy.scores if score.key == "loss")
SEVERAL_LABELS_SCORES = (
    *MicroF1.scores,
    replace(
        _macro_f1,
        definition="mean over the labels, but for those that no text has or is given, of the harmonic mean of "
        "precision and recall, 0 if none is right",
    ),
    *SubsetAccuracy.scores,
    replace(_loss, definition="mean binary cross-entropy of a label of a text, in nats"),
)
"""What [`several_labels_scores`] gives."""

NUMBER_SCORES = (*SquaredError.scores, *Correlation.scores)
"""What [`number_scores`] gives."""


def several_labels_scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """
    The scores of what gives texts several labels: `micro_f1`, `macro_f1` (the mean over the labels), `subset_accuracy`
    and `loss`, the mean binary cross-entropy of a label in nats.

    Args:
        logits: `(num_texts, num_labels)`.
        labels: Of the same shape, 1 for the right labels and 0 for the others.
    """
    predicted, right = given_labels(logits), labels.astype(np.int64)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(torch.tensor(logits), torch.tensor(labels).float())
    return {**scores_of_labels(predicted, right), "loss": float(loss)}


def scores_of_labels(predicted: np.ndarray, right: np.ndarray) -> dict[str, float]:
    """The same of labels that are given or not, which have no loss."""
    return {
        **MicroF1().compute(predictions=predicted, references=right),
        "macro_f1": f1_of(right, predicted, "macro"),
        **SubsetAccuracy().compute(predictions=predicted, references=right),
    }


def given_labels(logits: np.ndarray) -> np.ndarray:
    """1 for the labels whose probability is above a half, else 0, of the shape of the logits."""
    return (logits > 0).astype(np.int64)


def several_labels_report(
    names: Sequence[str],
    texts: Sequence[str],
    logits: np.ndarray,
    labels: np.ndarray,
    scores: dict[str, dict[str, float]],
    num_errors: int = 5,
) -> str:
    """
    Scores side by side, those of each label, of many the most frequent ones, and the texts whose right labels it found
    least likely, with handles masked.

    Args:
        names: Of the labels.
        texts: In the order of logits and labels.
        logits: `(num_texts, num_labels)`.
        labels: Of the same shape, 1 for the right labels and 0 for the others.
        scores: For each model that is compared, its scores; those are shown that all have.
        num_errors: How many texts are shown.
    """
    predicted, right = given_labels(logits), labels.astype(np.int64)
    columns = precision_recall_fscore_support(right, predicted, average=None, zero_division=np.nan)
    of_labels = [
        [name, *("-" if math.isnan(share) else f"{share:.1%}" for share in shares), f"{number:,}"]  # of nothing
        for name, *shares, number in zip(names, *columns, strict=True)
    ]
    nats = np.logaddexp(0, np.where(right == 1, -logits, logits)).sum(axis=1)
    worst = [row for row in np.argsort(-nats, kind="stable") if (predicted[row] != right[row]).any()][:num_errors]
    shown = [
        (*(_named(names, row) for row in (right[at], predicted[at])), without_handles(texts[int(at)])) for at in worst
    ]
    parts = [
        f"{len(texts):,} texts, with {right.sum() / max(1, len(texts)):.2f} labels each",
        compared(scores, SEVERAL_LABELS_SCORES),
        *table_of_classes("Labels", of_labels, columns[-1]),
        f"The {len(shown)} texts whose labels it was most wrong of",
        tabulate(shown, headers=["true", "predicted", "text"], maxcolwidths=[20, 20, 70], disable_numparse=True),
    ]
    return "\n\n".join(parts)


def number_scores(predicted: np.ndarray, right: np.ndarray) -> dict[str, float]:
    """
    The scores of predicted numbers: `mse`, their mean squared error; `mae`; `pearson` and `spearman`.

    Args:
        predicted: `(num_texts,)` or `(num_texts, 1)`.
        right: `(num_texts,)` or `(num_texts, 1)`.
    """
    both = {"predictions": predicted.reshape(-1).astype(float), "references": right.reshape(-1).astype(float)}
    return {**SquaredError().compute(**both), **Correlation().compute(**both)}


def number_report(
    texts: Sequence[str],
    predicted: np.ndarray,
    right: np.ndarray,
    scores: dict[str, dict[str, float]],
    num_errors: int = 5,
) -> str:
    """
    Scores side by side, and the texts with the largest errors, with handles masked.

    Args:
        texts: In the order of the numbers.
        predicted: `(num_texts,)` or `(num_texts, 1)`.
        right: `(num_texts,)`.
        scores: For each model that is compared, its scores; those are shown that all have.
        num_errors: How many texts are shown.
    """
    predicted, right = predicted.reshape(-1), right.reshape(-1)
    worst = np.argsort(-np.abs(predicted - right), kind="stable")[:num_errors]
    shown = [(significant(right[row]), significant(predicted[row]), without_handles(texts[int(row)])) for row in worst]
    parts = [
        f"{len(texts):,} texts, of {significant(right.min())} to {significant(right.max())}, on average "
        f"{significant(right.mean())}",
        compared(scores, NUMBER_SCORES),
        f"The {len(shown)} largest errors",
        tabulate(shown, headers=["true", "predicted", "text"], maxcolwidths=[None, None, 80], disable_numparse=True),
    ]
    return "\n\n".join(parts)


def _named(names: Sequence[str], row: np.ndarray) -> str:
    return ", ".join(name for name, holds in zip(names, row, strict=True) if holds) or "-"
