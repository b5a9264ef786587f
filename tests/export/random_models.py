"""Models with random fields and random weights, which exports are held to."""

import random

import torch

from seqnlp.tokenization import train_tokenizer


VOCAB_SIZE = 280
TEXTS = ["a good film", "an awful film, with no end", "the crew was lovely"]


def tokenizer(tokenizer_type: str = "bpe", **options):
    """Of the few texts; `bpe` has all bytes."""
    return train_tokenizer(TEXTS, tokenizer_type, VOCAB_SIZE, **options)


def fields(draw: random.Random, **fixed):
    """Fields of a random Transformer whose heads have keys and values of their own."""
    heads = draw.choice([1, 2, 4])
    return {
        "vocab_size": VOCAB_SIZE,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "hidden_size": heads * draw.choice([6, 8, 10]),
        "num_attention_heads": heads,
        "intermediate_size": draw.choice([None, 20, 33]),
        "num_hidden_layers": draw.choice([1, 2, 3]),
        "max_position_embeddings": 40,
        "use_bias": draw.choice([True, False]),
        "scale_embedding": draw.choice([True, False]),
        "tie_word_embeddings": draw.choice([True, False]),
        "layer_norm_eps": draw.choice([1e-6, 1e-5, 1e-3]),
        "initializer_range": 0.2,
        **fixed,
    }


def all_fields(draw: random.Random, **fixed):
    """Fields of a random Transformer, from all that its configuration allows."""
    chosen = fields(draw)
    heads = chosen["num_attention_heads"]
    return {
        **chosen,
        "head_dim": draw.choice([4, 6, 8]),
        "num_key_value_heads": draw.choice([number for number in range(1, heads + 1) if heads % number == 0]),
        "hidden_act": draw.choice(["relu", "gelu", "swiglu"]),
        "position_embedding_type": draw.choice(["sinusoidal", "learned", "rotary", "none"]),
        "norm_type": draw.choice(["layer_norm", "rms_norm"]),
        "norm_position": draw.choice(["pre", "post"]),
        "embedding_norm": draw.choice([True, False]),
        **fixed,
    }


def spread(model):
    """Draw norms and biases too, since a new one's are ones and zeros."""
    for parameter in model.parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, 0.5, 0.3)
    return model.eval()
