"""What goes on inside a model, measured on the model that is given."""

from .attention import AttentionMap, attention_maps
from .errors import DiagnosticsError
from .gradient_flow import GradientFlow, GradientSeries, Window, cut_windows, loss_kind, measure_gradient_flow
from .recurrence import Saturation, recurrent_matrices, saturation, spectral_radius


__all__ = [
    "AttentionMap",
    "DiagnosticsError",
    "GradientFlow",
    "GradientSeries",
    "Saturation",
    "Window",
    "attention_maps",
    "cut_windows",
    "loss_kind",
    "measure_gradient_flow",
    "recurrent_matrices",
    "saturation",
    "spectral_radius",
]
from .dependency import TASKS, DependencyError, Task, measure_dependency


__all__ = ["TASKS", "DependencyError", "Task", "measure_dependency"]
