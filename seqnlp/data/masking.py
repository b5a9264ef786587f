"""Hidden tokens: which are chosen, what stands in their place, and the blocks of text they are hidden in."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch.utils.data import Dataset

from .errors import DataError
from .streams import IGNORE_INDEX


SPAN_PROBABILITY, LONGEST_SPAN = 0.2, 10
"""Of the geometric distribution of a span's length, and where it is cut (Joshi et al. 2020, section 3.1)."""

MASKED, REPLACED = 0.8, 0.1
"""Shares of the chosen tokens that become `<mask>` and another token; the rest stay (Devlin et al. 2019, A.1)."""


@dataclass(frozen=True)
class Masking:
    """
    How tokens are hidden.

    Attributes:
        mask_token_id: Stands for a hidden token.
        special_ids: Tokens that are never hidden, nor put in the place of another.
        vocab_size: Tokens that there are.
        share: Of the tokens of a text, how many are to be predicted (Devlin et al. 2019, arXiv 1810.04805, section
            3.1).
        spans: Whether they stand in spans (Joshi et al. 2020, arXiv 1907.10529, section 3.1). There, spans are of
            whole words; here, of tokens.
    """

    mask_token_id: int
    special_ids: tuple[int, ...]
    vocab_size: int
    share: float = 0.15
    spans: bool = False

    def hide(
        self, tokens: torch.Tensor, generator: torch.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        A text with hidden tokens, and what they were.

        Args:
            tokens: `(num_tokens,)`.
            generator: What is drawn from; torch's own by default.

        Returns:
            The tokens to read; and the labels, -100 for tokens that are not to be predicted. Both are new. At least
            one token is to be predicted, if there is one that may be.
        """
        may_hide = ~torch.isin(tokens, torch.tensor(self.special_ids))
        available = int(may_hide.sum())
        budget = min(available, max(1, round(self.share * available)))
        group = self._choose(may_hide, budget, generator)  # (num_tokens,), the draw that each token shares, or -1
        chosen = group >= 0
        labels = tokens.long().masked_fill(~chosen, IGNORE_INDEX)
        inputs = tokens.long().clone()
        draw = torch.rand(max(1, int(group.max()) + 1), generator=generator)[group.clamp(min=0)]
        inputs[chosen & (draw < MASKED)] = self.mask_token_id
        replaced = chosen & (draw >= MASKED) & (draw < MASKED + REPLACED)
        others = self._ordinary
        inputs[replaced] = others[torch.randint(len(others), (int(replaced.sum()),), generator=generator)]
        return inputs, labels

    @cached_property
    def _ordinary(self) -> torch.Tensor:
        """The tokens that may be hidden, `(num_ordinary,)`."""
        is_ordinary = torch.ones(self.vocab_size, dtype=torch.bool)
        is_ordinary[list(self.special_ids)] = False
        return is_ordinary.nonzero().squeeze(1)

    def _choose(self, may_hide: torch.Tensor, budget: int, generator) -> torch.Tensor:
        group = torch.full(may_hide.shape, -1)
        if not self.spans:
            places = may_hide.nonzero().squeeze(1)
            order = torch.randperm(len(places), generator=generator)[:budget]
            group[places[order]] = torch.arange(budget)
            return group
        lengths = (1 - SPAN_PROBABILITY) ** torch.arange(LONGEST_SPAN)
        free, spans = may_hide.clone(), 0
        while budget:
            length = 1 + int(torch.multinomial(lengths, 1, generator=generator))
            start = int(torch.randint(len(free), (), generator=generator))
            places = start + free[start : start + min(length, budget)].nonzero().squeeze(1)
            group[places], free[places] = spans, False
            budget -= len(places)
            spans += len(places) > 0
        return group


class MaskingCollator:
    """
    Hides tokens of each example anew: what is hidden is drawn from torch's generator each time an example is read.

    Args:
        masking: How; `None` for examples whose tokens are hidden already.
        pad_token_id: Fills `input_ids` on the right.
    """

    def __init__(self, masking: Masking | None, pad_token_id: int):
        self.masking = masking
        self.pad_token_id = pad_token_id

    def __call__(self, examples: list[dict]) -> dict[str, torch.Tensor]:
        """`input_ids`, `attention_mask` and `labels`, each `(batch_size, length of the longest)`."""
        rows = [(torch.as_tensor(example["input_ids"]), example["labels"]) for example in examples]
        if self.masking is not None:
            rows = [self.masking.hide(tokens) for tokens, _ in rows]
        shape = len(rows), max(1, *(len(tokens) for tokens, _ in rows))
        batch = {
            "input_ids": torch.full(shape, self.pad_token_id),
            "attention_mask": torch.zeros(shape, dtype=torch.long),
            "labels": torch.full(shape, IGNORE_INDEX),
        }
        for row, (tokens, labels) in enumerate(rows):
            batch["input_ids"][row, : len(tokens)] = tokens
            batch["attention_mask"][row, : len(tokens)] = 1
            batch["labels"][row, : len(tokens)] = torch.as_tensor(labels)
        return batch


class MaskedBlocks(Dataset):
    """
    A held-out text in blocks, with the same tokens hidden wherever and whenever it is read: what is hidden in a block
    is drawn from a generator that is seeded by a hash of its tokens.

    Args:
        tokens: `(num_tokens,)`, see [`seqnlp.data.join_documents`].
        length: Tokens of a block; the last one may have fewer.
        masking: How they are hidden.

    Raises:
        DataError: If there is no token that may be hidden.
    """

    def __init__(self, tokens: torch.Tensor, length: int, masking: Masking):
        self.examples = []
        for block in tokens.split(length):
            inputs, labels = masking.hide(block, _seeded_by(block))
            self.examples.append({"input_ids": inputs, "labels": labels})
        self.num_targets = sum(int((example["labels"] != IGNORE_INDEX).sum()) for example in self.examples)
        if not self.num_targets:
            raise DataError(
                "The held-out text has no tokens that may be hidden: all are unknown to the tokenizer, or there are "
                "none. Where words are not parted by spaces, use --tokenizer_type bpe or char."
            )

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return self.examples[index]


def _seeded_by(tokens: torch.Tensor) -> torch.Generator:
    content = " ".join(map(str, tokens.tolist())).encode()
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(content).digest()[:7], "big"))


def masking_of(tokens: int, mask_token_id: int, special_ids: Iterable[int], share: float, spans: bool) -> Masking:
    """
    How the tokens of a vocabulary are hidden, see [`Masking`].

    Raises:
        DataError: If the vocabulary has none but special tokens.
    """
    special: Sequence[int] = sorted(special_ids)
    if len(special) >= tokens:
        raise DataError(f"All {tokens} tokens of the vocabulary are special ones: there is nothing to hide.")
    return Masking(mask_token_id, tuple(special), tokens, share, spans)
