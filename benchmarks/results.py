"""The tables of docs/results.md, docs/tried.md and the README's best rows, from the records of the runs that are kept.

Each task says what its own are: [`seqnlp.tasks.Task.results`], and in one row [`seqnlp.tasks.Task.in_short`]. It draws
the pictures beside them too: [`seqnlp.tasks.Task.draw_results`].

A record is the `run.json` that a recipe leaves, kept as `benchmarks/results/TASK-DATASET-ARCHITECTURE-SEED.json`, with
`-bf16` or `-fp16` at the end if it was trained in that.
"""

import json
import os
import statistics
import sys
from pathlib import Path

from benchmarks import tried
from benchmarks.cards import card_name, merit
from benchmarks.records import RESULTS, ROOT, file_name, kept_records
from seqnlp.tasks import TASKS
from seqnlp.tasks.reporting.results import Link, groups_of, markdown_table, processors_of, reported_split, shown_model


BEGIN, END = "<!-- results: written by python -m benchmarks results -->", "<!-- end of results -->"


def to_card(folder: Path) -> Link:
    """Makes a text a link to a model's card, which holds the details, from a page of this folder."""
    cards = os.path.relpath(ROOT / "model_cards", folder)
    return lambda record, text: f"[{text}]({cards}/{card_name(record)}.md)"


def results(records: list[dict], link: Link) -> str:
    """What is said of all runs, task by task."""
    parts = [f"## {TASKS[name].title}\n\n{TASKS[name].results(own, link)}" for name, own in by_task(records).items()]
    return "\n\n".join(parts)


def best_rows(records: list[dict], link: Link) -> str:
    """
    A table with one row per task: of the models trained from nothing the best one on validation, beside what it
    is to be held against. The dataset is one of which others published a number, or else the default one.
    """
    rows = []
    from_nothing = [record for record in records if not record.get("base_model") and not record.get("teacher")]
    for name, own in by_task(from_nothing).items():
        task, groups = TASKS[name], groups_of(own)
        wanted = [*task.published, task.default_dataset]
        dataset = min((key[0] for key in groups), key=lambda of: wanted.index(of) if of in wanted else len(wanted))
        group = max(
            (group for key, group in groups.items() if key[0] == dataset),
            key=lambda group: statistics.mean(merit(record, task.compared_by) for record in group),
        )
        score, beside = task.in_short(group, reported_split(group[0]))
        model = f"{shown_model(group, link)}, {processors_of(group)}"
        rows.append({"task": f"`{name}`", "data": dataset, "model": model, "score": score, "beside": beside})
    return markdown_table(rows)


def by_task(records: list[dict]) -> dict[str, list[dict]]:
    """The records of each task that has some."""
    groups = {name: [record for record in records if record["task"] == name] for name in TASKS}
    return {name: own for name, own in groups.items() if own}


def pictures(records: list[dict], folder: Path) -> str:
    """What each task draws of its runs, drawn into a folder beside the page that shows it."""
    drawn = {}
    for name, own in by_task(records).items():
        drawn |= TASKS[name].draw_results(own, folder)
    return "".join(f"\n\n![{shown}]({folder.name}/{picture})" for picture, shown in drawn.items())


def main(new: list[str]) -> None:
    """Keep the records named, then rebuild what the pages say of them."""
    for path in new:
        text = Path(path).read_text(encoding="utf-8")
        (RESULTS / file_name(json.loads(text))).write_text(text, encoding="utf-8")
    records = kept_records()
    page, readme, not_reached = ROOT / "docs" / "results.md", ROOT / "README.md", ROOT / "docs" / "tried.md"
    pages = {
        page: results(records, to_card(page.parent)) + pictures(records, page.parent / "images"),
        not_reached: tried.page(not_reached.parent),
        readme: best_rows(records, to_card(readme.parent)),
    }
    texts = {path: path.read_text(encoding="utf-8") for path in pages}
    for path, text in texts.items():
        if BEGIN not in text or END not in text:
            sys.exit(
                f"error: {path.name} lacks the lines {BEGIN!r} and {END!r}, between which the results go. "
                "Put them back; nothing was written."
            )
    for path, text in texts.items():
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        path.write_text(f"{before}{BEGIN}\n\n{pages[path]}\n\n{END}{after}", encoding="utf-8")
