"""What goes on inside a model, measured on the model that is given."""

from .attention import AttentionMap, attention_maps
from .dependency import TASKS, DependencyError, Task, measure_dependency
from .errors import DiagnosticsError
from .gradient_flow import (
    GradientFlow,
    GradientSeries,
    Window,
    clipped_steps,
    cut_windows,
    loss_kind,
    measure_gradient_flow,
)
from .recurrent_layers import Saturation, recurrent_matrices, saturation, spectral_radius


__all__ = [
    "TASKS",
    "AttentionMap",
    "DependencyError",
    "DiagnosticsError",
    "GradientFlow",
    "GradientSeries",
    "Saturation",
    "Task",
    "Window",
    "attention_maps",
    "clipped_steps",
    "cut_windows",
    "loss_kind",
    "measure_dependency",
    "measure_gradient_flow",
    "recurrent_matrices",
    "saturation",
    "spectral_radius",
]
