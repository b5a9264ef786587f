"""Tagging: one label per word, such as its part of speech or whether it belongs to a name."""

import json
import operator
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import torch
from datasets import Dataset
from transformers import (
    AutoModelForTokenClassification,
    DataCollatorForTokenClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ..data import LoadedData, TaggingArguments, labels_of, lengths_of, load_tagging, values_of
from ..data.loading import listed
from ..metrics import TAGGING_SCORES, entity_scheme, strays_among_entities, tagging_report, tagging_scores
from ..models import RecurrentForTokenClassification, TransformerEncoderForTokenClassification
from ..models.heads import TokenClassifier
from ..models.losses import IGNORE_INDEX, TokenDistillationLoss
from ..tokenization import first_continuing_id, is_spelling, train_spelling_tokenizer, train_tokenizer
from ..tokenization.train import TokenizerType
from ..training import ArgumentsError, Run
from ..training.batches import Batch
from ..training.evaluation import Evaluator
from ..training.flags import flag, flag_as_in
from .arguments import TextModelArguments
from .base import OF_ITS_DATA, Outcome, PreparedData, Record, Task
from .baselines import each_by_itself
from .reporting.results import of_baseline, spread
from .reporting.telling import LONGEST_TRIAL, shortened
from .reporting.unknown import shown_unknown, tell_unknown
from .starting.distillation import LOGITS, TEACHER, DistillationArguments, check_student, tell_teacher
from .starting.tagging_teacher import TaggingTeacher, TaughtCollator, WordAnswers, is_silent, taught_sentences


BASELINE = "most_frequent_tag"
SPELLING = "spelling"
NO_ENTITY = "O"
UNSEEN_WORDS = "unseen_words"
"""Key of `run.json`'s dataset: by split, the share of its words that are not among the training words."""


@dataclass
class TaggingModelArguments(TextModelArguments):
    """What is trained, and the tokenizer that makes its inputs."""

    tokenizer_type: str = flag_as_in(
        TextModelArguments,
        "tokenizer_type",
        default=SPELLING,
        help="How words are read: by their spelling and, if frequent, as wholes; or by a tokenizer of another kind.",
        choices=(SPELLING, *get_args(TokenizerType)),
    )
    vocab_size: int = flag_as_in(
        TextModelArguments,
        "vocab_size",
        help="Largest size of the vocabulary, special tokens included; with spelling, the largest number of words "
        "that are also known as wholes.",
    )
    lowercase: bool = flag_as_in(TextModelArguments, "lowercase", default=False)
    max_length: int = flag_as_in(
        TextModelArguments,
        "max_length",
        default=1024,
        help="Tokens of a sentence that are read; the rest is cut off.",
    )
    word_dropout: float = flag(
        0.25,
        "Share of known words that training treats as unknown, with spelling.",
        "model",
        "[0, 1)",
        fixed_by="model",
    )


class Tagging(Task):
    """One label per word: parts of speech, named entities."""

    name = "tagging"
    title = "Tagging of words"
    pipeline_tag = "token-classification"
    use = "Labeling words of texts like those it was trained on; a baseline; teaching and study of sequence models."
    limits = (
        OF_ITS_DATA,
        "Its scores are for words as its data divides them; other kinds of text and other languages are beyond what "
        "was measured here.",
    )
    longest_input = "It was trained on the first {} tokens of a sentence."
    widget = ("My name is Sarah and I live in London.",)

    data_arguments = TaggingArguments
    model_arguments = TaggingModelArguments
    example_flags = "--train_file train.conllu --validation_file dev.conllu --architecture transformer"
    training_arguments = DistillationArguments
    default_dataset = "sample:turkish"
    auto_class = AutoModelForTokenClassification
    model_classes = {
        "recurrent": RecurrentForTokenClassification,
        "transformer": TransformerEncoderForTokenClassification,
    }
    scores = TAGGING_SCORES
    validated = ("accuracy", "f1", "loss")
    loss_unit = "nats per word"
    targets = "words"
    compared_with = "each word's most frequent label"
    teacher: TaggingTeacher | None = None

    def check_start(self) -> None:
        """
        Refuse what needs a teacher where there is none.

        Raises:
            ArgumentsError: If so.
        """
        super().check_start()
        self.training_args.check_teacher()

    @classmethod
    def example(cls, record: dict[str, Any], revision: str) -> str:
        """Words, of which neighbors of one label come as one group."""
        text = json.dumps(cls.widget_of(record)[0], ensure_ascii=False)
        kind = (record.get("hyperparameters") or {}).get("tokenizer_type")
        # Of a word in pieces the first one's label counts, as in training; else each token has its word's.
        strategy = "simple" if kind in (SPELLING, "word") and not record.get("base_model") else "first"
        given = f'model=model, tokenizer=tokenizer, aggregation_strategy="{strategy}"'
        return (
            f'tag = pipeline("{cls.pipeline_tag}", {given})\n'
            f"print(tag({text}))  # neighbors of one label come as one group"
        )

    @property
    def positions(self) -> int:
        """The sentences are cut to that."""
        return self.model_args.max_length

    def load(self) -> LoadedData:
        """Columns `tokens` and `tags`."""
        loaded = load_tagging(self.data_args)
        asked = self.training_args.metric_for_best_model.removeprefix("validation_")
        labels = labels_of(loaded.splits["train"])
        if asked == "f1" and not entity_scheme(labels):
            raise ArgumentsError(
                f"--metric_for_best_model {asked}: the labels ({', '.join(labels[:5])}, ...) mark no entities, so "
                "there is no F1 of entities. Choose accuracy or loss."
            )
        if strays := strays_among_entities(labels):
            loaded.remarks.append(
                f"Labels that mark no entity, where others do: {listed(strays)}. So entities are not counted; "
                "rename or remove these labels if they should be."
            )
        return loaded

    def trial(self, data: PreparedData, folder: Path) -> list[str]:
        """The words of a short sentence of validation."""
        sentences = values_of(data.loaded.splits["validation"], "tokens")
        texts = (" ".join(words) for words in islice(sentences, 200))
        return ["--text", next((text for text in texts if 0 < len(text) <= LONGEST_TRIAL), self.widget[0])]

    def train_tokenizer(self, rows: Dataset) -> PreTrainedTokenizerBase:
        """The tokenizer that `--tokenizer_type` asks for, trained on sentences."""
        arguments = self.model_args
        texts = [" ".join(words) for words in values_of(rows, "tokens")]
        if arguments.tokenizer_type == SPELLING:
            return train_spelling_tokenizer(
                texts, lowercase=arguments.lowercase, model_max_length=arguments.max_length
            )
        settings = arguments.tokenizer_settings()
        # A word has the same tokens alone as in a text.
        return train_tokenizer(texts, **settings, model_max_length=arguments.max_length, add_prefix_space=True)

    def reading_of(self, tokenizer: PreTrainedTokenizerBase, data: PreparedData) -> dict[str, Any]:
        """The fields of a model's configuration that follow from how it reads words."""
        fields = self.special_tokens(tokenizer)
        if not is_spelling(tokenizer):
            return fields
        known = {"word_vocab_size": len(self.known_words(data)), "word_dropout": self.model_args.word_dropout}
        return {**fields, "first_continuing_id": first_continuing_id(tokenizer), **known}

    def known_words(self, data: PreparedData) -> list[list[int]]:
        """Spellings of the words that are known as wholes: the most frequent ones of training, as they are read."""
        counts = Counter()
        start = first_continuing_id(data.processor)
        for row in values_of(data.examples["train"], "input_ids"):
            begins = [place for place, token in enumerate(row) if token < start or place == 0]
            counts.update(tuple(row[a:b]) for a, b in zip(begins, [*begins[1:], len(row)], strict=True))
        # With a tokenizer that was given nobody has said these.
        least, most = (
            vars(self.model_args)[name] or self.fields()[name].default for name in ("min_frequency", "vocab_size")
        )
        frequent = [word for word, count in counts.most_common() if count >= least]
        return [list(word) for word in frequent[:most]]

    def teach_words(self, model: PreTrainedModel, data: PreparedData) -> None:
        """Make a model that reads words by their spelling know the frequent ones as wholes, if it knows none yet."""
        reader = model.word_reader if isinstance(model, TokenClassifier) else None
        if reader is not None and not reader.knows_words:
            reader.know(self.known_words(data)[: len(reader.known)])

    def learn_from_teacher(self, run: Run, model: PreTrainedModel, data: PreparedData) -> None:
        """
        Let the model that is trained listen to the tagger that `--teacher` names, if any; what it says of the training
        words is computed once and kept on the disk.

        Raises:
            ArgumentsError: For a teacher that cannot be had or knows other labels, and for a model that computes its
                loss in a way of its own.
        """
        arguments, train = self.training_args, data.loaded.splits["train"]
        if arguments.teacher is None:
            return
        check_student(model, TokenClassifier, arguments.teacher)
        source = arguments.source_of_teacher(self.model_args.trust_remote_code)
        self.teacher = teacher = TaggingTeacher.load(source, self.name, labels_of(train))
        teacher.model.to(run.accelerator.device)
        tell_teacher(run, source, teacher.described)
        read = data.counts["train"]["read"]
        data.examples["train"], silent = run.main_process_first(
            lambda: taught_sentences(teacher, data.examples["train"], train, read)
        )
        words = sum(map(len, read))
        if silent:
            run.tell(f"The teacher says nothing of {silent:,} of the {words:,} training words: it does not read them.")
        run.record.teacher["words_judged"] = words - silent
        data.collator = TaughtCollator(data.collator, len(teacher.order))
        model.loss_function = TokenDistillationLoss(*arguments.how())

    def prepare(
        self, loaded: LoadedData, processor: PreTrainedTokenizerBase, splits: Iterable[str] | None = None
    ) -> PreparedData:
        """Rows of token ids and labels: the first token of a word has the word's, the others have -100."""
        examples, counts, remarks = {}, {}, []
        seen = {word for words in values_of(loaded.splits["train"], "tokens") for word in words}
        for split in splits or loaded.splits:
            sentences, tags = (list(values_of(loaded.splits[split], column)) for column in ("tokens", "tags"))
            encoding = processor(sentences, is_split_into_words=True, truncation=True, verbose=False)
            aligned = [align_labels(encoding.word_ids(row), labels) for row, labels in enumerate(tags)]
            columns = {name: encoding[name] for name in ("input_ids", "attention_mask")}
            examples[split] = Dataset.from_dict({**columns, "labels": [labels for labels, _ in aligned]})
            scored = [[place for place, tag in enumerate(labels) if tag is not None] for labels in tags]
            read = [places for _, places in aligned]
            unseen = [
                [tokens[place] not in seen for place in places]
                for tokens, places in zip(sentences, scored, strict=True)
            ]
            counts[split] = {"scored": scored, "read": read, "unseen": unseen}
            lost = sum(map(len, scored)) - sum(map(len, read))
            if lost:
                fate = "do not enter training" if split == "train" else "count as wrong"
                remarks.append(
                    f"The split {split!r}: words behind the first {processor.model_max_length:,} tokens of their "
                    f"sentence (--max_length), or without a token: {lost:,}; they {fate}."
                )
        collator = DataCollatorForTokenClassification(processor)
        data = PreparedData(loaded, processor, examples, collator, counts=counts, remarks=remarks)
        data.details[UNSEEN_WORDS] = {
            split: _share(count["unseen"]) for split, count in counts.items() if split != "train"
        }
        tell_unknown(data, processor, self.model_args.tokenizer_type, "input_ids")
        return data

    def predict(self, evaluator: Evaluator, data: PreparedData, split: str) -> list[tuple[list[int], float]]:
        """Of each sentence the labels of its words, those that were read, and the nats of the right ones."""
        rows = data.examples[split]
        return evaluator.evaluate_rows(rows, labels_and_nats, data.collator, lengths_of(rows, "input_ids"))

    def score(self, predictions: list[tuple[list[int], float]], data: PreparedData, split: str) -> dict[str, float]:
        """Accuracy, on unseen words too, scores of entities if labels mark them, and loss."""
        count = sum(len(labels) for labels, _ in predictions)
        nats = sum(nats for _, nats in predictions) / max(1, count)
        predicted, right = self.predicted_names(predictions, data, split), right_names(data, split)
        return tagging_scores(predicted, right, data.counts[split]["unseen"], scheme_of(data), nats)

    def predicted_names(
        self, predictions: list[tuple[list[int], float]], data: PreparedData, split: str
    ) -> list[list[str]]:
        """The names of the predicted labels of a split's words; a word that was not read has none, or no entity's."""
        counts, names = data.counts[split], labels_of(data.loaded.splits[split])
        unread, predicted = name_of_unread(names), []
        for (labels, _), read, scored in zip(predictions, counts["read"], counts["scored"], strict=True):
            found = dict(zip(read, labels, strict=True))
            predicted.append([names[found[place]] if place in found else unread for place in scored])
        return predicted

    def sample(self, evaluator: Evaluator, data: PreparedData, predictions: list[tuple[list[int], float]]) -> str:
        """The sentence of validation with most wrong labels, those with the right ones behind them."""
        rows = data.loaded.splits["validation"]
        found, right = self.predicted_names(predictions, data, "validation"), right_names(data, "validation")
        wrong = [sum(map(operator.ne, one, other)) for one, other in zip(found, right, strict=True)]
        row = max(range(len(rows)), key=wrong.__getitem__)
        if not wrong[row]:
            return ""
        labeled = [word for word, tag in zip(rows[row]["tokens"], rows[row]["tags"], strict=True) if tag is not None]
        parts = [
            f"{word}/{one}" if one == other else f"{word}/{one} (is {other})"
            for word, one, other in zip(labeled, found[row], right[row], strict=True)
        ]
        return f"Worst sentence, {wrong[row]} of {len(parts)} wrong: {shortened(' '.join(parts))}"

    def baselines(self, data: PreparedData, split: str) -> dict[str, dict[str, dict[str, float]]]:
        """Each word's most frequent label in training; an unseen word has that of the unseen words of validation."""
        splits, rows, counts = data.loaded.splits, data.loaded.splits[split], data.counts[split]
        names, rest = labels_of(rows), (right_names(data, split), counts["unseen"], scheme_of(data))

        def most_frequent() -> dict[str, float]:
            found = most_frequent_labels(splits["train"], splits["validation"], values_of(rows, "tokens"))
            predicted = [
                [names[labels[place]] for place in scored]
                for labels, scored in zip(found, counts["scored"], strict=True)
            ]
            return tagging_scores(predicted, *rest)

        def teacher() -> dict[str, float]:
            heard, unread = values_of(WordAnswers(self.teacher).of(rows), LOGITS), name_of_unread(names)
            said = [
                [best_name(logits[place], names, unread) for place in scored]
                for logits, scored in zip(heard, counts["scored"], strict=True)
            ]
            return tagging_scores(said, *rest)

        ways = {BASELINE: most_frequent} | ({} if self.teacher is None else {TEACHER: teacher})
        return each_by_itself(ways, split)

    def report(self, outcome: Outcome) -> str:
        """Scores beside the most frequent label's, each label's own, and what is confused most."""
        data, split = outcome.data, outcome.split
        table = {self.label: outcome.metrics}
        if BASELINE in outcome.baselines:
            table["most frequent label of each word"] = outcome.baselines[BASELINE]
        if TEACHER in outcome.baselines:
            table[f"its teacher ({self.teacher.described['class']})"] = outcome.baselines[TEACHER]
        rows, scored = data.loaded.splits[split], data.counts[split]["scored"]
        sentences = values_of(rows, "tokens")
        words = [[tokens[place] for place in places] for tokens, places in zip(sentences, scored, strict=True)]
        predicted = self.predicted_names(outcome.predictions[split], data, split)
        text = tagging_report(words, predicted, right_names(data, split), scheme_of(data), table)
        unseen = f"Words that are not in training: {data.details[UNSEEN_WORDS][split]:.1%} of those of {split}."
        return f"{split.capitalize()}: {text}\n\n{unseen} {shown_unknown(data, split)}"

    @classmethod
    def results_row(cls, records: list[Record], split: str) -> dict[str, str]:
        """F1 of entities, or else accuracy, over the seeds, beside the baseline on the same split."""
        key = "f1" if "f1" in records[0]["metrics"][split] else "accuracy"
        name = {"f1": "entity F1", "accuracy": "accuracy"}[key]
        return {
            "validation": spread(record["metrics"]["validation"][key] for record in records),
            f"{name}, %": f"{spread(record['metrics'][split][key] for record in records)} ({split})",
            "unseen words": spread(record["metrics"][split]["unseen_accuracy"] for record in records),
            "most frequent label": spread(of_baseline(records, BASELINE, split, key)),
        }


def name_of_unread(names: list[str]) -> str:
    """What stands for the label of a word that is not read: that of no entity, or none."""
    return NO_ENTITY if entity_scheme(names) else ""


def best_name(logits: list[float], names: list[str], unread: str) -> str:
    """The name of the likeliest label of a word, or what stands for one of which nothing is said."""
    return unread if is_silent(logits) else names[max(range(len(names)), key=logits.__getitem__)]


def scheme_of(data: PreparedData) -> str | None:
    """By which its labels mark entities, those of all splits together."""
    return entity_scheme(labels_of(data.loaded.splits["train"]))


def right_names(data: PreparedData, split: str) -> list[list[str]]:
    """The names of the labels of a split's words, of those that have one."""
    rows = data.loaded.splits[split]
    names = labels_of(rows)
    return [[names[tag] for tag in tags if tag is not None] for tags in values_of(rows, "tags")]


def align_labels(word_ids: list[int | None], tags: list[int | None]) -> tuple[list[int], list[int]]:
    """
    The labels of the tokens of a sentence: that of its word for the first token of a word, -100 for the others.

    Args:
        word_ids: The word that each token belongs to, `None` for tokens that a tokenizer adds.
        tags: The label of each word, `None` for one that has none.

    Returns:
        The labels; and the words whose labels are among them, in order.
    """
    labels, words, before = [], [], None
    for word in word_ids:
        is_first = word is not None and word != before
        before = word
        if is_first and tags[word] is not None:
            labels.append(tags[word])
            words.append(word)
        else:
            labels.append(IGNORE_INDEX)
    return labels, words


def labels_and_nats(model: PreTrainedModel, batch: Batch) -> list[tuple[list[int], float]]:
    """For each row of a batch the predicted label of each labeled token, and the sum of the nats of the right ones."""
    labels = batch["labels"]
    logits = model(**{name: value for name, value in batch.items() if name != "labels"}).logits.float()
    nats = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), labels, ignore_index=IGNORE_INDEX, reduction="none"
    ).sum(1)
    found = logits.argmax(-1)
    return [
        (row[wanted != IGNORE_INDEX].tolist(), float(loss))
        for row, wanted, loss in zip(found, labels, nats, strict=True)
    ]


def most_frequent_labels(train: Dataset, validation: Dataset, sentences: Iterable[list[str]]) -> list[list[int]]:
    """
    The most frequent label in training of each word of some sentences; of equally frequent ones the first.

    A word that is not in training has the label that most of such words have in validation, or, if there are none, the
    most frequent one of training.
    """
    counts: dict[str, Counter] = defaultdict(Counter)
    for word, tag in _labeled_words(train):
        counts[word][tag] += 1
    unseen = Counter(tag for word, tag in _labeled_words(validation) if word not in counts)
    everywhere = Counter(tag for count in counts.values() for tag in count.elements())
    best = {word: _first_of_most(count) for word, count in counts.items()}
    other = _first_of_most(unseen or everywhere)
    return [[best.get(word, other) for word in words] for words in sentences]


def _labeled_words(rows: Dataset) -> Iterator[tuple[str, int]]:
    for tokens, tags in zip(values_of(rows, "tokens"), values_of(rows, "tags"), strict=True):
        yield from ((word, tag) for word, tag in zip(tokens, tags, strict=True) if tag is not None)


def _first_of_most(counts: Counter) -> int:
    return min(counts, key=lambda label: (-counts[label], label))


def _share(flags: Iterable[list[bool]]) -> float:
    every = [flag for row in flags for flag in row]
    return sum(every) / max(1, len(every))
