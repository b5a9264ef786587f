"""Pictures and pages of what was measured."""

from .attention import plot_attention, write_attention_page
from .gradient_flow import plot_gradient_flow
from .learning_curves import plot_learning_curves


__all__ = ["plot_attention", "plot_gradient_flow", "plot_learning_curves", "write_attention_page"]
