"""Errors of training that are the user's to mend."""


class ArgumentsError(ValueError):
    """An argument that does not exist or whose value does not fit; the message names it and where it came from."""
