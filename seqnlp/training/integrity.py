"""Folders that are whole or known not to be: a manifest of sizes and checksums, and writing through to the disk."""

import hashlib
import json
import os
from pathlib import Path

from .run_record import write_json


MANIFEST = "manifest.json"


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
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return f"{MANIFEST} or a file it lists cannot be read: {' '.join(str(error).split())}"
    return None
