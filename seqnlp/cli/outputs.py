"""Where the verbs write."""

from pathlib import Path

from ..diagnostics import DiagnosticsError


def make_folder(folder: Path, flag: str) -> None:
    """
    Make a folder, and those above it, that a user has named.

    Args:
        folder: It may be there already.
        flag: What named it, with its value, for the error's line.

    Raises:
        DiagnosticsError: If it cannot be made, since there is a file in its place for instance.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiagnosticsError(f"{flag}: the folder {folder} cannot be made: {error.strerror}.") from error
