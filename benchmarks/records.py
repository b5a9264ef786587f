"""The records of the runs that are kept, and the names of what is made of them."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from seqnlp.tasks.reporting.results import dataset_of, model_of, precision_of


ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def kept_records() -> list[dict[str, Any]]:
    """Every record, in the order of the files' names."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]


def file_name(record: dict[str, Any]) -> str:
    """The name a record is kept under."""
    parts = [record["task"], dataset_of(record), model_of(record), record["seed"]]
    parts += [] if precision_of(record) == "float32" else [precision_of(record)]
    return f"{joined(parts)}.json"


def joined(parts: Iterable[Any]) -> str:
    """One name of several parts, with an underscore for whatever a file's name should not have."""
    return "-".join(re.sub(r"[^\w.]+", "_", str(part)).strip("_") for part in parts)
