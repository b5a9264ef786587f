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
from .streams import (
    HeldOutSegments,
    LanguageModelCollator,
    StreamBatchSampler,
    TokenWindows,
    WindowBatchSampler,
    join_documents,
    stream_windows,
    training_windows,
)
from .text import check_text, count_text, describe_texts, load_texts


__all__ = [
    "DIGITS",
    "SIMULATION",
    "DataError",
    "DataSource",
    "HeldOutSegments",
    "ImageCollator",
    "LanguageModelCollator",
    "LengthGroupedBatchSampler",
    "SeriesWindows",
    "StreamBatchSampler",
    "TokenBatchSampler",
    "TokenWindows",
    "WindowBatchSampler",
    "channel_statistics",
    "check_text",
    "count_text",
    "cut_windows",
    "describe",
    "describe_images",
    "describe_texts",
    "find_column",
    "fingerprint",
    "join_documents",
    "load_images",
    "load_sample",
    "load_series",
    "load_splits",
    "load_text_classification",
    "load_texts",
    "normalize_tweet",
    "patch_size_of",
    "select_split",
    "simulate_balls",
    "split_of",
    "stream_windows",
    "training_windows",
    "words_of",
]
