"""What the README says of translation: BLEU by test set, beside the literature, over time, by the source's length."""

import statistics
from collections import defaultdict

from tabulate import tabulate

from benchmarks.records import ROOT, dataset_name, model_name, size
from seqnlp.visualization import plot_bleu_by_length


PICTURE = ROOT / "docs" / "images" / "translation_bleu_by_length.png"
# The names of the test sets in the configuration that has all of them; the set on the Hub has the first, as `test`.
TESTS = {
    "test_2016_flickr": "test 2016",
    "test_2017_flickr": "test 2017",
    "test_2017_mscoco": "COCO 2017",
    "test_2018_flickr": "test 2018",
}
# BLEU over lower-cased Moses tokens of each, as the paper gives it.
PUBLISHED = {"Transformer-Tiny (Wu et al. 2021)": (41.0, None, None, None)}
DISTANCE = 5  # of BLEU, between two points of time that a run notes


def translation_section(records: list[dict]) -> str:
    """The tables of Multi30k with a line before each, and the picture; empty where there is no run of it."""
    groups = defaultdict(list)
    for record in records:
        if "multi30k" in dataset_name(record).lower():
            groups[model_name(record)].append(record)
    if not groups:
        return ""
    groups = dict(sorted(groups.items(), reverse=True))
    beams = sorted({record["hyperparameters"]["num_beams"] for group in groups.values() for record in group})
    parts = [
        "Multi30k English-German: BLEU of lower-cased plain text (sacrebleu, 13a), beams of "
        f"{' or '.join(map(str, beams))}. After ±: for one seed half the 95 % interval over 1,000 samples of the "
        "sentences, for more the standard deviation.",
        _table([_scores_row(name, group) for name, group in groups.items()]),
        "The same over lower-cased Moses tokens, which alone may be set beside the literature's:",
        _table([*(_moses_row(name, group) for name, group in groups.items()), *_published_rows()]),
        "Minutes of training, validation included, until the greedy BLEU on validation reached",
        _table(_time_rows(groups)),
        f"BLEU as in the first table by the words of the source, {TESTS['test_2016_flickr']}:",
        _table(_length_rows(groups)),
    ]
    if PICTURE.exists():
        parts.append(f"![BLEU by the words of the source]({PICTURE.relative_to(ROOT)})")
    return "\n\n".join(part for part in parts if part)


def draw_bleu_by_length(records: list[dict]) -> None:
    """Draw BLEU by the length of the source for the first run of each model, over the test set of 2016."""
    lines = {}
    for record in records:
        if "multi30k" in dataset_name(record).lower() and (scores := _scores(record, "test_2016_flickr")):
            lines.setdefault(model_name(record), scores["bleu_by_source_length"])
    if lines:
        title = "How well sentences of each length are translated"
        plot_bleu_by_length(lines, PICTURE, title, "Multi30k English-German, test set of 2016")


def _scores(record: dict, split: str) -> dict | None:
    metrics = record["metrics"]
    return metrics.get(split) or (metrics.get("test") if split == "test_2016_flickr" else None)


def _cell(group: list[dict], split: str, kind: str) -> str:
    scores = [_scores(record, split) for record in group]
    if not all(scores):
        return ""
    values = [score[kind] for score in scores]
    if len(values) > 1:
        return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"
    interval = scores[0].get("intervals", {}).get(kind)
    return f"{values[0]:.1f}" + ("" if interval is None else f" ± {interval:.1f}")


def _scores_row(name: str, group: list[dict]) -> dict:
    stopped = " (stopped by time)" if any(record.get("stopped") for record in group) else ""
    speeds = [record["metrics"]["validation"]["target_tokens_per_second"] for record in group]
    return {
        "model": name + stopped,
        "parameters": size(group[0]),
        "seeds": len(group),
        "hours": f"{statistics.mean(record['seconds']['training'] for record in group) / 3600:.1f}",
        "target tokens/s": f"{statistics.mean(speeds):,.0f}",
        "validation": _cell(group, "validation", "bleu_lowercase"),
        **{shown: _cell(group, split, "bleu_lowercase") for split, shown in TESTS.items()},
    }


def _moses_row(name: str, group: list[dict]) -> dict:
    return {"model": name, **{shown: _cell(group, split, "bleu_lowercase_moses") for split, shown in TESTS.items()}}


def _published_rows() -> list[dict]:
    shown = TESTS.values()
    return [{"model": name, **dict(zip(shown, scores, strict=True))} for name, scores in PUBLISHED.items()]


def _time_rows(groups: dict[str, list[dict]]) -> list[dict]:
    """The mean over the seeds; empty where not every seed got there."""
    reached = {
        name: [record["metrics"]["validation"].get("seconds_to_bleu", {}) for record in group]
        for name, group in groups.items()
    }
    highest = max((float(bleu) for times in reached.values() for seen in times for bleu in seen), default=0)
    steps = [f"{bleu}" for bleu in range(DISTANCE, int(highest) + 1, DISTANCE)]
    return [
        {
            "model": name,
            **{
                step: f"{statistics.mean(seen[step] for seen in times) / 60:.0f}"
                if all(step in seen for seen in times)
                else ""
                for step in steps
            },
        }
        for name, times in reached.items()
        if steps
    ]


def _length_rows(groups: dict[str, list[dict]]) -> list[dict]:
    """The mean over the seeds; the sentences, and so the bins, are the same for every model."""
    rows = []
    for name, group in groups.items():
        scores = [_scores(record, "test_2016_flickr") for record in group]
        if all(scores):
            bins = zip(*(score["bleu_by_source_length"] for score in scores), strict=True)
            cells = {
                f"{seeds[0]['from']}-{seeds[0]['to']} ({seeds[0]['sentences']})": statistics.mean(
                    item["bleu"] for item in seeds
                )
                for seeds in bins
            }
            rows.append({"model": name, **{words: f"{bleu:.1f}" for words, bleu in cells.items()}})
    return rows


def _table(rows: list[dict]) -> str:
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True) if rows else ""
