"""Words of a command that hold lists."""

from collections.abc import Iterable


class FlagError(ValueError):
    """A flag whose value cannot be read; the message says which and what would do."""


def parse_list(text: str, known: Iterable[str] | None = None, flag: str = "") -> list[str]:
    """
    The parts of a list with commas.

    Raises:
        FlagError: For an empty list, a part twice, and one that is not known.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    known = list(known) if known is not None else None
    wrong = next((part for part in parts if known is not None and part not in known), None)
    if wrong is not None:
        raise FlagError(f"{flag} {text}: there is no {wrong!r}; choose among {', '.join(known)}.")
    if not parts or len(set(parts)) < len(parts):
        raise FlagError(f"{flag} {text}: name at least one, each once.")
    return parts


def parse_numbers(text: str, flag: str) -> list[int]:
    """
    Whole numbers above 0 in a list with commas.

    Raises:
        FlagError: For anything else.
    """
    parts = parse_list(text, flag=flag)
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise FlagError(f"{flag} {text}: give whole numbers above 0, e.g. 8,16,32.")
    return [int(part) for part in parts]
