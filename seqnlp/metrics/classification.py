"""Accuracy and F1, computed by scikit-learn."""

import datasets
import evaluate
import numpy as np
import torch
from sklearn.metrics import accuracy_score, f1_score


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


class OfflineMetric(evaluate.Metric):
    """A metric that needs no network and, in a single process, no file either."""

    def __init__(self, **kwargs):
        kwargs.setdefault("keep_in_memory", kwargs.get("num_process", 1) == 1)
        super().__init__(**kwargs)


class Accuracy(OfflineMetric):
    """The share of examples whose predicted class is the right one."""

    def _info(self) -> evaluate.MetricInfo:
        return _info(type(self).__doc__, "")

    def _compute(self, predictions, references) -> dict[str, float]:
        return {"accuracy": float(accuracy_score(references, predictions))}


class F1(OfflineMetric):
    """
    The harmonic mean of precision and recall (van Rijsbergen 1979, chapter 7).

    `compute(..., average="binary")`, the default, is that of class 1; `average="macro"` is the mean over the classes.
    """

    def _info(self) -> evaluate.MetricInfo:
        return _info(type(self).__doc__, "")

    def _compute(self, predictions, references, average: str = "binary") -> dict[str, float]:
        return {"f1": float(f1_score(references, predictions, average=average, zero_division=0))}


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
        "loss": float(torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(labels))),
    }
