"""What the pages of results say of translation: BLEU by test set, beside the literature, over time, by length."""

import statistics
from pathlib import Path
from typing import Any

from ...visualization import plot_bleu_by_length
from .results import Link, Record, dataset_of, groups_of, markdown_table, over_seeds, processors_of, shown_model


TESTS = {
    "test_2016_flickr": "test 2016",
    "test_2017_flickr": "test 2017",
    "test_2017_mscoco": "COCO 2017",
    "test_2018_flickr": "test 2018",
}
"""The test sets of Multi30k in the configuration that has all; the set on the Hub has the first, as `test`."""

PUBLISHED = {"Transformer-Tiny, Wu et al. 2021": {"test 2016": "41.0"}}
"""BLEU over lower-cased Moses tokens; docs/results.md says where it was found."""

BLEU_STEPS = (10, 20, 30, 35)


def multi30k(records: list[Record]) -> dict[str, list[Record]]:
    """The runs on Multi30k, by model."""
    known = [record for record in records if "multi30k" in dataset_of(record).lower()]
    return {model: group for (_, model, _), group in sorted(groups_of(known).items(), reverse=True)}


def translation_section(records: list[Record], link: Link) -> str:
    """The tables of Multi30k with a line before each; empty where there is no run of it."""
    groups = multi30k(records)
    if not groups:
        return ""
    beams = sorted({record["hyperparameters"]["num_beams"] for group in groups.values() for record in group})
    parts = [
        "Multi30k English-German: BLEU of lower-cased plain text (sacrebleu, 13a), beams of "
        f"{' or '.join(map(str, beams))}. After ±: for one seed half the 95 % interval over 1,000 samples of the "
        "sentences, for more the standard deviation.",
        markdown_table([_scores_row(group, link) for group in groups.values()]),
        "The same over lower-cased Moses tokens, which alone may be set beside the literature's:",
        markdown_table(
            [
                *({"model": name, **_by_test(group, "bleu_lowercase_moses")} for name, group in groups.items()),
                *({"model": name, **scores} for name, scores in PUBLISHED.items()),
            ]
        ),
        "Hours of training in all, target tokens per second, and minutes, validation included, until the greedy BLEU "
        "on validation reached",
        markdown_table([_time_row(name, group) for name, group in groups.items()]),
        f"BLEU as in the first table by the words of the source, {TESTS['test_2016_flickr']}:",
        markdown_table([row for name, group in groups.items() if (row := _length_row(name, group))]),
    ]
    return "\n\n".join(part for part in parts if part)


def draw_bleu_by_length(records: list[Record], picture: Path) -> bool:
    """
    Draw BLEU by the length of the source for each model on Multi30k, over the test set of 2016: means over the seeds.
    Gives whether there is such a model.
    """
    lines, architectures = {}, {}
    for name, group in multi30k(records).items():
        if bins := _bleu_by_length(group):
            lines[name] = bins
            architectures[name] = group[0]["hyperparameters"]["architecture"]
    if lines:
        title = "How well sentences of each length are translated"
        subtitle = "Multi30k English-German, test set of 2016"
        plot_bleu_by_length(lines, picture, title, subtitle, architectures)
    return bool(lines)


def scores_of_test(record: Record, split: str) -> dict[str, Any] | None:
    """The scores of one of [`TESTS`], whatever it is called in the record."""
    metrics = record["metrics"]
    return metrics.get(split) or (metrics.get("test") if split == next(iter(TESTS)) else None)


def bleu_of(records: list[Record], split: str, kind: str) -> str:
    """BLEU over the seeds; empty where not every seed has it."""
    found = [scores_of_test(record, split) for record in records]
    return over_seeds(found, kind, ".1f") if all(found) else ""


def _by_test(group: list[Record], kind: str) -> dict[str, str]:
    return {shown: bleu_of(group, split, kind) for split, shown in TESTS.items()}


def _scores_row(group: list[Record], link: Link) -> dict[str, Any]:
    return {
        "model": shown_model(group, link),
        "seeds": len(group),
        "validation": bleu_of(group, "validation", "bleu_lowercase"),
        **_by_test(group, "bleu_lowercase"),
    }


def _time_row(name: str, group: list[Record]) -> dict[str, Any]:
    """Means over the seeds; empty where not every seed got there."""
    validation = [record["metrics"]["validation"] for record in group]
    reached = [scores.get("seconds_to_bleu", {}) for scores in validation]
    hours = statistics.mean(record["seconds"]["training"] for record in group) / 3600
    minutes = {
        f"BLEU {bleu}": f"{statistics.mean(seen[str(bleu)] for seen in reached) / 60:.0f}"
        if all(str(bleu) in seen for seen in reached)
        else ""
        for bleu in BLEU_STEPS
    }
    speed = statistics.mean(scores["target_tokens_per_second"] for scores in validation)
    shown = f"{name} ({processors_of(group)})"
    return {"model": shown, "hours": f"{hours:.2f}", "tokens/s": f"{speed:,.0f}", **minutes}


def _bleu_by_length(group: list[Record]) -> list[dict[str, Any]]:
    """Means over the seeds; the sentences, and so the bins, are the same for every model. Empty if a seed has none."""
    found = [scores_of_test(record, next(iter(TESTS))) for record in group]
    if not all(found):
        return []
    bins = zip(*(scores["bleu_by_source_length"] for scores in found), strict=True)
    return [{**seeds[0], "bleu": statistics.mean(item["bleu"] for item in seeds)} for seeds in bins]


def _length_row(name: str, group: list[Record]) -> dict[str, Any]:
    bins = _bleu_by_length(group)
    cells = {f"{item['from']}-{item['to']} ({item['sentences']})": f"{item['bleu']:.1f}" for item in bins}
    return {"model": name, **cells} if cells else {}
