"""Tokenizers trained on one's own text, that load without custom code."""

from .bpe_dropout import BPEDropout
from .train import TokenizationError, train_tokenizer


__all__ = ["BPEDropout", "TokenizationError", "train_tokenizer"]
