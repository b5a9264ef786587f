"""What must never be published: access tokens and paths of the machine."""

import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huggingface_hub import get_token

from .errors import PublishingError


# The tokens of Hugging Face, GitHub, OpenAI-like services, AWS, Slack and W&B's place in a netrc or an argument.
_TOKEN = re.compile(
    r"\b(?:hf|api_org)_[A-Za-z0-9]{20,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}|\bsk-[\w-]{20,}"
    r"|\bAKIA[A-Z0-9]{16}\b|\bxox[abprs]-[\w-]{10,}|\b(?:api|access)[_-]?key[\"'\s:=]+\w{20,}"
)
# An absolute path: not the end of an address (https://x/home/y), nor of a relative path (a/tmp/b).
_PATH = re.compile(
    r"(?<![\w./:~<-])(?:~|/(?:home|Users|root|tmp|var|mnt|media|opt|srv|data|scratch|work|workspace|content|private|etc|usr))"
    r"/[\w.@-]+|\b[A-Za-z]:\\\\?\w+"
)
HIDDEN = "<token>"


def without_tokens(text: str) -> str:
    """`text` with every access token in it, the one in use first of all, put as `<token>`."""
    token = get_token()
    if token:
        text = text.replace(token, HIDDEN)
    return _TOKEN.sub(HIDDEN, text)


def find_private(text: str) -> str | None:
    """What must not be published in `text`, as it may be shown: a token only by its kind, a path in full."""
    token = get_token()
    if (token and token in text) or _TOKEN.search(text):
        return "an access token"
    for place in _places():
        if place in text:
            return f"the path {place}"
    path = _PATH.search(text)
    return f"the path {path.group()}" if path else None


def find_private_in_file(path: Path) -> str | None:
    """
    The first thing in a text file that must not be published, with its place: a key of JSON, or a line.
    """
    text = path.read_text(encoding="utf-8")
    parts = _json_strings(json.loads(text)) if path.suffix == ".json" else _lines(text)
    for place, part in parts:
        if found := find_private(part):
            return f"{path.name}, {place}: {found}"
    return None


def find_token_in_file(path: Path) -> str | None:
    """The same for tokens alone, in a file of any kind: the words of a vocabulary may look like paths."""
    content = path.read_bytes().decode("latin-1")
    if without_tokens(content) != content:
        return f"{path.name}: an access token"
    return None


def refuse_private(found: str | None) -> None:
    """
    Stop what is published at what was found in a file, if anything was.

    Raises:
        PublishingError: With what it is and where.
    """
    if found:
        raise PublishingError(f"{found} must not be published: take it out, then publish again.")


def _places() -> list[str]:
    # Short ones (/, /root) would be found in innocent text; the pattern above knows the usual roots.
    places = {str(place) for place in (Path.home(), Path.cwd(), tempfile.gettempdir(), sys.prefix)}
    return sorted((place for place in places if len(place) > 6), key=len, reverse=True)


def _lines(text: str) -> Iterator[tuple[str, str]]:
    return ((f"line {number}", line) for number, line in enumerate(text.splitlines(), 1))


def _json_strings(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield place or "its text", value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield f"{place} (a key)".strip(), key
            yield from _json_strings(item, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _json_strings(item, f"{place}[{index}]")
