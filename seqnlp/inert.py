"""Text of others where something follows it on a terminal; imports nothing of seqnlp."""

import unicodedata


_TURNS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
"""Classes of the characters that turn the direction of all that follows (Unicode Standard Annex 9, table 4)."""
_NO_CHARACTERS = {"Cc", "Cs"}
"""Categories of control characters, and of halves of characters, which no stream takes."""


def inert(text: str) -> str:
    """
    A text, character by character, that does nothing to a terminal but to be seen there: what would move the cursor,
    change colors or turn the direction is a dot. Line breaks and tabs stay.
    """
    return "".join("·" if _acts(character) else character for character in text)


def _acts(character: str) -> bool:
    if character.isprintable() or character in "\n\t":
        return False
    return unicodedata.category(character) in _NO_CHARACTERS or unicodedata.bidirectional(character) in _TURNS
