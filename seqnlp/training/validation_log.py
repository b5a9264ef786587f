"""The file of `--validation_log`, to which each validation is written as it comes, as a line of JSON."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transformers.utils import logging

from .errors import ArgumentsError, in_one_line
from .run_record import plain


logger = logging.get_logger(__name__)


class ValidationLog:
    """
    The file, in the main process.

    Args:
        path: Its name.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def begin(self, goes_on: bool) -> None:
        """
        See that it can be written; an earlier run's is removed, unless this run goes on with that one.

        Raises:
            ArgumentsError: If it cannot be written, or is a file of another kind.
        """
        try:
            if self.path.exists() and not self._is_one():
                raise ArgumentsError(
                    f"--validation_log {self.path} is there already, and is no log of validations: name another file."
                )
            if not goes_on:
                self.path.unlink(missing_ok=True)
            self.path.open("a", encoding="utf-8").close()
        except OSError as error:
            raise ArgumentsError(f"--validation_log {self.path} cannot be written: {error.strerror}.") from error

    def take_up(self, history: Iterable[dict[str, Any]]) -> None:
        """
        Hold the validations of a history, that of the checkpoint from which a run goes on: what a killed run has
        written of later ones will come again.
        """
        self._write("w", [entry for entry in history if any(name.startswith("validation_") for name in entry)])

    def append(self, entry: dict[str, Any]) -> None:
        """Write the entry of the history of a validation."""
        self._write("a", [entry])

    def _write(self, mode: str, entries: list[dict[str, Any]]) -> None:
        """Write entries; where that fails, the run goes on."""
        try:
            with self.path.open(mode, encoding="utf-8") as file:
                file.writelines(json.dumps(plain(entry)) + "\n" for entry in entries)
        except OSError as error:
            logger.warning(f"A validation could not be written to --validation_log: {in_one_line(error, 200)}")

    def _is_one(self) -> bool:
        try:
            with self.path.open(encoding="utf-8") as file:
                first = file.readline(10_000)
            return not first or "step" in json.loads(first)
        except (ValueError, TypeError, RecursionError):
            return False
