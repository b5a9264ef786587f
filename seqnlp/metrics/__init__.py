"""Metrics as `evaluate.Metric` classes that need no network."""

from .classification import F1, Accuracy
from .forecast import constant_velocity_forecast, forecast_report, forecast_scores, last_value_forecast
from .language_modeling import (
    BitsPerCharacter,
    Perplexity,
    language_modeling_scores,
    nats_of_rows,
    xz_bits_per_character,
)
from .report import classification_report


__all__ = [
    "F1",
    "Accuracy",
    "BitsPerCharacter",
    "Perplexity",
    "classification_report",
    "constant_velocity_forecast",
    "forecast_report",
    "forecast_scores",
    "language_modeling_scores",
    "last_value_forecast",
    "nats_of_rows",
    "xz_bits_per_character",
]
