"""Write the README's results table from the records of the runs that are kept.

    python -m benchmarks.results           # rebuild the table between the markers in README.md
    python -m benchmarks.results RUN.json  # keep the record of a finished run, and rebuild

A record is the `run.json` that a recipe leaves, kept as `benchmarks/results/TASK-DATASET-ARCHITECTURE-SEED.json`.
"""

import json
import math
import re
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from tabulate import tabulate

from benchmarks.image_and_series_results import image_row, series_row
from seqnlp.visualization import plot_bleu_by_length


ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PICTURE = ROOT / "docs" / "translation_bleu_by_length.png"
BEGIN, END = "<!-- results: written by python -m benchmarks.results -->", "<!-- end of results -->"


def file_name(record: dict) -> str:
    """The name a record is kept under."""
    parts = [record["task"], dataset_name(record), model_name(record), record["seed"]]
    return "-".join(re.sub(r"[^\w.]+", "_", str(part)).strip("_") for part in parts) + ".json"


def dataset_name(record: dict) -> str:
    """Name and configuration of a record's dataset."""
    name = record["dataset"]["name"].removeprefix("<local:").removesuffix(">")
    return " ".join(filter(None, (name, record["dataset"]["config"])))


def architecture_of(record: dict) -> str:
    """What `--architecture` was, or the kind of model of a recipe that has one alone."""
    given = record["hyperparameters"].get("architecture")
    return given or record["model"]["config"]["model_type"].removeprefix("seqnlp_")


def model_name(record: dict) -> str:
    """A record's architecture, and its attention where it has the choice."""
    attention = record["model"]["config"].get("attention_type")
    return architecture_of(record) + (f" attention {attention}" if attention else "")


def is_multi30k(record: dict) -> bool:
    """Whether a record is of Multi30k, from the Hub or from a folder."""
    return "multi30k" in dataset_name(record).lower()


def spread(values: list[float]) -> str:
    """Mean and standard deviation in percent."""
    values = [100 * value for value in values]
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def table(records: list[dict]) -> str:
    """Accuracy by dataset and architecture, over the seeds, beside the baseline on the same split."""
    groups = defaultdict(list)
    for record in records:
        groups[dataset_name(record), record["hyperparameters"]["architecture"]].append(record)
    rows = []
    for (dataset, architecture), group in sorted(groups.items()):
        split = "test" if "test" in group[0]["metrics"] else "validation"
        rows.append(
            [
                dataset,
                architecture,
                f"{group[0]['model']['parameters'] / 1e6:.1f} M",
                len(group),
                spread([record["metrics"]["validation"]["accuracy"] for record in group]),
                f"{spread([record['metrics'][split]['accuracy'] for record in group])} ({split})",
                spread([group[0]["baselines"]["tfidf_logistic_regression"][split]["accuracy"]]),
            ]
        )
    headers = ["dataset", "architecture", "parameters", "seeds", "validation", "accuracy, %", "TF-IDF + log. reg."]
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


# Lower-cased BLEU over Moses tokens of Multi30k, as the papers give it, by test set.
MULTI30K_TESTS = ("test_2016_flickr", "test_2017_flickr", "test_2017_mscoco", "test_2018_flickr")
PUBLISHED_TRANSLATION = {
    "Transformer-Tiny, 2.6 M (Wu et al. 2021, ACL)": (41.02, 33.36, 29.88, None),
}


def translation_table(records: list[dict]) -> str:
    """
    BLEU by model and test set of Multi30k beside published figures.

    A cell holds the BLEU of lower-cased text over sacrebleu's 13a tokens and, in brackets, over
    Moses tokens, which alone may be set beside the published ones.
    """
    groups = defaultdict(list)
    for record in filter(is_multi30k, records):
        groups[model_name(record)].append(record)
    rows = []
    for name, group in sorted(groups.items(), reverse=True):
        cells = []
        for split in MULTI30K_TESTS:
            # The set on the Hub has the first alone, under the plain name.
            key = "test" if split == MULTI30K_TESTS[0] and split not in group[0]["metrics"] else split
            scores = [record["metrics"].get(key) for record in group]
            by_tokens = [
                spread([score[kind] / 100 for score in scores]) if all(scores) else ""
                for kind in ("bleu_lowercase", "bleu_lowercase_moses")
            ]
            cells.append(f"{by_tokens[0]} ({by_tokens[1]})" if all(scores) else "")
        minutes = statistics.mean(record["seconds"]["training"] for record in group) / 60
        speed = statistics.mean(record["metrics"]["validation"]["target_tokens_per_second"] for record in group)
        size = f"{group[0]['model']['parameters'] / 1e6:.1f} M"
        rows.append([name, size, len(group), f"{minutes:.0f}", f"{speed:,.0f}", *cells])
    for name, published in PUBLISHED_TRANSLATION.items():
        rows.append([name, "", "", "", "", *(f"({score})" if score else "" for score in published)])
    headers = ["model", "parameters", "seeds", "minutes", "tokens/s", *MULTI30K_TESTS]
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def draw_bleu_by_length(records: list[dict]) -> None:
    """Draw BLEU by the length of the source for the first record of each model, over Multi30k's test set of 2016."""
    lines = {}
    for record in records:
        scores = record["metrics"].get(MULTI30K_TESTS[0]) or record["metrics"].get("test")
        if scores and is_multi30k(record):
            lines.setdefault(model_name(record), scores["bleu_by_source_length"])
    if lines:
        title = "How well sentences of each length are translated"
        plot_bleu_by_length(lines, PICTURE, title, "Multi30k English-German, test set of 2016")


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
        "validation": decimals([record["metrics"]["validation"]["bits_per_character"] for record in group]),
        "bits per character": f"{decimals(scores)} ({split})",
        "valid tunes, %": f"{spread([tune['valid'] for tune in tunes])} of {tunes[0]['tunes']}",
        "temperature": tunes[0]["temperature"],
        "training tunes": spread([known["generated"]["valid"]]),
        "copied runs, %": spread([tune["copied"] for tune in tunes]),
        f"held-out tunes ({split})": spread([known[split]["copied"]]),
    }


def reported(record: dict) -> str:
    """The split whose score is reported."""
    return "test" if "test" in record["metrics"] else "validation"


def nats_over_all(record: dict) -> float:
    """Nats per character of all scored splits together; nanoGPT validates on what is validation and test here."""
    scored = {split: scores for split, scores in record["metrics"].items() if "nats_per_character" in scores}
    characters = {split: record["dataset"]["splits"][split]["characters"] for split in scored}
    total = sum(scores["nats_per_character"] * characters[split] for split, scores in scored.items())
    return total / sum(characters.values())


def decimals(values: list[float]) -> str:
    """Mean and standard deviation with three decimals."""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


def scores_table(records: list[dict], row_of: Callable[[str, list[dict]], dict]) -> str:
    """Scores by dataset and architecture, over the seeds; `row_of` gives the columns of a group by their names."""
    groups = defaultdict(list)
    for record in records:
        groups[dataset_name(record), model_name(record)].append(record)
    rows = [
        {
            "dataset": dataset,
            "architecture": architecture,
            "parameters": f"{group[0]['model']['parameters'] / 1e6:.1f} M",
            "seeds": len(group),
            **row_of(dataset, group),
        }
        for (dataset, architecture), group in sorted(groups.items())
    ]
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)


TABLES = {
    "sentiment_analysis": table,
    "translation": translation_table,
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
    content = "\n\n".join(tables)
    readme.write_text(f"{before}{BEGIN}\n\n{content}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
