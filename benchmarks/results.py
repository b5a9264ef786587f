"""The README's results tables, from the records of the runs that are kept.

A record is the `run.json` that a recipe leaves, kept as `benchmarks/results/TASK-DATASET-ARCHITECTURE-SEED.json`, with
`-bf16` or `-fp16` at the end if it was trained in that.
"""

import json
import math
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from tabulate import tabulate

from benchmarks.image_and_series_results import image_row, series_row
from benchmarks.records import (
    RESULTS,
    ROOT,
    dataset_name,
    decimals,
    file_name,
    model_name,
    precision,
    reported,
    size,
    spread,
)
from benchmarks.translation_results import draw_bleu_by_length, translation_section


BEGIN, END = "<!-- results: written by python -m benchmarks results -->", "<!-- end of results -->"


def table(records: list[dict]) -> str:
    """Accuracy by dataset, architecture and precision, over the seeds, beside the baseline on the same split."""
    groups = defaultdict(list)
    for record in records:
        key = dataset_name(record), record["hyperparameters"]["architecture"], precision(record)
        groups[key].append(record)
    rows = []
    for (dataset, architecture, number_format), group in sorted(groups.items()):
        split = reported(group[0])
        rows.append(
            [
                dataset,
                architecture,
                number_format,
                size(group[0]),
                len(group),
                spread([record["metrics"]["validation"]["accuracy"] for record in group]),
                f"{spread([record['metrics'][split]['accuracy'] for record in group])} ({split})",
                spread([group[0]["baselines"]["tfidf_logistic_regression"][split]["accuracy"]]),
            ]
        )
    scores = ["validation", "accuracy, %", "TF-IDF + log. reg."]
    headers = ["dataset", "architecture", "precision", "parameters", "seeds", *scores]
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


# Nats per character on the held-out tenth of tiny Shakespeare, github.com/karpathy/nanoGPT, README.
PUBLISHED_NATS = {"tiny_shakespeare": "1.47 (nanoGPT, 10.7 M parameters, GPU), 1.88 (its CPU setting)"}


def language_modeling_row(dataset: str, group: list[dict]) -> dict:
    """Nats per character, with what the compressor xz needs, and what was published."""
    split = reported(group[0])
    scores = [record["metrics"][split]["nats_per_character"] for record in group]
    bits = group[0]["baselines"].get("xz", {}).get(split, {}).get("bits_per_character")
    epochs = max(entry["epoch"] for entry in group[0]["history"])
    return {
        "epochs": f"{epochs:.1f}" + (" (stopped by time)" if group[0].get("stopped") else ""),
        "hours": f"{group[0]['seconds']['training'] / 3600:.1f}",
        "validation": decimals([record["metrics"]["validation"]["nats_per_character"] for record in group]),
        "nats per character": f"{decimals(scores)} ({split})",
        "all held-out text": decimals([nats_over_all(record) for record in group]),
        "xz": "" if bits is None else f"{bits * math.log(2):.2f}",
        "published": PUBLISHED_NATS.get(dataset.split()[0], ""),
    }


def music_row(dataset: str, group: list[dict]) -> dict:
    """Bits per character; the share of valid tunes beside that of training tunes; what was copied."""
    split = reported(group[0])
    scores = [record["metrics"][split]["bits_per_character"] for record in group]
    tunes = [record["metrics"]["generated"] for record in group]
    known = group[0]["baselines"]["training_tunes"]
    return {
        "hours": f"{group[0]['seconds']['training'] / 3600:.1f}" + (" (stopped)" if group[0].get("stopped") else ""),
        "validation": decimals([record["metrics"]["validation"]["bits_per_character"] for record in group]),
        "bits per character": f"{decimals(scores)} ({split})",
        "valid tunes, %": f"{spread([tune['valid'] for tune in tunes])} of {tunes[0]['tunes']}",
        "temperature": tunes[0]["temperature"],
        "training tunes": spread([known["generated"]["valid"]]),
        "copied runs, %": spread([tune["copied"] for tune in tunes]),
        f"held-out tunes ({split})": spread([known[split]["copied"]]),
    }


def nats_over_all(record: dict) -> float:
    """Nats per character of all scored splits together; nanoGPT validates on what is validation and test here."""
    scored = {split: scores for split, scores in record["metrics"].items() if "nats_per_character" in scores}
    characters = {split: record["dataset"]["splits"][split]["characters"] for split in scored}
    total = sum(scores["nats_per_character"] * characters[split] for split, scores in scored.items())
    return total / sum(characters.values())


def scores_table(records: list[dict], row_of: Callable[[str, list[dict]], dict]) -> str:
    """Scores by dataset and architecture, over the seeds; `row_of` gives the columns of a group by their names."""
    groups = defaultdict(list)
    for record in records:
        groups[dataset_name(record), model_name(record)].append(record)
    rows = [
        {
            "dataset": dataset,
            "architecture": architecture,
            "parameters": size(group[0]),
            "seeds": len(group),
            **row_of(dataset, group),
        }
        for (dataset, architecture), group in sorted(groups.items())
    ]
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)


TABLES = {
    "sentiment_analysis": table,
    "translation": translation_section,
    "language_modeling": lambda records: scores_table(records, language_modeling_row),
    "music_generation": lambda records: scores_table(records, music_row),
    "image_classification": lambda records: scores_table(records, image_row),
    "trajectory": lambda records: scores_table(records, series_row),
}


def main(new: list[str]) -> None:
    """Keep the records named, then rebuild the table."""
    for path in new:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        (RESULTS / file_name(record)).write_text(Path(path).read_text(encoding="utf-8"), encoding="utf-8")
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    draw_bleu_by_length([record for record in records if record["task"] == "translation"])
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        sys.exit(f"error: README.md lacks the lines {BEGIN!r} and {END!r}, between which the table goes.")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    tables = [
        make([record for record in records if record["task"] == task])
        for task, make in TABLES.items()
        if any(record["task"] == task for record in records)
    ]
    content = "\n\n".join(filter(None, tables))
    readme.write_text(f"{before}{BEGIN}\n\n{content}\n\n{END}{after}", encoding="utf-8")
