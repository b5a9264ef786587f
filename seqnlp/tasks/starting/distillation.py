"""A small model learns what a large one says of texts.

Hinton, Vinyals & Dean 2015, "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531), section 2; Tang et al.
2019, "Distilling Task-Specific Knowledge from BERT into Simple Neural Networks" (arXiv 1903.12136), section 3.
"""

import json
import random
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar

import torch
from datasets import Dataset, concatenate_datasets
from torch.nn.functional import log_softmax
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase
from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

from ...data import map_once, values_of
from ...training import ArgumentsError, Run, TrainingArguments
from ...training.evaluation import cut_into_batches
from ...training.fingerprint import tokenizer_fingerprint
from ...training.flags import fields_of, flag, public_value
from .starting_model import Source, StartingModel, load_tokenizer, positions_of, quiet


LOGITS = "teacher_logits"
TEACHER = "teacher"
"""What a teacher's scores are called among the baselines."""
TOKENS_AT_ONCE = 16384  # of a batch that a teacher reads, padding included: enough to keep a GPU at work
ROWS_OF_A_PART = 10_000  # whose answers are written to the disk together, and which are sorted by length
# Tang et al. 2019, section 3.2: the share of words that are hidden and of those that are replaced, the share of texts
# cut to a piece, and the longest piece in words.
HIDDEN, REPLACED, CUT, LONGEST_PIECE = 0.1, 0.1, 0.25, 5


@dataclass
class DistillationArguments(TrainingArguments):
    """How a model is trained that may have a teacher."""

    teacher: str | None = flag(
        None,
        "Learn from the answers of this model as well as from the data: a run's folder, or any model of the task on "
        "the Hub or in a folder that knows the same classes, or the same tokens.",
        "model source",
    )
    teacher_revision: str | None = flag(None, "Branch, tag or commit of the teacher on the Hub.", "model source")
    distillation_loss: str = flag(
        "kl",
        "Distance between student and teacher: kl, the divergence of their softened distributions, or mse, the mean "
        "squared error of their logits.",
        "training",
        choices=("kl", "mse"),
    )
    distillation_temperature: float = flag(
        2.0, "Temperature of kl, by which the logits of student and teacher are divided.", "training", "(0, inf)"
    )
    distillation_weight: float = flag(
        0.5, "Share of the teacher in the loss; the rest is the loss on the data.", "training", "(0, 1]"
    )

    def check_teacher(self) -> None:
        """
        Refuse a flag that does nothing without a teacher.

        Raises:
            ArgumentsError: If it is given.
        """
        if self.teacher is None and self.teacher_revision:
            raise ArgumentsError(f"--teacher_revision {self.teacher_revision} does nothing without --teacher.")

    def source_of_teacher(self, trust_remote_code: bool) -> Source:
        """Where the teacher is loaded from."""
        return Source("teacher", self.teacher, self.teacher_revision, trust_remote_code)

    def taught_by(self, unit: str) -> tuple[str, str]:
        """
        Of what the loss of a training with a teacher is, and its unit.

        Args:
            unit: Of the loss on the data.
        """
        what = "the teacher" if self.distillation_weight == 1 else "data and teacher"
        if self.distillation_loss == "kl":
            return what, unit
        squares = "squared logits"
        return what, squares if self.distillation_weight == 1 else f"{unit}, {squares}"

    def how(self) -> tuple[str, float, float]:
        """The arguments of a [`seqnlp.models.losses.DistillationLoss`]."""
        return self.distillation_loss, self.distillation_weight, self.distillation_temperature


def check_student(model: PreTrainedModel, kind: type, teacher: str) -> None:
    """
    Refuse a student whose loss cannot be told what a teacher says.

    Raises:
        ArgumentsError: For a model that is not of seqnlp.
    """
    if not isinstance(model, kind):
        raise ArgumentsError(
            f"--teacher {teacher}: a {type(model).__name__} computes its loss by itself and hears no teacher. Let a "
            "model of seqnlp be the student."
        )


def tell_teacher(run: Run, source: Source, described: dict[str, Any]) -> None:
    """Say what a run learns from, and put its name on record with what is known of it."""
    run.tell(f"Learning from {source.name}: {described['class']}, {described['parameters']:,} parameters.")
    name = public_value(source.name, fields_of(DistillationArguments)["teacher"])
    run.record.teacher = {"name": name, **described}


def load_teacher(found: StartingModel) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, dict[str, Any]]:
    """
    A teacher in float32 and `eval()`, its tokenizer, which cuts texts to what it reads, and what `run.json` says of
    it.

    Raises:
        ArgumentsError: If its weights cannot be read, or its head is not among them.
    """
    source = found.source
    model, described = found.load(found.configure(None, {}), None)
    if described["weights_new"]:
        raise ArgumentsError(
            f"--{source.flag} {source.name}: it has no trained head ({', '.join(described['weights_new'])} are "
            "new). Fine-tune it first, by --model_name_or_path."
        )
    kept = {name: described[name] for name in ("class", "model_type", "sha256")}
    kept |= {"revision": None if source.is_folder else source.revision, "parameters": model.num_parameters()}
    tokenizer = load_tokenizer(source)
    limit = min(positions_of(model.config) or VERY_LARGE_INTEGER, tokenizer.model_max_length)
    tokenizer.model_max_length = limit
    return model.eval().requires_grad_(False), tokenizer, kept


@dataclass
class Teacher:
    """
    A classifier of texts that others learn from.

    Attributes:
        model: In float32, set to `eval()`.
        tokenizer: Its own.
        order: For each class of the data the teacher's number of it.
        described: What `run.json` says of it.
        auto_class: The Auto class of its head.
    """

    auto_class: ClassVar[type] = AutoModelForSequenceClassification

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    order: list[int]
    described: dict[str, Any]

    @classmethod
    def load(cls, source: Source, task: str, classes: Sequence[str] | None) -> "Teacher":
        """
        Read a teacher and see that it knows the same classes, by their names.

        Args:
            source: Where it is.
            task: The task's name.
            classes: The names of the data's classes; `None` for its own, in its order.

        Raises:
            ArgumentsError: If it is not there, has no such head, or knows other classes.
        """
        found = StartingModel.find(source, cls.auto_class, task)
        known = [found.config.id2label[number] for number in sorted(found.config.id2label)]
        classes = known if classes is None else classes
        if sorted(known) != sorted(classes):
            raise ArgumentsError(
                f"--{source.flag} {source.name}: it tells the classes {', '.join(known)} apart, and the data has "
                f"{', '.join(classes)}. Fine-tune it on these classes first, by --model_name_or_path."
            )
        model, tokenizer, described = load_teacher(found)
        return cls(model, tokenizer, [known.index(name) for name in classes], described)

    @torch.no_grad()
    def logits_of(self, texts: Sequence[str]) -> torch.Tensor:
        """`(N, C)` logits of `N` texts, in the order of the data's classes; texts of similar length go together."""
        logits = torch.empty(len(texts), len(self.order))
        read = self.tokenizer(list(texts), truncation=True)
        for rows, found in self.batches(read):
            logits[rows] = found
        return logits

    def batches(self, read: Any) -> Iterator[tuple[list[int], torch.Tensor]]:
        """The rows of each batch of what its tokenizer read, and its logits of them, of the data's classes."""
        lengths = [len(ids) for ids in read["input_ids"]]
        usual = max(1, statistics.median_high(lengths))
        for rows in cut_into_batches(len(lengths), max(1, TOKENS_AT_ONCE // usual), lengths):
            batch = self.tokenizer.pad({name: [read[name][row] for row in rows] for name in read}, return_tensors="pt")
            yield rows, self.model(**batch.to(self.model.device)).logits[..., self.order].float().cpu()


class Answers:
    """
    What a teacher says of a batch of rows with a `text`, as the column `teacher_logits`.

    Caches know it by the teacher's weights, configuration and tokenizer: the same texts are answered once for all
    runs.

    Attributes:
        reads: The column that it is asked about.
    """

    reads: ClassVar[str] = "text"

    def __init__(self, teacher: Teacher):
        self.teacher = teacher

    def __call__(self, rows: dict[str, list]) -> dict[str, list]:
        """Columns of a batch."""
        return {LOGITS: self.teacher.logits_of(rows["text"]).tolist()}

    def __reduce__(self):
        teacher, tokenizer = self.teacher, self.teacher.tokenizer
        config = {name: value for name, value in teacher.model.config.to_diff_dict().items() if name[0] != "_"}
        read = tokenizer_fingerprint(tokenizer), tokenizer.model_max_length
        known = (type(self).__name__, teacher.described["sha256"], json.dumps(config, sort_keys=True), *read)
        return tuple, ((*known, teacher.order),)

    def of(self, rows: Dataset) -> Dataset:
        """The one column of answers for a dataset, kept on the disk."""
        with quiet():
            return map_once(
                rows.select_columns(self.reads), self, batch_size=ROWS_OF_A_PART, remove_columns=self.reads
            )


def varied(
    texts: Sequence[str], copies: int, seed: int, kinds: Iterable[Sequence[str | None]] | None = None
) -> list[str]:
    """
    Variants of texts for a teacher to judge (Tang et al. 2019, section 3.2): each word is left out with a chance of a
    tenth or, where its part of speech is known, replaced with another tenth by a word of the same one, drawn as often
    as such words occur in the texts; and a quarter of the variants are cut to a piece of one to five words. Those
    equal to another are left out.

    Departure: a hidden word is left out, since teacher and student share no token for it.

    Args:
        texts: The training texts.
        copies: Variants of each.
        seed: Fixes what is drawn.
        kinds: Of each text the part of speech of each word between white space, `None` for one that is not known; no
            word is replaced if they are not given.
    """
    generator = random.Random(seed)
    split = [text.split() for text in texts]
    of_words = [[None] * len(words) for words in split] if kinds is None else list(kinds)
    draw = _draw_by_kind(split, of_words)
    found, known = [], set(texts)
    for words, of_text in zip(split, of_words, strict=True):
        for _ in range(copies):
            kept = []
            for word, kind in zip(words, of_text, strict=True):
                chance = generator.random()
                if chance >= HIDDEN:
                    is_replaced = kind is not None and chance < HIDDEN + REPLACED
                    kept.append(draw(kind, generator) if is_replaced else word)
            if generator.random() < CUT and kept:
                length = generator.randint(1, min(LONGEST_PIECE, len(kept)))
                start = generator.randint(0, len(kept) - length)
                kept = kept[start : start + length]
            variant = " ".join(kept)
            if variant and variant not in known:
                known.add(variant)
                found.append(variant)
    return found


def _draw_by_kind(
    texts: Iterable[Sequence[str]], kinds: Iterable[Sequence[str | None]]
) -> Callable[[str, random.Random], str]:
    """Draws a word of a kind as often as it is of that kind in the texts."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for words, of_text in zip(texts, kinds, strict=True):
        for word, kind in zip(words, of_text, strict=True):
            if kind is not None:
                counts[kind][word] += 1
    tables = {kind: (list(found), list(accumulate(found.values()))) for kind, found in counts.items()}

    def draw(kind: str, generator: random.Random) -> str:
        words, sums = tables[kind]
        return generator.choices(words, cum_weights=sums)[0]

    return draw


def taught_rows(
    teacher: Teacher, examples: Dataset, texts: Dataset, others: Dataset | None, tokenize: Callable[[Dataset], Dataset]
) -> Dataset:
    """
    The rows that a student learns from, each with the teacher's logits.

    Args:
        teacher: Whose answers they are.
        examples: The training rows as the student reads them, each with its `label`.
        texts: The same rows, with their `text`.
        others: Texts without a label, or `None`: the class that the teacher finds likeliest is their label.
        tokenize: Makes rows as the student reads them of rows with a `text`.
    """
    rows = concatenate_datasets([examples, Answers(teacher).of(texts)], axis=1)
    if others is None or not len(others):
        return rows
    logits = Answers(teacher).of(others)
    likeliest = [max(range(len(row)), key=row.__getitem__) for row in values_of(logits, LOGITS)]
    more = tokenize(others).add_column("label", likeliest).cast_column("label", examples.features["label"])
    more = concatenate_datasets([more, logits], axis=1)
    return concatenate_datasets([rows, more.select_columns(rows.column_names).cast(rows.features)])


def agreement(teacher: Teacher, texts: Dataset) -> torch.Tensor:
    """`(N, C)` log-probabilities of a teacher for a dataset with a `text`, as scores are computed of them."""
    return log_softmax(torch.tensor(list(values_of(Answers(teacher).of(texts), LOGITS))), dim=-1)
