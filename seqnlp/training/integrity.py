"""Folders that are whole or known not to be: a manifest of sizes and checksums, and writing through to the disk."""

import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import Accelerator

from .errors import in_one_line
from .folder_lock import FolderTaken
from .run_record import write_json


MANIFEST = "manifest.json"
WEIGHTS = "model.safetensors"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class WriteError(RuntimeError):
    """Something could not be written; the message says why, in one line."""


def write_whole(accelerator: Accelerator, target: Path, write: Callable[[Path], None]) -> None:
    """
    Let every process write into a temporary folder, seal it and give it the name `target`; or leave no trace.

    Called by every process; where one fails all raise, and none waits for another.

    Args:
        accelerator: Says which process this is.
        target: The folder; one that is there is replaced at the end.
        write: Called in each process with the temporary folder.

    Raises:
        WriteError: If a process could not write its part.
    """
    temporary = target.with_name(f"tmp-{target.name}")

    def publish() -> None:
        seal(temporary)
        if target.exists():
            remove_at_once(target)
        temporary.rename(target)
        sync(target.parent)

    try:
        write_together(accelerator, lambda: write(temporary), target.parent)
        write_together(accelerator, publish if accelerator.is_main_process else None, target.parent)
    except WriteError:
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_together(accelerator: Accelerator, write: Callable[[], None] | None, folder: Path) -> None:
    """
    Call `write`, then let every process know whether all have written.

    Args:
        accelerator: Says which process this is.
        write: This process's part, if it has one.
        folder: On the disk that is written to.

    Raises:
        WriteError: If a process could not write its part.
    """
    error = None
    if write is not None:
        try:
            write()
        except Exception as raised:
            error = raised
    failures = torch.tensor(int(error is not None), device=accelerator.device)
    if int(accelerator.reduce(failures, reduction="sum")):
        reason = "another process could not write its part" if error is None else why(error, folder)
        raise WriteError(reason) from error


def why(error: BaseException, folder: Path) -> str:
    """Why writing to `folder` failed, in one line."""
    # torch says no more than that it failed, so the disk is asked.
    if is_full_disk(error) or _free_bytes(folder) < 2**20:
        return "no space is left on the disk"
    if not _is_there(folder) and not isinstance(error, FolderTaken):
        return f"{folder} is no longer there"
    return in_one_line(error, 200).rstrip(".") or type(error).__name__


def _free_bytes(folder: Path) -> int:
    """Of the disk of a folder, or of what is left of the folders above it."""
    for place in (folder, *folder.parents):
        try:
            return shutil.disk_usage(place).free
        except OSError:  # it was removed in the meantime
            continue
    return sys.maxsize


def _is_there(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except OSError:
        return False


def is_full_disk(error: BaseException | None) -> bool:
    """Whether this error, or one behind it, came of a full disk, a used up quota or a file as large as it may be."""
    return full_disk_behind(error) is not None


def full_disk_behind(error: BaseException | None) -> BaseException | None:
    """Of this error and those behind it the first that came of a full disk; it names the file, if any does."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        if getattr(error, "errno", None) in FULL or any(os.strerror(number) in str(error) for number in FULL):
            return error  # libraries in Rust have no errno, but the system's words
        seen.append(error)
        error = error.__cause__ or error.__context__
    return None


def named(error: BaseException) -> str:
    """An error in one line, by what it says; one of another library by its class too."""
    if is_full_disk(error):
        return "no space is left on the disk"
    said = in_one_line(error, 300)
    return said if type(error).__module__.startswith("seqnlp.") else f"{type(error).__name__}: {said}".rstrip(": ")


def remove_at_once(folder: Path) -> None:
    """Remove a folder, at once as far as anyone can see: half of it is never found under its name."""
    shutil.rmtree(folder.rename(folder.with_name(f"tmp-removed-{folder.name}")))


def weights_hash(folder: Path) -> str:
    """The SHA-256 of a saved model's weights, by which a record and a model are known to belong together."""
    with (folder / WEIGHTS).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(folder: Path) -> None:
    """
    Write the manifest of a folder, the size and SHA-256 of each file in it, and push all of it to the disk.

    Raises:
        OSError: If it cannot be written, as on a full disk.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST]
    manifest = {}
    for path in files:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        manifest[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "sha256": digest}
    write_json(folder / MANIFEST, manifest)
    for path in [*files, folder / MANIFEST, *(path for path in folder.rglob("*") if path.is_dir()), folder]:
        sync(path)


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk: a renamed folder may else be there before what is in it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def find_damage(folder: Path) -> str | None:
    """
    What is wrong with a folder that [`seal`] has sealed, or `None` if nothing is: it compares names, sizes, checksums.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if not manifest:
            return f"{MANIFEST} lists no files"
        for name, expected in manifest.items():
            path = folder / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != expected["bytes"]:
                return f"{name} has {path.stat().st_size} bytes instead of {expected['bytes']}"
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != expected["sha256"]:
                    return f"{name} is not what was written (SHA-256)"
    except FileNotFoundError:
        return f"{MANIFEST} is missing"
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        return f"{MANIFEST} or a file it lists cannot be read: {in_one_line(error)}"
    return None
