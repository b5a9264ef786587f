"""Lines of the table of `verify`, and files of strangers that are read with care."""

import json
from pathlib import Path
from typing import Any, NamedTuple


PASSED, FAILED, NOT_CHECKED, DOES_NOT_APPLY = "passed", "failed", "not checked", "-"
OUTCOMES = (PASSED, FAILED, NOT_CHECKED, DOES_NOT_APPLY)
LARGEST_JSON = 2**25  # bytes
LONGEST_LINE = 400  # characters


class Check(NamedTuple):
    """One line of the table."""

    name: str
    outcome: str
    detail: str


def printable(text: Any) -> str:
    """What a stranger wrote, in one line that cannot move the cursor of a terminal."""
    shown = "".join(character if character.isprintable() else " " for character in str(text)[: 4 * LONGEST_LINE])
    return " ".join(shown.split())[:LONGEST_LINE]


def read_json(path: Path) -> Any:
    """
    The content of a file of JSON that anybody may have written.

    Raises:
        OSError: If there is no such file.
        ValueError: If it is not JSON, too large, or nested too deep to be read.
    """
    if not path.is_file():  # a pipe would be waited for
        raise FileNotFoundError(f"there is no file {path.name}")
    size = path.stat().st_size
    if size > LARGEST_JSON:
        raise ValueError(f"{path.name} has {size:,} bytes; up to {LARGEST_JSON:,} are read")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError(f"{path.name} is nested too deep to be read") from error


def find_link_out(folder: Path, names: list[str] | None = None) -> str | None:
    """
    The first file of a folder that is a link to something outside of it, or `None`.

    Args:
        folder: The folder.
        names: The files that are looked at; all by default.
    """
    root = root_of(folder)
    paths = sorted(folder.rglob("*")) if names is None else [folder / name for name in names]
    for path in paths:
        if not path.resolve().is_relative_to(root):
            return path.relative_to(folder).as_posix()
    return None


def root_of(folder: Path) -> Path:
    """The folder that holds all of a model: a snapshot in a cache of the Hub is links to the blobs beside it."""
    folder = folder.resolve()
    is_snapshot = folder.parent.name == "snapshots" and (folder.parent.parent / "blobs").is_dir()
    return folder.parent.parent if is_snapshot else folder
