"""The commands that pages show, read as a shell reads them, and their Python."""

import re
import shlex
from collections.abc import Iterator
from itertools import product


BLOCK = re.compile(r"^```bash[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
HERE_DOCUMENT = re.compile(r"<<'(\w+)'\n.*?^\1$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"""^((?:[^"'#\n]|"[^"\n]*"|'[^'\n]*')*)(?<!\S)# .*$""", re.MULTILINE)


def scripts_of(page: str) -> list[str]:
    """The blocks of Python of a page."""
    return re.findall(r"^```python[^\n]*\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def commands_of(page: str) -> Iterator[list[str]]:
    """The words of each command of a page; a loop's once for each of its values."""
    for block in BLOCK.findall(page):
        loops: dict[str, list[str]] = {}
        for words in _split(COMMENT.sub(r"\1", HERE_DOCUMENT.sub("", block)).replace("\\\n", " ")):
            if words[0] == "for":
                loops[words[1]] = words[3:]
            elif words[0] == "done":
                loops.popitem()
            elif words != ["do"]:
                for values in product(*loops.values()):
                    known = dict(zip(loops, values, strict=True))
                    yield [re.sub(r"\$(\w+)", lambda found, known=known: known[found[1]], word) for word in words]


def _split(block: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(block, posix=True, punctuation_chars="\n|&;")
    lexer.whitespace, lexer.commenters, lexer.whitespace_split = " \t\r", "", True
    words: list[str] = []
    for token in lexer:
        if set(token) <= set("\n|&;"):
            if words:
                yield words
            words = []
        else:
            words.append(token)
    if words:
        yield words
