"""What a model answers, in one line."""

from collections.abc import Callable
from typing import Any

from ..demo import (
    Answer,
    ClassAnswer,
    DemoError,
    ImageAnswer,
    MaskAnswer,
    Options,
    TagAnswer,
    TextAnswer,
    TextWriter,
    TuneAnswer,
    answerer_for,
)
from ..demo.answers import Scored, visible
from .models import NamedModel


MOST = 5
"""Classes or tokens that are named."""


def answer_to(named: NamedModel, given: Any) -> str:
    """
    What a model says of a text or an image, in one line; empty for a model that has no head that answers.

    Args:
        named: The model; none that translates.
        given: The text or the image.
    """
    try:
        answerer = answerer_for(named)
        options = Options(max_new_tokens=1) if isinstance(answerer, TextWriter) else Options()
        answer = answerer.answer(given, options)
    except DemoError:
        return ""
    return SAID[type(answer)](answer)


def _classes(answer: ClassAnswer | ImageAnswer) -> str:
    if isinstance(answer, ClassAnswer) and answer.value is not None:
        return f"It answers {answer.value:.4g}."
    return f"It answers {_listed(answer.scores)}."


def _tags(answer: TagAnswer) -> str:
    return f"It answers {' '.join(f'{part.text}/{part.label}' for part in answer.labeled) or 'no entity'}."


def _gaps(answer: MaskAnswer) -> str:
    if not answer.gaps:
        return "There is no gap in the text to fill."
    return "It fills in " + "; then ".join(map(_listed, answer.gaps)) + "."


def _next(answer: TextAnswer) -> str:
    return f"Next it expects {_listed(answer.next)}."


def _listed(scored: list[Scored]) -> str:
    return ", ".join(f"{visible(one.text)} ({one.probability:.1%})" for one in scored[:MOST])


SAID: dict[type[Answer], Callable[[Any], str]] = {
    ClassAnswer: _classes,
    ImageAnswer: _classes,
    TagAnswer: _tags,
    MaskAnswer: _gaps,
    TextAnswer: _next,
    TuneAnswer: _next,
}
