"""What a model answers, in one line."""

from typing import Any

from ..demo import DemoError, answerer_for
from .models import NamedModel


def answer_to(named: NamedModel, given: Any) -> str:
    """
    What a model says of a text or an image, in one line; empty for a model that has no head that answers.

    Args:
        named: The model; none that translates.
        given: The text or the image.
    """
    try:
        first = next(answerer_for(named).stream(given))  # of a model that writes: before it writes anything
        return first.in_words()
    except DemoError:
        return ""
