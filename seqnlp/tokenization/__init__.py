"""Tokenizers trained on one's own text, that load without custom code."""

from .beginning import put_bos_first
from .bpe_dropout import BPEDropout
from .encode import encode_documents, pieces_of, unknown_pieces, unknown_remark, unknown_share
from .spelling import first_continuing_id, is_spelling, train_spelling_tokenizer
from .train import MASK_TYPES, TokenizationError, read_literally, take_masks_literally, train_tokenizer


__all__ = [
    "MASK_TYPES",
    "BPEDropout",
    "TokenizationError",
    "encode_documents",
    "first_continuing_id",
    "is_spelling",
    "pieces_of",
    "put_bos_first",
    "read_literally",
    "take_masks_literally",
    "train_spelling_tokenizer",
    "train_tokenizer",
    "unknown_pieces",
    "unknown_remark",
    "unknown_share",
]
