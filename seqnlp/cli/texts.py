"""Texts that a user gives on the command line."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ..data import DataError
from ..data.tables import read_text
from ..diagnostics import DiagnosticsError


OneText = Annotated[str | None, typer.Option("--text", help="The text to read.")]
MaxTokens = Annotated[
    int, typer.Option("--max_tokens", min=2, help="Largest number of tokens read per text; the rest is cut off.")
]


def read_texts(texts: list[str] | None, file: Path | None) -> list[str]:
    """
    The texts of `--text`, and the whole of `--text_file` as one more.

    Raises:
        DiagnosticsError: If there are none, or the file cannot be read.
    """
    found = list(texts or ())
    if file is not None:
        try:
            found.append(read_text(str(file)))
        except DataError as error:
            raise DiagnosticsError(f"--text_file: {error}") from error
    if not found or not all(text.strip() for text in found):
        raise DiagnosticsError(
            "There is no text, or an empty one: give one by --text, or one in a file by --text_file."
        )
    return found


def piped_lines() -> Iterator[str]:
    """
    The lines of the standard input as they come, by the rules of every file: UTF-8, with or without a byte order mark.

    Raises:
        DataError: For what is no such text.
    """
    if isinstance(sys.stdin, io.TextIOWrapper):  # else the locale decides
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="strict")
    number = 0
    try:
        for number, line in enumerate(sys.stdin, start=1):
            if "\0" in line:
                raise DataError(
                    f"The standard input holds NUL characters (first in line {number}), which no text has: pipe UTF-8."
                )
            yield line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        number += error.object[: error.start].count(b"\n") + 1
        byte = error.object[error.start]
        raise DataError(
            f"The standard input cannot be read as UTF-8: line {number} holds the byte 0x{byte:02x}. "
            "Pipe UTF-8, e.g. by `iconv -f CP1252 -t UTF-8`."
        ) from error
