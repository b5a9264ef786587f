"""What a run was set up with, so that it is resumed with the same or knowingly with something else."""

import hashlib
import json
from typing import Any

from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from .run_record import RunRecord, plain


# They change where the results go, how long a run takes or what it tells, but not what is trained.
HARMLESS = {
    "output_dir",
    "overwrite_output_dir",
    "resume_from_checkpoint",
    "resume_with_changes",
    "max_train_minutes",
    "logging_steps",
    "checkpointing_steps",
    "save_total_limit",
    "report_to",
    "num_threads",
    "dataloader_num_workers",
    "preprocessing_num_workers",
    "push_to_hub",
    "hub_model_id",
    "hub_private_repo",
}
# Where the data comes from; what it is counts, and its fingerprints say that.
DATA_SOURCE = {
    "dataset_name",
    "dataset_config_name",
    "dataset_revision",
    "train_file",
    "validation_file",
    "test_file",
    "train_split",
    "validation_split",
    "test_split",
    "text_column",
    "label_column",
}


def describe_setup(
    record: RunRecord, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase | None
) -> dict[str, Any]:
    """
    Arguments, data, tokenizer, model and number of processes, each under its name, as JSON gives them back.

    Args:
        record: The run's record, with its arguments and, where the recipe filled it in, its dataset.
        config: The model's configuration.
        tokenizer: The tokenizer, if the model reads text.
    """
    splits = record.dataset.get("splits", {})
    skipped = HARMLESS | (DATA_SOURCE if splits else set())
    setup = {name: value for name, value in record.hyperparameters.items() if name not in skipped}
    setup["num_processes"] = record.num_processes
    for split, description in splits.items():
        setup[f"data of the split {split}"] = description.get("fingerprint", description)
    if tokenizer is not None:
        setup["tokenizer"] = tokenizer_fingerprint(tokenizer)
    for name, value in config.to_diff_dict().items():
        if not name.startswith(("_", "transformers_version", "dtype", "torch_dtype")):
            setup[f"model's {name}"] = value
    return json.loads(json.dumps(plain(setup)))


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """A hash of all that a tokenizer does to a text."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = backend.to_str() if backend else json.dumps(sorted(tokenizer.get_vocab().items()))
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two setups, each as `name VALUE there, VALUE here`."""
    found = []
    for name in dict.fromkeys([*then, *now]):
        before, after = then.get(name), now.get(name)
        if before != after:
            found.append(f"{name} {_shown(before)} there, {_shown(after)} here")
    return found


def _shown(value: Any) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
