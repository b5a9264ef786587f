"""The folder of a run: whose it is, what lies there already, and how results come into it."""

import atexit
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from transformers.utils import CONFIG_NAME

from .arguments import ArgumentsError
from .checkpoints import CheckpointFolder
from .folder_lock import FolderLock, FolderTaken
from .integrity import MANIFEST, WEIGHTS, sync


RECORD = "run.json"
LOGS = "logs"


def folder_for(given: str | None, task: str, architecture: str) -> Path:
    """
    Where a run's results go: what `--output_dir` says, or a folder of the names of recipe and architecture.

    Raises:
        ArgumentsError: If what it says is no name of a folder.
    """
    if given is None:
        return Path(f"outputs/{task}-{architecture}")
    if not given.strip():
        raise ArgumentsError(
            f"--output_dir {given!r} is empty: name a folder, or leave the flag out for outputs/{task}-{architecture}."
        )
    if "\0" in given or any("\ud800" <= character <= "\udfff" for character in given):
        raise ArgumentsError(f"--output_dir {given!r} is no name that a folder may have in UTF-8.")
    return Path(given)


class OutputFolder:
    """
    The folder of a run, used by its main process.

    While a run uses it, `run.lock` is locked and `run.owner.json` tells by whom. The system unlocks it when the
    process is gone, however it ended.

    Args:
        path: The folder; a name, whatever characters are in it.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.lock = FolderLock(self.path)
        self.checkpoints = CheckpointFolder(self.path)

    def claim(self, resume: str | None = None, overwrite: bool = False) -> None:
        """
        Take the folder for this run, if it can be written to, is not in use, and holds nothing that would be lost.

        Args:
            resume: What `--resume_from_checkpoint` says.
            overwrite: What `--overwrite_output_dir` says.

        Raises:
            ArgumentsError: If it cannot be taken; the message says why and what to do.
        """
        self._make()
        try:
            self.lock.acquire()
        except FolderTaken as taken:
            raise ArgumentsError(f"{taken}. Wait for its end or stop it, or choose another --output_dir.") from None
        except OSError as error:
            raise ArgumentsError(f"--output_dir {self.path} cannot be written to: {error.strerror}.") from error
        try:
            self._refuse_losses(resume, overwrite)
            self.lock.sign()
        except BaseException:
            self.release()
            raise
        atexit.register(self.release)

    def release(self) -> None:
        """Leave the folder to others."""
        self.lock.release()

    def is_resumed(self, resume: str | None) -> bool:
        """Whether the checkpoint that `--resume_from_checkpoint` names is this folder's own."""
        if resume is None or resume == "latest":
            return resume is not None
        return Path(os.path.realpath(resume)).parent == Path(os.path.realpath(self.checkpoints.root))

    def remove_logs(self) -> None:
        """Remove what TensorBoard was told by the run before, so that the curves of two runs never mix."""
        logs = self.path / LOGS
        for entry in logs.iterdir() if logs.is_dir() else ():
            if entry.name.startswith("events.out.tfevents.") or entry.name == "projector_config.pbtxt":
                entry.unlink()
            elif re.fullmatch(r"\d+(\.\d+)?", entry.name):  # the embeddings, by their step; the hyperparameters
                shutil.rmtree(entry)

    def place(self, staged: Path) -> None:
        """
        Move the finished results of `staged` here, where they take the place of an earlier run's.

        A process killed meanwhile leaves the old results, the new ones, or no weights and no record; never two
        models' files together. `run.json`, which tells the weights' hash, comes later and by itself.
        """
        moving = staged.rename(staged.with_name(f"tmp-{staged.name}"))
        placed = staged.with_name(f"{staged.name}-{MANIFEST}")
        for name in (RECORD, WEIGHTS, *_names(placed)):  # the tokenizer of the run before may have other files
            (self.path / name).unlink(missing_ok=True)
        os.replace(moving / MANIFEST, placed)
        for source in sorted(moving.rglob("*"), key=lambda file: file.name == WEIGHTS):
            target = self.path / source.relative_to(moving)
            if source.is_dir():
                target.mkdir(exist_ok=True)
            else:
                os.replace(source, target)
        sync(self.path)
        shutil.rmtree(moving)

    def _make(self) -> None:
        try:
            for part in (self.path, *self.path.parents):
                if part.is_symlink() and not part.exists():
                    place = os.readlink(part)
                    raise ArgumentsError(
                        f"--output_dir {self.path}: {part} is a link to {place}, which leads nowhere."
                    )
                if part.exists() and not part.is_dir():
                    raise ArgumentsError(f"--output_dir {self.path}: {part} is a file; name a folder.")
            self._refuse_shared()
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArgumentsError(f"--output_dir {self.path} cannot be made: {error.strerror}.") from error
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise ArgumentsError(f"--output_dir {self.path} cannot be written to; choose another.")

    def _refuse_shared(self) -> None:
        """A folder that is everybody's is no run's own."""
        place = self.path.resolve()
        for name, shared in _shared_folders():
            if shared.is_relative_to(place):
                what = name if shared == place else f"a folder above {name}"
                raise ArgumentsError(
                    f"--output_dir {self.path} is {what}, and a run needs a folder of its own: name one below it, "
                    f"e.g. {self.path / 'run1'}."
                )

    def _refuse_losses(self, resume: str | None, overwrite: bool) -> None:
        if overwrite or self.is_resumed(resume):
            return
        if self.checkpoints.is_unfinished:
            raise ArgumentsError(
                f"{self.path} holds the checkpoints of an unfinished run: continue it by --resume_from_checkpoint "
                "latest, throw it away by --overwrite_output_dir, or choose another --output_dir."
            )
        if any((self.path / name).exists() for name in (RECORD, WEIGHTS, CONFIG_NAME)):
            raise ArgumentsError(
                f"{self.path} holds a finished model{self._told()}. To train a new one in its place add "
                "--overwrite_output_dir; to keep it choose another --output_dir."
            )

    def _told(self) -> str:
        """What the record says of the model that lies here."""
        try:
            record = json.loads((self.path / RECORD).read_text(encoding="utf-8"))
            return f" ({record['task']}, {record['hyperparameters']['architecture']}, begun {record['started']})"
        except (OSError, ValueError, KeyError, TypeError):
            return ""


def _shared_folders() -> Iterator[tuple[str, Path]]:
    """Folders that hold much else, each by what it is called."""
    temporary = Path(tempfile.gettempdir()).resolve()
    yield "the root of the file system", Path(temporary.anchor)
    yield "the folder of temporary files", temporary
    try:
        yield "the home folder", Path.home().resolve()
    except (OSError, RuntimeError):  # nobody has a home here
        return


def _names(manifest: Path) -> list[str]:
    """The files that a manifest lists, as far as they lie below their folder."""
    try:
        names = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [name for name in names if not Path(name).is_absolute() and ".." not in Path(name).parts]
