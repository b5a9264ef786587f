"""Attention weights as a picture, and as one HTML page that opens offline."""

import base64
import io
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from ..diagnostics import AttentionMap
from .page import data_uri, filled_page
from .plain import plain
from .saving import save_figure


# More tokens than that cannot be read beside a small panel, or beside a single large one.
_LABELED, _LABELED_ALONE = 24, 60
_LETTER, _WIDEST = 0.1, 24.0  # inches
_LONGEST_WORD = 24  # characters


def plot_attention(
    found: AttentionMap, path: str | Path | BinaryIO, title: str = "", image: Image.Image | None = None
) -> None:
    """
    Draw heads by layer: one row per layer, one column per head, queries downward, keys across. Colors are linear in
    the weight, up to the largest of the picture, as on the page.

    Args:
        found: The weights.
        path: Where the PNG goes: a path, or a file that is open.
        title: Stands above the picture.
        image: What the keys are patches of. Then each panel shows the image under the weights of the class token, or
            under the mean over all patches where there is none; colors are relative to the panel's largest.
    """
    if image is None:
        panels = [list(layer.numpy()) for layer in found.layers]  # (T, S) each
        scale = Normalize(0, 100 * max(float(layer.max()) for layer in found.layers))
        label = "attention weight\n(% of what the query takes)"
    else:
        panels = [[_over_image(found, head, image) for head in layer.numpy()] for layer in found.layers]
        scale = Normalize(0, 100)
        label = "attention weight\n(% of the panel's largest)"
    num_heads = max(map(len, panels))
    is_spelled = image is None and _is_spelled(found, num_heads)
    height, width = panels[0][0].shape[:2]
    is_single = num_heads == len(panels) == 1 and image is None
    across = min(13.0, max(3.4, 0.34 * width)) if is_single else max(0.9, min(2.3, 13.0 / num_heads))
    if is_spelled:
        across = max(across, _LETTER * width)
    down = min(13.0, max(1.0, 0.34 * height)) if is_single else across
    beside, below = (_room(tokens) if is_single else 0.0 for tokens in (found.queries, found.keys))
    size = (across * num_heads + 2.6 + beside, down * len(panels) + 1.6 + below)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()

    # One image of all panels: a panel of its own for each head takes minutes where there are many.
    gap = max(1, round(0.07 * width))
    whole = np.full((len(panels) * (height + gap) - gap, num_heads * (width + gap) - gap, 4), 1.0)
    corners = {}
    for row, heads in enumerate(panels):
        for column, panel in enumerate(heads):
            top, left = row * (height + gap), column * (width + gap)
            corners[row, column] = top, left
            colored = colormaps["Blues"](scale(100 * panel)) if image is None else panel
            whole[top : top + height, left : left + width] = colored
            frame = {"fill": False, "edgecolor": "0.5", "linewidth": 0.6, "clip_on": False}
            axis.add_patch(Rectangle((left - 0.5, top - 0.5), width, height, **frame))
    axis.imshow(whole, aspect="auto" if is_single else "equal", interpolation_stage="rgba")
    axis.spines[:].set_visible(False)
    if not is_single:
        for column in range(num_heads):
            axis.text(
                column * (width + gap) + width / 2 - 0.5,
                -0.5 - gap / 3,
                f"head {column + 1}",
                ha="center",
                va="bottom",
            )
        for row in range(len(panels)):
            middle = row * (height + gap) + height / 2 - 0.5
            axis.text(whole.shape[1] + gap / 3, middle, f"layer {row + 1}", rotation=270, ha="left", va="center")
    if image is None:
        _label(axis, found, corners, is_single, is_spelled)
    else:
        axis.set_xticks([]), axis.set_yticks([])
    figure.colorbar(ScalarMappable(scale, "Blues"), ax=axis, label=label, shrink=0.9, aspect=30, pad=0.03)
    what = found.name if image is None else f"{found.name}, {_onlooker(found)}"
    figure.suptitle(plain(f"{title}: {what}" if title else what), fontsize=12)
    save_figure(figure, path, dpi=110)


def _label(
    axis, found: AttentionMap, corners: dict[tuple[int, int], tuple[int, int]], is_single: bool, is_spelled: bool
) -> None:
    """Tokens beside the panels where there is room for them, else their numbers; and what the axes are."""
    most = _LABELED_ALONE if is_single or is_spelled else _LABELED
    looks = {"cross-attention": "the token that is written", "alignment": "the token that is written"}
    looks["attention pooling"] = "the label"
    sides = (
        (axis.set_yticks, axis.set_ylabel, found.queries, 0, looks.get(found.name, "the token that looks")),
        (axis.set_xticks, axis.set_xlabel, found.keys, 1, "the token that is looked at"),
    )
    for set_ticks, set_label, tokens, side, name in sides:
        starts = sorted({corner[side] for corner in corners.values()})
        shown = range(len(tokens)) if len(tokens) <= most else range(0, len(tokens), 10 * (1 + len(tokens) // 60))
        words = [_word(tokens[index]) if len(tokens) <= most else str(index + 1) for index in shown]
        turned = {"rotation": 90} if side and not is_spelled else {}
        set_ticks(
            [s + index for s in starts for index in shown],
            words * len(starts),
            fontsize=10 if is_single else 7,
            **turned,
        )
        set_label(name if len(tokens) <= most else f"{name} (position in the text)", fontsize=10)


def _word(token: str) -> str:
    """A token in one line, as long as there is room for it beside the panels; the page has the whole of it."""
    token = token.replace("\n", "⏎")
    return plain(token if len(token) <= _LONGEST_WORD else f"{token[: _LONGEST_WORD - 1]}…")


def _room(tokens: list[str]) -> float:
    """Inches that the longest token takes beyond what is there for words of usual length."""
    return _LETTER * max(0, min(_LONGEST_WORD, max(map(len, tokens), default=0)) - 8)


def _is_spelled(found: AttentionMap, num_heads: int) -> bool:
    """Whether the tokens are single characters, which stand side by side where there are not too many."""
    tokens = [*found.queries, *found.keys]
    longest = max(len(found.queries), len(found.keys))
    is_short = sum(len(token) > 1 for token in tokens) <= 4  # `<s>` and the like
    return is_short and longest <= _LABELED_ALONE and _LETTER * longest * num_heads <= _WIDEST


def _onlooker(found: AttentionMap) -> str:
    """Whose weights lie over an image."""
    rows, columns = found.grid
    return "mean over the patches that look" if len(found.keys) == rows * columns else f"the {found.keys[0]} looks"


def _over_image(found: AttentionMap, weights: np.ndarray, image: Image.Image) -> np.ndarray:
    """The image in pale gray under the weights of its patches, `(height, width, 4)` colors."""
    rows, columns = found.grid
    num_extra = len(found.keys) - rows * columns
    return heat_over_image(
        (weights[0] if num_extra else weights.mean(axis=0))[num_extra:].reshape(rows, columns), image
    )


def heat_over_image(patches: np.ndarray, image: Image.Image) -> np.ndarray:
    """
    An image in pale gray under the weights of its patches, relative to the largest: `(height, width, 4)` colors.

    Args:
        patches: `(rows, columns)` weights.
        image: The image.
    """
    rows, columns = patches.shape
    patches = patches / max(patches.max(), 1e-12)
    part = max(1, 96 // max(rows, columns))  # pixels that a patch is drawn with
    gray = np.asarray(image.convert("L").resize((columns * part, rows * part), Image.Resampling.NEAREST)) / 255
    pale = np.repeat((0.5 + 0.5 * gray)[..., None], 4, axis=-1)  # dark ones would hide the colors
    pale[..., 3] = 1
    return 0.4 * pale + 0.6 * colormaps["Blues"](patches.repeat(part, axis=0).repeat(part, axis=1))


def image_of_pixels(pixels: torch.Tensor) -> Image.Image:
    """What a model reads as an image, from its darkest to its lightest value: `(channels, height, width)`."""
    low, high = float(pixels.min()), float(pixels.max())
    seen = ((pixels - low) / max(high - low, 1e-12) * 255).byte().permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(seen[..., 0] if seen.shape[-1] == 1 else seen).convert("RGB")


def write_attention_page(
    maps: list[AttentionMap], path: str | Path, title: str, image: Image.Image | None = None, answer: str = ""
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
        answer: What the model made of the input, in one line.
    """
    data = {
        "title": title,
        "answer": answer,
        "image": None if image is None else _embedded(image),
        "ramps": {"light": _ramp(colormaps["Blues"]), "dark": _ramp(LinearSegmentedColormap.from_list("", NIGHT))},
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
    Path(path).write_text(filled_page("attention_page.html", title, data), encoding="utf-8")


NIGHT = ("#1e2530", "#0b5c93", "#56b4e9", "#e6f4ff")
"""The colors of weights on a dark page, from none to all."""


def _ramp(colors: Colormap) -> list[list[int]]:
    return [[round(255 * part) for part in colors(level / 255)[:3]] for level in range(256)]


def _packed(found: AttentionMap) -> str:
    """All weights as 16-bit numbers, little-endian, layer by layer, in base64."""
    numbers = [np.rint(layer.clamp(0, 1).numpy() * 65535).astype("<u2").tobytes() for layer in found.layers]
    return base64.b64encode(b"".join(numbers)).decode("ascii")


def _embedded(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="PNG")
    return data_uri(buffer.getvalue(), "image/png")
