"""Pictures of what was measured."""

from .learning_curves import plot_learning_curves


__all__ = ["plot_learning_curves"]
