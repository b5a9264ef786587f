"""Data: loading, checking and batching."""

from .arguments import (
    DataArguments,
    ImageArguments,
    LabelArguments,
    PairArguments,
    SeriesArguments,
    TaggingArguments,
    TextArguments,
    TuneArguments,
)
from .batching import LengthGroupedBatchSampler, TokenBatchSampler
from .caching import map_once
from .classification import load_text_classification, load_unlabeled
from .columns import count_tokens, join_lists, lengths_of, values_of
from .errors import DataError
from .images import ImageCollator, ProcessedImages, image_size_of, load_images, patch_size_of
from .labels import load_labeled_texts
from .loaded import DataSource, LoadedData, count_text, fingerprint
from .loading import find_column, load_splits, select_split
from .masking import MaskedBlocks, Masking, MaskingCollator, masking_of
from .melody import Melody, ReadTune
from .pairs import (
    DropoutCollator,
    PairCollator,
    cut_long_texts,
    keep_short_pairs,
    pair_lengths,
    tokenize_pairs,
    train_pair_tokenizers,
)
from .parallel_text import load_translation
from .samples import DIGITS, SAMPLES, SIMULATION, Sample, load_sample, normalize_tweet, split_of, words_of
from .series import SeriesWindows, channel_statistics, cut_windows, load_series, read_series_file
from .simulation import BOX, simulate_balls
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
from .tagging import labels_of, load_tagging
from .text import check_text, load_texts
from .transposition import scale_of, transpose_tune, with_transpositions
from .tunes import (
    form_of,
    key_of,
    load_tunes,
    normalize_form,
    normalize_key,
    normalize_metre,
    normalize_tune,
    notes_of,
    prompt_for,
    rhythms_of,
    split_tunes,
    to_abc,
)
from .unread import unread_flags


__all__ = [
    "BOX",
    "DIGITS",
    "SAMPLES",
    "SIMULATION",
    "DataArguments",
    "DataError",
    "DataSource",
    "DropoutCollator",
    "HeldOutSegments",
    "ImageArguments",
    "ImageCollator",
    "LabelArguments",
    "LanguageModelCollator",
    "LengthGroupedBatchSampler",
    "LoadedData",
    "MaskedBlocks",
    "Masking",
    "MaskingCollator",
    "Melody",
    "PairArguments",
    "PairCollator",
    "ProcessedImages",
    "ReadTune",
    "Sample",
    "SeriesArguments",
    "SeriesWindows",
    "StreamBatchSampler",
    "TaggingArguments",
    "TextArguments",
    "TokenBatchSampler",
    "TokenWindows",
    "TuneArguments",
    "WindowBatchSampler",
    "channel_statistics",
    "check_text",
    "count_text",
    "count_tokens",
    "cut_long_texts",
    "cut_windows",
    "find_column",
    "fingerprint",
    "form_of",
    "image_size_of",
    "join_documents",
    "join_lists",
    "keep_short_pairs",
    "key_of",
    "labels_of",
    "lengths_of",
    "load_images",
    "load_labeled_texts",
    "load_sample",
    "load_series",
    "load_splits",
    "load_tagging",
    "load_text_classification",
    "load_texts",
    "load_translation",
    "load_tunes",
    "load_unlabeled",
    "map_once",
    "masking_of",
    "normalize_form",
    "normalize_key",
    "normalize_metre",
    "normalize_tune",
    "normalize_tweet",
    "notes_of",
    "pair_lengths",
    "patch_size_of",
    "prompt_for",
    "read_series_file",
    "rhythms_of",
    "scale_of",
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
    "unread_flags",
    "values_of",
    "with_transpositions",
    "words_of",
]
