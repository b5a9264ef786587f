"""Write the README's results table from the records of the runs that are kept.

    python -m benchmarks.results           # rebuild the table between the markers in README.md
    python -m benchmarks.results RUN.json  # keep the record of a finished run, and rebuild

A record is the `run.json` that a recipe leaves, kept as `benchmarks/results/TASK-DATASET-ARCHITECTURE-SEED.json`.
"""

import json
import re
import statistics
import sys
from collections import defaultdict
from pathlib import Path

from tabulate import tabulate


ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- results: written by python -m benchmarks.results -->", "<!-- end of results -->"


def file_name(record: dict) -> str:
    """The name a record is kept under."""
    parts = [record["task"], dataset_name(record), record["hyperparameters"]["architecture"], record["seed"]]
    return "-".join(re.sub(r"[^\w.]+", "_", str(part)).strip("_") for part in parts) + ".json"


def dataset_name(record: dict) -> str:
    """Name and configuration of a record's dataset."""
    name = record["dataset"]["name"].removeprefix("<local:").removesuffix(">")
    return " ".join(filter(None, (name, record["dataset"]["config"])))


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


def main(new: list[str]) -> None:
    """Keep the records named, then rebuild the table."""
    for path in new:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        (RESULTS / file_name(record)).write_text(Path(path).read_text(encoding="utf-8"), encoding="utf-8")
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        sys.exit(f"error: README.md lacks the lines {BEGIN!r} and {END!r}, between which the table goes.")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    readme.write_text(f"{before}{BEGIN}\n\n{table(records)}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
