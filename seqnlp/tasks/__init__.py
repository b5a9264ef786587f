"""Tasks: one file each, with all that is known of it. A file put here is found by itself."""

import importlib
import pkgutil

from .arguments import ARCHITECTURES, GenerationArguments, ModelArguments, TextModelArguments
from .base import TASKS, Outcome, PreparedData, Score, Task
from .reporting.architectures import Architecture, describe_architecture
from .reporting.results import is_sample, sample_of


for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "ARCHITECTURES",
    "TASKS",
    "Architecture",
    "GenerationArguments",
    "ModelArguments",
    "Outcome",
    "PreparedData",
    "Score",
    "Task",
    "TextModelArguments",
    "describe_architecture",
    "is_sample",
    "sample_of",
]
