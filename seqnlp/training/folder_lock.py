"""Whose a folder is: a lock that the system opens when its owner is gone, and a note of who that is."""

import json
import os
import socket
import time
from pathlib import Path

from filelock import FileLock, Timeout
from transformers.utils import logging

from .run_record import write_json


logger = logging.get_logger(__name__)

LOCK, OWNER = "run.lock", "run.owner.json"


class FolderTaken(OSError):
    """A folder that another run has taken."""


class FolderLock:
    """
    The lock of a folder, one per process however often it is made.

    Args:
        folder: The folder, for messages as it was named.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._absolute = folder.absolute()  # the working folder may change
        self._lock = FileLock(self._absolute / LOCK, timeout=0, is_singleton=True)

    def acquire(self) -> None:
        """
        Take the folder.

        Raises:
            FolderTaken: If another process has it.
            OSError: If it cannot be written to.
        """
        try:
            self._lock.acquire()
        except Timeout:
            raise FolderTaken(f"{self.folder} is in use by {self._owner()}") from None

    def sign(self) -> None:
        """Write down who has the folder."""
        write_json(self._absolute / OWNER, {**_this_process(), "started": time.strftime("%Y-%m-%d %H:%M:%S")})

    def keep(self) -> None:
        """
        See that the folder that this process took is still there and its own. One that was removed is made and taken
        anew, which is said: what lay there is gone, and what is in memory is not.

        Raises:
            FolderTaken: If another run has taken the folder since.
            OSError: If it cannot be made.
        """
        if not self._lock.is_locked or self._is_ours():
            return
        if (self._absolute / OWNER).exists():
            raise FolderTaken(f"since it was removed while this run used it, it is in use by {self._owner()}")
        is_gone = not self._absolute.is_dir()
        self._absolute.mkdir(parents=True, exist_ok=True)
        self._lock.release(force=True)
        self.acquire()
        self.sign()
        if is_gone:
            logger.warning(
                f"{self.folder} was removed while this run used it, with all that lay there: it is made anew, and the "
                "run goes on."
            )

    def release(self) -> None:
        """Leave the folder to others."""
        if self._lock.is_locked:
            if self._is_ours():
                for name in (OWNER, LOCK):  # while it is locked: nobody else's are removed
                    (self._absolute / name).unlink(missing_ok=True)
            self._lock.release(force=True)

    def _is_ours(self) -> bool:
        noted = self._noted()
        return (self._absolute / LOCK).exists() and all(
            noted.get(name) == value for name, value in _this_process().items()
        )

    def _noted(self) -> dict:
        try:
            noted = json.loads((self._absolute / OWNER).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return noted if isinstance(noted, dict) else {}

    def _owner(self) -> str:
        noted = self._noted()
        if not {"process", "host", "started"} <= noted.keys():
            return "another run"
        return f"another run: process {noted['process']} on {noted['host']}, since {noted['started']}"


def _this_process() -> dict:
    return {"process": os.getpid(), "host": socket.gethostname()}
