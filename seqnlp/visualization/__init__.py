"""Pictures and pages of what was measured."""

from .attention import heat_over_image, plot_attention, write_attention_page
from .bleu_by_length import plot_bleu_by_length
from .forecasts import plot_examples, plot_forecasts, plot_memory, plot_paths
from .gradient_flow import plot_clipping, plot_gradient_flow
from .images import plot_image_errors
from .learning_curves import plot_learning_curves
from .states import ShownUnit, plot_states, write_states_page


__all__ = [
    "ShownUnit",
    "heat_over_image",
    "plot_attention",
    "plot_bleu_by_length",
    "plot_clipping",
    "plot_examples",
    "plot_forecasts",
    "plot_gradient_flow",
    "plot_image_errors",
    "plot_learning_curves",
    "plot_memory",
    "plot_paths",
    "plot_states",
    "write_attention_page",
    "write_states_page",
]
