"""Work on whole datasets, such as tokenization, that is done once for all processes and runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
from datasets import Dataset
from datasets.fingerprint import Hasher

from .errors import DataError


def map_once(dataset: Dataset, function: Callable[..., dict[str, list]], **settings: Any) -> Dataset:
    """
    `dataset.map(function, batched=True)`, or what it gave when the same was made of the same before.

    `datasets` itself keeps results of data on the disk alone, where texts that were checked and cleaned are in memory.
    The result is in the folder of its cache, under a hash of the data and of the function with all that it refers to,
    and is read from there as needed. A fast tokenizer works on a batch with every core.

    Args:
        dataset: What is mapped.
        function: From a batch of rows to columns.
        **settings: For `Dataset.map`.

    Raises:
        DataError: If the cache cannot be written to, as on a full disk.
    """
    if not datasets.is_caching_enabled():
        return dataset.map(function, batched=True, **settings)
    folder = Path(datasets.config.HF_DATASETS_CACHE) / "seqnlp"
    made_of = Hasher.hash((dataset._fingerprint, function, sorted(settings.items())))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return dataset.map(function, batched=True, cache_file_name=str(folder / f"{made_of}.arrow"), **settings)
    except OSError as error:
        raise DataError(
            f"The cache of prepared data, {folder}, cannot be written to: {' '.join(str(error).split())}. Make room "
            "there, or name another folder by the environment's HF_DATASETS_CACHE."
        ) from error
