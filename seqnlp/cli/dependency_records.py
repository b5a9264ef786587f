"""What `seqnlp dependency` has trained before, so that it can go on where it stopped and put parts together."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..diagnostics import GradientFlow
from ..training import write_json
from ..visualization.dependency import name_of


class RecordsError(ValueError):
    """Kept results that cannot be used; the message says which and what would do."""


@dataclass(frozen=True)
class Run:
    """
    One training.

    Attributes:
        task: Of [`DEPENDENCY_TASKS`].
        architecture: Of the model.
        start: How it starts.
        seed: Of weights and examples.
        matched_state_size: The numbers in the state that it was to have; `None` where parameters are matched.
        sizes: Fields of its configuration.
        learning_rate: The highest.
    """

    task: str
    architecture: str
    start: str
    seed: int
    matched_state_size: int | None
    sizes: dict[str, int] = field(compare=False)
    learning_rate: float = field(compare=False)

    @classmethod
    def of(cls, entry: dict[str, Any]) -> "Run":
        """That of an entry of a record."""
        return cls(*(entry[name] for name in cls.__dataclass_fields__))

    @property
    def name(self) -> str:
        """What pictures call its model."""
        return name_of({"architecture": self.architecture, "start": self.start})

    def __str__(self) -> str:
        size = "" if self.matched_state_size is None else f", state of {self.matched_state_size}"
        return f"{self.task}, {self.name}{size}, seed {self.seed}"


@dataclass
class Kept:
    """
    Entries and gradients of runs that are done, those that are not asked for but stay in the record that is gone on
    with, and one line that says what was read.
    """

    entries: dict[Run, list[dict[str, Any]]] = field(default_factory=dict)
    others: dict[Run, list[dict[str, Any]]] = field(default_factory=dict)
    flows: dict[Run, GradientFlow] = field(default_factory=dict)
    told: str = ""


def read_kept(
    folders: Iterable[Path],
    runs: Sequence[Run],
    settings: dict[str, Any],
    trained: Sequence[int],
    unseen: Sequence[int],
    own: Path | None = None,
) -> Kept:
    """
    The runs in these folders that are asked for; of a run in several folders the first.

    Args:
        folders: Each with a `dependency.json`, and a `gradients.json` if gradients were followed.
        runs: What is asked for.
        settings: Fields of an entry that have to be the same.
        trained: Distances to train on.
        unseen: Further ones to test at.
        own: Which of the folders is gone on with.

    Raises:
        RecordsError: If a folder has no such record, or a run that is asked for was trained otherwise.
    """
    kept, asked, others = Kept(), {run: run for run in runs}, 0
    distances = dict.fromkeys(unseen, False) | dict.fromkeys(trained, True)
    folders = list(folders)
    for folder in folders:
        path = folder / "dependency.json"
        found: dict[Run, list[dict[str, Any]]] = {}
        for entry in _read(path):
            found.setdefault(Run.of(entry), []).append(entry)
        for run, entries in found.items():
            if run not in asked:
                others += 1
                if folder == own:
                    kept.others[run] = entries
                continue
            wanted = {**vars(asked[run]), **settings, "distances": distances}
            had = {**entries[0], "distances": {entry["distance"]: entry["trained"] for entry in entries}}
            for name, value in wanted.items():
                if had[name] != value:
                    raise RecordsError(
                        f"{path}: {run} was trained with {name} {had[name]}, and here it is {value}. Ask for the "
                        "same, or leave that record out."
                    )
            kept.entries.setdefault(run, entries)
        gradients = folder / "gradients.json"
        for entry in _read(gradients) if gradients.exists() else []:
            if Run.of(entry) in kept.entries or (folder == own and Run.of(entry) in kept.others):
                kept.flows.setdefault(Run.of(entry), GradientFlow.from_dict(entry["flow"]))
    if folders:
        rest = f"; {others} more there are not asked for" if others else ""
        kept.told = f"{len(kept.entries)} of {len(runs)} runs are kept in {', '.join(map(str, folders))}{rest}."
    return kept


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        for entry in entries:
            Run.of(entry)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordsError(f"{path}: this is no record of seqnlp dependency: {error}.") from error
    return entries


def write_flows(folder: Path, flows: dict[Run, GradientFlow]) -> None:
    """Keep gradients beside a record, as [`read_kept`] reads them; nothing where there are none."""
    names = Run.__dataclass_fields__
    entries = [{name: getattr(run, name) for name in names} | {"flow": flow.as_dict()} for run, flow in flows.items()]
    if entries:
        write_json(folder / "gradients.json", entries)
