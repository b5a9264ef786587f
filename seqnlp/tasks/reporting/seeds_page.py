"""`report.html` of several seeds: what they say together, and where the page of each is."""

import html
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...metrics import Score, Spread
from ...visualization.page import facts_of, folded, html_row, html_table, page_of, picture_of, preformatted
from ...visualization.seeds import plot_seeds
from ...visualization.tables import Table, readable_tables
from .run_page import REPORT, flags_of, header_of, versions_of
from .telling import described_data


if TYPE_CHECKING:
    from ..base import Task

PICTURE = "seeds.png"


class SeedsTables(NamedTuple):
    """What the seeds say: in a sentence or two, and as tables, most often one."""

    text: str
    tables: list[Table]


def write_seeds_page(
    task: "type[Task]",
    record: dict[str, Any],
    records: dict[int, dict[str, Any]],
    folder: Path,
    said: SeedsTables,
    commands: str,
) -> None:
    """
    Write the page, and the picture in it beside it.

    Args:
        task: The task.
        record: What the seeds share.
        records: The record of each, by its seed.
        folder: Where page and picture go.
        said: What they say.
        commands: What to do with them.
    """
    found = task.headline(record)
    architecture = record["hyperparameters"]["architecture"]
    title, picture = f"{task.title}, {architecture}: {len(records)} seeds", []
    if found:
        score = task.score_of(found.key)
        spread = Spread(**record["seeds"]["metrics"][found.split][found.key])
        shown = f"{score.name} {score.shown_spread(spread)} on {found.split}"
        title = f"{task.title}, {architecture}: {shown}, {len(records)} seeds"
        drawn = _draw(task, record, records, score, found.split, spread)
        (folder / PICTURE).write_bytes(drawn)
        alt = "The validation score over the epochs, and the reported score, of each seed"
        picture = ["<h2>Each seed</h2>", picture_of(drawn, alt)]
    links = "".join(
        f'<li><a href="{run["folder"]}/{REPORT}">seed {run["seed"]}</a></li>' for run in record["seeds"]["runs"]
    )
    parts = [
        f'<p class="soft">{html.escape(described_data(record["dataset"]))}. {html.escape(task.use)}</p>',
        f'<p class="answer">{html.escape(said.text)}</p>',
        "<h2>Results</h2>",
        *(
            html_table(table.headers, [html_row(row) for row in table.rows], "Each score over the seeds and by seed")
            for table in said.tables
        ),
        *_baselines(task, record),
        *picture,
        "<h2>The page of each run</h2>",
        f"<ul>{links}</ul>",
        "<h2>Model and training</h2>",
        facts_of(_facts(record)),
        "<h2>What to do with it</h2>",
        preformatted(commands),
        "<h2>How it was made</h2>",
        folded("Command", f"accelerate launch {record['command']}"),
        folded("Every flag of the chosen run", flags_of(record["hyperparameters"])),
        folded("Versions", versions_of(record["versions"])),
    ]
    (folder / REPORT).write_text(page_of(title, parts), encoding="utf-8")


def _baselines(task: "type[Task]", record: dict[str, Any]) -> list[str]:
    """What the seeds are to be held against, as the chosen run has it."""
    known = [values for parts in record["baselines"].values() for values in parts.values()]
    scores = [score for score in task.scores_of(record) if any(score.key in values for values in known)]
    rows = [
        [name.replace("_", " "), split, *(score.shown(values.get(score.key)) for score in scores)]
        for name, parts in record["baselines"].items()
        for split, values in parts.items()
    ]
    headers = ["baseline", "split", *(header_of(task, score, record["hyperparameters"]) for score in scores)]
    tables = [
        html_table(
            table.headers, [html_row(row, "baseline") for row in table.rows], "The scores of what needs no such model"
        )
        for table in readable_tables(headers, rows, named_by=2, across="score")
    ]
    return ["<h2>Baselines</h2>", *tables] if scores else []


def _draw(
    task: "type[Task]",
    record: dict[str, Any],
    records: dict[int, dict[str, Any]],
    score: Score,
    split: str,
    spread: Spread,
) -> bytes:
    by = record["seeds"]["by"] or score.key
    chooses = task.score_of(by)
    scales = [100 if one is not None and one.is_share else 1 for one in (chooses, score)]
    name = f"validation_{by}"
    curves = {
        seed: [(entry["epoch"], scales[0] * entry[name]) for entry in one["history"] if entry.get(name) is not None]
        for seed, one in records.items()
    }
    units = ["%" if scale == 100 else "" for scale in scales]
    return plot_seeds(
        record["hyperparameters"]["architecture"],
        curves,
        {run["seed"]: scales[1] * run["metrics"][split][score.key] for run in record["seeds"]["runs"]},
        (scales[1] * spread.mean, scales[1] * (spread.deviation or 0.0)),
        (
            _labeled(f"validation {by.replace('_', ' ')}", units[0]),
            _labeled(f"{split} {score.key.replace('_', ' ')}", units[1]),
        ),
        record["seeds"]["chosen"],
    )


def _labeled(name: str, unit: str) -> str:
    return f"{name}, {unit}" if unit else name


def _facts(record: dict[str, Any]) -> dict[str, str]:
    runs, hardware = record["seeds"]["runs"], record["hardware"]
    return {
        "model": record["model"]["class"],
        "parameters": f"{record['model']['parameters']:,}",
        "seeds": ", ".join(str(run["seed"]) for run in runs),
        "chosen": str(record["seeds"]["chosen"]),
        "time of training": f"{sum(run['seconds'] or 0.0 for run in runs) / 60:.1f} minutes in all",
        "machine": f"{hardware['cpu']}, {hardware['cpu_cores']} cores",
    }
