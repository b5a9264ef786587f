"""Where the verbs write, and what they never write over."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer


Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output files if they exist.")]


class OutputError(ValueError):
    """A place where a verb cannot or may not write; the message says which and what would do."""


def make_folder(folder: Path, flag: str) -> None:
    """
    Make a folder, and those above it, that a user has named.

    Args:
        folder: It may be there already.
        flag: What named it, with its value, for the error's line.

    Raises:
        OutputError: If it cannot be made, for instance since there is a file in its place.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{flag}: the folder {folder} cannot be made: {error.strerror}.") from error


def check_ending(output: Path, ending: str, kind: str) -> None:
    """
    Hold a name that others are made of to its ending.

    Args:
        output: What `--output` names.
        ending: E.g. `.html`.
        kind: What the file is, for the error's line: `the page is HTML`.

    Raises:
        OutputError: If it ends otherwise.
    """
    if output.suffix != ending:
        raise OutputError(f"--output {output}: {kind}, so let its name end in {ending}.")


def check_outputs(paths: Iterable[Path], flag: str, inputs: Iterable[Path] = (), overwrite: bool = False) -> None:
    """
    Hold the rule of every verb: it never writes over what it reads, and over another file only if told so.

    Args:
        paths: The files that are about to be written.
        flag: What named them, with its value, for the error's line.
        inputs: The files that the verb reads.
        overwrite: Whether the user has given `--overwrite`.

    Raises:
        OutputError: If one of them may not be written.
    """
    inputs = list(inputs)
    for path in paths:
        if any(_is_same_file(path, source) for source in inputs):
            raise OutputError(f"{flag}: this would write over {path}, which is read. Give another name.")
        if path.is_dir():
            raise OutputError(f"{flag}: {path} is a folder. Give the name of a file.")
        if not overwrite and os.path.lexists(path):  # a broken link too is somebody's
            raise OutputError(f"{flag}: {path} is there already. Give another name, or --overwrite to replace it.")


def _is_same_file(path: Path, other: Path) -> bool:
    """Whether both names lead to one file, by links or otherwise."""
    try:
        return path.samefile(other)
    except OSError:  # one of them is not there
        return False
