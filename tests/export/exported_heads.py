"""One small configuration per head; together they show every cell, position, pooling and way to look at a source."""

import functools

import torch

from seqnlp import (
    RecurrentForCausalLM,
    RecurrentForSequenceClassification,
    RecurrentForTimeSeriesPrediction,
    RecurrentForTokenClassification,
    RecurrentSeq2SeqForConditionalGeneration,
    TransformerDecoderForCausalLM,
    TransformerDecoderForSequenceClassification,
    TransformerDecoderForTimeSeriesPrediction,
    TransformerEncoderForMaskedLM,
    TransformerEncoderForSequenceClassification,
    TransformerEncoderForTokenClassification,
    TransformerForConditionalGeneration,
    VisionTransformerForImageClassification,
)
from seqnlp.tokenization import train_tokenizer


TEXTS = ["a good film", "an awful film, with no end", "the crew was lovely and the sea was blue"]
SIZE = 40
WORDS = {"vocab_size": SIZE, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
CELLS = {**WORDS, "hidden_size": 6}
LAYERS = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.2}
ATTENTION = {**WORDS, **LAYERS}
STARTS = {"decoder_start_token_id": 2}
SERIES = {"input_size": 2, "prediction_length": 3, "input_mean": [5.0, -1.0], "input_scale": [2.0, 0.5]}
HEADS = {
    "lstm writer": (RecurrentForCausalLM, {**CELLS, "cell_type": "lstm", "num_hidden_layers": 2}),
    "minlstm writer": (RecurrentForCausalLM, {**CELLS, "cell_type": "minlstm"}),
    "deep writer": (
        RecurrentForCausalLM,
        {**CELLS, "cell_type": "mingru", "num_hidden_layers": 2, "block": "residual", "conv_kernel_size": 3},
    ),
    "transformer writer": (TransformerDecoderForCausalLM, {**ATTENTION, "num_key_value_heads": 1}),
    "learned writer": (
        TransformerDecoderForCausalLM,
        {**ATTENTION, "position_embedding_type": "learned", "max_position_embeddings": 40},
    ),
    "lstm translator": (
        RecurrentSeq2SeqForConditionalGeneration,
        {**CELLS, **STARTS, "cell_type": "lstm", "num_hidden_layers": 2, "share_embeddings": False},
    ),
    "feeding translator": (
        RecurrentSeq2SeqForConditionalGeneration,
        {**CELLS, **STARTS, "cell_type": "gru", "attention_type": "multiplicative", "input_feeding": True},
    ),
    "deep translator": (
        RecurrentSeq2SeqForConditionalGeneration,
        {**CELLS, **STARTS, "cell_type": "mingru", "num_hidden_layers": 2, "block": "residual", "conv_kernel_size": 3},
    ),
    "blind translator": (
        RecurrentSeq2SeqForConditionalGeneration,
        {**CELLS, **STARTS, "cell_type": "elman", "attention_type": "none", "bidirectional": False},
    ),
    "transformer translator": (TransformerForConditionalGeneration, {**ATTENTION, **STARTS, "decoder_layers": 1}),
    "ssru translator": (
        TransformerForConditionalGeneration,
        {**ATTENTION, **STARTS, "decoder_cell": "ssru", "decoder_layers": 1, "norm_position": "pre"},
    ),
    "counting translator": (
        TransformerForConditionalGeneration,
        {
            **ATTENTION,
            **STARTS,
            "decoder_cell": "mingru",
            "decoder_layers": 1,
            "position_embedding_type": "learned",
            "max_position_embeddings": 16,
        },
    ),
    "lstm classifier": (
        RecurrentForSequenceClassification,
        {**CELLS, "cell_type": "lstm", "bidirectional": True, "pooling": "attention", "num_labels": 3},
    ),
    "mingru classifier": (
        RecurrentForSequenceClassification,
        {**CELLS, "cell_type": "mingru", "bidirectional": True, "problem_type": "multi_label_classification"},
    ),
    "decoder classifier": (TransformerDecoderForSequenceClassification, ATTENTION),
    "encoder classifier": (TransformerEncoderForSequenceClassification, {**ATTENTION, "pooling": "first"}),
    "elman tagger": (RecurrentForTokenClassification, {**CELLS, "cell_type": "elman", "bidirectional": True}),
    "encoder tagger": (TransformerEncoderForTokenClassification, {**ATTENTION, "position_embedding_type": "none"}),
    "masked writer": (TransformerEncoderForMaskedLM, {**ATTENTION, "position_embedding_type": "rotary"}),
    "images": (
        VisionTransformerForImageClassification,
        {**LAYERS, "image_size": (4, 10), "patch_size": 2, "pooling": "class_token", "num_labels": 3},
    ),
    "gru series": (
        RecurrentForTimeSeriesPrediction,
        {**SERIES, "hidden_size": 6, "cell_type": "gru", "distribution_output": "student_t"},
    ),
    "decoder series": (TransformerDecoderForTimeSeriesPrediction, {**SERIES, **LAYERS}),
}


def head(name, **fields):
    """The model, with weights large enough that its answers differ from text to text."""
    model_class, own = HEADS[name]
    torch.manual_seed(0)
    model = model_class(model_class.config_class(**{**own, **fields})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(2)
    return model


@functools.cache
def tokenizer():
    return train_tokenizer(TEXTS, "char", SIZE)
