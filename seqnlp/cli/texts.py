"""Texts that a user gives on the command line."""

from pathlib import Path
from typing import Annotated

import typer

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
            found.append(file.expanduser().read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise DiagnosticsError(f"--text_file {file} cannot be read: {reason}.") from error
    if not found or not all(text.strip() for text in found):
        raise DiagnosticsError(
            "There is no text, or an empty one: give one by --text, or one in a file by --text_file."
        )
    return found
