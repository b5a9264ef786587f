"""Pictures become files, with letters of all the world where the system has a font for them."""

import re
import warnings
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager, get_font
from matplotlib.text import Text
from transformers.utils import logging


logger = logging.get_logger(__name__)

_MISSING = re.compile(r"Glyph (\d+) .*missing from")
_NO_FONT = "Last Resort"  # how the names of fonts begin that come with matplotlib and draw a frame for every letter


def save_figure(figure: Figure, target: str | Path | BytesIO, **options: Any) -> None:
    """
    As `figure.savefig`. Letters that the font of a picture lacks are drawn by those fonts of the system that have
    them, in this picture alone. For those that none has, which are empty boxes, there is one line and not one each.

    Args:
        figure: The picture.
        target: Where it goes.
        **options: Of `savefig`.
    """
    missing = _save(figure, target, options)
    fonts = {code: font_with(code) for code in missing}
    if families := list(dict.fromkeys(filter(None, fonts.values()))):
        for text in figure.findobj(Text):
            text.set_fontfamily([*text.get_fontfamily(), *families])
        if isinstance(target, BytesIO):
            target.seek(0)
            target.truncate()
        missing = _save(figure, target, options)
    if missing:
        shown = "".join(map(chr, missing[:5])) + ("..." if len(missing) > 5 else "")
        logger.warning(f"No font of this system has the letters {shown}: they are empty boxes in a picture.")


def _save(figure: Figure, target: str | Path | BytesIO, options: dict[str, Any]) -> list[int]:
    """Save it; gives the letters that no font of it has, by their numbers in Unicode."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        figure.savefig(target, **options)
    missing = []
    for one in told:
        if found := _MISSING.match(str(one.message)):
            missing.append(int(found.group(1)))
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    return list(dict.fromkeys(missing))


@lru_cache
def font_with(code: int) -> str | None:
    """The family of the first font of the system that has a letter, by its number in Unicode; `None` if none has."""
    for font in sorted(fontManager.ttflist, key=lambda font: (font.weight != 400, font.style != "normal", font.name)):
        if not font.name.startswith(_NO_FONT) and code in get_font(font.fname).get_charmap():
            return font.name
    return None
