"""`seqnlp list`: the runs below a folder."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from tabulate import tabulate

from ..tasks import TASKS
from ..tasks.reporting.results import dataset_of
from ..tasks.seeds import spread_in
from ..training.errors import in_one_line
from .outputs import OutputError


LEFT_OUT = ("checkpoints", "logs", "adapter")
"""Folders of a run in which no other runs lie."""


def list_runs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the runs lie, at any depth.")] = Path("outputs"),
) -> None:
    """
    List the runs below a folder, the newest last: task, data, architecture, score and date.

    The score is the one by which the weights were chosen, on the test split if the run has looked at it, else on
    validation.

    Example:

        seqnlp list outputs
    """
    if not folder.is_dir():
        raise OutputError(f"There is no folder {folder}. Name the one where your runs lie, e.g. seqnlp list outputs.")
    rows, damaged = [], []
    for path in records_below(folder):
        try:
            rows.append(row_of(json.loads(path.read_text(encoding="utf-8")), path.parent.relative_to(folder)))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            damaged.append(f"{path} is no record of a run: {in_one_line(error, 100) or type(error).__name__}.")
    if rows:
        rows.sort(key=lambda row: row[-1])
        headers = ["run", "task", "data", "architecture", "score", "begun (UTC)"]
        typer.echo(tabulate(rows, headers, disable_numparse=True))
    else:
        typer.echo(f"There is no finished run below {folder}.")
    for line in damaged:
        typer.echo(line, err=True)


def records_below(folder: Path) -> list[Path]:
    """Every `run.json` below a folder; what lies in a run's own folders is left out."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT and not name.startswith("."))
        found += [Path(place) / "run.json"] if "run.json" in files else []
    return found


def row_of(record: dict[str, Any], folder: Path) -> list[str]:
    """
    What is shown of a run.

    Args:
        record: The content of `run.json`.
        folder: Its place.
    """
    architecture = record["hyperparameters"]["architecture"]
    base = (record.get("base_model") or {}).get("name")
    shown = f"{architecture}, from {base}" if base else str(architecture)
    begun = str(record["started"])[:16].replace("T", " ")
    return [str(folder), record["task"], dataset_of(record), shown, score_of(record), begun]


def score_of(record: dict[str, Any]) -> str:
    """The score by which the weights of a run were chosen, on the split that it reports."""
    stopped = f"; stopped at step {record['stopped']['step']:,}" if record.get("stopped") else ""
    task = TASKS.get(record["task"])
    found = task.headline(record) if task else None
    if not found:
        return f"not known here{stopped}"
    spread, score = spread_in(record, found.split, found.key), task.score_of(found.key)
    if spread is not None:
        return f"{score.name} {score.shown_spread(spread)} ({found.split}, {len(record['seeds']['runs'])} seeds)"
    return f"{found.shown} ({found.split}{stopped})"
