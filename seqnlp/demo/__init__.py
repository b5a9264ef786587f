"""Trying a model: what it answers, as plain data, and a page that shows it."""

from .answerers import Answerer, answerer_for
from .answers import (
    Answer,
    ClassAnswer,
    ImageAnswer,
    MaskAnswer,
    Options,
    SeriesAnswer,
    TagAnswer,
    TextAnswer,
    TranslationAnswer,
    TuneAnswer,
)
from .classifiers import GapFiller, ImageClassifier, TextClassifier, TokenClassifier
from .errors import DemoError
from .forecasters import Forecaster
from .inputs import Series, parse_series, read_image, read_series
from .writers import TextWriter, Translator, TuneWriter


__all__ = [
    "Answer",
    "Answerer",
    "ClassAnswer",
    "DemoError",
    "Forecaster",
    "GapFiller",
    "ImageAnswer",
    "ImageClassifier",
    "MaskAnswer",
    "Options",
    "Series",
    "SeriesAnswer",
    "TagAnswer",
    "TextAnswer",
    "TextClassifier",
    "TextWriter",
    "TokenClassifier",
    "TranslationAnswer",
    "Translator",
    "TuneAnswer",
    "TuneWriter",
    "answerer_for",
    "parse_series",
    "read_image",
    "read_series",
]
