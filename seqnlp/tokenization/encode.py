"""Tokenize texts of any length in little memory, and say how much of a text a tokenizer does not know."""

import re
from collections.abc import Iterable, Iterator

import numpy as np
from tokenizers.models import Unigram
from transformers import PreTrainedTokenizerBase


PIECE = 10_000  # characters; while it tokenizes, `tokenizers` takes some 400 bytes per character
AT_ONCE = 32
CONTEXT = 200  # characters on either side of a cut, by which it is seen that it changes no token
# A single space or line break between two words: every tokenizer of this package cuts there too, unigram at spaces.
_BORDER = re.compile(r"(?<=\S)(?: |\r?\n)(?=\S)")
_UNIGRAM_BORDER = re.compile(r"(?<=\S) (?=\S)")
HIGH_UNKNOWN_SHARE = 0.2


def pieces_of(texts: Iterable[str], model) -> Iterator[str]:
    """
    The texts in pieces of about `PIECE` characters, in order, for a `tokenizers.models.Model`.

    A text is cut only in front of single white space between two words, where its tokens do not depend on what stands
    on the other side; a text without such white space stays whole.
    """
    pattern = _UNIGRAM_BORDER if isinstance(model, Unigram) else _BORDER
    for text in texts:
        start = 0
        while border := pattern.search(text, start + PIECE):
            yield text[start : border.start()]
            start = border.start()
        yield text[start:]


def encode_documents(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> list[np.ndarray]:
    """
    The token ids of each text, without special tokens, as an array of int32.

    They are what `tokenizer(text, add_special_tokens=False)` gives, piece by piece, since a long text as a whole takes
    hundreds of times its size in memory. Where a cut would change the tokens beside it, as one in front of a line
    break does for tokenizers of other libraries that put a space before each text, none is made.
    """
    return [np.concatenate(list(_encode(tokenizer, text))) for text in texts]


def _encode(tokenizer: PreTrainedTokenizerBase, text: str) -> Iterator[np.ndarray]:
    yield np.empty(0, dtype=np.int32)
    pieces: list[list[str]] = []
    for piece in pieces_of([text], tokenizer.backend_tokenizer.model):
        if pieces and not _may_cut(tokenizer, pieces[-1][-1], piece):
            pieces[-1].append(piece)
            continue
        if len(pieces) == AT_ONCE:
            yield _ids(tokenizer, map("".join, pieces))
            pieces = []
        pieces.append([piece])
    if pieces:
        yield _ids(tokenizer, map("".join, pieces))


def _may_cut(tokenizer: PreTrainedTokenizerBase, before: str, after: str) -> bool:
    """Whether the tokens around a cut are those that would be there without it."""
    sides = before[-CONTEXT:], after[:CONTEXT]
    whole, *parts = tokenizer(["".join(sides), *sides], add_special_tokens=False, verbose=False)["input_ids"]
    return whole == [token for part in parts for token in part]


def _ids(tokenizer: PreTrainedTokenizerBase, pieces: Iterable[str]) -> np.ndarray:
    found = tokenizer(list(pieces), add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
    return np.concatenate([np.array(ids, dtype=np.int32) for ids in found])


def unknown_pieces(tokenizer: PreTrainedTokenizerBase, text: str) -> list[str]:
    """The parts of a text that a tokenizer takes for `<unk>`, each once, in their order."""
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    places = zip(found["input_ids"], found["offset_mapping"], strict=True)
    unknown = (text[start:end] for token, (start, end) in places if token == tokenizer.unk_token_id)
    return list(dict.fromkeys(unknown))


def unknown_share(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> float:
    """The share of the tokens of some texts that are `<unk>`; 0 where there are no tokens."""
    unknown = total = 0
    for ids in encode_documents(tokenizer, texts):
        unknown += int((ids == tokenizer.unk_token_id).sum())
        total += len(ids)
    return unknown / total if total else 0.0


def unknown_remark(share: float, tokenizer_type: str | None, what: str) -> str | None:
    """
    What to tell a user of a high share of unknown tokens; `None` where there is nothing to tell.

    Args:
        share: From [`unknown_share`].
        tokenizer_type: As [`train_tokenizer`] takes it; `None` for a tokenizer that was given.
        what: Which texts they are, e.g. `"the validation texts"`.
    """
    if share <= HIGH_UNKNOWN_SHARE:
        return None
    found = f"{share:.0%} of the tokens of {what} are unknown to the"
    if tokenizer_type is None:
        return f"{found} given tokenizer: take a tokenizer, or a model with one, that was made for such texts."
    others = "bpe" if tokenizer_type == "char" else "bpe or --tokenizer_type char"
    why = " (words are told apart by spaces, which not every language writes)" if tokenizer_type == "word" else ""
    return f"{found} {tokenizer_type} tokenizer{why}: use --tokenizer_type {others}, or a larger --vocab_size."
