"""What was trained and did not reach its aim: the files of `benchmarks/results/tried/`, and docs/tried.md.

A file has what was found in a sentence or two, and the trials: the command of each, and for each seed the scores by
epoch on validation and those after training.
"""

import json
import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.records import RESULTS, joined
from seqnlp.metrics import Score, spread_of
from seqnlp.tasks import TASKS
from seqnlp.tasks.reporting.results import (
    Record,
    architecture_of,
    dataset_of,
    markdown_table,
    processors_of,
    shown_size,
)
from seqnlp.training.flags import COMPARED


TRIED = RESULTS / "tried"


def kept_trials() -> dict[Path, Record]:
    """What is kept, by file."""
    return {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(TRIED.glob("*.json"))}


def keep(records: Iterable[Record], name: str, finding: str) -> Path:
    """
    Keep finished runs of one task, dataset and architecture; those that differ by their seed alone are one trial.

    Args:
        records: Their `run.json`.
        name: What was tried, in a word or two; the end of the file's name.
        finding: What was found, with its numbers.

    Raises:
        ValueError: If they are of several tasks, datasets or architectures.
    """
    records = list(records)
    kinds = {(record["task"], dataset_of(record), architecture_of(record)) for record in records}
    if len(kinds) != 1:
        raise ValueError(f"one file holds one task, dataset and architecture, not {sorted(kinds)}")
    task, dataset, architecture = kinds.pop()
    shared = set.intersection(*map(settings_of, records))
    trials = defaultdict(list)
    for record in records:
        trials[" ".join(sorted(settings_of(record) - shared)) or name].append(record)
    kept = {
        "finding": finding,
        "task": task,
        "dataset": dataset,
        "architecture": architecture,
        "hardware": processors_of(records),
        "scores": {key: TASKS[task].reported_key(records[0], key) for key in TASKS[task].validated},
        "trials": [
            {
                "trial": trial,
                "command": group[0]["command"],
                "parameters": group[0]["model"]["parameters"],
                "runs": [run_of(record) for record in group],
            }
            for trial, group in trials.items()
        ],
    }
    path = TRIED / f"{joined([task, dataset, architecture, name])}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text_of(kept), encoding="utf-8")
    return path


def settings_of(record: Record) -> set[str]:
    """What a run was asked for but for its seed: `flag=value`, and of `--config_overrides` each on its own."""
    fields, found = TASKS[record["task"]].fields(), set()
    for name, value in record["hyperparameters"].items():
        if name == "config_overrides":
            found |= set(filter(None, (value or "").split(",")))
        elif name in fields and fields[name].metadata["role"] in COMPARED and name not in ("seed", "seeds"):
            found.add(f"{name}={value}")
    return found


def run_of(record: Record) -> Record:
    """What is kept of a run: seed, curves, and what was reported."""
    curves = defaultdict(dict)
    for entry in record["history"]:
        for key, value in entry.items():
            if key.startswith("validation_") and TASKS[record["task"]].score_of(key.removeprefix("validation_")):
                curves[key.removeprefix("validation_")][f"{entry['epoch']:g}"] = rounded(value)
    splits = record["dataset"].get("splits", {})
    metrics = {
        split: {key: rounded(value) for key, value in scores.items() if TASKS[record["task"]].score_of(key)}
        for split, scores in record["metrics"].items()
        if split in splits and split != "train"
    }
    return {"seed": record["seed"], "validation": dict(curves), "metrics": metrics}


def rounded(value: float) -> float:
    """With six digits that count."""
    return float(f"{value:.6g}")


def text_of(kept: Record) -> str:
    """As JSON in which a curve takes a line."""
    text = json.dumps(kept, indent=1, ensure_ascii=False) + "\n"
    return re.sub(r"\{\s+(\"[\d.]+\": [^{}]*?)\s+\}", lambda found: "{" + " ".join(found[1].split()) + "}", text)


def page(folder: Path) -> str:
    """All that is kept, task by task, as a page in a folder has it."""
    by_task = defaultdict(lambda: defaultdict(list))
    for path, kept in kept_trials().items():
        by_task[kept["task"]][kept["dataset"], kept["architecture"]].append((path, kept))
    parts = []
    for task, groups in by_task.items():
        parts.append(f"## {TASKS[task].title}")
        for (dataset, architecture), found in groups.items():
            parts.append(f"### {dataset}, {architecture}")
            for path, kept in found:
                parts += [f"{kept['finding']} ({kept['hardware']}; {link_to(path, folder)}.)", trials_table(kept)]
    return "\n\n".join(parts)


def link_to(path: Path, folder: Path) -> str:
    """The curves of a file, from a page in a folder."""
    return f"[commands and curves]({Path(os.path.relpath(path, folder)).as_posix()})"


def trials_table(kept: Record) -> str:
    """One row per trial: its size, seeds and epochs, and the scores by which such runs are validated."""
    task, rows = TASKS[kept["task"]], []
    scores = {key: score for key, reported in kept["scores"].items() if (score := task.score_of(reported))}
    for trial in kept["trials"]:
        runs = trial["runs"]
        epochs = sorted({round(max(map(float, curve))) for run in runs for curve in run["validation"].values()})
        rows.append(
            {
                "trial": trial["trial"],
                "parameters": shown_size(trial["parameters"]) if trial["parameters"] else "",
                "seeds": len(runs),
                "epochs": " to ".join(map(str, sorted({epochs[0], epochs[-1]}))) if epochs else "",
                "validation": shown(scores.values(), [on_validation(run, scores) for run in runs]),
                "test": shown(scores.values(), [on_test(run) for run in runs]),
            }
        )
    return markdown_table(rows)


def on_validation(run: Record, scores: Mapping[str, Score]) -> dict[str, float]:
    """Each score after training, or else the best of its curve, whose key in validations is the score's here."""
    found = dict(run["metrics"].get("validation", {}))
    for key, score in scores.items():
        if score.key not in found and (curve := run["validation"].get(key)):
            found[score.key] = (max if score.greater_is_better else min)(curve.values())
    return found


def on_test(run: Record) -> dict[str, float]:
    """The scores of the first split that is a test."""
    return next((scores for split, scores in run["metrics"].items() if split != "validation"), {})


def shown(scores: Iterable[Score], runs: list[dict[str, float]]) -> str:
    """Those of these scores that all runs have, each with its name, mean and deviation."""
    parts = [
        f"{score.name} {score.shown_spread(spread_of(run[score.key] for run in runs))}"
        for score in scores
        if all(math.isfinite(run.get(score.key, math.nan)) for run in runs)
    ]
    return ", ".join(parts)
