"""How the API's pages read docstrings: references are written as in transformers, [`Name`] or [`words`][Name]."""

import re

import griffe


REFERENCE = re.compile(r"\[`([^`\]]+)`\](?:\[([^\]]+)\])?(?!\()")


class References(griffe.Extension):
    """Makes references links where what they name has a place on the site, and code elsewhere."""

    def on_object(self, *, obj: griffe.Object, **kwargs) -> None:
        """Called with every object that was read."""
        if obj.docstring is not None:
            obj.docstring.value = REFERENCE.sub(lambda found: _linked(obj, *found.groups()), obj.docstring.value)


def _linked(obj: griffe.Object, words: str, name: str | None) -> str:
    first, dot, rest = (name or words).partition(".")
    try:
        path = f"{obj.resolve(first)}{dot}{rest}"
    except griffe.NameResolutionError:
        path = name or words
    return f'<autoref identifier="{path}" optional><code>{words}</code></autoref>'
