"""Metrics as `evaluate.Metric` classes that need no network."""

from .classification import F1, Accuracy
from .report import classification_report


__all__ = ["F1", "Accuracy", "classification_report"]
