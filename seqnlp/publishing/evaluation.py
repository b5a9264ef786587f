"""Compute again what a card claims, from the record of the run: one function a task."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding

from ..data import DataError, describe, load_text_classification
from ..metrics import classification_scores
from ..training import DataArguments


Scores = dict[str, dict[str, Any]]


class UncheckableError(Exception):
    """The claims cannot be checked here; the message says why."""


def evaluate_again(record: dict[str, Any], folder: Path, dataset: str | None = None) -> Scores:
    """
    The metrics of each split that `record` claims, computed anew from the model in `folder`.

    Args:
        record: The content of `run.json`; nothing in it is trusted.
        folder: A model, its tokenizer and its configuration. Its own code is not run.
        dataset: A local folder or file that takes the place of the dataset that the record names.

    Raises:
        UncheckableError: If the task is not known here, or the data is not to be had, or is other data by now.
    """
    evaluator = EVALUATORS.get(record.get("task", ""))
    if evaluator is None:
        raise UncheckableError(f"the task {record.get('task')!r} is not evaluated here")
    return evaluator(record, folder, dataset)


def data_arguments(record: dict[str, Any], dataset: str | None = None) -> DataArguments:
    """
    The arguments by which the run read its data.

    Raises:
        UncheckableError: If that data was on the machine of whoever trained the model and `dataset` does not replace
            it, or the record names something that is no dataset.
    """
    recorded = record.get("hyperparameters") or {}
    names = {field.name for field in dataclasses.fields(DataArguments)}
    values = {name: value for name, value in recorded.items() if name in names}
    for name in ("train_file", "validation_file", "test_file"):
        if values.pop(name, None) and not dataset:
            raise UncheckableError("it was trained on local files; name them by --dataset_name")
    if dataset:
        return DataArguments(**{**values, "dataset_name": dataset})
    name = values.get("dataset_name")
    if not isinstance(name, str) or name.startswith("<local:"):
        raise UncheckableError("it was trained on local data; name it by --dataset_name")
    if not name.startswith("sample:"):
        try:
            validate_repo_id(name)  # never a path: the record is a stranger's
        except HFValidationError as error:
            raise UncheckableError(f"its run.json names {name!r}, which is no dataset") from error
    return DataArguments(**values)


def evaluate_text_classification(record: dict[str, Any], folder: Path, dataset: str | None) -> Scores:
    """Accuracy, F1 and loss as the recipe computes them."""
    try:
        splits, source = load_text_classification(data_arguments(record, dataset))
    except DataError as error:
        raise UncheckableError(str(error)) from error
    wanted = [split for split in record["metrics"] if split in splits]
    _same_rows(record, describe(splits, source), wanted)
    # Explicitly not: transformers would else ask the user, and never the code of a stranger in this process.
    options = {"trust_remote_code": False}
    model = AutoModelForSequenceClassification.from_pretrained(folder, use_safetensors=True, **options).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    collate, found = DataCollatorWithPadding(tokenizer), {}
    for split in wanted:
        rows = [tokenizer(text, truncation=True) for text in splits[split]["text"]]
        # Longest first: little padding, and too little memory shows at once.
        order = sorted(range(len(rows)), key=lambda row: -len(rows[row]["input_ids"]))
        logits = np.zeros((len(rows), model.config.num_labels), dtype=np.float32)
        for start in range(0, len(order), 128):
            part = order[start : start + 128]
            with torch.no_grad():
                logits[part] = model(**collate([rows[row] for row in part])).logits.float().numpy()
        found[split] = classification_scores(logits, np.array(splits[split]["label"]))
    return found


def _same_rows(record: dict[str, Any], described: dict[str, Any], wanted: list[str]) -> None:
    claimed = record.get("dataset", {}).get("splits", {})
    missing = [split for split in record["metrics"] if split not in wanted]
    if missing:
        raise UncheckableError(f"the data has no split {missing[0]!r} any more")
    for split in wanted:
        if split in claimed and claimed[split].get("fingerprint") != described["splits"][split]["fingerprint"]:
            raise UncheckableError(f"the rows of the split {split!r} are not those the model was measured on")


EVALUATORS: dict[str, Callable[[dict[str, Any], Path, str | None], Scores]] = {
    "sentiment_analysis": evaluate_text_classification,
}
