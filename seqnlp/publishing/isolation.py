"""Processes with limits of memory and time and, by bubblewrap, without network, access token or the user's files."""

import contextlib
import functools
import importlib.util
import os
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from ..training.errors import in_one_line


NOT_HELD = (
    "Not isolated: the model's code runs with your rights. It can use the network, read your files and access tokens, "
    "write anywhere, and leave processes behind."
)
PACKAGE = Path(__file__).parents[1]
# What a Python needs of a system, where it is there.
SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/alternatives")
SYSTEM += ("/nix/store", "/gnu/store")
# Some have these installed from a checkout, which may lie anywhere.
LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "huggingface_hub")
KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "VIRTUAL_ENV")
SCRATCH_BYTES = 2**30
MOST_PROCESSES = 500
SECONDS_BETWEEN_LOOKS = 0.1
SECONDS_TO_DIE = 10.0
REQUEST, ANSWER, ERRORS = "request.json", "answer.json", "errors.txt"


class Limits(NamedTuple):
    """
    What each step of `verify` may take.

    Attributes:
        seconds: Its time.
        memory: Bytes of memory of all its processes together; those that are free by default.
    """

    seconds: float = 1800.0
    memory: int | None = None


class LimitError(RuntimeError):
    """A step took too long or too much, or ended before it was done; the message says so in one line."""


@functools.cache
def why_not_isolated() -> str | None:
    """Why this system cannot isolate a process, found by isolating a small one; `None` if it can."""
    if not sys.platform.startswith("linux"):
        return "bubblewrap needs Linux"
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed; on Debian and Ubuntu: apt install bubblewrap"
    with tempfile.TemporaryDirectory() as home:
        command = [*_box(Path(home), ()), sys.executable, "-I", "-S", "-c", "pass"]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired) as error:
            return in_one_line(error, 300)
    if done.returncode:
        return " ".join(done.stderr.split())[-300:] or f"bwrap ended with {done.returncode}"
    return None


def run_isolated(arguments: Sequence[str], home: Path, visible: Iterable[Path], limits: Limits, holds: bool) -> None:
    """
    Run Python where there is no network, no access token, no file but those it needs, and an empty home.

    It reads `request.json` in its home, writes `answer.json` there, and can write elsewhere only to a scratch folder
    that ends with it. When it ends, whatever it has started ends too.

    Args:
        arguments: Of the interpreter.
        home: An empty folder but for `request.json`.
        visible: What it may read, beside the system's libraries, this Python and seqnlp.
        limits: Of its memory and time.
        holds: Whether it is isolated; if not it has an environment and a cache of its own, and no more.

    Raises:
        LimitError: If it took too long, or failed.
    """
    (home / ANSWER).touch()
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    environment |= {"HOME": str(home), "HF_HOME": str(home / "cache"), "TMPDIR": str(home), "USER": "nobody"}
    environment |= {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(PACKAGE.parent), "PYTHONUSERBASE": site.getuserbase()}
    command = [*_box(home, visible), sys.executable, *arguments] if holds else [sys.executable, *arguments]
    _run(command, home, limits, [f"--fsize={SCRATCH_BYTES}"], cwd=home, env=environment)


def run_limited(arguments: Sequence[str], home: Path, limits: Limits) -> None:
    """
    Run Python with the rights and the environment of the user, for code of seqnlp alone.

    Raises:
        LimitError: If it took too long, or failed.
    """
    paths = [str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    _run([sys.executable, *arguments], home, limits, [], env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})


def _box(home: Path, visible: Iterable[Path]) -> list[str]:
    """The words of bubblewrap in front of a command."""
    command = ["bwrap", "--unshare-all", "--unshare-user", "--disable-userns", "--cap-drop", "ALL"]
    command += ["--uid", "65534", "--gid", "65534", "--die-with-parent", "--new-session"]
    command += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
    places = [*SYSTEM, *filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep))]
    places += [sys.base_prefix, sys.prefix, PACKAGE]
    places += [importlib.util.find_spec(name).submodule_search_locations[0] for name in LIBRARIES]
    places += [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    for place in places:
        command += ["--ro-bind-try", str(place), str(place)]
    for place in visible:
        command += ["--ro-bind", str(place), str(place)]
    command += ["--size", str(SCRATCH_BYTES), "--tmpfs", str(home)]
    for how, name in (("--ro-bind-try", REQUEST), ("--bind-try", ANSWER)):
        command += [how, str(home / name), str(home / name)]
    return [*command, "--remount-ro", "/", "--chdir", str(home)]


def _run(command: Sequence[str], home: Path, limits: Limits, more: list[str], **options) -> None:
    """
    Run a command with limits; at the end, whatever it is, its group of processes is killed.

    The system limits each process, and at once; what all of them take together is looked at now and then.
    """
    memory = limits.memory or psutil.virtual_memory().available
    limiter = ["prlimit", f"--data={memory}", "--core=0", *more, "--"] if shutil.which("prlimit") else []
    with (home / ERRORS).open("wb") as errors:
        process = subprocess.Popen(
            [*limiter, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
            **options,
        )
        try:
            ended = _watch(process, limits.seconds, memory)
        finally:
            descendants = _descendants(process.pid)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            for descendant in descendants:
                with contextlib.suppress(psutil.Error):
                    descendant.kill()
            process.wait()
            psutil.wait_procs(descendants, SECONDS_TO_DIE)
    if ended:
        with (home / ERRORS).open("rb") as errors:
            errors.seek(max(0, (home / ERRORS).stat().st_size - 2000))
            told = errors.read().decode("utf-8", "replace").strip().splitlines()
        ending = f"its process ended with {signal.Signals(-ended).name if ended < 0 else ended}"
        raise LimitError(f"{ending}: {told[-1]}" if told else ending)


def _watch(process: subprocess.Popen, seconds: float, memory: int) -> int:
    """The exit code of a process that ends in time, and takes no more than it may with all that it has started."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(SECONDS_BETWEEN_LOOKS)
        if time.monotonic() > deadline:
            raise LimitError(f"it took more than {seconds:g} seconds")
        descendants = _descendants(process.pid)
        if len(descendants) > MOST_PROCESSES:
            raise LimitError(f"it started more than {MOST_PROCESSES} processes")
        if sum(map(_own_memory, descendants)) > memory:
            raise LimitError(f"its processes took more than {memory / 2**30:.3g} GiB of memory together")


def _descendants(pid: int) -> list[psutil.Process]:
    """All that a process has started. What is orphaned within a box belongs to the box's first process."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _own_memory(process: psutil.Process) -> int:
    """Bytes of a process that it shares with no other, as far as the system tells at little cost."""
    try:
        found = process.memory_info()
    except psutil.Error:
        return 0
    return found.rss - (found.shared if sys.platform.startswith("linux") else 0)
