"""What a local file is, by its name and its first bytes."""

import re
from pathlib import Path

from .errors import DataError


FILE_TYPES = {".json": "json", ".jsonl": "json", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet"}
FILE_TYPES |= {".txt": "text", ".abc": "text", ".conllu": "text", ".conll": "text", ".iob": "text", ".bio": "text"}
MARK = "\ufeff"  # of the order of bytes

_ENCODINGS = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
# What is no text, by its first bytes, and what makes a text of it.
_NO_TEXT = {
    b"\x1f\x8b": "is gzipped: give it a name that ends in .gz",
    b"PK\x03\x04": "is a zip archive or a spreadsheet: unpack it, or save it as csv",
}
_POINTERS = {
    b"version https://git-lfs.github.com/spec/": "is Git LFS's pointer to a file, not the file: run `git lfs pull`",
    b"/annex/objects/": "is git-annex's pointer to a file, not the file: run `git annex get`",
}
LONGEST_MARK = max(map(len, _POINTERS))


def path_of(name: str) -> Path:
    """
    Where a local file or folder of this name is, or would be.

    Raises:
        DataError: For a name that the system does not take: one that is too long, or of a user whom it does not know.
    """
    try:
        path = Path(name).expanduser()
        path.exists()
        path.resolve()  # takes no NUL
    except (OSError, RuntimeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{name[:60]!r} is no name of a file or folder: {reason}") from error
    return path


def file_type(path: Path) -> str | None:
    """The kind of a file by its ending, whatever its case, gzipped or not; `None` if it is not read."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    return FILE_TYPES.get(suffixes[-1]) if suffixes else None


def check_file(file: str) -> str:
    """
    The kind of a file that there is.

    Raises:
        DataError: If there is no such file, it is empty, or of a type that is not read.
    """
    path = path_of(file)
    if not path.is_file():
        raise DataError(_why_no_file(file, path))
    kind = file_type(path)
    if kind is None:
        raise DataError(f"The file {file!r} is of no type that is read: use {', '.join(FILE_TYPES)}, gzipped or not.")
    if path.stat().st_size == 0:
        raise DataError(f"The file {file!r} is empty.")
    return kind


def _why_no_file(file: str, path: Path) -> str:
    if path.is_dir():
        return f"{file!r} is a folder, not a file: name a folder by --dataset_name."
    if path.exists():
        return f"{file!r} is a pipe or a device, and data is read more than once: save it as a file."
    if path.is_symlink():
        return f"{file!r} is a link to {str(path.readlink())!r}, which leads nowhere."
    if re.match(r"\w+://", file):
        return f"{file!r} is an address, not a file: download it first."
    return f"There is no file {file!r}."


def check_kind(file: str, start: bytes) -> None:
    """
    Refuse a text by its first bytes.

    Raises:
        DataError: If it is no UTF-8, or only points to the file that is meant.
    """
    for mark, what in {**_NO_TEXT, **_POINTERS}.items():
        if start.startswith(mark):
            raise DataError(f"The file {file!r} {what}.")
    encoding = next((name for mark, name in _ENCODINGS.items() if start.startswith(mark)), None)
    if encoding:
        raise DataError(
            f"The file {file!r} cannot be read as UTF-8: it looks like {encoding}. Save it as UTF-8, e.g. by "
            f"`iconv -f {encoding} -t UTF-8`."
        )


def told_of_pointer(start: bytes) -> str | None:
    """What to say of a file that begins like this if it only points to the one that is meant."""
    return next((what for mark, what in _POINTERS.items() if start.startswith(mark)), None)
