"""Attention weights as a picture, and as one HTML page that opens offline."""

import base64
import html
import io
import json
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from PIL import Image

from ..diagnostics import AttentionMap


# More tokens than that cannot be read beside a small panel.
_LABELLED = 24


def plot_attention(found: AttentionMap, path: str | Path, title: str = "", image: Image.Image | None = None) -> None:
    """
    Draw heads by layer: one row a layer, one column a head, queries downward, keys across. Colours go by the root of
    the weight, since of many small weights none would be seen beside a one.

    Args:
        found: The weights.
        path: Where the PNG goes.
        title: Stands above the picture.
        image: What the keys are patches of. Then each panel shows the image under the weights of the class token, or
            under the mean over all patches where there is none.
    """
    num_heads = max(len(layer) for layer in found.layers)
    num_queries, num_keys = len(found.queries), len(found.keys)
    is_single = num_heads == len(found.layers) == 1
    width = min(13.0, max(3.4, 0.34 * num_keys)) if is_single else max(0.9, min(2.3, 13.0 / num_heads))
    height = min(13.0, max(1.0, 0.34 * num_queries)) if is_single else width
    figure = Figure(figsize=(width * num_heads + 2.4, height * len(found.layers) + 1.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(found.layers), num_heads, squeeze=False, sharex=image is None, sharey=image is None)
    largest = 1.0 if image is not None else max(float(layer.max()) for layer in found.layers)
    for row, layer in enumerate(found.layers):
        for column in range(num_heads):
            axis = axes[row, column]
            if column >= len(layer):
                axis.axis("off")
            elif image is not None:
                drawn = _draw_over_image(axis, found, layer[column].numpy(), image)
            else:
                drawn = axis.imshow(
                    layer[column].numpy(), cmap="Blues", norm=PowerNorm(0.5, 0, largest), aspect="auto"
                )
            if row == 0 and not is_single:
                axis.set_title(f"head {column + 1}", fontsize=9)
            if column == 0 and not is_single:
                axis.set_ylabel(f"layer {row + 1}", fontsize=9)
    if image is None:
        _label(axes, found, is_single)
        looking = (
            "the token that is written" if found.name in ("cross-attention", "alignment") else "the token that looks"
        )
        figure.supylabel("the label" if found.name == "attention pooling" else looking, fontsize=10)
        unit = "" if len(found.keys) <= (60 if is_single else _LABELLED) else " (position in the text)"
        figure.supxlabel(f"the token that is looked at{unit}", fontsize=10)
    label = (
        "attention weight\n(share of the query, 0 to 1)"
        if image is None
        else "attention weight\n(relative to the panel's largest)"
    )
    figure.colorbar(drawn, ax=axes, label=label, shrink=0.8 if len(found.layers) > 1 else 1.0)
    figure.suptitle(_plain(f"{title}: {found.name}" if title else found.name), fontsize=12)
    figure.savefig(path, dpi=110)


def _label(axes, found: AttentionMap, is_single: bool) -> None:
    size = 10 if is_single else 7
    for axis in axes[-1]:
        if len(found.keys) <= (60 if is_single else _LABELLED):
            axis.set_xticks(range(len(found.keys)), [_plain(key) for key in found.keys], rotation=90, fontsize=size)
    if len(found.queries) <= (60 if is_single else _LABELLED):
        axes[0, 0].set_yticks(range(len(found.queries)), [_plain(query) for query in found.queries], fontsize=size)


def _draw_over_image(axis, found: AttentionMap, weights: np.ndarray, image: Image.Image):
    rows, columns = found.grid
    num_extra = len(found.keys) - rows * columns
    shown = weights[0] if num_extra else weights.mean(axis=0)
    patches = shown[num_extra:].reshape(rows, columns)
    patches = patches / max(patches.max(), 1e-12)
    extent = (0, columns, rows, 0)
    pale = 130 + np.asarray(image.convert("L"), dtype=float) * (125 / 255)  # dark ones would hide the colours
    axis.imshow(pale, cmap="gray", extent=extent, vmin=0, vmax=255)
    drawn = axis.imshow(patches, cmap="Blues", extent=extent, vmin=0, vmax=1, alpha=0.6)
    axis.set_xticks([]), axis.set_yticks([])
    return drawn


def _plain(text: str) -> str:
    """For matplotlib, which takes what stands between dollars for mathematics and knows no control characters."""
    shown = "".join(character if character.isprintable() else "·" for character in text)
    return shown.replace("$", r"\$")


def write_attention_page(
    maps: list[AttentionMap], path: str | Path, title: str, image: Image.Image | None = None
) -> None:
    """
    Write a page to look through all the weights: choose attention, layer and head, hover or press arrows for numbers.

    One file, without anything from the network. Tokens and titles go in as data and are shown as text, whatever they
    contain.

    Args:
        maps: The weights, which are rounded to 1/65535.
        path: Where the page goes.
        title: Its heading.
        image: What the keys are patches of.
    """
    data = {
        "title": title,
        "image": None if image is None else _data_uri(image),
        "ramp": [[round(255 * part) for part in colormaps["Blues"](level / 255)[:3]] for level in range(256)],
        "maps": [
            {
                "name": found.name,
                "queries": found.queries,
                "keys": found.keys,
                "grid": found.grid,
                "heads": [len(layer) for layer in found.layers],
                "weights": _packed(found),
            }
            for found in maps
        ],
    }
    # Inside a script element only `<` could end it; the others are for readers of another grammar.
    embedded = (
        json.dumps(data, ensure_ascii=True).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    )
    page = Path(__file__).with_name("attention_page.html").read_text(encoding="utf-8")
    page = page.replace("__TITLE__", html.escape(title)).replace("__DATA__", embedded)
    Path(path).write_text(page, encoding="utf-8")


def _packed(found: AttentionMap) -> str:
    """All weights as 16-bit numbers, little-endian, layer by layer, in base64."""
    numbers = [np.rint(layer.clamp(0, 1).numpy() * 65535).astype("<u2").tobytes() for layer in found.layers]
    return base64.b64encode(b"".join(numbers)).decode("ascii")


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
