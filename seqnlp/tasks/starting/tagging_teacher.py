"""A small tagger learns what a large one says of words, whose tokens may be others.

The logits of a word are those of its first token on either side: the words are what both have in common. They are
computed once and kept on the disk, a number per word and label.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from datasets import Dataset, concatenate_datasets
from transformers import AutoModelForTokenClassification

from ...data import values_of
from ...metrics import entity_scheme
from ...models.losses import IGNORE_INDEX
from ...training import ArgumentsError
from ...training.batches import Batch, Collator
from .distillation import LOGITS, Answers, Teacher
from .starting_model import Source


@dataclass
class TaggingTeacher(Teacher):
    """A tagger that others learn from."""

    auto_class: ClassVar[type] = AutoModelForTokenClassification

    @classmethod
    def load(cls, source: Source, task: str, classes: Sequence[str] | None) -> "TaggingTeacher":
        """
        As [`Teacher.load`].

        Raises:
            ArgumentsError: Also if its tokenizer does not tell which word a token is of.
        """
        teacher = super().load(source, task, classes)
        if not teacher.tokenizer.is_fast:
            raise ArgumentsError(
                f"--{source.flag} {source.name}: its tokenizer is not one of the package tokenizers, which alone tell "
                "the words of their tokens."
            )
        teacher.tokenizer.padding_side = "right"
        return teacher

    @torch.no_grad()
    def logits_of_words(self, sentences: Sequence[list[str]]) -> list[torch.Tensor]:
        """
        Of each sentence the `(words, C)` logits of its words, in the order of the data's classes; NaN for a word that
        it does not read, since it lies behind the longest text or has no token.
        """
        read = self.tokenizer(list(sentences), is_split_into_words=True, truncation=True, verbose=False)
        found = [torch.full((len(words), len(self.order)), torch.nan) for words in sentences]
        for rows, logits in self.batches(read):
            for row, of_tokens in zip(rows, logits, strict=True):
                before = None
                for place, word in enumerate(read.word_ids(row)):
                    if word is not None and word != before:
                        found[row][word] = of_tokens[place]
                    before = word
        return found


class WordAnswers(Answers):
    """What a teacher says of the words of a batch of rows with `tokens`, as the column `teacher_logits`."""

    reads: ClassVar[str] = "tokens"

    def __call__(self, rows: dict[str, list]) -> dict[str, list]:
        """Columns of a batch."""
        return {LOGITS: [logits.tolist() for logits in self.teacher.logits_of_words(rows["tokens"])]}


class WordKinds(Answers):
    """The likeliest label of each word of a batch of rows with a `text`, as the column `kinds`; -1 where none is."""

    def __call__(self, rows: dict[str, list]) -> dict[str, list]:
        """Columns of a batch."""
        found = self.teacher.logits_of_words([text.split() for text in rows["text"]])
        unread = [logits[:, 0].isnan() for logits in found]
        kinds = [
            logits.nan_to_num().argmax(-1).masked_fill(silent, -1).tolist()
            for logits, silent in zip(found, unread, strict=True)
        ]
        return {"kinds": kinds}


def parts_of_speech(
    source: Source, texts: Dataset, task: str, device: torch.device
) -> tuple[Iterator, dict[str, Any]]:
    """
    What a tagger of parts of speech says of the words between white space of texts; kept on the disk.

    Args:
        source: Where the tagger is.
        texts: A dataset with the column `text`.
        task: The task's name.
        device: Where the tagger computes.

    Returns:
        Of each text the name of each word's label, `None` for a word that the tagger does not read; and what
        `run.json` says of the tagger.

    Raises:
        ArgumentsError: If it is no such tagger.
    """
    tagger = TaggingTeacher.load(source, task, None)
    names = [tagger.model.config.id2label[number] for number in tagger.order]
    if entity_scheme(names):
        raise ArgumentsError(
            f"--{source.flag} {source.name}: its labels ({', '.join(names[:5])}, ...) mark entities and not parts of "
            "speech, by which words are replaced."
        )
    tagger.model.to(device)
    found = values_of(WordKinds(tagger).of(texts), "kinds")
    of_words = ([names[kind] if kind >= 0 else None for kind in row] for row in found)
    return of_words, tagger.described


def is_silent(logits: Sequence[float | None]) -> bool:
    """Whether a teacher says nothing of a word, of which these are its `teacher_logits`: they are NaN, or missing."""
    return logits[0] is None or logits[0] != logits[0]


def taught_sentences(
    teacher: TaggingTeacher, examples: Dataset, sentences: Dataset, read: Sequence[Sequence[int]]
) -> tuple[Dataset, int]:
    """
    The rows that a student learns from, each with the teacher's logits of the words whose labels it learns.

    Args:
        teacher: Whose answers they are.
        examples: The training rows as the student reads them.
        sentences: The same rows, with their `tokens`.
        read: Of each row, the words whose labels are among its own, in order.

    Returns:
        The rows, and how many of those words the teacher says nothing of.
    """
    kept, silent = [], 0
    for logits, places in zip(values_of(WordAnswers(teacher).of(sentences), LOGITS), read, strict=True):
        rows = [logits[place] for place in places]
        silent += sum(map(is_silent, rows))
        kept.append(rows)
    return concatenate_datasets([examples, Dataset.from_dict({LOGITS: kept})], axis=1), silent


class TaughtCollator:
    """
    Pads rows that may have a teacher's logits of their labeled tokens, which become `teacher_logits` of shape
    `(B, T, C)`, NaN where there are none.

    Args:
        collator: Pads the rest.
        num_labels: `C`.
    """

    def __init__(self, collator: Collator, num_labels: int):
        self.collator = collator
        self.tokenizer = collator.tokenizer
        self.num_labels = num_labels

    def __call__(self, examples: list[dict]) -> Batch:
        """A batch."""
        rest = [{name: value for name, value in example.items() if name != LOGITS} for example in examples]
        batch = self.collator(rest)
        if LOGITS not in examples[0]:
            return batch
        logits = torch.full((*batch["labels"].shape, self.num_labels), torch.nan)
        for row, example in enumerate(examples):
            places = (batch["labels"][row] != IGNORE_INDEX).nonzero().flatten()
            logits[row, places] = torch.tensor(example[LOGITS]).reshape(-1, self.num_labels)
        return {**batch, LOGITS: logits}
