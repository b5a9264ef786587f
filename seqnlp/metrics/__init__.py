"""Metrics as `evaluate.Metric` classes that need no network."""

from .classification import F1, Accuracy, classification_scores
from .forecast import constant_velocity_forecast, forecast_report, forecast_scores, last_value_forecast
from .perplexity import (
    BitsPerCharacter,
    Perplexity,
    language_modeling_report,
    language_modeling_scores,
    nats_of_rows,
    xz_bits_per_character,
)
from .report import classification_report
from .translation import BLEU, ChrF, bleu_by_source_length, moses_tokens, translation_report, translation_scores


__all__ = [
    "BLEU",
    "F1",
    "Accuracy",
    "BitsPerCharacter",
    "ChrF",
    "Perplexity",
    "bleu_by_source_length",
    "classification_report",
    "classification_scores",
    "constant_velocity_forecast",
    "forecast_report",
    "forecast_scores",
    "language_modeling_report",
    "language_modeling_scores",
    "last_value_forecast",
    "moses_tokens",
    "nats_of_rows",
    "translation_report",
    "translation_scores",
    "xz_bits_per_character",
]
