"""What counts as a word in a text of any script."""

from collections.abc import Iterable

import regex


WITHOUT_SPACES = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*"
"""A character of a script that puts no spaces between words, with its marks: as the tokenizer of words has it."""

_CHARACTERS = regex.compile(rf"(?:{WITHOUT_SPACES})+")
_NO_LETTERS = regex.compile(r"\P{L}+")
# `\w` holds the marks of a letter too, as in Hindi, which Python's own `re` leaves out.
_WORD = regex.compile(rf"{WITHOUT_SPACES}|(?:(?!{WITHOUT_SPACES})\w)+")
_PIECE = regex.compile(rf"{WITHOUT_SPACES}|(?:(?!{WITHOUT_SPACES})\S)+")


def words_of(text: str) -> list[str]:
    """The words of a text, without punctuation; of scripts that put no spaces between words each character."""
    return _WORD.findall(text)


def count_words(text: str) -> int:
    """The number of words between white space; of scripts that put no spaces between words, of characters."""
    return sum(1 for _ in _PIECE.finditer(text))


def puts_no_spaces(texts: Iterable[str]) -> bool:
    """Whether most letters of some texts are of scripts that put no spaces between words."""
    letters = others = 0
    for text in texts:
        bare = _NO_LETTERS.sub("", text)
        letters += len(bare)
        others += len(_CHARACTERS.sub("", bare))
    return letters > 2 * others
