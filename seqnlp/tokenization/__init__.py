"""Tokenizers trained on one's own text, that load without custom code."""

from .bpe_dropout import BPEDropout
from .encode import encode_documents, unknown_pieces, unknown_remark, unknown_share
from .train import TokenizationError, train_tokenizer


__all__ = [
    "BPEDropout",
    "TokenizationError",
    "encode_documents",
    "train_tokenizer",
    "unknown_pieces",
    "unknown_remark",
    "unknown_share",
]
