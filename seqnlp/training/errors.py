"""Errors of training that are the user's to mend."""


class ArgumentsError(ValueError):
    """An argument that does not exist or whose value does not fit; the message names it and where it came from.

    The message is one line whatever the value is: a character that cannot be printed, a line ending for one, is
    shown by its escape.
    """

    def __init__(self, message):
        super().__init__(
            "".join(
                character if character.isprintable() else character.encode("unicode_escape").decode()
                for character in str(message)
            )
        )


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and where the last good checkpoint is."""


def in_one_line(error: BaseException, length: int | None = None) -> str:
    """What an error of another library says, without line breaks, cut to `length` characters."""
    return " ".join(str(error).split())[:length]
