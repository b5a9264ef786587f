"""Tokenizers trained on one's own text, that load without custom code."""

from .train import TokenizationError, train_tokenizer


__all__ = ["TokenizationError", "train_tokenizer"]
