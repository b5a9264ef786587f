"""Compute again what a card claims, from the record of the run: one function a task."""

import contextlib
import dataclasses
import importlib.util
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from torch.utils.data import default_collate
from transformers import (
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTimeSeriesPrediction,
    AutoTokenizer,
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ..data import (
    SAMPLES,
    DataArguments,
    DataError,
    HeldOutSegments,
    ImageArguments,
    ImageCollator,
    LanguageModelCollator,
    PairArguments,
    PairCollator,
    ProcessedImages,
    SeriesArguments,
    TextArguments,
    TuneArguments,
    channel_statistics,
    count_text,
    cut_windows,
    load_images,
    load_series,
    load_text_classification,
    load_texts,
    load_translation,
    load_tunes,
    prompt_for,
    to_abc,
    tokenize_pairs,
    with_transpositions,
)
from ..metrics import (
    classification_scores,
    forecast_scores,
    language_modeling_scores,
    nats_of_rows,
    translation_scores,
)
from ..metrics.tune_validity import check_tune, valid_share
from ..training import Translator
from ..training.evaluation import cut_into_batches, logits_and_labels
from .bundle import target_tokenizer_of
from .card_texts import METRICS
from .errors import PublishingError


Scores = dict[str, dict[str, Any]]
FILES = tuple(f"{split}_{kind}" for split in ("train", "validation", "test") for kind in ("file", "target_file"))
GENERATED = "generated"  # the "split" of what a model wrote by itself
READ_AT_ONCE = 1024  # tokens of a stream whose state is carried on; the scores do not depend on it
MOST_SAMPLES = 1000


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
        UncheckableError: If the task is not known here, or the data is not to be had, or is other data by now.
    """
    evaluator = EVALUATORS.get(record.get("task", ""))
    if evaluator is None:
        raise UncheckableError(f"the task {record.get('task')!r} is not evaluated here")
    # As the run did it.
    is_bf16 = _recorded(record).get("mixed_precision") == "bf16"
    try:
        with torch.autocast("cpu", torch.bfloat16) if is_bf16 else contextlib.nullcontext():
            return evaluator(record, folder, dataset)
    except (DataError, PublishingError) as error:
        raise UncheckableError(str(error)) from error


def agrees(record: dict[str, Any], split: str, name: str, claimed: float, found: float) -> bool:
    """
    Whether a number computed again is the one that was claimed, but for what may differ from one machine to another.

    A share of samples drawn at random is compared with another sample's: four standard errors apart is not chance.
    One example of a split may come out otherwise by rounding, a corpus score may change by a sentence.
    """
    metric = METRICS.get(f"{record['task']}.{name}") or METRICS.get(name)
    is_share = bool(metric and metric.share)
    if split == GENERATED:
        samples = _samples_of(record)
        share = min(1.0, max(0.0, (claimed + found) / 2))
        return abs(claimed - found) <= 4 * math.sqrt(2 * share * (1 - share) / samples) + 1 / samples
    rows = record.get("dataset", {}).get("splits", {}).get(split, {}).get("rows")
    one_example = 0.0
    if rows and is_share:
        one_example = 1.5 / rows
    elif rows and name.startswith(("bleu", "chrf")):
        one_example = 100 / rows
    is_rough = _recorded(record).get("mixed_precision", "no") != "no"
    return math.isclose(claimed, found, rel_tol=1e-2 if is_rough else 1e-3, abs_tol=max(1e-4, one_example))


def data_arguments(
    record: dict[str, Any], dataset: str | None = None, kind: type = DataArguments
) -> DataArguments | ImageArguments | SeriesArguments:
    """
    The arguments by which the run read its data.

    Raises:
        UncheckableError: If that data was on the machine of whoever trained the model and `dataset` does not replace
            it, or the record names something that is no dataset.
    """
    return kind(**_data_values(record, dataset, [field.name for field in dataclasses.fields(kind)]))


def _data_values(record: dict[str, Any], dataset: str | None, names) -> dict[str, Any]:
    """What the record says of the arguments `names`, with data that a user names or anybody can get."""
    values = {name: value for name, value in _recorded(record).items() if name in names}
    files = {name: values.pop(name) for name in FILES if values.get(name)}
    if dataset and files:
        return {**values, "dataset_name": None, **_files_in(dataset, files)}
    if dataset:
        return {**values, "dataset_name": dataset}
    if files:
        raise UncheckableError("it was trained on local files; name a folder that holds them by --dataset_name")
    name = values.get("dataset_name")
    if not isinstance(name, str) or name.startswith("<local:"):
        raise UncheckableError("it was trained on local data; name it by --dataset_name")
    if name not in SAMPLES:
        try:
            validate_repo_id(name)  # never a path: the record is a stranger's
        except HFValidationError as error:
            raise UncheckableError(f"its run.json names {name!r}, which is no dataset") from error
        if Path(name).exists():
            raise UncheckableError(f"its run.json names {name!r}, and that lies here too; name it by --dataset_name")
    return values


def _files_in(folder: str, files: dict[str, Any]) -> dict[str, str]:
    """The user's files in the place of the run's, which have the same names."""
    found = {}
    for argument, name in files.items():
        file = re.sub(r"^<local:(.*)>$", r"\1", str(name)).replace("\\", "/").rsplit("/", 1)[-1]
        if not (Path(folder) / file).is_file():
            raise UncheckableError(f"{folder} holds no file {file!r}, the run's --{argument}")
        found[argument] = str(Path(folder) / file)
    return found


def _recorded(record: dict[str, Any]) -> dict[str, Any]:
    return record.get("hyperparameters") or {}


def _batch_size(record: dict[str, Any]) -> int:
    """The run's own for evaluation: how long a translation may be depends on what else is in its batch."""
    size = _recorded(record).get("per_device_eval_batch_size")
    return size if isinstance(size, int) and 0 < size <= 1024 else 32


def _same_rows(record: dict[str, Any], described: dict[str, Any]) -> list[str]:
    """The splits that the record claims something of and the data has, if their rows are those of the record."""
    claimed, found = record.get("dataset", {}).get("splits", {}), described["splits"]
    wanted = [split for split in record["metrics"] if split in found]
    for split in wanted:
        if split in claimed and claimed[split].get("fingerprint") != found[split]["fingerprint"]:
            raise UncheckableError(f"the rows of the split {split!r} are not those the model was measured on")
    return wanted


def _load(auto_class, folder: Path) -> PreTrainedModel:
    # Explicitly not: transformers would else ask the user, and never the code of a stranger in this process.
    return auto_class.from_pretrained(folder, use_safetensors=True, trust_remote_code=False).eval()


def _load_tokenizer(folder: Path, subfolder: str = "") -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(folder, subfolder=subfolder, trust_remote_code=False)


class _Alone:
    """A model that evaluates rows as a training loop does, without the loop."""

    def __init__(self, model: PreTrainedModel, batch_size: int):
        self.model = model
        self.batch_size = batch_size

    @torch.no_grad()
    def evaluate_rows(self, dataset, function: Callable, collator: Callable, lengths=None) -> list[Any]:
        """What `function` says of each row, in the dataset's order."""
        found = {}
        for rows in cut_into_batches(len(dataset), self.batch_size, lengths):
            found |= zip(rows, function(self.model, collator([dataset[row] for row in rows])), strict=True)
        return [found[row] for row in range(len(dataset))]


def _classification_scores(rows: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    logits, labels = zip(*rows, strict=True)
    return classification_scores(np.stack(logits), np.stack(labels))


def evaluate_text_classification(record: dict[str, Any], folder: Path, dataset: str | None) -> Scores:
    """Accuracy, F1 and loss as the recipe computes them."""
    loaded = load_text_classification(data_arguments(record, dataset))
    splits, wanted = loaded.splits, _same_rows(record, loaded.describe())
    tokenizer, alone = _load_tokenizer(folder), _Alone(_load(AutoModelForSequenceClassification, folder), 128)
    collate, found = DataCollatorWithPadding(tokenizer), {}
    for split in wanted:
        rows = [
            {**tokenizer(text, truncation=True), "labels": label}
            for text, label in zip(splits[split]["text"], splits[split]["label"], strict=True)
        ]
        # Longest first: little padding, and too little memory shows at once.
        rows.sort(key=lambda row: -len(row["input_ids"]))
        found[split] = _classification_scores(alone.evaluate_rows(rows, logits_and_labels, collate))
    return found


def evaluate_images(record: dict[str, Any], folder: Path, dataset: str | None) -> Scores:
    """Accuracy, F1 and loss as the recipe computes them."""
    loaded = load_images(data_arguments(record, dataset, ImageArguments))
    splits, wanted = loaded.splits, _same_rows(record, loaded.describe())
    processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
    alone = _Alone(_load(AutoModelForImageClassification, folder), 128)
    return {
        split: _classification_scores(
            alone.evaluate_rows(ProcessedImages(splits[split], processor), logits_and_labels, ImageCollator())
        )
        for split in wanted
    }


def evaluate_language_model(record: dict[str, Any], folder: Path, dataset: str | None) -> Scores:
    """Loss, perplexities and bits per character, with the context that the run read before what it scored."""
    recorded = _recorded(record)
    if recorded.get("streaming"):
        raise UncheckableError("its text was streamed, and no hash of it is on record")
    evaluation = record["dataset"]["evaluation"]
    loaded = load_texts(data_arguments(record, dataset, TextArguments))
    splits, wanted = loaded.splits, _same_rows(record, loaded.describe())
    segments = {"stride": evaluation["stride"], "context": evaluation["context"]}
    window = READ_AT_ONCE if evaluation["carried_state"] else None
    model, tokenizer = _load(AutoModelForCausalLM, folder), _load_tokenizer(folder)
    return {split: _score_text(model, tokenizer, splits[split], window, segments) for split in wanted}


def evaluate_music(record: dict[str, Any], folder: Path, dataset: str | None) -> Scores:
    """Loss and bits per character of whole tunes; and as many tunes written anew, with their valid share."""
    loaded = load_tunes(data_arguments(record, dataset, TuneArguments))
    splits, wanted = loaded.splits, _same_rows(record, loaded.describe())
    longest = int(_recorded(record)["max_length"])
    model, tokenizer = _load(AutoModelForCausalLM, folder), _load_tokenizer(folder)
    window = READ_AT_ONCE if model.config.model_type == "seqnlp_recurrent" else None
    segments = {"eos_token_id": tokenizer.eos_token_id, "stride": longest, "context": 0}
    found = {split: _score_text(model, tokenizer, splits[split], window, segments) for split in wanted}
    if GENERATED in record["metrics"] and importlib.util.find_spec("music21"):
        recorded = _recorded(record)
        known = with_transpositions(splits["train"], int(recorded.get("transpositions") or 0))
        prompt = prompt_for(recorded.get("key"), recorded.get("metre"), known)
        tunes = _write_tunes(model, tokenizer, record, prompt, longest)
        found[GENERATED] = valid_share(check_tune(to_abc(tune)) for tune in tunes)
    return found


def _score_text(model, tokenizer, part, window: int | None, segments: dict[str, Any]) -> dict[str, float]:
    ids = tokenizer(list(part["text"]), add_special_tokens=False)["input_ids"]
    rows = HeldOutSegments(ids, tokenizer.bos_token_id, **segments)

    def nats(model, batch):
        return nats_of_rows(model, batch, window)

    scored = _Alone(model, 16).evaluate_rows(rows, nats, LanguageModelCollator(tokenizer.pad_token_id))
    return language_modeling_scores(scored, rows.num_targets, **count_text(part))


def _samples_of(record: dict[str, Any]) -> int:
    return min(max(1, int(record["metrics"][GENERATED]["tunes"])), MOST_SAMPLES)


def _write_tunes(model, tokenizer, record: dict[str, Any], prompt: str, longest: int) -> list[str]:
    tunes, left = [], _samples_of(record)
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    torch.manual_seed(0)
    while left > 0:
        batch = torch.tensor([[tokenizer.bos_token_id, *ids]] * min(left, _batch_size(record)))
        written = model.generate(
            input_ids=batch,
            attention_mask=torch.ones_like(batch),
            do_sample=True,
            top_k=0,
            temperature=float(record["metrics"][GENERATED]["temperature"]),
            max_new_tokens=longest,
            suppress_tokens=[token for token in tokenizer.all_special_ids if token != tokenizer.eos_token_id],
        )
        tunes += tokenizer.batch_decode(written, skip_special_tokens=True)
        left -= len(batch)
    return tunes


def evaluate_translation(record: dict[str, Any], folder: Path, dataset: str | None) -> Scores:
    """Loss, BLEU in three ways and chrF, with the beams of the run."""
    loaded = load_translation(data_arguments(record, dataset, PairArguments))
    splits, wanted = loaded.splits, _same_rows(record, loaded.describe())
    model, tokenizer = _load(AutoModelForSeq2SeqLM, folder), _load_tokenizer(folder)
    subfolder = target_tokenizer_of(model.config)
    target = _load_tokenizer(folder, subfolder) if subfolder else tokenizer
    translator = Translator(_Alone(model, _batch_size(record)), target, PairCollator(tokenizer))
    beams = {"num_beams": int(_recorded(record)["num_beams"])}
    beams["length_penalty"] = float(_recorded(record)["length_penalty"])
    found = {}
    for split in wanted:
        pairs = splits[split]
        rows = tokenize_pairs(pairs, tokenizer, target)
        texts = translator.translate(rows, **beams)
        scores = translation_scores(pairs["source"], texts, pairs["target"], loaded.details["target"])
        found[split] = {"loss": translator.loss(rows), **scores}
    return found


def evaluate_series(record: dict[str, Any], folder: Path, dataset: str | None) -> Scores:
    """Errors of forecasts that are rolled out from the whole past."""
    arguments = data_arguments(record, dataset, SeriesArguments)
    loaded = load_series(arguments)
    splits, wanted = loaded.splits, _same_rows(record, loaded.describe())
    lengths = arguments.context_length, arguments.prediction_length
    windows = cut_windows(splits, *lengths, int(_recorded(record).get("window_stride", 1)))
    std = np.array(channel_statistics(splits["train"]["values"])[1])
    alone = _Alone(_load(AutoModelForTimeSeriesPrediction, folder), 256)

    def predict(model, batch):
        past = {"past_values": batch["past_values"], "past_observed_mask": batch["past_observed_mask"]}
        predicted = model(**past, prediction_length=lengths[1]).prediction_outputs
        return list(zip(predicted, batch["future_values"], batch["future_observed_mask"], strict=True))

    found = {}
    for split in wanted:
        columns = zip(*alone.evaluate_rows(windows[split], predict, default_collate), strict=True)
        found[split] = forecast_scores(*(torch.stack(column).numpy() for column in columns), std)
    return found


EVALUATORS: dict[str, Callable[[dict[str, Any], Path, str | None], Scores]] = {
    "image_classification": evaluate_images,
    "language_modeling": evaluate_language_model,
    "music_generation": evaluate_music,
    "sentiment_analysis": evaluate_text_classification,
    "trajectory": evaluate_series,
    "translation": evaluate_translation,
}
