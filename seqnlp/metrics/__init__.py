"""Metrics as `evaluate.Metric` classes that need no network."""

from .classification import Accuracy, F1
from .forecast import constant_velocity_forecast, forecast_report, forecast_scores, last_value_forecast
from .language_modeling import BitsPerCharacter, Perplexity, language_modeling_scores, nats_of_rows, xz_bits_per_character
from .perplexity import BitsPerCharacter, Perplexity, language_modeling_scores, nats_of_rows, xz_bits_per_character
from .report import classification_report


__all__ = ["Accuracy", "BitsPerCharacter", "F1", "Perplexity", "classification_report", "constant_velocity_forecast", "forecast_report", "forecast_scores", "language_modeling_scores", "last_value_forecast", "nats_of_rows", "xz_bits_per_character"]
