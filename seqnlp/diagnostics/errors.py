"""What cannot be measured, in one line that says what was found and what would do."""


class DiagnosticsError(ValueError):
    """A model, a text or an image of which this cannot be measured."""
