"""Compute again what a card claims: a record that nobody trusts becomes a task, which evaluates as the recipe does."""

import contextlib
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from ..tasks import TASKS, Task, is_sample
from ..tasks.reporting.results import plain_name
from ..training import ModelEvaluator
from ..training.flags import role_of
from ..training.precision import emulates_bf16


Scores = dict[str, dict[str, Any]]
LARGEST_BATCH = 1024


class UncheckableError(Exception):
    """The claims cannot be checked here; the message says why."""


def evaluate_again(record: dict[str, Any], folder: Path, dataset: str | None = None) -> Scores:
    """
    The metrics of each split that `record` claims, computed anew from the model in `folder`.

    Args:
        record: The content of `run.json`; nothing in it is trusted.
        folder: A model, its tokenizer and its configuration. Its own code is not run.
        dataset: A local folder or file that takes the place of the dataset or the files that the record names.

    Raises:
        UncheckableError: If the task is not known here, or the data cannot be had, or is other data by now.
    """
    try:
        task = task_of(record, dataset)
        loaded = task.load()
        described = loaded.describe()
        splits = _same_rows(record, described)
        model = task.auto_class.from_pretrained(folder, use_safetensors=True, trust_remote_code=False).eval()
        data = task.prepare(loaded, task.load_processor(folder), splits)
        _same_examples(record, {"dataset": {**described, **data.details}}, splits)
        # As the run did it; but bfloat16 emulated takes sixty times as long, and float32 is no further from the run.
        is_bf16 = task.training_args.mixed_precision == "bf16" and not emulates_bf16(on_cpu=True)
        evaluator = ModelEvaluator(model, min(task.training_args.per_device_eval_batch_size, LARGEST_BATCH))
        with torch.autocast("cpu", torch.bfloat16) if is_bf16 else contextlib.nullcontext():
            return task.evaluate(evaluator, data, [*splits, *(set(record["metrics"]) & set(task.written))])
    except ValueError as error:
        if not type(error).__module__.startswith("seqnlp."):
            raise
        raise UncheckableError(str(error)) from error


def agrees(record: dict[str, Any], split: str, key: str, claimed: float, found: float) -> bool:
    """Whether a number computed again is the one that was claimed, but for what may differ between two machines."""
    task = TASKS[record["task"]]
    count = task.samples_of(record) if split in task.written else task.examples_of(record, split)
    mixed_precision = (record.get("hyperparameters") or {}).get("mixed_precision", "no") != "no"
    return task.score_of(key).agrees(claimed, found, count, mixed_precision)


def task_of(record: dict[str, Any], dataset: str | None = None) -> Task:
    """
    The task as the run had it, with data that a user names or anybody can get.

    Raises:
        UncheckableError: If the task is not known here; if the data was on the machine of whoever trained the model
            and `dataset` does not replace it; or if the record names something that is no dataset.
        ArgumentsError: For arguments that no flag takes.
    """
    task_class = TASKS.get(record.get("task")) if isinstance(record.get("task"), str) else None
    if task_class is None:
        raise UncheckableError(f"the task {record.get('task')!r} is not evaluated here")
    recorded = record.get("hyperparameters") or {}
    is_source = {name for name, field in task_class.fields().items() if role_of(field) == "data source"}
    files = {name: value for name, value in recorded.items() if name in is_source and name.endswith("_file") and value}
    if dataset and files:
        return task_class.from_record(record, dataset_name=None, **_files_in(dataset, files))
    if dataset:
        return task_class.from_record(record, dataset_name=dataset)
    if files:
        raise UncheckableError("it was trained on local files; name a folder that holds them by --dataset_name")
    _check_name(recorded.get("dataset_name"))
    return task_class.from_record(record)


def _check_name(name: Any) -> None:
    """Refuse what is no packaged sample and no name on the Hub, above all paths: the record is a stranger's."""
    if not isinstance(name, str) or name.startswith("<local:"):
        raise UncheckableError("it was trained on local data; name it by --dataset_name")
    if is_sample(name):
        return
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UncheckableError(f"its run.json names {name!r}, which is no dataset") from error
    if Path(name).exists():
        raise UncheckableError(f"its run.json names {name!r}, and that lies here too; name it by --dataset_name")


def _files_in(folder: str, files: dict[str, Any]) -> dict[str, str]:
    """The user's files in the place of the run's, which have the same names."""
    found = {}
    for argument, name in files.items():
        file = plain_name(str(name)).replace("\\", "/").rsplit("/", 1)[-1]
        if not (Path(folder) / file).is_file():
            raise UncheckableError(f"{folder} holds no file {file!r}, the run's --{argument}")
        found[argument] = str(Path(folder) / file)
    return found


def _same_rows(record: dict[str, Any], described: dict[str, Any]) -> list[str]:
    """The splits that the record claims something of and the data has, if their rows are those of the record."""
    claimed, found = record.get("dataset", {}).get("splits", {}), described["splits"]
    wanted = [split for split in record["metrics"] if split in found]
    for split in wanted:
        if found[split].get("streamed") or claimed.get(split, {}).get("streamed"):
            raise UncheckableError("its text was streamed, and no hash of it is on record")
        if split in claimed and claimed[split].get("fingerprint") != found[split]["fingerprint"]:
            raise UncheckableError(f"the rows of the split {split!r} are not those the model was measured on")
    return wanted


def _same_examples(record: dict[str, Any], found: dict[str, Any], splits: list[str]) -> None:
    """Refuse a record that counts other examples than there are: of fewer, its numbers might be farther off."""
    task = TASKS[record["task"]]
    for split in splits:
        claimed, counted = task.examples_of(record, split), task.examples_of(found, split)
        if claimed is not None and claimed != counted:
            raise UncheckableError(f"its split {split!r} has {counted:,} examples, and run.json says {claimed!r}")
