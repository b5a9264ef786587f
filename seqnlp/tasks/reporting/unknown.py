"""How much of a text its tokenizer does not know: always on record, and said where it is much."""

from typing import TYPE_CHECKING

from transformers import PreTrainedTokenizerBase

from ...data import count_tokens
from ...tokenization import unknown_remark


if TYPE_CHECKING:
    from ..base import PreparedData


UNKNOWN_SHARE = "unknown_share"
"""Key of `run.json`'s dataset: by split, the share of the tokens that are `<unk>`."""


def tell_unknown(data: "PreparedData", tokenizer: PreTrainedTokenizerBase, tokenizer_type: str, column: str) -> None:
    """
    Put the share of unknown tokens of each held-out split on record, and a remark if that of validation is high.

    Args:
        data: Gets the shares in its `details`, and the remark.
        tokenizer: The tokenizer.
        tokenizer_type: As [`seqnlp.tokenization.train_tokenizer`] takes it.
        column: Column of the token ids.
    """
    shares = {}
    for split, examples in data.examples.items():
        if split != "train":
            unknown, tokens = count_tokens(examples, column, tokenizer.unk_token_id)
            shares[split] = unknown / max(1, tokens)
    data.details[UNKNOWN_SHARE] = shares
    remark = unknown_remark(shares.get("validation", 0.0), tokenizer_type, "the validation texts")
    data.remarks += [remark] if remark else []


def shown_unknown(data: "PreparedData", split: str) -> str:
    """The share of a split in words."""
    return f"Unknown tokens: {data.details[UNKNOWN_SHARE][split]:.1%} of those of {split}."
