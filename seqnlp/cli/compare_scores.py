"""What the runs of a comparison say of an architecture: quality over the seeds, cost, speed and memory."""

import statistics
from dataclasses import dataclass
from typing import Any

from scipy.stats import t as student

from ..metrics import spread_of
from ..tasks import TASKS, Score
from ..tasks.reporting.results import reported_split
from .compare_runs import CompareError
from .costs import class_of, count_flops


SIZE_FIELDS = ("hidden_size", "intermediate_size", "embedding_size")


@dataclass(frozen=True)
class Scores:
    """
    One architecture in a comparison.

    Attributes:
        architecture: Its name.
        split: The split that is reported.
        score: What is known of the metric that is reported.
        unit: What the metric is counted in, where its name does not say.
        curve_metric: The same metric where each validation has it, else the one by which the best model was chosen.
        values: The metric of each seed.
        baselines: The same metric of what needs no training.
        parameters: Number of parameters.
        flops: Floating-point operations of a forward pass.
        targets_per_second: Speed of training, the median over the runs.
        seconds: Time of training, the mean over the runs.
        memory: The most that a process of any run held, in MiB; on its GPU if there is one.
        curves: For each seed `(epoch, value)` of the validation metric.
        sizes: The sizes of the model by their names.
    """

    architecture: str
    split: str
    score: Score
    unit: str
    curve_metric: str
    values: list[float]
    baselines: dict[str, float]
    parameters: int
    flops: int
    targets_per_second: float
    seconds: float
    memory: float
    curves: list[list[tuple[float, float]]]
    sizes: dict[str, int]

    @property
    def metric(self) -> str:
        """The metric that is reported."""
        return self.score.key

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return spread_of(self.values).mean

    @property
    def interval(self) -> float | None:
        """Half the 95 % confidence interval of the mean by Student's t; `None` for one seed."""
        count, deviation = len(self.values), spread_of(self.values).deviation
        if deviation is None:
            return None
        return float(student.ppf(0.975, count - 1)) * deviation / count**0.5

    def is_apart(self, other: "Scores") -> bool:
        """Whether the intervals of both have nothing in common."""
        return abs(self.mean - other.mean) > (self.interval or 0.0) + (other.interval or 0.0)


def score_of_all(record: dict[str, Any], has_other_tokens: bool) -> Score | None:
    """
    By which all runs are compared: a task may choose by another number than those that it reports, and by one that
    says nothing of models which read other tokens.

    Args:
        record: Of a run.
        has_other_tokens: Whether there are such models.

    Raises:
        CompareError: If nothing that the task measures ranks them.
    """
    task = TASKS[record["task"]]
    if has_other_tokens and task.compared_by is not None:
        if not task.compared_by:
            raise CompareError(
                f"--models: nothing that {task.name} measures ranks models which read other tokens: each predicts "
                "tokens of its own. Compare them by a task that they are fine-tuned for."
            )
        return task.score_of(task.compared_by)
    return task.chosen_score(record, reported_split(record))


def summarize(architecture: str, records: list[dict], length: int, score: Score | None = None) -> Scores:
    """
    The scores of an architecture.

    Args:
        architecture: Its name.
        records: The record of each of its runs.
        length: Tokens of a text for which operations are counted.
        score: By which it is compared; by default as its first run says.

    Raises:
        CompareError: If one of its runs has no such score.
    """
    first = records[0]
    arguments, model = first["hyperparameters"], first["model"]
    split = reported_split(first)
    task = TASKS[first["task"]]
    score = score or score_of_all(first, False)
    metric = None if score is None else score.key
    for record in records:
        if not isinstance(record["metrics"].get(split, {}).get(metric), int | float):
            raise CompareError(
                f"{architecture}, seed {record['hyperparameters'].get('seed')}: its run reports no number as "
                f"{split} {metric}, by which all are compared: it may have diverged, or its tokens may not spell the "
                f"text. Leave {architecture} out, or lower the learning rate by --flags."
            )
    entries = [record["history"] for record in records]
    validated = {name for history in entries for entry in history for name in entry}
    is_validated = f"validation_{metric}" in validated
    wanted = metric if is_validated else arguments["metric_for_best_model"].removeprefix("validation_")
    name = f"validation_{wanted}"
    speeds = [entry["targets_per_second"] for history in entries for entry in history if "targets_per_second" in entry]
    memory = [record.get("memory", {}) for record in records]
    model_class = class_of(model["class"])
    return Scores(
        architecture=architecture,
        split=split,
        score=score,
        unit=task.unit_of(metric, arguments),
        curve_metric=wanted,
        values=[record["metrics"][split][metric] for record in records],
        baselines={
            key: parts[split][metric]
            for key, parts in first["baselines"].items()
            if isinstance(parts.get(split, {}).get(metric), int | float)
        },
        parameters=model["parameters"],
        flops=count_flops(model_class, model_class.config_class(**model["config"]), length),
        targets_per_second=statistics.median(speeds) if speeds else 0.0,
        seconds=statistics.mean(record["seconds"]["training"] for record in records),
        memory=max(held.get("gpu", held.get("resident", 0.0)) for held in memory),
        curves=[
            [(entry["epoch"], entry[name]) for entry in history if entry.get(name) is not None] for history in entries
        ],
        sizes={field: model["config"][field] for field in SIZE_FIELDS if field in model["config"]},
    )


def common_baselines(scores: list[Scores]) -> dict[str, float]:
    """The baselines that say the same beside every architecture: others say something of a model, not of the data."""
    return {
        name: value
        for name, value in scores[0].baselines.items()
        if all(one.baselines.get(name) == value for one in scores)
    }
