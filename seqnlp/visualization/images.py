"""The images that a classifier got wrong."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .plain import plain
from .saving import save_figure


def plot_image_errors(
    images: Sequence,
    logits: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    path: str | Path,
    title: str = "",
    count: int = 12,
) -> None:
    """
    Draw the images whose wrong class a classifier was surest of, with the true class, the predicted one and its
    probability.

    Args:
        images: The images, in the order of logits and labels.
        logits: `(num_images, num_classes)`.
        labels: `(num_images,)` right class ids.
        class_names: Name of each class.
        path: Where the PNG goes.
        title: Stands above the picture.
        count: Images drawn at most.
    """
    probabilities = np.exp(logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True))
    predicted = logits.argmax(-1)
    order = np.argsort(-probabilities.max(-1))
    chosen = [row for row in order if predicted[row] != labels[row]][:count]
    columns = 6
    rows = max(1, -(-len(chosen) // columns))
    figure = Figure(figsize=(1.6 * columns, 2.0 * rows + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis in axes:
        axis.set_axis_off()
    for axis, row in zip(axes, chosen, strict=False):
        image = images[int(row)]
        if image.mode != "L":
            image = image.convert("RGB")  # as the model reads it
        axis.imshow(np.asarray(image), cmap="gray" if image.mode == "L" else None)
        shown = f"{class_names[predicted[row]]} ({probabilities[row].max():.0%})"
        axis.set_title(plain(f"is {class_names[labels[row]]}\nread as {shown}"), fontsize=8)
    wrong = int((predicted != labels).sum())
    figure.suptitle(plain(f"{title}: {len(chosen)} of {wrong} errors among {len(labels):,} images"))
    save_figure(figure, path, dpi=120)
