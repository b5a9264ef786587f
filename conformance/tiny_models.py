"""Small models on disk, where the suite's pipeline tests expect to find them on the Hub."""

import os
from pathlib import Path

from seqnlp.tokenization import train_tokenizer


TEXTS = [
    "This is a test",
    "Another longer test than that",
    "Who are you voting for?",
    "My stomach hurts, that is all.",
]


def small_tokenizer():
    """A byte-level tokenizer: it knows every text, and cuts it off where models have no more places."""
    tokenizer = train_tokenizer(TEXTS, "bpe", 300, extra_tokens=["<mask>"], model_max_length=256)
    tokenizer.mask_token = "<mask>"
    tokenizer.split_special_tokens = False  # masks are found in the text
    return tokenizer


def save_tiny_model(model, tokenizer=None, image_processor=None) -> dict:
    """
    Save a model and its tokenizer or image processor below `TRANSFORMERS_TINY_MODEL_PATH`.

    Returns:
        Its entry in the suite's `tiny_model_summary`.
    """
    name = type(model).__name__
    folder = Path(os.environ["TRANSFORMERS_TINY_MODEL_PATH"]) / model.config.model_type / name
    for part in (model, tokenizer, image_processor):
        if part is not None:
            part.save_pretrained(folder)
    return {
        "tokenizer_classes": [type(tokenizer).__name__] if tokenizer is not None else [],
        "processor_classes": [type(image_processor).__name__] if image_processor is not None else [],
        "model_classes": [name],
    }
