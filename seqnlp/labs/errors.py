"""Errors of the labs that are the user's to mend."""


class LabsError(ValueError):
    """A lab or a check that is not there, or a notebook that cannot be read; the message says what would do."""
