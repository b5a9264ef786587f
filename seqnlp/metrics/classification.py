"""Accuracy and F1, computed by scikit-learn, and what a classifier got right and wrong as text."""

import re
from collections.abc import Sequence

import datasets
import evaluate
import numpy as np
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score
from tabulate import tabulate

from .score import ONE_EXAMPLE, OfflineMetric, Score


_INPUTS = """
Args:
    predictions: The predicted class ids.
    references: The right class ids.
"""


def _info(description: str, citation: str) -> evaluate.MetricInfo:
    return evaluate.MetricInfo(
        description=description,
        citation=citation,
        inputs_description=_INPUTS,
        features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
    )


class Accuracy(OfflineMetric):
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

    def _info(self) -> evaluate.MetricInfo:
        return _info(type(self).__doc__, "")

    def _compute(self, predictions, references) -> dict[str, float]:
        return {"accuracy": float(accuracy_score(references, predictions))}


class F1(OfflineMetric):
    """
    The harmonic mean of precision and recall (van Rijsbergen 1979, chapter 7).

    `compute(..., average="binary")`, the default, is that of class 1; `average="macro"` is the mean over the classes.
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
    )

    def _info(self) -> evaluate.MetricInfo:
        return _info(type(self).__doc__, "")

    def _compute(self, predictions, references, average: str = "binary") -> dict[str, float]:
        return {"f1": float(f1_score(references, predictions, average=average, zero_division=0))}


class CrossEntropy(OfflineMetric):
    """
    The mean cross-entropy of an example in nats.

    `compute(predictions=logits, references=class_ids)`; logits of shape `(num_examples, num_classes)`.
    """

    scores = (
        Score("loss", "Loss", "mean cross-entropy of an example, in nats", greater_is_better=False, unit="nats"),
    )

    def _info(self) -> evaluate.MetricInfo:
        logits = datasets.Sequence(datasets.Value("float32"))
        return evaluate.MetricInfo(
            description=type(self).__doc__,
            citation="",
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": logits, "references": datasets.Value("int64")}),
        )

    def _compute(self, predictions, references) -> dict[str, float]:
        loss = torch.nn.functional.cross_entropy(torch.tensor(predictions), torch.tensor(references))
        return {"loss": float(loss)}


CLASSIFICATION_SCORES = (*Accuracy.scores, *F1.scores, *CrossEntropy.scores)


def classification_scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """
    The scores of a classifier: `accuracy`, `f1` (of class 1 where there are two, else the mean over the classes) and
    `loss`, the mean cross-entropy of an example in nats.

    Args:
        logits: `(num_examples, num_classes)`.
        labels: `(num_examples,)` right class ids.
    """
    predicted, average = logits.argmax(-1), "binary" if logits.shape[-1] == 2 else "macro"
    return {
        **Accuracy().compute(predictions=predicted, references=labels),
        **F1().compute(predictions=predicted, references=labels, average=average),
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
    Scores side by side, the confusion matrix, and the errors the classifier was surest of, with handles masked.

    Args:
        class_names: Name of each class.
        texts: The texts, in the order of logits and labels.
        logits: `(num_examples, num_classes)`.
        labels: `(num_examples,)` right class ids.
        scores: For each model that is compared, its `accuracy` and `f1`.
        num_errors: How many errors are shown.
    """
    predicted = logits.argmax(-1)
    log_probabilities = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    surest_first = np.argsort(-log_probabilities.max(axis=-1), kind="stable")
    errors = [row for row in surest_first if predicted[row] != labels[row]][:num_errors]

    compared = [[model, f"{s['accuracy']:.1%}", f"{s['f1']:.1%}"] for model, s in scores.items()]
    counts = confusion_matrix(labels, predicted, labels=range(len(class_names))).tolist()
    matrix = [[name, *row] for name, row in zip(class_names, counts, strict=True)]
    shown = [
        (
            class_names[labels[row]],
            f"{class_names[predicted[row]]} ({np.exp(log_probabilities[row].max()):.1%})",
            re.sub(r"(?<![\w@])@\w+", "@user", texts[int(row)]),
        )
        for row in errors
    ]
    parts = [
        f"{len(labels):,} examples",
        tabulate(compared, headers=["model", "accuracy", "F1"], disable_numparse=True),
        "Confusion matrix (rows: true class, columns: predicted class)",
        tabulate(matrix, headers=["", *class_names]),
        f"The {len(shown)} errors it was surest of",
        tabulate(shown, headers=["true", "predicted", "text"], maxcolwidths=[None, None, 80]),
    ]
    return "\n\n".join(parts)
