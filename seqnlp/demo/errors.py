"""What cannot be tried, in one line that says what was found and what would do."""


class DemoError(ValueError):
    """A model, an input or an option of which there is no answer; the message says why and what would do."""
