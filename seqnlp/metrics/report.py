"""What a classifier got right and wrong, as text to print."""

import re
from collections.abc import Sequence

import numpy as np
from sklearn.metrics import confusion_matrix
from tabulate import tabulate


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
    surest_first = np.argsort(log_probabilities[np.arange(len(labels)), labels])
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
