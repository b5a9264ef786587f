"""What a run was set up with, so that it is resumed with the same or knowingly with something else."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from .checkpoints import CheckpointError
from .flags import COMPARED
from .run_record import RunRecord, plain


MOST_SHOWN = 8  # of what differs between two setups


def describe_setup(
    record: RunRecord,
    roles: Mapping[str, str],
    config: PreTrainedConfig,
    tokenizer: PreTrainedTokenizerBase | None,
) -> dict[str, Any]:
    """
    Arguments, data, tokenizer, model and number of processes, each under its name, as JSON gives them back.

    Args:
        record: The run's record, with its arguments and, where the recipe filled it in, its dataset, and the
            model or embeddings that it starts from, which count by their hash and not by their place.
        roles: The role of each argument, see [`seqnlp.training.flags.ROLES`]. Where the data comes from counts only if
            the record does not tell what it holds.
        config: The model's configuration.
        tokenizer: The tokenizer, if the model reads text.
    """
    splits = record.dataset.get("splits", {})
    compared = (*COMPARED, *(() if splits else ("data source",)))
    setup = {name: value for name, value in record.hyperparameters.items() if roles[name] in compared}
    setup["num_processes"] = record.num_processes
    for split, description in splits.items():
        setup[f"data of the split {split}"] = description.get("fingerprint", description)
    if record.base_model:
        setup["starting weights"] = record.base_model["sha256"]
    if record.embeddings:
        setup["starting embeddings"] = record.embeddings["sha256"]
    if record.teacher:
        setup["teacher"] = record.teacher["sha256"]
        setup["texts that it judges"] = record.teacher.get("further_texts")
    if tokenizer is not None:
        setup["tokenizer"] = tokenizer_fingerprint(tokenizer)
    for name, value in config.to_diff_dict().items():
        if not name.startswith(("_", "transformers_version", "dtype", "torch_dtype")):
            setup[f"model's {name}"] = value
    return json.loads(json.dumps(plain(setup)))


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """
    A hash of all that a tokenizer does to a text.

    Truncation and padding are left out: a fast tokenizer keeps those of its last call, so that they tell what it was
    used for and not what it is.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = json.loads(backend.to_str()) if backend else tokenizer.get_vocab()
    if backend:
        content |= {"truncation": None, "padding": None}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two setups, each as `name VALUE there, VALUE here`."""
    found = []
    for name in dict.fromkeys([*then, *now]):
        before, after = then.get(name), now.get(name)
        if before != after:
            found.append(f"{name} {_shown(before)} there, {_shown(after)} here")
    return found


def in_words(found: list[str]) -> str:
    """What [`differences`] found, in a line that ends."""
    more = len(found) - MOST_SHOWN
    return "; ".join(found[:MOST_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def check_optimizer(path: Path, then: dict[str, Any], now: dict[str, Any]) -> None:
    """
    Refuse to go on with the state of another optimizer, whatever else may change.

    Args:
        path: The checkpoint.
        then: What its run was set up with; runs of versions that had AdamW alone do not name it.
        now: What this run is set up with.

    Raises:
        CheckpointError: If the optimizers differ.
    """
    before = then.get("optimizer", "adamw")
    if before != now["optimizer"]:
        raise CheckpointError(
            f"The checkpoint {path} holds the state of --optimizer {before}, and this run has {now['optimizer']}: "
            "resume with that, or begin anew."
        )


def _shown(value: Any) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
