"""
The notes of a tune, on five lines: ABC notation engraved by Verovio (https://www.verovio.org; extra `music`).

Run as a program, this file reads a tune from standard input and writes its SVG to standard output. That is how it is
run: Verovio is C++, and a tune that a model made up may end its process.
"""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path


PAGE_WIDTH, SCALE = 2100, 40
"""In Verovio's units, tenths of a millimeter; percent."""
SECONDS = 60
"""A tune takes a tenth of one."""
SETTINGS = {
    "pageWidth": PAGE_WIDTH,
    "pageHeight": 60000,  # Verovio's most: one page, as high as its lines
    "adjustPageHeight": True,
    "scale": SCALE,
    "svgViewBox": True,
    "header": "none",
    "footer": "none",
    "xmlIdSeed": 1,  # the same tune makes the same file
}


_NO_KEY = re.compile(r"^K:none$", re.MULTILINE)


class SheetMusicError(ValueError):
    """A tune that cannot be written in notes. Its message is one line for the user."""


def sheet_music(abc: str) -> str:
    """
    A tune as an SVG of one page, bars and lines as they are written, without its title.

    Args:
        abc: One tune in ABC notation.

    Raises:
        SheetMusicError: If Verovio is not installed, or cannot read the tune.
    """
    if find_spec("verovio") is None:
        raise SheetMusicError("verovio is not installed")
    try:
        command = [sys.executable, "-I", __file__]
        read = _NO_KEY.sub("K:clef=treble", abc)  # beside `none` Verovio draws no clef
        done = subprocess.run(command, input=read.encode(), capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired as error:
        raise SheetMusicError(f"verovio has not engraved it within {SECONDS} seconds") from error
    svg = done.stdout.decode()
    if done.returncode != 0 or not svg:
        raise SheetMusicError("verovio cannot engrave it")
    return svg


def save_sheet_music(abc: str, path: str | Path) -> Path:
    """
    Write [`sheet_music`] to a file.

    Args:
        abc: One tune in ABC notation.
        path: The file's name without its ending, `.svg`.

    Raises:
        SheetMusicError: As [`sheet_music`] does.
    """
    file = Path(f"{path}.svg")
    file.write_text(sheet_music(abc), encoding="utf-8")
    return file


def engrave(abc: str) -> str:
    """What [`sheet_music`] gives, in this process; empty for what Verovio does not read."""
    import verovio  # needed by this process alone

    verovio.enableLog(verovio.LOG_OFF)
    toolkit = verovio.toolkit()
    toolkit.setOptions(SETTINGS)
    toolkit.setInputFrom("abc")
    return toolkit.renderToSVG(1) if toolkit.loadData(abc) else ""


if __name__ == "__main__":
    sys.stdout.buffer.write(engrave(sys.stdin.buffer.read().decode()).encode())
