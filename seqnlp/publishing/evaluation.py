"""Compute again what a card claims, from the record of the run: one function a task."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
)

from ..data import (
    DataError,
    HeldOutSegments,
    LanguageModelCollator,
    count_text,
    describe,
    describe_texts,
    load_text_classification,
    load_texts,
)
from ..metrics import classification_scores, language_modeling_scores, nats_of_rows
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
    wanted = _same_rows(record, describe(splits, source))
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


def evaluate_language_model(record: dict[str, Any], folder: Path, dataset: str | None) -> Scores:
    """Loss, perplexities and bits per character, with the context that the run read before what it scored."""
    recorded = record.get("hyperparameters") or {}
    if recorded.get("streaming"):
        raise UncheckableError("its text was streamed, and no hash of it is on record")
    evaluation = record["dataset"]["evaluation"]
    try:
        splits, source = load_texts(data_arguments(record, dataset), bool(recorded.get("join_rows")))
    except DataError as error:
        raise UncheckableError(str(error)) from error
    wanted = _same_rows(record, describe_texts(splits, source))
    options = {"trust_remote_code": False}
    model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, **options).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    collate, found = LanguageModelCollator(tokenizer.pad_token_id), {}
    window = READ_AT_ONCE if evaluation["carried_state"] else None
    for split in wanted:
        ids = tokenizer(list(splits[split]["text"]), add_special_tokens=False)["input_ids"]
        sizes = {"stride": evaluation["stride"], "context": evaluation["context"]}
        segments, nats = HeldOutSegments(ids, tokenizer.bos_token_id, **sizes), []
        for start in range(0, len(segments), 16):
            rows = [segments[row] for row in range(start, min(start + 16, len(segments)))]
            nats += nats_of_rows(model, collate(rows), window)
        found[split] = language_modeling_scores(nats, segments.num_targets, **count_text(splits[split]))
    return found


READ_AT_ONCE = 1024  # tokens of a stream whose state is carried on; the scores do not depend on it


def _same_rows(record: dict[str, Any], described: dict[str, Any]) -> list[str]:
    """The splits that the record claims something of and the data has, if their rows are those of the record."""
    claimed, found = record.get("dataset", {}).get("splits", {}), described["splits"]
    wanted = [split for split in record["metrics"] if split in found]
    for split in wanted:
        if split in claimed and claimed[split].get("fingerprint") != found[split]["fingerprint"]:
            raise UncheckableError(f"the rows of the split {split!r} are not those the model was measured on")
    return wanted


EVALUATORS: dict[str, Callable[[dict[str, Any], Path, str | None], Scores]] = {
    "sentiment_analysis": evaluate_text_classification,
    "language_modeling": evaluate_language_model,
}
