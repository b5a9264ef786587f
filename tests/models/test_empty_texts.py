"""A text without tokens has an answer, the same alone as in any batch: that of the bias alone."""

import pytest
import torch
from transformers import pipeline

from seqnlp import (
    RecurrentConfig,
    RecurrentForSequenceClassification,
    TransformerDecoderConfig,
    TransformerDecoderForSequenceClassification,
    TransformerEncoderConfig,
    TransformerEncoderForSequenceClassification,
)
from seqnlp.tokenization import train_tokenizer


TOKENIZER = train_tokenizer(["a good film", "an awful film"], "word", 30)
SIZES = {"vocab_size": len(TOKENIZER), "hidden_size": 8, "pad_token_id": 0}
HEADS = {"num_attention_heads": 2, "num_hidden_layers": 1}


def classifiers():
    for pooling in ("last", "mean", "max", "attention"):
        for cell in ("elman", "lstm"):
            config = RecurrentConfig(**SIZES, pooling=pooling, bidirectional=True, cell_type=cell)
            yield f"{cell} {pooling}", RecurrentForSequenceClassification, config
    for pooling in ("first", "mean"):
        yield (
            f"encoder {pooling}",
            TransformerEncoderForSequenceClassification,
            TransformerEncoderConfig(**SIZES, **HEADS, pooling=pooling),
        )
    yield "decoder", TransformerDecoderForSequenceClassification, TransformerDecoderConfig(**SIZES, **HEADS)


CLASSIFIERS = {name: (model_class, config) for name, model_class, config in classifiers()}


@pytest.mark.parametrize("name", CLASSIFIERS)
@torch.no_grad()
def test_empty_texts_are_classified_alone_and_in_a_batch(name):
    model_class, config = CLASSIFIERS[name]
    model = model_class(config).eval()
    torch.nn.init.normal_(model.score.bias if model.score.bias is not None else model.score.weight)
    classify = pipeline("text-classification", model=model, tokenizer=TOKENIZER)
    texts = ["", "  ", "a film", "", "a good film"]
    alone = [classify(text)[0] for text in texts]
    for batch_size in (1, 2, 5):
        together = classify(texts, batch_size=batch_size)
        assert [answer["label"] for answer in together] == [answer["label"] for answer in alone]
        assert [answer["score"] for answer in together] == pytest.approx([answer["score"] for answer in alone], 1e-5)
    bias = model.score.bias if model.score.bias is not None else torch.zeros(2)
    assert alone[0]["score"] == pytest.approx(float(bias.softmax(-1).max()))
