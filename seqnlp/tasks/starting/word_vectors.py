"""Vectors of words that exist, such as word2vec's, GloVe's or fastText's, as the first embeddings of a model."""

import importlib.util
import struct
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from ...extras import install
from ...training import ArgumentsError
from ...training.errors import in_one_line
from .starting_model import hash_of


FASTTEXT = struct.pack("<i", 793712314)  # the first bytes of a fastText model
LONGEST_LINE = 1_000_000


def check_vectors(path: str) -> None:
    """
    See that a file of vectors is there, and can be read.

    Raises:
        ArgumentsError: If not.
    """
    if not Path(path).is_file():
        raise ArgumentsError(f"--init_embeddings {path}: there is no such file.")
    if importlib.util.find_spec("gensim") is None:
        raise ArgumentsError(f"--init_embeddings {path}: reading vectors needs {install('embeddings')}.")


def read_vectors(path: str) -> Any:
    """
    The vectors in a file, in any of the usual formats: word2vec's and fastText's as text or binary, GloVe's, and a
    fastText model, which has vectors for words that it has not seen too. They may be compressed (`.gz`).

    Returns:
        A `gensim.models.KeyedVectors`.

    Raises:
        ArgumentsError: If it is none of them, or damaged.
    """
    from gensim.models import KeyedVectors
    from gensim.models.fasttext import load_facebook_vectors
    from smart_open import open as open_any

    try:
        with open_any(path, "rb") as file:
            first, second = file.readline(LONGEST_LINE), file.readline(LONGEST_LINE)
        if first.startswith(FASTTEXT):
            return load_facebook_vectors(path)
        header = first.split()
        has_header = len(header) == 2 and all(part.isdigit() for part in header)
        if not has_header and not _is_line_of_text(first):
            raise ValueError(
                "it begins neither with the numbers of words and dimensions nor with a word and its vector"
            )
        binary = has_header and not _is_line_of_text(second, int(header[1]))
        return KeyedVectors.load_word2vec_format(
            path, binary=binary, no_header=not has_header, unicode_errors="replace"
        )
    except (ValueError, EOFError, OSError, IndexError, AssertionError, NotImplementedError, struct.error) as error:
        reason = in_one_line(error, 200).rstrip(".")
        raise ArgumentsError(f"--init_embeddings {path}: these vectors cannot be read: {reason}.") from error


def _is_line_of_text(line: bytes, dimension: int | None = None) -> bool:
    """Whether a line is a word and the numbers of its vector."""
    parts = line.strip().split(b" ")
    try:
        [float(part) for part in parts[1:]]
    except ValueError:
        return False
    return len(parts) == dimension + 1 if dimension is not None else len(parts) > 2


def words_of(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """The tokens that are whole words: those as which their text alone, after a space, is tokenized."""
    special = set(tokenizer.all_special_ids)
    ids = [token_id for token_id in sorted(tokenizer.get_vocab().values()) if token_id not in special]
    tokens = tokenizer.convert_ids_to_tokens(ids)
    texts = [tokenizer.convert_tokens_to_string([token]).strip() for token in tokens]
    alone = tokenizer([f" {text}" for text in texts], add_special_tokens=False)["input_ids"]
    return {
        token_id: text
        for token_id, text, found in zip(ids, texts, alone, strict=True)
        if text and list(found) == [token_id]
    }


def begin_with_vectors(embeddings: nn.Embedding, tokenizer: PreTrainedTokenizerBase, path: str) -> dict[str, Any]:
    """
    Put the vectors of words into embeddings; a word that the file lacks may have its vector in lower case. Other
    tokens, such as pieces of words, keep the embeddings that were drawn.

    Args:
        embeddings: They are written to.
        tokenizer: Whose tokens they are of.
        path: A file of vectors.

    Returns:
        What `run.json` says of it.

    Raises:
        ArgumentsError: If the file cannot be read, its vectors have another size, or none is of a token.
    """
    vectors = read_vectors(path)
    size = embeddings.embedding_dim
    if vectors.vector_size != size:
        raise ArgumentsError(
            f"--init_embeddings {path}: its vectors have {vectors.vector_size} dimensions, and the embeddings have "
            f"{size}: set embedding_size, or hidden_size where there is no such field, by --config_overrides."
        )
    found, lowered = {}, 0
    for token_id, word in words_of(tokenizer).items():
        if word in vectors:
            found[token_id] = vectors[word]
        elif word.lower() in vectors:
            found[token_id], lowered = vectors[word.lower()], lowered + 1
    if not found:
        raise ArgumentsError(
            f"--init_embeddings {path}: of the {len(tokenizer):,} tokens none is one of its {len(vectors):,} words. "
            "Take --tokenizer_type word, or vectors of this language."
        )
    with torch.no_grad():
        for token_id, vector in found.items():
            embeddings.weight[token_id] = torch.tensor(vector, dtype=embeddings.weight.dtype)
    tokens = len(tokenizer) - len(set(tokenizer.all_special_ids))
    return {
        "sha256": hash_of([Path(path)]),
        "dimensions": size,
        "tokens": tokens,
        "tokens_found": len(found),
        "found_in_lower_case": lowered,
    }


def described_vectors(described: dict[str, Any]) -> str:
    """The line on it, from what `run.json` says."""
    share = described["tokens_found"] / described["tokens"]
    lowered = described["found_in_lower_case"]
    return (
        f"Embeddings begin as those of {described['name']}: {described['tokens_found']:,} of {described['tokens']:,} "
        f"tokens ({share:.1%})" + (f", {lowered:,} of them by their lower case." if lowered else ".")
    )
