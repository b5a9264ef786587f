"""Text of others, on a terminal where something follows it, and as words of a command; imports nothing of seqnlp."""

import os
import unicodedata
from collections.abc import Iterable


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


def no_text_in(words: Iterable[str]) -> str | None:
    """
    What is wrong with the first word of a command that is no text, which no tokenizer, page or record could take: it
    holds bytes that are not of the encoding of the command line, UTF-8 nearly everywhere. `None` where all are text.
    """
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            near = os.fsencode(word[max(0, error.start - 20) : error.start + 20]).decode(errors="backslashreplace")
            return (
                f"A word of the command is no text at '{near}', which holds bytes of another encoding. Type it in "
                "UTF-8, or convert it, e.g. by `iconv -f CP1252 -t UTF-8`."
            )
    return None


def _acts(character: str) -> bool:
    if character.isprintable() or character in "\n\t":
        return False
    return unicodedata.category(character) in _NO_CHARACTERS or unicodedata.bidirectional(character) in _TURNS
