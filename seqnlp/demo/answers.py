"""What a model answers, as plain data: the terminal, the page and `--json` show the same.

The names of the fields here are those of `seqnlp try --json`. A probability is one between 0 and 1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, TypeVar

from ..digits import significant


MOST_NAMED = 5
"""Classes or tokens that one line names."""


@dataclass
class Options:
    """
    How a model is to answer; what is `None` is as the model or its run has it.

    Attributes:
        temperature: The logits are divided by it before a token is drawn; 0 takes the likeliest each time.
        num_beams: Beams of a search; 1 is none.
        max_new_tokens: Tokens that are written at most; steps, for a forecast.
        seed: Of what is drawn.
    """

    temperature: float | None = None
    num_beams: int | None = None
    max_new_tokens: int | None = None
    seed: int | None = None


@dataclass
class Scored:
    """A class, a word or a token, with its probability."""

    text: str
    probability: float


@dataclass
class Word:
    """
    A word of the input, with its weight.

    Attributes:
        text: The word.
        start, end: Its first character in the input, and the one behind its last.
        weight: What it counts for, see [`ClassAnswer`]; `None` where it was not measured.
    """

    text: str
    start: int
    end: int
    weight: float | None


@dataclass
class Tag:
    """A word with its label, and the probability of the label."""

    text: str
    start: int
    end: int
    label: str
    probability: float


@dataclass
class Span:
    """A stretch of the input under one label, such as a name of several words."""

    text: str
    start: int
    end: int
    label: str


@dataclass
class Answer:
    """
    What every answer has.

    Attributes:
        kind: Of what kind it is, a class variable.
        remarks: What was cut, left out or converted, a line each.
    """

    kind: ClassVar[str]
    remarks: list[str] = field(default_factory=list, kw_only=True)

    def as_dict(self) -> dict[str, Any]:
        """All fields, the kind first, as JSON has them."""
        return {"kind": self.kind, **asdict(self)}

    def in_words(self) -> str:
        """It in one line; empty where one line does not hold it."""
        return ""


@dataclass
class ClassAnswer(Answer):
    """
    The class of a text.

    Attributes:
        text: The text.
        label: The likeliest class; of several at once those above 0.5, with commas; empty for a number.
        scores: Every class, the likeliest first.
        value: The number, of a model that gives one.
        words: The words of the text.
        weights: What their weights are: `attention pooling` (shares of the one vector that is classified; they sum to
            1), or `occlusion` (how much the probability of `label`, or `value`, falls when the word is taken out;
            below 0 it rises).
    """

    kind = "text-classification"
    text: str
    label: str
    scores: list[Scored]
    value: float | None
    words: list[Word]
    weights: str

    def in_words(self) -> str:
        """The likeliest classes, or the number."""
        return f"It answers {_listed(self.scores) if self.value is None else significant(self.value)}."


@dataclass
class TagAnswer(Answer):
    """
    A label for every word.

    Attributes:
        text: The text.
        tags: The words.
        spans: The stretches that labels such as `B-NAME` and `I-NAME` make; empty where labels mark no entities.
    """

    kind = "token-classification"
    text: str
    tags: list[Tag]
    spans: list[Span]

    @property
    def labeled(self) -> list[Tag] | list[Span]:
        """The stretches where labels mark entities, even if there are none here; else each word."""
        return self.spans if self.spans or any(tag.label == "O" for tag in self.tags) else self.tags

    def in_words(self) -> str:
        """What is labeled."""
        return f"It answers {' '.join(f'{visible(part.text)}/{part.label}' for part in self.labeled) or 'no entity'}."


@dataclass
class MaskAnswer(Answer):
    """
    What a masked language model puts into gaps.

    Attributes:
        text: The text with its gaps.
        filled: The text with the likeliest token in each gap.
        gaps: For each gap the likeliest tokens.
    """

    kind = "fill-mask"
    text: str
    filled: str
    gaps: list[list[Scored]]

    def in_words(self) -> str:
        """The likeliest tokens of each gap."""
        if not self.gaps:
            return "There is no gap in the text to fill."
        return f"It fills in {'; then '.join(map(_listed, self.gaps))}."


@dataclass
class TextAnswer(Answer):
    """
    How a text goes on.

    Attributes:
        prompt: Its beginning.
        text: What was written after it.
        next: The likeliest tokens right after the prompt.
        tokens: What was written, token by token, each with the probability that the model gives it, at temperature 1
            and with no token ruled out; empty until all of it is written.
        end: Why it ends: `end` (the model ended it) or `length`; empty while it is written.
    """

    kind = "text-generation"
    prompt: str
    text: str
    next: list[Scored]
    tokens: list[Scored] = field(default_factory=list)
    end: str = ""

    def in_words(self) -> str:
        """The likeliest next tokens, which are known before anything is written."""
        return f"Next it expects {_listed(self.next)}."


@dataclass
class TuneAnswer(TextAnswer):
    """
    A tune.

    Attributes:
        abc: The tune in ABC notation, once all of it is written.
        is_valid: Whether music21 reads it and its bars fill the metre.
        problem: Why it cannot be played; empty if it can.
        files: The files that were written.
    """

    kind = "music-generation"
    abc: str = ""
    is_valid: bool = False
    problem: str = ""
    files: list[str] = field(default_factory=list)


@dataclass
class TranslationAnswer(Answer):
    """
    A translation.

    Attributes:
        text: The sentence.
        translation: Its translation.
        score: Mean log-probability of its tokens, in nats; at best 0.
        source_tokens, target_tokens: The tokens of both.
        alignment: For each target token the share of attention of each source token, the mean over layers and heads;
            `None` for a model without attention.
    """

    kind = "translation"
    text: str
    translation: str
    score: float
    source_tokens: list[str]
    target_tokens: list[str]
    alignment: list[list[float]] | None


@dataclass
class ImageAnswer(Answer):
    """
    The class of an image.

    Attributes:
        label: The likeliest class.
        scores: Every class, the likeliest first.
        attention: Rows of patches, for each the share of the last layer's attention, the mean over heads (that of the
            class token, or else the mean over patches); `None` for a model that does not tell it.
    """

    kind = "image-classification"
    label: str
    scores: list[Scored]
    attention: list[list[float]] | None

    def in_words(self) -> str:
        """The likeliest classes."""
        return f"It answers {_listed(self.scores)}."


@dataclass
class SeriesAnswer(Answer):
    """
    A forecast.

    Attributes:
        channels: Their names.
        unit: Of the values; empty where it is not known.
        past: What was read: steps of channels, `None` in gaps.
        forecast: The steps after it.
        step: Time between two steps.
        step_unit: What it is counted in.
        lower, upper: Ends of the central 80 % interval of each step, by sample paths; `None` of a model of values
            alone.
    """

    kind = "time-series-prediction"
    channels: list[str]
    unit: str
    past: list[list[float | None]]
    forecast: list[list[float]]
    step: float
    step_unit: str
    lower: list[list[float]] | None = None
    upper: list[list[float]] | None = None


Part = TypeVar("Part", Word, Tag, Span)


def pieces_of(text: str, parts: Sequence[Part]) -> Iterator[tuple[str, Part | None]]:
    """All of a text in order: its parts, and what stands between them, if anything, with `None`."""
    at = 0
    for part in parts:
        if at < part.start:
            yield text[at : part.start], None
        yield part.text, part
        at = part.end
    if at < len(text):
        yield text[at:], None


def visible(token: str) -> str:
    """A token whose spaces and line breaks are seen, and whose control characters do nothing."""
    shown = token.replace("\n", "⏎").replace("\t", "⇥")
    shown = "".join(character if character.isprintable() else "·" for character in shown)
    return shown if shown.strip() else "␣" * len(shown)


def _listed(scored: list[Scored]) -> str:
    return ", ".join(f"{visible(one.text)} ({one.probability:.1%})" for one in scored[:MOST_NAMED])
