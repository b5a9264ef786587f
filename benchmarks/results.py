"""The README's results, from the records of the runs that are kept: each task says what its own are.

A record is the `run.json` that a recipe leaves, kept as `benchmarks/results/TASK-DATASET-ARCHITECTURE-SEED.json`, with
`-bf16` or `-fp16` at the end if it was trained in that.
"""

import json
import sys
from pathlib import Path

from benchmarks.cards import card_name
from benchmarks.records import RESULTS, ROOT, file_name, kept_records
from seqnlp.tasks import TASKS
from seqnlp.tasks.translation_results import TESTS, multi30k, scores_of_test
from seqnlp.visualization import plot_bleu_by_length


BEGIN, END = "<!-- results: written by python -m benchmarks results -->", "<!-- end of results -->"
PICTURE = ROOT / "docs" / "images" / "translation_bleu_by_length.png"


def link(record: dict, text: str) -> str:
    """The text as a link to the model's card, which holds the details."""
    return f"[{text}](model_cards/{card_name(record)}.md)"


def results(records: list[dict]) -> str:
    """What the README says of all runs, task by task."""
    by_task = {name: [record for record in records if record["task"] == name] for name in TASKS}
    parts = [TASKS[name].results(own, link) for name, own in by_task.items() if own]
    return "\n\n".join(filter(None, parts))


def draw_bleu_by_length(records: list[dict]) -> None:
    """Draw BLEU by the length of the source for the first run of each model on Multi30k, over the test set of 2016."""
    lines, architectures = {}, {}
    for name, group in multi30k([record for record in records if record["task"] == "translation"]).items():
        if scores := scores_of_test(group[0], next(iter(TESTS))):
            lines[name] = scores["bleu_by_source_length"]
            architectures[name] = group[0]["hyperparameters"]["architecture"]
    if lines:
        title = "How well sentences of each length are translated"
        plot_bleu_by_length(lines, PICTURE, title, "Multi30k English-German, test set of 2016", architectures)


def main(new: list[str]) -> None:
    """Keep the records named, then rebuild the README's part."""
    for path in new:
        text = Path(path).read_text(encoding="utf-8")
        (RESULTS / file_name(json.loads(text))).write_text(text, encoding="utf-8")
    records = kept_records()
    draw_bleu_by_length(records)
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        sys.exit(f"error: README.md lacks the lines {BEGIN!r} and {END!r}, between which the results go.")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    picture = f"\n\n![BLEU by the words of the source]({PICTURE.relative_to(ROOT)})" if PICTURE.exists() else ""
    readme.write_text(f"{before}{BEGIN}\n\n{results(records)}{picture}\n\n{END}{after}", encoding="utf-8")
