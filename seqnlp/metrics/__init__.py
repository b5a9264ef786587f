"""Metrics as `evaluate.Metric` classes that need no network."""

from .classification import F1, Accuracy
from .forecast import constant_velocity_forecast, forecast_report, forecast_scores, last_value_forecast
from .report import classification_report


__all__ = [
    "F1",
    "Accuracy",
    "classification_report",
    "constant_velocity_forecast",
    "forecast_report",
    "forecast_scores",
    "last_value_forecast",
]
