"""What exported models are compared on, texts of random tokens alone and padded, and how outputs are compared."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from .base import Check


NEW_TOKENS = 24
"""How many tokens are written at most to compare what a model writes."""


@dataclass
class TokenBatch:
    """
    Several texts as a model reads them.

    Attributes:
        name: Where its padding stands: `none`, `right` or `left`.
        input_ids: `(B, T)`.
        attention_mask: `(B, T)`, 0 at padding.
    """

    name: str
    input_ids: torch.Tensor
    attention_mask: torch.Tensor


def random_texts(
    config: PreTrainedConfig, lengths: tuple[int, ...] = (1, 2, 7, 12, 31), seed: int = 0
) -> list[torch.Tensor]:
    """
    Texts of tokens drawn from the vocabulary without the one for padding, each `(1, T)`.

    Args:
        config: Of the model; `max_position_embeddings` bounds the lengths where it has one.
        lengths: Tokens of each text.
        seed: Of the draws.
    """
    generator = torch.Generator().manual_seed(seed)
    ids = torch.tensor([token for token in range(config.vocab_size) if token != config.pad_token_id])
    longest = getattr(config, "max_position_embeddings", None) or max(lengths)
    return [ids[torch.randint(len(ids), (1, min(length, longest)), generator=generator)] for length in lengths]


def padded(texts: list[torch.Tensor], pad_token_id: int | None, sides: tuple[str, ...] = ("right", "left")):
    """
    Texts in batches: each alone, and all of them padded on each side.

    Args:
        texts: Each `(1, T)`.
        pad_token_id: What stands at padding; 0 where a model has no such token.
        sides: Where padding stands.
    """
    batches = [TokenBatch("none", text, torch.ones_like(text)) for text in texts]
    longest = max(text.shape[1] for text in texts)
    for side in sides:
        rows, masks = [], []
        for text in texts:
            room = longest - text.shape[1]
            around = (0, room) if side == "right" else (room, 0)
            rows.append(torch.nn.functional.pad(text, around, value=pad_token_id or 0))
            masks.append(torch.nn.functional.pad(torch.ones_like(text), around))
        batches.append(TokenBatch(side, torch.cat(rows), torch.cat(masks)))
    return batches


def writing_options(config: PreTrainedConfig, prompt_length: int, new_tokens: int, num_beams: int = 1) -> dict:
    """
    Arguments of `generate` for up to `new_tokens` new tokens, whatever the model's own generation configuration says.

    Args:
        config: Of the model.
        prompt_length: Tokens of the prompt, or of the source.
        new_tokens: How many are written at most.
        num_beams: 1 takes the likeliest token each time.
    """
    begun = 1 if config.is_encoder_decoder else prompt_length  # the start token counts
    length = {"max_length": begun + new_tokens, "max_new_tokens": None}
    return {**length, "do_sample": False, "num_beams": num_beams}


def largest_difference(found: torch.Tensor, expected: torch.Tensor, mask: torch.Tensor | None = None) -> float:
    """The largest difference of two outputs of one shape, at the places where `mask` is not 0; infinite for NaN."""
    difference = (found - expected).abs()
    if mask is not None:
        difference = difference[mask.bool()]
    return float(difference.max().nan_to_num(nan=float("inf")))


@dataclass
class Comparison:
    """What an export gave and what the model gives, of one shape, and the mask of the places that count."""

    found: torch.Tensor
    expected: torch.Tensor
    mask: torch.Tensor | None = None

    def agreeing(self) -> tuple[int, int]:
        """At how many places the largest of the last axis is the same one, and how many there are."""
        same = self.found.argmax(dim=-1) == self.expected.argmax(dim=-1)
        same = same[self.mask.bool()] if self.mask is not None else same
        return int(same.sum()), same.numel()


def check_difference(name: str, comparisons: list[Comparison], limit: float) -> Check:
    """The largest difference, relative to the largest output where that is above 1."""
    largest = max(1.0, *(float(one.expected.abs().max()) for one in comparisons))
    found = max(largest_difference(one.found, one.expected, one.mask) for one in comparisons) / largest
    return Check(name, found <= limit, f"{found:.1e} of {largest:.3g}", f"at most {limit:.0e} of it")


def check_alike(name: str, same: int, texts: int) -> Check:
    """Whether all of the texts came out the same: `same` of `texts` did."""
    return Check(name, same == texts, f"{same} of {texts} texts alike", "all of them")


def check_tokenizer(
    tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig, is_alike: Callable[[str], bool]
) -> Check:
    """
    Whether a saved tokenizer does what the model's does, on what that makes of random tokens.

    Args:
        tokenizer: The model's.
        config: Of the model.
        is_alike: Whether both make the same of a text.
    """
    texts = [tokenizer.decode(text[0]) for text in random_texts(config, (5, 20, 60), seed=1)]
    return check_alike("tokenizer", sum(map(is_alike, texts)), len(texts))
