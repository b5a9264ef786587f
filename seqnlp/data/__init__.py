"""Data: loading, checking and batching."""

from .batching import LengthGroupedBatchSampler, TokenBatchSampler
from .errors import DataError
from .loading import (
    DataSource,
    describe,
    find_column,
    fingerprint,
    load_splits,
    load_text_classification,
    select_split,
)
from .samples import load_sample, normalize_tweet, split_of, words_of


__all__ = [
    "DataError",
    "DataSource",
    "LengthGroupedBatchSampler",
    "TokenBatchSampler",
    "describe",
    "find_column",
    "fingerprint",
    "load_sample",
    "load_splits",
    "load_text_classification",
    "normalize_tweet",
    "select_split",
    "split_of",
    "words_of",
]
