"""What exported models are compared on: texts of random tokens, alone and padded."""

from dataclasses import dataclass

import torch
from transformers import PreTrainedConfig


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
    Arguments of `generate` for up to so many new tokens, whatever the model's own generation configuration says.

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
