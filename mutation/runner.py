"""Tests in forked processes, each over its own copy of the repository."""

import contextlib
import importlib
import os
import resource
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest


OUTPUT_BYTES = 4000  # of what a test run printed, from its end


@dataclass
class Job:
    """
    Tests to run.

    Attributes:
        key: Names it in the outcome.
        tests: Test files, relative to the repository; the first failure ends them.
        seconds: Processor time that one process may take. By the clock on the wall the job may take ten times as
            long, since other work on the machine takes its turns.
        changes: Text by file, in place of what the repository has.
    """

    key: str
    tests: Sequence[Path]
    seconds: float
    changes: dict[Path, str]


@dataclass(frozen=True)
class Outcome:
    """
    What became of a job.

    Attributes:
        key: The job's.
        status: `passed`, `failed` or `timeout`.
        seconds: Processor time of all its processes.
        output: The end of what it printed.
    """

    key: str
    status: str
    seconds: float
    output: str


def copy_repository(root: Path, target: Path) -> None:
    """Copy what git knows of a working tree and does not ignore, changes included."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        source = root / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)


def import_libraries(tree: Path) -> None:
    """
    Import what the package and its tests import, but neither of them: a forked process starts with it.

    Args:
        tree: A copy of the repository.
    """
    runpy.run_path(str(tree / "tests" / "conftest.py"))  # sets what libraries read when they are imported
    code = (
        "import pkgutil, sys, seqnlp\n"
        "for found in pkgutil.walk_packages(seqnlp.__path__, 'seqnlp.'): __import__(found.name)\n"
        "print('\\n'.join(name for name in sys.modules if name.split('.')[0] not in ('seqnlp', '__main__')))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    command = [sys.executable, "-c", code]
    listed = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=True)
    for name in listed.stdout.split():
        with contextlib.suppress(Exception):  # some modules are there only while others are imported
            importlib.import_module(name)


class Slot:
    """
    A copy of the repository in which one job runs at a time.

    Args:
        root: The repository, whose own modules are not to be found.
        folder: Holds the copy, in `tree`, and what a job writes.
        memory: Bytes that a process may hold.
    """

    def __init__(self, root: Path, folder: Path, memory: int):
        self.root, self.folder, self.memory = root, folder, memory
        self.tree = folder / "tree"
        self.job: Job | None = None
        self.before: dict[Path, bytes] = {}
        self.pid = 0

    def start(self, job: Job) -> None:
        """Put the changes into the copy and run the tests in a process group of their own."""
        self.job = job
        self.before = {path: (self.tree / path).read_bytes() for path in job.changes}
        for path, text in job.changes.items():
            (self.tree / path).write_text(text, encoding="utf-8")
            # Its date may be that of the file before to the second, by which Python knows whether bytecode is stale.
            for bytecode in (self.tree / path).parent.glob(f"__pycache__/{path.stem}.*.pyc"):
                bytecode.unlink()
        self.started = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            code = 70  # of a fault in here
            try:
                code = self._run(job)
            finally:
                os._exit(code)

    def _run(self, job: Job) -> int:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_DATA, (self.memory, self.memory))
        resource.setrlimit(resource.RLIMIT_CPU, (int(job.seconds) + 1, resource.RLIM_INFINITY))
        with open(self.folder / "output.txt", "wb") as output:
            for stream in (1, 2):
                os.dup2(output.fileno(), stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        os.chdir(self.tree)
        sys.path[:] = [str(self.tree), *(place for place in sys.path if place and Path(place) != self.root)]
        os.environ["PYTHONPATH"] = str(self.tree)
        sys.dont_write_bytecode = bool(job.changes)
        if sys.dont_write_bytecode:
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        importlib.invalidate_caches()
        arguments = ["-x", "-q", "-p", "no:cacheprovider", f"--basetemp={self.folder / 'temporary'}"]
        arguments += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # its plugins are imported already
        return pytest.main([*arguments, *map(str, job.tests)])

    def poll(self) -> Outcome | None:
        """The outcome of the job if it is over or out of time; the copy is then as it was."""
        pid, status, used = os.wait4(self.pid, os.WNOHANG)
        if not pid and time.monotonic() - self.started < 10 * self.job.seconds:
            return None
        code = os.waitstatus_to_exitcode(status) if pid else -signal.SIGKILL
        result = "timeout" if code in (-signal.SIGKILL, -signal.SIGXCPU) else "failed" if code else "passed"
        self.stop(is_running=not pid)
        output = (self.folder / "output.txt").read_bytes()[-OUTPUT_BYTES:].decode(errors="replace")
        outcome = Outcome(self.job.key, result, used.ru_utime + used.ru_stime, output)
        self.job = None
        return outcome

    def stop(self, is_running: bool = True) -> None:
        """End the process with all that it has started, and undo the changes."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        if is_running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)  # it may not have its group yet
            os.waitpid(self.pid, 0)
        for path, content in self.before.items():
            (self.tree / path).write_bytes(content)


def run_jobs(slots: Sequence[Slot], jobs: Iterable[Job]) -> Iterator[Outcome]:
    """Run jobs as slots come free, and yield what becomes of each as it ends."""
    jobs = iter(jobs)
    waiting = True
    try:
        while True:
            for slot in slots:
                if slot.job is None and waiting:
                    job = next(jobs, None)
                    waiting = job is not None
                    if job:
                        slot.start(job)
            if not any(slot.job for slot in slots):
                return
            for slot in slots:
                outcome = slot.poll() if slot.job else None
                if outcome:
                    yield outcome
            time.sleep(0.02)
    finally:
        for slot in slots:
            if slot.job:
                slot.stop()
