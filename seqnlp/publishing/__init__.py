"""From a finished run to a model on the Hub."""

from .hub import PublishingError, push_to_hub


__all__ = ["PublishingError", "push_to_hub"]
