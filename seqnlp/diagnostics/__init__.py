"""What goes on inside a model, measured on the model that is given."""

from .attention import AttentionMap, attention_maps
from .clipping import TrainingCurve, compare_clipping
from .dependency import DEPENDENCY_TASKS, DependencyError, DependencyTask, measure_dependency
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
from .states import Reading, Response, Trace, find_responses, read_states
from .text_properties import PROPERTIES, TextProperty, measure_properties


__all__ = [
    "DEPENDENCY_TASKS",
    "PROPERTIES",
    "AttentionMap",
    "DependencyError",
    "DependencyTask",
    "DiagnosticsError",
    "GradientFlow",
    "GradientSeries",
    "Reading",
    "Response",
    "Saturation",
    "TextProperty",
    "Trace",
    "TrainingCurve",
    "Window",
    "attention_maps",
    "clipped_steps",
    "compare_clipping",
    "cut_windows",
    "find_responses",
    "loss_kind",
    "measure_dependency",
    "measure_gradient_flow",
    "measure_properties",
    "read_states",
    "recurrent_matrices",
    "saturation",
    "spectral_radius",
]
