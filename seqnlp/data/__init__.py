"""Data: loading, checking and batching."""

from .batching import LengthGroupedBatchSampler, TokenBatchSampler
from .errors import DataError
from .images import DIGITS, ImageCollator, describe_images, load_images, patch_size_of
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
from .series import SIMULATION, SeriesWindows, channel_statistics, cut_windows, load_series, simulate_balls


__all__ = [
    "DIGITS",
    "SIMULATION",
    "DataError",
    "DataSource",
    "ImageCollator",
    "LengthGroupedBatchSampler",
    "SeriesWindows",
    "TokenBatchSampler",
    "channel_statistics",
    "cut_windows",
    "describe",
    "describe_images",
    "find_column",
    "fingerprint",
    "load_images",
    "load_sample",
    "load_series",
    "load_splits",
    "load_text_classification",
    "normalize_tweet",
    "patch_size_of",
    "select_split",
    "simulate_balls",
    "split_of",
    "words_of",
]
