"""How well sentences of each length are translated, as a picture."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .colors import looks_of
from .plain import plain
from .room import add_legend, room_for_legend
from .saving import save_figure


def plot_bleu_by_length(
    scores: dict[str, list[dict[str, Any]]],
    path: str | Path,
    title: str = "",
    subtitle: str = "",
    architectures: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """
    Draw BLEU over the length of the source, a line for each model.

    Args:
        scores: For each model what [`seqnlp.metrics.bleu_by_source_length`] gave, over the same sentences.
        path: Where the PNG goes.
        title: Stands above the picture.
        subtitle: Stands below it, smaller; for instance which sentences they are.
        architectures: That of each model by its name, for its color; by default the name is one.
    """
    width, height = room_for_legend(list(scores), 5.7, 2.8)
    figure = Figure(figsize=(6.5 + width, max(4, height + 1.2)), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    looks = looks_of([architectures.get(name, name) for name in scores])
    for look, (label, bins) in zip(looks, scores.items(), strict=True):
        bleu = [item["bleu"] for item in bins]
        axis.plot(range(len(bins)), bleu, **look.line(), label=plain(label), markersize=5)
    first = next(iter(scores.values()))
    axis.set_xticks(
        range(len(first)), [f"{item['from']}-{item['to']}\n({item['sentences']:,})" for item in first], fontsize=9
    )
    axis.set_xlabel("words of the source (number of sentences)")
    axis.set_ylabel("BLEU, lower case (%)")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    add_legend(axis, is_within=not width)
    figure.suptitle(plain(title))
    axis.set_title(plain(subtitle), fontsize=9)
    save_figure(figure, path, dpi=120)
