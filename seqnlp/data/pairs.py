"""Tokenized pairs of sentences, and batches of them."""

from collections.abc import Callable
from typing import Any

import torch
from datasets import Dataset
from transformers import DataCollatorForSeq2Seq, PreTrainedTokenizerFast

from ..tokenization import BPEDropout, train_tokenizer
from .caching import map_once
from .columns import lengths_of, values_of
from .errors import DataError


Batch = dict[str, torch.Tensor]


def train_pair_tokenizers(
    pairs: Dataset, tokenizer_type: str, vocab_size: int, lowercase: bool, min_frequency: int, joint: bool
) -> tuple[PreTrainedTokenizerFast, PreTrainedTokenizerFast]:
    """
    The tokenizers of source and target, trained on the pairs; if `joint` one on both sides, which is then both.

    Each text gets an end token, and with BPE a space in front, so that its first word is tokenized as elsewhere.
    """
    settings = {"lowercase": lowercase, "min_frequency": min_frequency, "add_eos_token": True}
    settings |= {"add_prefix_space": True}
    sides = list(values_of(pairs, "source")), list(values_of(pairs, "target"))
    texts = [[*sides[0], *sides[1]]] if joint else sides
    tokenizers = [train_tokenizer(part, tokenizer_type, vocab_size, **settings) for part in texts]
    return tokenizers[0], tokenizers[-1]


def tokenize_pairs(
    pairs: Dataset, source_tokenizer: PreTrainedTokenizerFast, target_tokenizer: PreTrainedTokenizerFast
) -> Dataset:
    """
    From the columns `source` and `target` to `input_ids`, `labels` and `row`, the place among the pairs.

    Nothing is cut off: half a sentence is not what a whole one translates.
    """

    def tokenize(rows: dict[str, list[str]], indices: list[int]) -> dict[str, Any]:
        labels = target_tokenizer(text_target=rows["target"])["input_ids"]  # some have another mode for targets
        return {"input_ids": source_tokenizer(rows["source"])["input_ids"], "labels": labels, "row": indices}

    return map_once(pairs, tokenize, with_indices=True, remove_columns=pairs.column_names)


def pair_lengths(tokenized: Dataset) -> list[tuple[int, int]]:
    """The tokens of source and target of each pair."""
    return list(zip(lengths_of(tokenized, "input_ids"), lengths_of(tokenized, "labels"), strict=True))


def cut_long_texts(tokenized: Dataset, max_length: int) -> tuple[Dataset, dict[str, int]]:
    """
    The same pairs with each side cut to `max_length` tokens, of which the last is the side's own last one, its end.

    Returns:
        The pairs; and how many sources and targets were cut.
    """
    columns = {"sources": "input_ids", "targets": "labels"}
    counts = {side: sum(n > max_length for n in lengths_of(tokenized, name)) for side, name in columns.items()}
    if not any(counts.values()):
        return tokenized, counts

    def cut(ids: list[int]) -> list[int]:
        return [*ids[: max_length - 1], ids[-1]] if len(ids) > max_length else ids

    texts = {name: [cut(ids) for ids in values_of(tokenized, name)] for name in columns.values()}
    return Dataset.from_dict({**texts, "row": list(values_of(tokenized, "row"))}), counts


def keep_short_pairs(tokenized: Dataset, max_length: int) -> Dataset:
    """
    The pairs with at most `max_length` tokens on either side.

    Raises:
        DataError: If there is none.
    """
    kept = [row for row, lengths in enumerate(pair_lengths(tokenized)) if max(lengths) <= max_length]
    if not kept:
        raise DataError(
            f"None of the {len(tokenized)} training pairs has {max_length} tokens or fewer on either side."
        )
    return tokenized.select(kept)


class PairCollator:
    """
    Makes a batch of tokenized pairs, padded by `DataCollatorForSeq2Seq`: labels with -100.

    Args:
        tokenizer: Of the source; it pads as the target's does.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast):
        self._pad = DataCollatorForSeq2Seq(tokenizer)

    def __call__(self, rows: list[dict[str, Any]]) -> Batch:
        """From rows with `input_ids` and `labels` to a batch with `attention_mask` too."""
        return dict(self._pad([{name: row[name] for name in ("input_ids", "labels")} for row in rows]))


class DropoutCollator(PairCollator):
    """
    Makes a batch for training with both sides segmented anew by BPE dropout.

    Args:
        pairs: The training pairs, to whose places the rows' `row` refers.
        source_tokenizer: Of the source.
        target_tokenizer: Of the target.
        dropout: Probability of leaving out a merge.
        seed: Fixes the segmentations.
    """

    def __init__(
        self,
        pairs: Dataset,
        source_tokenizer: PreTrainedTokenizerFast,
        target_tokenizer: PreTrainedTokenizerFast,
        dropout: float,
        seed: int,
    ):
        super().__init__(source_tokenizer)
        sides = ("input_ids", source_tokenizer, pairs["source"]), ("labels", target_tokenizer, pairs["target"])
        self._sides: list[tuple[str, Callable[[int], list[int]], list[int]]] = [
            (name, BPEDropout(tokenizer, texts, dropout, seed).ids, [tokenizer.eos_token_id])
            for name, tokenizer, texts in sides
        ]

    def __call__(self, rows: list[dict[str, Any]]) -> Batch:
        """From rows with a `row` to a batch."""
        return super().__call__([{name: ids(row["row"]) + end for name, ids, end in self._sides} for row in rows])
