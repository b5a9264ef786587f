"""The records of the runs that are kept, and what every table says of them."""

import re
import statistics
from pathlib import Path


ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def file_name(record: dict) -> str:
    """The name a record is kept under."""
    parts = [record["task"], dataset_name(record), model_name(record), record["seed"]]
    parts += [] if precision(record) == "float32" else [precision(record)]
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
    if attention is None:
        return architecture_of(record)
    return f"{architecture_of(record)}, {attention.replace('none', 'no')} attention"


def precision(record: dict) -> str:
    """The number format of a run's matrix products."""
    name = record["hyperparameters"].get("mixed_precision", "no")
    return "float32" if name == "no" else name


def size(record: dict) -> str:
    """The number of a model's parameters in millions."""
    return f"{record['model']['parameters'] / 1e6:.1f} M"


def reported(record: dict) -> str:
    """The split whose score is reported."""
    return "test" if "test" in record["metrics"] else "validation"


def mean_and_deviation(values: list[float], form: str) -> str:
    """Mean and standard deviation, each written in this form; one value alone has no deviation."""
    if len(values) == 1:
        return f"{values[0]:{form}}"
    return f"{statistics.mean(values):{form}} ± {statistics.stdev(values):{form}}"


def spread(values: list[float]) -> str:
    """Mean and standard deviation in percent."""
    return mean_and_deviation([100 * value for value in values], ".1f")


def decimals(values: list[float]) -> str:
    """Mean and standard deviation with three decimals."""
    return mean_and_deviation(values, ".3f")
