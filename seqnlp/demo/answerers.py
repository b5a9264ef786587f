"""From a model and what a person gives it to an answer: one class for each kind of head, and which one a model has."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from transformers import BatchEncoding, PreTrainedModel, PreTrainedTokenizerBase

from ..data.columns import evenly_spread
from ..data.loading import listed, printable
from ..visualization.plain import tokens_of
from .answers import Answer, Options, Scored
from .errors import DemoError


ANSWERERS: list[type["Answerer"]] = []
"""Every kind, in the order in which they are defined; of those that serve a model the last one answers."""

COUNT = 5
"""Examples of one model."""
LONGEST = 200
"""Characters of an example text: one that is shown whole."""
_NO_BOUND = 10**9
"""A tokenizer without a bound says a huge number."""


class Named(Protocol):
    """A loaded model as [`seqnlp.cli.models.NamedModel`] is one."""

    name: str
    model: PreTrainedModel
    auto_class: type
    run: dict[str, Any]

    @property
    def num_positions(self) -> int | None:
        """How many tokens it can read at once; `None` where its configuration sets no bound."""

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """What makes its inputs of a text."""

    def target_tokenizer(self) -> PreTrainedTokenizerBase:
        """What makes a text of its outputs."""

    def image_processor(self) -> Any:
        """What makes its inputs of an image."""


class Answerer:
    """
    Answers for one model.

    Attributes:
        auto_class: The Auto class of the models that it serves.
        task: The recipe that made the model, where it takes more than the head.
        title: What the model does, as a page's heading.
        explanation: What a person gives and gets, in one sentence.
        reads: What it is given: `text`, `image` or `series`.
        typed: What a person types for it on a terminal.
        column: The column of a recipe's data whose rows are examples; `None` where the prompts of its task are.
        takes_nothing: Whether an empty text is something to answer.
        options: The fields of [`Options`] that it follows.
        extras: Those of seqnlp that its answers need.
    """

    auto_class: ClassVar[type]
    task: ClassVar[str | None] = None
    title: ClassVar[str]
    explanation: ClassVar[str]
    reads: ClassVar[str] = "text"
    typed: ClassVar[str] = "a text"
    column: ClassVar[str | None] = "text"
    takes_nothing: ClassVar[bool] = False
    options: ClassVar[frozenset[str]] = frozenset()
    extras: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        ANSWERERS.append(cls)

    def __init__(self, named: Named):
        self.name, self.model, self.run = named.name, named.model, named.run
        self.num_positions = named.num_positions
        self.settings = self.run.get("hyperparameters") or {}
        self.prepare(named)

    @classmethod
    def serves(cls, named: Named) -> bool:
        """Whether it can answer for a model."""
        is_task = cls.task is None or named.run.get("task") == cls.task
        return named.auto_class is cls.auto_class and is_task

    def prepare(self, named: Named) -> None:
        """Load what makes the model's inputs."""
        self.tokenizer = named.tokenizer()

    def read(self, typed: str | Path) -> Any:
        """What [`answer`] is given, of what a person typed, or of a file."""
        return typed

    def as_typed(self, prompt: str) -> str:
        """A prompt of a task, as a person types it."""
        return prompt

    def examples(self, values: Sequence[Any]) -> list[Any]:
        """Some of the inputs in a column of data, spread evenly: of texts, those that can be shown whole."""
        return evenly_spread([text for text in values if 0 < len(text) <= LONGEST] or list(values), COUNT)

    def answer(self, given: Any, options: Options | None = None) -> Answer:
        """
        The whole answer.

        Args:
            given: A text, an image, or a [`seqnlp.demo.inputs.Series`], as `reads` says.
            options: How to answer.

        Raises:
            DemoError: For an input that the model cannot read.
        """
        return list(self.stream(given, options))[-1]

    def stream(self, given: Any, options: Options | None = None) -> Iterator[Answer]:
        """The answer as it comes: each one holds more than the one before, and the last one is whole."""
        options = options or Options()
        self.check(options)
        if isinstance(given, str):
            _check_text(given)
        if options.seed is not None:
            torch.manual_seed(options.seed)
        yield from self.respond(given, options)

    def respond(self, given: Any, options: Options) -> Iterator[Answer]:
        """What [`stream`] gives, of options that were checked."""
        raise NotImplementedError

    def usual_options(self) -> Options:
        """What it does where nothing is said; `None` for what a person need not choose."""
        return Options()

    def check(self, options: Options) -> None:
        """
        Refuse an option that would change nothing here, and a value that means nothing.

        Raises:
            DemoError: With its flag and its value.
        """
        for name, value in vars(options).items():
            if value is not None and name not in self.options:
                known = ", ".join(f"--{option}" for option in vars(options) if option in self.options)
                raise DemoError(
                    f"--{name} {value}: {self.model_name} does not follow it; it follows {known or 'none of these'}."
                )
        lowest = {"temperature": 0, "num_beams": 1, "max_new_tokens": 1, "seed": 0}
        for name, least in lowest.items():
            value = getattr(options, name)
            if value is not None and not least <= value < float("inf"):
                raise DemoError(f"--{name} {value}: give a number from {least} up.")

    @property
    def model_name(self) -> str:
        """The name of its class."""
        return type(self.model).__name__

    def tokens_of(self, ids: list[int]) -> list[str]:
        """Each token as it reads."""
        return tokens_of(self.tokenizer, ids)

    def longest(self) -> int:
        """How many tokens the model reads at most."""
        bounds = (self.tokenizer.model_max_length, self.num_positions)
        return min((bound for bound in bounds if bound and bound < _NO_BOUND), default=sys.maxsize)

    def encode(self, texts: str | list[str], **options: Any) -> BatchEncoding:
        """What the model reads of texts, as tensors: what is longer is cut, see [`cut_remark`]."""
        longest = self.longest()
        bound = {"truncation": True, "max_length": longest} if longest < _NO_BOUND else {}
        return self.tokenizer(texts, return_tensors="pt", **bound, **options)

    def cut_remark(self, text: str) -> list[str]:
        """A line where a text is longer than the model reads."""
        length, longest = len(self.tokenizer(text, verbose=False).input_ids), self.longest()
        return [f"The last {length - longest} of {length} tokens are cut off."] if length > longest else []

    def unknown_remark(self, text: str) -> list[str]:
        """A line where the tokenizer does not know some words."""
        unknown = self.tokenizer.unk_token_id
        if unknown is None or not self.tokenizer.is_fast:
            return []
        encoded = self.tokenizer(text, return_offsets_mapping=True, verbose=False)
        pairs = zip(encoded.input_ids, encoded.offset_mapping, strict=True)
        parts = list(dict.fromkeys(text[start:end] for token, (start, end) in pairs if token == unknown))
        return [f"The tokenizer does not know {listed(parts, 5)}."] if parts else []


def answerer_for(named: Named) -> Answerer:
    """
    What answers for a model, by its head and, where a recipe made it, its task.

    Raises:
        DemoError: For a model that nothing here can ask.
    """
    found = [known for known in ANSWERERS if known.serves(named)]
    if not found:
        raise DemoError(
            f"{type(named.model).__name__}, of {named.name!r}, has no head that answers: it gives states. Name a "
            "language model, a translator, or a classifier or predictor."
        )
    return found[-1](named)


def _check_text(text: str) -> None:
    """
    Refuse what is no text of Unicode, such as the bytes of another encoding on a command line.

    Raises:
        DemoError: With the first character that is none.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DemoError(
            f"'{printable(text)}' is no text: its character {error.start + 1}, {text[error.start]!r}, is half of one "
            "or a byte of another encoding. Give UTF-8."
        ) from error


def ranked(names: list[str], probabilities: torch.Tensor, count: int | None = None) -> list[Scored]:
    """The likeliest of some names first, with `(len(names),)` probabilities."""
    order = probabilities.argsort(descending=True)[:count].tolist()
    return [Scored(names[index], float(probabilities[index])) for index in order]
