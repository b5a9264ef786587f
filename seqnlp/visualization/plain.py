"""Words of users and models as pictures can show them."""

from collections.abc import Iterable

from transformers import PreTrainedTokenizerBase


def tokens_of(tokenizer: PreTrainedTokenizerBase, ids: Iterable[int]) -> list[str]:
    """
    Each token as it reads, decoded one by one: byte-level tokens do not show their characters. A model may have more
    rows than its tokenizer has tokens.
    """
    return [
        tokenizer.decode([token]) or tokenizer.convert_ids_to_tokens(token) or f"[no token {token}]" for token in ids
    ]


def plain(text: str) -> str:
    """For matplotlib, which takes what stands between dollars for mathematics and knows no control characters."""
    shown = "".join(character if character.isprintable() or character == "\n" else "·" for character in text)
    return shown.replace("$", r"\$")
