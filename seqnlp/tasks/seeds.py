"""A recipe's run once per seed, and what the seeds say together: one record, one report, one model."""

import json
import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from ..metrics import Score, Spread, spread_of
from ..training import ArgumentsError, write_json
from ..training.arguments import ONE_RUN_FLAGS
from ..training.bar import counted
from ..training.flags import COMPARED, SOURCES, command_of, fields_of, public_value, role_of, without_flags
from ..training.folder_lock import LOCK, OWNER
from ..training.output_folder import LOGS, RECORD, OutputFolder, folder_for
from ..training.run import RunElsewhere
from ..training.started_runs import Team, finished_record, flags_to_go_on, read_json, run_script
from ..visualization.tables import Table, readable_tables
from .reporting.results import validation_of
from .reporting.run_page import REPORT, header_of
from .reporting.seeds_page import SeedsTables, write_seeds_page


if TYPE_CHECKING:
    from .base import Task

SETTINGS = "seeds.json"
"""Marks a folder of several seeds, and holds the flags that they have in common."""
NOT_TAKEN = ("checkpoints", LOGS, LOCK, OWNER, RECORD, REPORT)
"""What the model that was chosen leaves in the folder of its own run."""


class SeedRuns:
    """
    The runs of `--seeds`: each in the folder `seed-N` below the output folder, in processes of its own, as the recipe
    without that flag would make it.

    The model with the best validation is chosen, and its files are copied to the output folder itself, whose
    `run.json` is its record together with what all seeds say: what takes the folder of a run takes this one.

    Args:
        task: The task, with its flags.
        output_dir: The output folder.
    """

    def __init__(self, task: "Task", output_dir: Path):
        self.task, self.folder = task, output_dir
        self.seeds = task.training_args.each_seed

    def run(self) -> None:
        """
        Run what is not finished, then gather. Called by every process of a launch.

        Raises:
            ArgumentsError: If the folder cannot be taken, or what is finished there was made with other flags.
            RunElsewhere: If a run does not end well.
        """
        team = Team()
        team.agree(self._open)
        for number, seed in enumerate(self.seeds, 1):
            more = team.agree(lambda seed=seed: self._flags_of(seed))
            if more is None:
                continue
            if team.is_first:
                sys.stdout.write(f"\nSeed {seed}, {number} of {len(self.seeds)}\n")
            words = [*without_flags(sys.argv[1:], ONE_RUN_FLAGS), *more]
            run_script(words, team.environment(), f"the run of seed {seed}")
        team.part()
        if team.is_first:
            self._conclude()

    def folder_of(self, seed: int) -> Path:
        """The folder of a seed's run."""
        return self.folder / f"seed-{seed}"

    def _open(self) -> None:
        arguments, folder = self.task.training_args, self.folder
        resumes, overwrites = arguments.resume_from_checkpoint is not None, arguments.overwrite_output_dir
        OutputFolder(folder).claim(arguments.resume_from_checkpoint, overwrites)
        settings, there = self._settings(), read_json(folder / SETTINGS)
        if overwrites and not resumes:
            self._remove_taken_over()
        elif resumes and there is None:
            raise ArgumentsError(
                f"--resume_from_checkpoint latest: {folder} holds no runs of several seeds. Leave the flag out to "
                "begin anew."
            )
        elif resumes:
            self._refuse_changes(there, folder)
        elif there is not None:
            raise ArgumentsError(
                f"{folder} holds runs of several seeds: continue them by --resume_from_checkpoint latest, throw them "
                "away by --overwrite_output_dir, or choose another --output_dir."
            )
        write_json(folder / SETTINGS, settings)

    def _remove_taken_over(self) -> None:
        """What was copied here of an earlier choice goes: the model that is to come may have other files."""
        (self.folder / RECORD).unlink(missing_ok=True)
        for record in self.folder.glob(f"seed-*/{RECORD}"):
            for source in _taken(record.parent):
                target = self.folder / source.name
                shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)

    def _settings(self) -> dict[str, Any]:
        """The flags on which the seeds must agree, as they may be published."""
        kept, settings = (*COMPARED, *SOURCES), {}
        task = self.task
        for arguments in (task.data_args, task.model_args, task.training_args, task.generation_args):
            for name, field in fields_of(type(arguments)).items():
                if role_of(field) in kept and name not in ONE_RUN_FLAGS:
                    settings[name] = public_value(getattr(arguments, name), field)
        return settings

    def _refuse_changes(self, there: dict[str, Any], folder: Path) -> None:
        """Refuse to go on with what was begun with other flags."""
        settings = self._settings()
        changed = [name for name, value in settings.items() if there.get(name) != value]
        if changed and not self.task.training_args.resume_with_changes:
            name = changed[0]
            raise ArgumentsError(
                f"--{name} {settings[name]}: what lies in {folder} was begun with {there.get(name)}. Give the same, "
                "or begin anew by --overwrite_output_dir."
            )

    def _flags_of(self, seed: int) -> list[str] | None:
        """The flags that a seed's run has beside those that all have; `None` where it is finished."""
        folder, arguments = self.folder_of(seed), self.task.training_args
        own = [f"--seed={seed}", f"--output_dir={folder}"]
        if arguments.resume_from_checkpoint is None:
            return [*own, "--overwrite_output_dir=true"] if arguments.overwrite_output_dir else own
        record = finished_record(folder)
        if record is None:
            return [*own, *flags_to_go_on(folder)]
        asked = self.task.training_args.mixed_precision  # of auto the record says what it came to
        self._refuse_changes({**record["hyperparameters"], "mixed_precision": asked}, folder)
        sys.stdout.write(f"Seed {seed} is finished: {folder}\n")
        return None

    def _conclude(self) -> None:
        records = {seed: finished_record(self.folder_of(seed)) for seed in self.seeds}
        missing = [seed for seed, record in records.items() if record is None]
        if missing:
            named = ", ".join(map(str, missing))
            sys.stdout.write(
                f"\n{'Seeds' if len(missing) > 1 else 'Seed'} {named} came to no planned end, so nothing is gathered. "
                "Next: the same command with --resume_from_checkpoint latest.\n"
            )
            return
        record = gather(type(self.task), records, command_of(sys.argv, self.task.fields()))
        self._take_over(self.folder_of(record["seeds"]["chosen"]), record)
        task, commands = type(self.task), self._commands()
        text, tables = described_seeds(task, record), tables_of(task, record)
        write_seeds_page(task, record, records, self.folder, SeedsTables(text, tables), commands)
        written = "\n\n".join(tabulate(table.rows, table.headers, disable_numparse=True) for table in tables)
        sys.stdout.write(f"\n{text}\n\n{written}\n\n")
        sys.stdout.write(
            f"The model, run.json and what belongs to them are in {self.folder}; report.html shows all.\n"
        )
        sys.stdout.write(f"{commands}\n")

    def _commands(self) -> str:
        place = str(self.folder)
        return f"Next:\n  try it:      seqnlp try {place}\n  publish it:  seqnlp publish {place} --dry_run"

    def _take_over(self, chosen: Path, record: dict[str, Any]) -> None:
        """Put a copy of the chosen model beside the record, which comes last and tells the weights' hash."""
        (self.folder / RECORD).unlink(missing_ok=True)
        for source in _taken(chosen):
            target = self.folder / source.name
            if source.is_dir():
                shutil.rmtree(target, ignore_errors=True)
                shutil.copytree(source, target)
            else:
                shutil.copy2(source, target)
        write_json(self.folder / RECORD, record)


def gather(task: type["Task"], records: dict[int, dict[str, Any]], command: str) -> dict[str, Any]:
    """
    The record that several seeds share: that of the one whose validation is best, with what all of them say.

    Args:
        task: Their task.
        records: The record of each, by its seed.
        command: What made all of them.

    Raises:
        ArgumentsError: If they have not read the same data, or began with other weights, vectors or teachers.
    """
    read = [_read(record) for record in records.values()]
    for what in read[0]:
        if len({json.dumps(one[what], sort_keys=True) for one in read}) > 1:
            raise ArgumentsError(
                f"--seeds {','.join(map(str, records))}: their runs have read different {what}, which has changed in "
                "between. Begin anew by --overwrite_output_dir."
            )
    kept = [record.get("kept", {}) for record in records.values()]
    key = next((one["metric"] for one in kept if "metric" in one), None)
    chosen, values = next(iter(records)), dict.fromkeys(records)
    if key is not None:
        values = {seed: validation_of(task, record, key) for seed, record in records.items()}
    valued = [seed for seed in records if isinstance(values[seed], int | float)]
    if valued:
        sign = 1 if next(iter(records.values()))["hyperparameters"]["greater_is_better"] else -1
        chosen = max(valued, key=lambda seed: sign * values[seed])
    spreads, left_out = _spreads(list(records.values()))
    runs = [
        {
            "seed": seed,
            "folder": f"seed-{seed}",
            "kept": values[seed],
            "seconds": record["seconds"].get("training"),
            "sha256": record["model"]["sha256"],
            "metrics": _numbers(record),
        }
        for seed, record in records.items()
    ]
    seeds = {"chosen": chosen, "by": key if valued else None, "runs": runs, "metrics": spreads, "left_out": left_out}
    return {**records[chosen], "command": command, "seeds": seeds}


def _taken(run: Path) -> list[Path]:
    """What is copied of a run if it is the chosen one."""
    return sorted(path for path in run.iterdir() if path.name not in NOT_TAKEN)


def _read(record: dict[str, Any]) -> dict[str, Any]:
    """What a run has read, known by its content: names and places may be the same where that is not."""
    others = {"base_model": "weights to start from", "embeddings": "word vectors", "teacher": "answers of a teacher"}
    found = {what: (record.get(name) or {}).get("sha256") for name, what in others.items()}
    return {"data": record["dataset"].get("splits"), **found}


def _numbers(record: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The metrics of a record that are numbers."""
    return {
        split: {k: v for k, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)}
        for split, values in record["metrics"].items()
    }


def _spreads(records: list[dict[str, Any]]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Mean and deviation of each metric that every run has; and those, as SPLIT KEY, that some runs lack."""
    found, left_out = {}, []
    numbers = [_numbers(record) for record in records]
    for split, key in dict.fromkeys((s, k) for each in numbers for s, values in each.items() for k in values):
        values = [each.get(split, {}).get(key) for each in numbers]
        if None in values:
            left_out.append(f"{split} {key}")
        else:
            found.setdefault(split, {})[key] = spread_of(values)._asdict()
    return found, left_out


def contradiction(record: dict[str, Any]) -> str | None:
    """
    What is wrong with what a record says of its seeds: means and deviations follow from the values of the runs, and
    the rest of the record is that of the chosen one, which validation found best.
    """
    seeds = record["seeds"]
    again, _ = _spreads(seeds["runs"])
    for split, spreads in seeds["metrics"].items():
        for key, spread in spreads.items():
            found = again.get(split, {}).get(key)
            if found is None or not all(math.isclose(spread[name], found[name], rel_tol=1e-9) for name in found):
                return f"{split} {key} does not follow from the values of the seeds"
    chosen = next((run for run in seeds["runs"] if run["seed"] == seeds["chosen"]), None)
    if chosen is None or chosen["sha256"] != record["model"].get("sha256") or chosen["metrics"] != _numbers(record):
        return f"the numbers and weights are not those of the seed {seeds['chosen']}, which was chosen"
    if seeds["by"] is not None:
        sign = 1 if record["hyperparameters"]["greater_is_better"] else -1
        valued = (run["kept"] for run in seeds["runs"] if isinstance(run["kept"], int | float))
        if any(sign * value > sign * chosen["kept"] for value in valued):
            return f"another seed has a better validation than {seeds['chosen']}, which was chosen"
    return None


def spread_in(record: dict[str, Any], split: str, key: str) -> Spread | None:
    """Mean and deviation of a metric over the seeds of a record, if it has any."""
    found = (record.get("seeds") or {}).get("metrics", {}).get(split, {}).get(key)
    return None if found is None else Spread(found["mean"], found["deviation"])


def scores_in(task: type["Task"], record: dict[str, Any]) -> list[Score]:
    """The scores that a record has over its seeds, what says most first."""
    keys = {key for spreads in record["seeds"]["metrics"].values() for key in spreads}
    return [score for score in task.scores_of(record) if score.key in keys]


def headers_of(record: dict[str, Any]) -> list[str]:
    """Of the table over the seeds: the splits, over all seeds and by each."""
    return ["score", "split", "mean ± deviation", *(f"seed {run['seed']}" for run in record["seeds"]["runs"])]


def rows_of(task: type["Task"], record: dict[str, Any]) -> list[list[str]]:
    """The rows of that table: one per split and score."""
    rows = []
    for split in record["seeds"]["metrics"]:
        for score in scores_in(task, record):
            spread = spread_in(record, split, score.key)
            if spread is not None:
                name = header_of(task, score, record["hyperparameters"])
                values = [run["metrics"][split][score.key] for run in record["seeds"]["runs"]]
                rows.append([name, split, score.shown_spread(spread), *map(score.shown, values)])
    return rows


def tables_of(task: type["Task"], record: dict[str, Any], shown: Callable[[str], str] = str) -> list[Table]:
    """That table as people read it, see [`readable_tables`]; `shown` writes a cell."""
    rows = [[shown(cell) for cell in row] for row in rows_of(task, record)]
    return readable_tables(headers_of(record), rows, named_by=2, across="seeds")


def described_seeds(task: type["Task"], record: dict[str, Any]) -> str:
    """Which seeds there are and which was chosen, in a sentence or two."""
    seeds = record["seeds"]
    named = ", ".join(str(run["seed"]) for run in seeds["runs"])
    text = f"{counted(len(seeds['runs']), 'seed')} ({named}): mean ± standard deviation. "
    if seeds["by"] is None:
        text += f"No validation could choose: the model is that of the first seed, {seeds['chosen']}."
    else:
        score = task.score_of(seeds["by"])
        value = next(run["kept"] for run in seeds["runs"] if run["seed"] == seeds["chosen"])
        how = "highest" if record["hyperparameters"].get("greater_is_better") else "lowest"
        shown = value if score is None else score.shown(value)
        text += f"The model is that of seed {seeds['chosen']}, whose validation {seeds['by']} is the {how}, {shown}."
    if seeds["left_out"]:
        text += f" Not every seed has a number of {', '.join(seeds['left_out'])}: left out."
    return text


def run_seeds(task: "Task", kind: str) -> None:
    """
    Do what `--seeds` asks for.

    Args:
        task: The task, with its flags.
        kind: The architecture, for the name of the output folder where none is given.

    Raises:
        RunElsewhere: When it is done: the process that calls it trains nothing itself.
    """
    SeedRuns(task, folder_for(task.training_args.output_dir, task.name, kind)).run()
    raise RunElsewhere
