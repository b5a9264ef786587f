"""Accuracy and F1, computed by scikit-learn, and what a classifier got right and wrong as text."""

import math
import re
from collections import Counter
from collections.abc import Sequence

import datasets
import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    matthews_corrcoef,
    precision_recall_fscore_support,
)
from tabulate import tabulate

from .score import ONE_EXAMPLE, OfflineMetric, Score


MOST_ROWS = 100
"""Classes in a table of a report; a reader takes in no more."""
MOST_PAIRS = 20
_INPUTS = """
Args:
    predictions: The predicted class ids.
    references: The right class ids.
"""


class _ClassMetric(OfflineMetric):
    """What compares predicted classes with the right ones."""

    inputs = _INPUTS
    columns = datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")})


class Accuracy(_ClassMetric):
    """The share of examples whose predicted class is the right one."""

    scores = (
        Score(
            "accuracy",
            "Accuracy",
            "share of the examples whose most probable class is the right one, of {classes} classes",
            greater_is_better=True,
            is_share=True,
            digits=1,
            weight_of_an_example=ONE_EXAMPLE,
        ),
    )

    def _compute(self, predictions, references) -> dict[str, float]:
        return {"accuracy": float(accuracy_score(references, predictions))}


def f1_of(right: ArrayLike, predicted: ArrayLike, average: str) -> float:
    """
    F1 of classes or labels by scikit-learn. One that there is not and that is not predicted has none, and does not
    count in a mean; where no other is asked for, nothing was missed and nothing made up: 1.
    """
    found = float(f1_score(right, predicted, average=average, zero_division=np.nan))
    return 1.0 if math.isnan(found) else found


class F1(_ClassMetric):
    """
    The harmonic mean of precision and recall (van Rijsbergen 1979, chapter 7).

    `compute(..., average="binary")`, the default, is that of class 1; `average="macro"` is the mean over the classes.
    A class that there is not and that is not predicted does not count, see [`f1_of`].
    """

    scores = (
        Score(
            "f1",
            "F1",
            "harmonic mean of precision and recall, {average}",
            greater_is_better=True,
            is_share=True,
            digits=1,
            weight_of_an_example=ONE_EXAMPLE,
        ),
        Score(
            "macro_f1",
            "Macro F1",
            "mean over the classes of the harmonic mean of precision and recall",
            greater_is_better=True,
            is_share=True,
            digits=1,
            weight_of_an_example=ONE_EXAMPLE,
        ),
    )

    def _compute(self, predictions, references, average: str = "binary") -> dict[str, float]:
        return {"f1": f1_of(references, predictions, average)}


class MatthewsCorrelation(_ClassMetric):
    """
    The correlation of predicted and right classes (Matthews 1975; for several classes Gorodkin 2004): 1 if all are
    right, 0 for what does not depend on the text, such as one class for all, however skewed the data is.
    """

    scores = (
        Score(
            "matthews_correlation",
            "Matthews correlation",
            "correlation of the predicted classes with the right ones, from -1 to 1",
            greater_is_better=True,
            weight_of_an_example=2 * ONE_EXAMPLE,  # its scale is twice as long as that of a share
        ),
    )

    def _compute(self, predictions, references) -> dict[str, float]:
        if len({*references, *predictions}) < 2:  # of which sklearn warns
            return {"matthews_correlation": 0.0}
        return {"matthews_correlation": float(matthews_corrcoef(references, predictions))}


class CrossEntropy(OfflineMetric):
    """
    The mean cross-entropy of an example in nats.

    `compute(predictions=logits, references=class_ids)`; logits of shape `(num_examples, num_classes)`.
    """

    scores = (
        Score("loss", "Loss", "mean cross-entropy of an example, in nats", greater_is_better=False, unit="nats"),
    )

    inputs = _INPUTS
    columns = datasets.Features(
        {"predictions": datasets.Sequence(datasets.Value("float32")), "references": datasets.Value("int64")}
    )

    def _compute(self, predictions, references) -> dict[str, float]:
        loss = torch.nn.functional.cross_entropy(torch.tensor(predictions), torch.tensor(references))
        return {"loss": float(loss)}


CLASSIFICATION_SCORES = (*Accuracy.scores, *F1.scores, *MatthewsCorrelation.scores, *CrossEntropy.scores)


def classification_scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """
    The scores of a classifier: `accuracy`; `f1` (of class 1 where there are two, else the mean over the classes);
    `macro_f1`, always that mean; `matthews_correlation`; and `loss`, the mean cross-entropy of an example in nats.

    Args:
        logits: `(num_examples, num_classes)`.
        labels: `(num_examples,)` right class ids.
    """
    predicted, average = logits.argmax(-1), "binary" if logits.shape[-1] == 2 else "macro"
    return {
        **Accuracy().compute(predictions=predicted, references=labels),
        **F1().compute(predictions=predicted, references=labels, average=average),
        "macro_f1": F1().compute(predictions=predicted, references=labels, average="macro")["f1"],
        **MatthewsCorrelation().compute(predictions=predicted, references=labels),
        **CrossEntropy().compute(predictions=logits, references=labels),
    }


def classification_report(
    class_names: Sequence[str],
    texts: Sequence[str],
    logits: np.ndarray,
    labels: np.ndarray,
    scores: dict[str, dict[str, float]],
    num_errors: int = 5,
) -> str:
    """
    Scores side by side, those of each class, the confusion matrix, and the errors the classifier was surest of, with
    handles masked. Of more than [`MOST_ROWS`] classes the most frequent ones are shown, and what is confused most in
    the place of the matrix, which grows with their square.

    Args:
        class_names: Name of each class.
        texts: The texts, in the order of logits and labels.
        logits: `(num_examples, num_classes)`.
        labels: `(num_examples,)` right class ids.
        scores: For each model that is compared, its scores; those are shown that all have.
        num_errors: How many errors are shown.
    """
    predicted = logits.argmax(-1)
    log_probabilities = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    surest_first = np.argsort(-log_probabilities.max(axis=-1), kind="stable")
    errors = [row for row in surest_first if predicted[row] != labels[row]][:num_errors]

    every = range(len(class_names))
    columns = precision_recall_fscore_support(labels, predicted, labels=every, average=None, zero_division=0)
    of_classes = [
        [name, *(f"{share:.1%}" if number else "-" for share in shares), f"{number:,}"]  # nothing to be right about
        for name, *shares, number in zip(class_names, *columns, strict=True)
    ]
    shown = [
        (
            class_names[labels[row]],
            f"{class_names[predicted[row]]} ({np.exp(log_probabilities[row].max()):.1%})",
            without_handles(texts[int(row)]),
        )
        for row in errors
    ]
    parts = [
        f"{len(labels):,} examples",
        compared(scores, CLASSIFICATION_SCORES),
        *table_of_classes("Classes", of_classes, columns[-1]),
        *_confusions(class_names, predicted, labels),
    ]
    if shown:
        count = f"{len(shown)} errors" if len(shown) > 1 else "one error"
        parts += [
            f"The {count} it was surest of",
            tabulate(
                shown, headers=["true", "predicted", "text"], maxcolwidths=[None, None, 80], disable_numparse=True
            ),
        ]
    return "\n\n".join(parts)


def table_of_classes(heading: str, rows: Sequence[Sequence[str]], counts: Sequence[int]) -> list[str]:
    """
    Precision, recall and F1 of classes under a heading; of more than [`MOST_ROWS`] the most frequent ones.

    Args:
        heading: Stands above the table.
        rows: Of each class its name, the three scores and its number of examples, as they are shown.
        counts: The numbers of examples.
    """
    if len(rows) > MOST_ROWS:
        heading = f"{heading} (the {MOST_ROWS} most frequent of {len(rows):,})"
        most_first = np.argsort(-np.asarray(counts), kind="stable")
        rows = [rows[row] for row in sorted(most_first[:MOST_ROWS].tolist())]
    headers = ["", "precision", "recall", "F1", "number"]
    return [heading, tabulate(rows, headers=headers, disable_numparse=True)]


def _confusions(class_names: Sequence[str], predicted: np.ndarray, labels: np.ndarray) -> list[str]:
    """The confusion matrix under its heading; of many classes the pairs that are confused most."""
    if len(class_names) <= MOST_ROWS:
        counts = confusion_matrix(labels, predicted, labels=range(len(class_names))).tolist()
        matrix = [[name, *row] for name, row in zip(class_names, counts, strict=True)]
        heading = "Confusion matrix (rows: true class, columns: predicted class)"
        return [heading, tabulate(matrix, headers=["", *class_names], disable_numparse=[0])]  # a class may be "1.0"
    wrong = predicted != labels
    pairs = Counter(zip(labels[wrong].tolist(), predicted[wrong].tolist(), strict=True)).most_common(MOST_PAIRS)
    rows = [(class_names[right], class_names[found], f"{count:,}") for (right, found), count in pairs]
    heading = "The most frequent confusions"
    return [heading, tabulate(rows, headers=["true", "predicted", "number"], disable_numparse=True)] if rows else []


def compared(scores: dict[str, dict[str, float]], known: Sequence[Score]) -> str:
    """A table of models and their scores: of the known ones without a unit those that all models have."""
    shown = [one for one in known if not one.unit and all(one.key in found for found in scores.values())]
    rows = [[model, *(one.shown(found[one.key]) for one in shown)] for model, found in scores.items()]
    return tabulate(rows, headers=["model", *(one.name for one in shown)], disable_numparse=True)


def without_handles(text: str) -> str:
    """A text with `@user` in the place of each handle, as reports show it."""
    return re.sub(r"(?<![\w@])@\w+", "@user", text)
