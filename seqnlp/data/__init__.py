"""Data: loading, checking and batching."""

from .batching import LengthGroupedBatchSampler, TokenBatchSampler
from .caching import map_once
from .errors import DataError
from .images import DIGITS, ImageCollator, ProcessedImages, describe_images, load_images, patch_size_of
from .loading import (
    DataSource,
    describe,
    find_column,
    fingerprint,
    load_splits,
    load_text_classification,
    select_split,
)
from .pairs import DropoutCollator, PairCollator, keep_short_pairs, pair_lengths, tokenize_pairs, train_pair_tokenizers
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
from .translation import Languages, load_translation
from .transposition import transpose_tune, with_transpositions
from .tunes import (
    load_tunes,
    normalize_key,
    normalize_metre,
    normalize_tune,
    notes_of,
    prompt_for,
    split_tunes,
    to_abc,
)


__all__ = [
    "DIGITS",
    "SIMULATION",
    "DataError",
    "DataSource",
    "DropoutCollator",
    "HeldOutSegments",
    "ImageCollator",
    "LanguageModelCollator",
    "Languages",
    "LengthGroupedBatchSampler",
    "PairCollator",
    "ProcessedImages",
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
    "keep_short_pairs",
    "load_images",
    "load_sample",
    "load_series",
    "load_splits",
    "load_text_classification",
    "load_texts",
    "load_translation",
    "load_tunes",
    "map_once",
    "normalize_key",
    "normalize_metre",
    "normalize_tune",
    "normalize_tweet",
    "notes_of",
    "pair_lengths",
    "patch_size_of",
    "prompt_for",
    "select_split",
    "simulate_balls",
    "split_of",
    "split_tunes",
    "stream_windows",
    "to_abc",
    "tokenize_pairs",
    "train_pair_tokenizers",
    "training_windows",
    "transpose_tune",
    "with_transpositions",
    "words_of",
]
