"""
Formulas without a script and without a network: LaTeX becomes MathML while the site is built.

Written as GitHub reads them: a block is a fence of the language `math`, and within a line it is LaTeX between
backticks between dollars.
"""

import re

from latex2mathml.converter import convert
from markdown import Extension
from markdown.inlinepatterns import InlineProcessor


INLINE = r"\$`([^`]+)`\$"
GATHERED = re.compile(r"\\(?:begin|end)\{gathered\}\n?")


def fence(source: str, language: str, css_class: str, options: dict, md, **kwargs) -> str:
    """
    A block of formulas, as `pymdownx.superfences` asks for it.

    Two backslashes part them, within `gathered`, outside of which GitHub breaks no line; here each is a block.
    """
    lines = [line.strip() for line in GATHERED.sub("", source).split("\\\\\n")]
    return "".join(f'<div class="formula">{convert(line, display="block")}</div>' for line in lines)


class Inline(InlineProcessor):
    """A formula within a line."""

    def handleMatch(self, m, data):
        """The formula, kept from whatever is done to text, and where it began and ended."""
        return self.md.htmlStash.store(convert(m.group(1))), m.start(0), m.end(0)


class Formulas(Extension):
    """Formulas within a line."""

    def extendMarkdown(self, md):
        """Before code between backticks is read."""
        md.inlinePatterns.register(Inline(INLINE, md), "formula", 200)


def makeExtension(**kwargs) -> Formulas:
    """What Markdown asks a module for."""
    return Formulas(**kwargs)
