"""`report.html`: all that is known of a run on one page that opens offline."""

import html
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...metrics import Score
from ...visualization.page import (
    facts_of,
    folded,
    html_row,
    html_table,
    list_of,
    page_of,
    picture_of,
    preformatted,
)
from ...visualization.tables import readable_tables
from .results import plain_name
from .telling import described_data, described_kept


if TYPE_CHECKING:
    from ..base import Outcome, Task

REPORT = "report.html"
CURVES = "learning_curves.png"


def write_run_page(task: "Task", outcome: "Outcome", report: str, commands: str) -> None:
    """
    Write the page of a run. Called by the main process, once all else is written.

    Args:
        task: The run's task.
        outcome: What the model did.
        report: What was printed of it.
        commands: What to do with it.
    """
    record = outcome.run.record
    last_step = record.history[-1]["step"] if record.history else 0
    kept = described_kept(record.kept, task.score_of(record.kept.get("metric")), last_step)
    parts = [
        f'<p class="soft">{html.escape(described_data(record.dataset))}. {html.escape(task.use)}</p>',
        f'<p class="answer">{html.escape(" ".join(filter(None, (_finding(task, outcome), kept))))}</p>',
        "<h2>Results</h2>",
        _results(task, outcome),
        *_curves(outcome),
        *_pictures(task, outcome),
        *task.page_parts(outcome),
        *(part for name, text in task.texts(outcome).items() for part in (f"<h2>{name}</h2>", preformatted(text))),
        f"<h2>In detail: {html.escape(outcome.split)}</h2>",
        preformatted(report),
        "<h2>Data</h2>",
        _data(record.dataset),
        "<h2>Model and training</h2>",
        facts_of(_facts(task, outcome)),
        "<h2>What to do with it</h2>",
        preformatted(commands),
        "<h2>How it was made</h2>",
        *(folded(name, text) for name, text in _details(record).items()),
    ]
    outcome.file(REPORT).write_text(page_of(_title(task, outcome), parts), encoding="utf-8")


def _title(task: "Task", outcome: "Outcome") -> str:
    """The task, the model and how good it is."""
    found = task.headline(asdict(outcome.run.record))
    shown = f": {found.shown} on {found.split}" if found else ""
    return f"{task.title}, {outcome.run.record.hyperparameters['architecture']}{shown}"


def _finding(task: "Task", outcome: "Outcome") -> str:
    """The model beside its baselines, by the score of the title."""
    found = task.headline(asdict(outcome.run.record))
    if not found:
        return ""
    score = task.score_of(found.key)
    others = {
        name.replace("_", " "): scores[score.key]
        for name, scores in task.rivals(outcome.baselines).items()
        if isinstance(scores.get(score.key), int | float)
    }
    if not others:
        return ""
    sign = 1 if score.greater_is_better else -1
    name = max(others, key=lambda name: sign * others[name])
    # What is shown alike is equal.
    values = [float(score.shown(value).rstrip("%")) for value in (found.value, others[name])]
    difference = sign * (values[0] - values[1])
    relation = "equal to" if difference == 0 else "better than" if difference > 0 else "worse than"
    unit = task.unit_of(score.key, outcome.run.record.hyperparameters)
    best = "the best of its baselines, " if len(others) > 1 else "its baseline, "
    return f"{found.shown} is {relation} {best}{name}: {score.shown(others[name])} {unit}".rstrip() + "."


def _results(task: "Task", outcome: "Outcome") -> str:
    """The scores of each split, and those of what the model is compared with."""
    record = outcome.run.record
    compared = {"this model": record.metrics}
    compared |= {name.replace("_", " "): parts for name, parts in record.baselines.items()}
    known = [values for splits in compared.values() for values in splits.values()]
    scores = [score for score in task.scores if any(score.key in values for values in known)]
    headers = ["model", "split", *(header_of(task, score, record.hyperparameters) for score in scores)]
    rows = [
        [model, split, *(score.shown(values.get(score.key)) for score in scores)]
        for model, splits in compared.items()
        for split, values in splits.items()
        if any(score.key in values for score in scores)
    ]
    baselines = compared.keys() - {"this model"}
    return "\n".join(
        html_table(
            table.headers,
            [html_row(row, "baseline" if row[0] in baselines else "") for row in table.rows],
            "The scores of the model and of its baselines",
        )
        for table in readable_tables(headers, rows, named_by=2, across="score")
    )


def header_of(task: "Task | type[Task]", score: Score, hyperparameters: dict[str, Any]) -> str:
    """The name of a score of a run, with its unit where the name does not say it."""
    unit = task.unit_of(score.key, hyperparameters) or score.unit
    return f"{score.name}, {unit}" if unit and unit not in score.name.lower() else score.name


def _curves(outcome: "Outcome") -> list[str]:
    path = outcome.file(CURVES)
    if not is_of_this_run(path, outcome):
        return []
    return ["<h2>Learning curves</h2>", picture_of(path.read_bytes(), "Loss and validation scores over the epochs")]


def _pictures(task: "Task", outcome: "Outcome") -> list[str]:
    """What the task has drawn, in the order in which it names them."""
    paths = {outcome.file(name): shown for name, shown in task.pictures.items()}
    parts = [
        picture_of(path.read_bytes(), shown, path.name)
        for path, shown in paths.items()
        if is_of_this_run(path, outcome)
    ]
    return ["<h2>Pictures</h2>", *parts] if parts else []


def versions_of(versions: dict[str, str]) -> str:
    """The libraries of a run, a line for each."""
    return "\n".join(f"{name} {version}" for name, version in versions.items())


def flags_of(hyperparameters: dict[str, Any]) -> str:
    """Every flag of a run that has a value, a line each."""
    return "\n".join(f"{name}: {value}" for name, value in hyperparameters.items() if value is not None)


def is_of_this_run(path: Path, outcome: "Outcome") -> bool:
    """Whether a file is there, and not left by a run before; file systems round times."""
    return path.is_file() and path.stat().st_mtime >= outcome.began - 2


def _data(dataset: dict[str, Any]) -> str:
    """The splits, and what was dropped, cut or converted."""
    names = dict.fromkeys(
        name for part in dataset.get("splits", {}).values() for name in part if name != "fingerprint"
    )
    rows = [
        html_row([split, *(f"{part[name]:,}" if isinstance(part.get(name), int) else "" for name in names)])
        for split, part in dataset.get("splits", {}).items()
    ]
    table = html_table(["split", *names], rows, "The splits of the data")
    remarks = [remark.replace(dataset["name"], plain_name(dataset["name"])) for remark in dataset.get("remarks", [])]
    return table + list_of(remarks) if remarks else table


def _facts(task: "Task", outcome: "Outcome") -> dict[str, str]:
    record = outcome.run.record
    parameters = f"{record.model['parameters']:,}"
    if "trained_parameters" in record.model:
        parameters += f", of which {record.model['trained_parameters']:,} were trained"
    share = task.unknown_share(outcome.data)
    hardware = record.hardware
    return {
        "model": f"{task.label}, {record.model['class']}",
        "started from": plain_name(str(record.base_model.get("name", ""))),
        "parameters": parameters,
        "vocabulary": task.described_vocabulary(outcome.data.processor),
        "unknown tokens": "" if share is None else f"{share:.1%} of those of validation",
        "steps": f"{record.history[-1]['step']:,}" if record.history else "",
        "time of training": f"{record.seconds.get('training', 0.0) / 60:.1f} minutes",
        "memory": ", ".join(f"{value / 1024:.1f} GiB {name}" for name, value in record.memory.items()),
        "machine": f"{hardware['cpu']}, {hardware['cpu_cores']} cores"
        + "".join(f", {one}" for one in hardware.get("gpus", [])),
        "seed": str(record.seed),
        "begun": record.started.replace("T", " ").replace("Z", " UTC"),
    }


def _details(record: Any) -> dict[str, str]:
    return {
        "Command": f"accelerate launch {record.command}",
        "Every flag": flags_of(record.hyperparameters),
        "The model's configuration": "\n".join(f"{name}: {value}" for name, value in record.model["config"].items()),
        "Versions": versions_of(record.versions),
    }
