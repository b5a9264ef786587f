"""
The notes of a tune, on five lines: ABC notation engraved by Verovio (https://www.verovio.org; extra `music`).

Verovio is C++, and a tune that a model made up may end its process: [engraving.py](engraving.py) runs in one of its
own.
"""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path


SECONDS = 60
"""A tune takes a fifth of one."""
_ENGRAVING = Path(__file__).with_name("engraving.py")


class SheetMusicError(ValueError):
    """A tune that cannot be written in notes. Its message is one line for the user."""


def sheet_music(abc: str) -> str:
    """
    A tune as an SVG of one page, its notes, bars, repeats and endings as they are written, without its title.

    Args:
        abc: One tune in ABC notation.

    Raises:
        SheetMusicError: If Verovio is not installed, or does not read all of the tune's notes.
    """
    if find_spec("verovio") is None:
        raise SheetMusicError("verovio is not installed")
    try:
        command = [sys.executable, "-I", str(_ENGRAVING)]
        done = subprocess.run(command, input=abc.encode(), capture_output=True, timeout=SECONDS)
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
