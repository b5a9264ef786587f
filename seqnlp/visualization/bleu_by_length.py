"""How well sentences of each length are translated, as a picture."""

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .learning_curves import BLUE, GREEN, ORANGE
from .plain import plain


def plot_bleu_by_length(
    scores: dict[str, list[dict[str, Any]]], path: str | Path, title: str = "", subtitle: str = ""
) -> None:
    """
    Draw BLEU over the length of the source, a line for each model.

    Args:
        scores: For each model what [`seqnlp.metrics.bleu_by_source_length`] gave, over the same sentences.
        path: Where the PNG goes.
        title: Stands above the picture.
        subtitle: Stands below it, smaller; for instance which sentences they are.
    """
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for index, (label, bins) in enumerate(scores.items()):
        color, marker = (BLUE, ORANGE, GREEN, "#CC79A7")[index % 4], "os^D"[index % 4]
        bleu = [item["bleu"] for item in bins]
        axis.plot(range(len(bins)), bleu, marker=marker, color=color, label=label, markersize=5)
    first = next(iter(scores.values()))
    axis.set_xticks(
        range(len(first)), [f"{item['from']}-{item['to']}\n({item['sentences']:,})" for item in first], fontsize=9
    )
    axis.set_xlabel("words of the source (number of sentences)")
    axis.set_ylabel("BLEU, lower case (%)")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.legend()
    figure.suptitle(plain(title))
    axis.set_title(plain(subtitle), fontsize=9)
    figure.savefig(path, dpi=120)
