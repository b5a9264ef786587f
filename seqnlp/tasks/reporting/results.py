"""The tables of results, from the records of runs: what all of them share."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from tabulate import tabulate

from ...data import SAMPLES, Sample
from ...metrics import spread_of


if TYPE_CHECKING:
    from ..base import Task

Record = dict[str, Any]
Link = Callable[[Record, str], str]
"""Makes a link to a model's card of a text."""


class Headline(NamedTuple):
    """
    The score that stands for a run.

    Attributes:
        split: Of which split.
        key: Its key in `run.json`.
        value: Its value.
        shown: Its name, its value and its unit.
    """

    split: str
    key: str
    value: float
    shown: str


def plain_name(name: str) -> str:
    """The name of data, or of a model, on record, without the mark of what is local: `films` for `<local:films>`."""
    return name.removeprefix("<local:").removesuffix(">")


def dataset_of(record: Record) -> str:
    """Name and configuration of a record's dataset."""
    return " ".join(filter(None, (plain_name(record["dataset"]["name"]), record["dataset"].get("config"))))


def is_sample(name: Any) -> bool:
    """Whether a dataset's name is that of a packaged sample."""
    return name in SAMPLES


def sample_of(record: Record) -> Sample | None:
    """What is known of the packaged sample that a run was trained on, if it was one."""
    return SAMPLES.get((record.get("dataset") or {}).get("name"))


def architecture_of(record: Record) -> str:
    """The architecture by which a record's model was asked for, or else the kind of model it is."""
    given, config = record["hyperparameters"].get("architecture"), (record.get("model") or {}).get("config", {})
    if config and (config["model_type"] == "seqnlp_vision_transformer" or given is None):
        given = config["model_type"].removeprefix("seqnlp_")
    return given or ""


def config_file_of(record: Record) -> str | None:
    """Name of the file in `recipes/configs/` that a run was started with."""
    found = re.search(r"recipes/configs/([\w.-]+\.yaml)", record["command"])
    return found.group(1) if found else None


def variant_of(record: Record) -> str:
    """
    What tells models of one architecture on one dataset apart: a cell in the decoder, what the name of the config's
    file says after the architecture, as `none` in `translation_multi30k_gru_none.yaml`, or that it learned from a
    teacher; empty for most.
    """
    if cell := (record.get("model") or {}).get("config", {}).get("decoder_cell"):
        return cell
    named = re.search(rf"_{architecture_of(record)}_(\w+)\.yaml$", config_file_of(record) or "")
    return named.group(1) if named else "distilled" if record.get("teacher") else ""


def model_of(record: Record) -> str:
    """
    A record's architecture, and what tells it apart: the attention of an encoder-decoder that has the choice, or
    else its variant.
    """
    attention = record["model"]["config"].get("attention_type")
    detail = f"{attention.replace('none', 'no')} attention" if attention else variant_of(record).replace("_", " ")
    return ", ".join(filter(None, (architecture_of(record), detail)))


def precision_of(record: Record) -> str:
    """The number format of a run's matrix products."""
    name = record["hyperparameters"].get("mixed_precision", "no")
    return "float32" if name == "no" else name


def reported_split(record: Record) -> str:
    """The split whose score is reported: the first that is a test, or validation."""
    splits = record.get("dataset", {}).get("splits", {})
    tests = [split for split in record.get("metrics", {}) if split in splits and split not in ("train", "validation")]
    return (tests or ["validation"])[0]


def validation_of(task: type["Task"], record: Record, key: str) -> Any:
    """
    The validation by which a run is judged beside others, such as those of other seeds: the one that it reports of its
    model after training. What chose a step is of the weights of that step, and not of a mean that the model may have;
    it stands in where the score that chose is not reported.

    Args:
        task: The run's task.
        record: The content of `run.json`.
        key: The score that chooses, as validations call it.
    """
    reported = record.get("metrics", {}).get("validation", {})
    name = task.reported_key(record, key)
    return reported[name] if name in reported else record.get("kept", {}).get("value")


def shown_model(records: list[Record], link: Link) -> str:
    """A model with its number of parameters, as the first cells of a row have it."""
    first = records[0]
    name = model_of(first) if precision_of(first) == "float32" else f"{model_of(first)}, {precision_of(first)}"
    stopped = " (stopped by time)" if any(record.get("stopped") for record in records) else ""
    return f"{link(first, name)}, {shown_size(first['model']['parameters'])}{stopped}"


def shown_size(count: int) -> str:
    """A number of parameters, in millions or thousands."""
    return f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count / 1e3:.1f} k"


def processors_of(records: Iterable[Record]) -> str:
    """What the runs were trained on: the names of their GPUs without maker and memory, or CPU."""
    names = {", ".join(record["hardware"].get("gpus") or ["CPU"]) for record in records}
    return re.sub(r"NVIDIA | \d+GB( \w+)?", "", "; ".join(sorted(names)))


def groups_of(records: Iterable[Record]) -> dict[tuple[str, str, str], list[Record]]:
    """The runs that differ by their seed alone, by dataset, model and precision."""
    groups = defaultdict(list)
    for record in records:
        groups[dataset_of(record), model_of(record), precision_of(record)].append(record)
    return dict(sorted(groups.items()))


def results_table(records: list[Record], row_of: Callable[[list[Record], str], dict[str, str]], link: Link) -> str:
    """
    One row per dataset, model and precision, over the seeds.

    Args:
        records: The records of one task.
        row_of: Gives the cells of a group by their columns, four at most: a table that people read has seven.
        link: Makes the link to a model's card.
    """
    rows = [
        {
            "dataset": dataset,
            "model": shown_model(group, link),
            "seeds": len(group),
            **row_of(group, reported_split(group[0])),
        }
        for (dataset, _, _), group in groups_of(records).items()
    ]
    return markdown_table(rows)


def markdown_table(rows: list[dict[str, Any]]) -> str:
    """Rows as a table of Markdown; empty without any."""
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True) if rows else ""


def mean_and_deviation(values: Iterable[float], form: str, interval: float | None = None) -> str:
    """
    Mean and standard deviation, the one written in this form and the other with as many decimals; one value alone has
    half its 95 % interval instead, if that is known. Empty without values.
    """
    values = list(values)
    if not values:
        return ""
    mean, deviation = spread_of(values)
    shown, around = f"{mean:{form}}", interval if deviation is None else deviation
    if around is None:
        return shown
    count = len(shown.rstrip("%").partition(".")[2])
    return f"{shown} ± {around:.{count}{'%' if shown.endswith('%') else 'f'}}"


def over_seeds(scores: list[dict[str, Any]], key: str, form: str) -> str:
    """One of the scores of a split over the seeds, see [`mean_and_deviation`]."""
    interval = scores[0].get("intervals", {}).get(key) if len(scores) == 1 else None
    return mean_and_deviation((one[key] for one in scores), form, interval)


def decimals_over_seeds(records: list[Record], split: str, key: str) -> str:
    """One of the scores of a split over the seeds, with three decimals."""
    return over_seeds([record["metrics"][split] for record in records], key, ".3f")


def of_baseline(records: list[Record], name: str, split: str, key: str) -> list[float]:
    """The score of a baseline on a split; none where it could not be made or the record is older than it."""
    scores = records[0]["baselines"].get(name, {}).get(split, {})
    return [scores[key]] if key in scores else []


def spread(values: Iterable[float]) -> str:
    """Mean and standard deviation of shares, in percent."""
    return mean_and_deviation([100 * value for value in values], ".1f")


def decimals(values: Iterable[float]) -> str:
    """Mean and standard deviation with three decimals."""
    return mean_and_deviation(values, ".3f")
