"""One run after another, each in processes of its own: what lies in its folder, and how it is started."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from torch.distributed import TCPStore

from .checkpoints import CheckpointFolder
from .output_folder import RECORD
from .run import RunElsewhere
from .stopping import HandOnSignals, follow_launcher
from .threads import STARTER


AGENTS_STORE = "TORCHELASTIC_USE_AGENT_STORE"
"""Says whether torch's launcher has a store for its processes, or the first of them makes one."""
LONGEST_WAIT = timedelta(days=365)  # for the end of another process's run, whose own silence it notices itself


def read_json(path: Path) -> dict[str, Any] | None:
    """The content of a file, if it is there and whole."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def finished_record(folder: Path) -> dict[str, Any] | None:
    """The record of the run in a folder, if that has come to its planned end."""
    record = read_json(folder / RECORD)
    return None if record is None or record.get("stopped") or CheckpointFolder(folder).is_unfinished else record


def has_checkpoints(folder: Path) -> bool:
    """Whether the run in a folder can go on where it was interrupted."""
    checkpoints = CheckpointFolder(folder)
    return bool(checkpoints.steps()) and (checkpoints.is_unfinished or finished_record(folder) is None)


def flags_to_go_on(folder: Path, is_same: bool = True) -> list[str]:
    """
    The flags by which a run that is not finished goes on, or begins anew.

    Args:
        folder: Its folder.
        is_same: Whether what lies there was made with the same settings.
    """
    if is_same and has_checkpoints(folder):
        return ["--resume_from_checkpoint=latest"]
    return ["--overwrite_output_dir=true"]


class Team:
    """
    The processes of one launch, which all do what the first of them decides; one process is a team too.

    Each run that they start together needs a port of its own: where the run before has let go of its port is not known
    to every process at once.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ):
        self._environment = environment
        self._rank, self._size = int(environment.get("RANK", 0)), int(environment.get("WORLD_SIZE", 1))
        self._count, self._store = 0, None
        if self._size > 1:
            makes_store = self._rank == 0 and environment.get(AGENTS_STORE) != str(True)
            where = environment["MASTER_ADDR"], int(environment["MASTER_PORT"])
            self._store = TCPStore(*where, is_master=makes_store, timeout=LONGEST_WAIT, wait_for_workers=False)

    @property
    def is_first(self) -> bool:
        """Whether this is the process that decides, prints and writes."""
        return self._rank == 0

    def agree(self, decide: Callable[[], Any]) -> Any:
        """What `decide`, called in the first process alone, gives: anything that JSON knows."""
        key, self._count = f"seqnlp/orders/{self._count}", self._count + 1
        if not self.is_first:
            return json.loads(self._store.get(key))
        decided = decide()
        if self._store is not None:
            self._store.set(key, json.dumps(decided))
        return decided

    def part(self) -> None:
        """The last thing that all do: the first process, which may hold the store, waits until all have come here."""
        if self._store is None:
            return
        if self.is_first:
            self._store.wait([f"seqnlp/over/{rank}" for rank in range(1, self._size)])
        else:
            self._store.set(f"seqnlp/over/{self._rank}", "")

    def environment(self) -> dict[str, str]:
        """The environment of this process's part of the next run."""
        port = self.agree(lambda: _free_port() if self._store is not None else None)
        more = {} if port is None else {"MASTER_PORT": str(port), AGENTS_STORE: str(False)}
        return {**self._environment, STARTER: str(os.getpid()), **more}


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("", 0))
        return found.getsockname()[1]


def run_script(words: list[str], environment: Mapping[str, str], name: str) -> None:
    """
    Run this process's script once more, with other flags, and wait for its end; signals are handed on to it.

    Args:
        words: Its flags.
        environment: That of its process.
        name: What it is called where it dies without a word.

    Raises:
        RunElsewhere: If it does not end well, with its exit code; it has said why.
    """
    follow_launcher()
    sys.stdout.flush()
    process = subprocess.Popen([sys.executable, sys.argv[0], *words], env=dict(environment))
    with HandOnSignals(process.send_signal):
        code = process.wait()
    if code < 0:
        killer = signal.Signals(-code).name
        why = "; perhaps by the system, for lack of memory" if killer == "SIGKILL" else ""
        sys.stderr.write(
            f"error: {name} was ended by {killer}{why}. Go on by the same command and --resume_from_checkpoint "
            "latest.\n"
        )
        code = 128 - code
    if code:
        raise RunElsewhere(code)
