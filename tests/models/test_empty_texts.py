"""
A text without tokens has a class, the same alone as in any batch: that of the bias alone. It has no tokens to tag, and
no model writes from it.
"""

import pytest
import torch
from transformers import pipeline

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentForSequenceClassification,
    RecurrentForTokenClassification,
    TransformerDecoderConfig,
    TransformerDecoderForCausalLM,
    TransformerDecoderForSequenceClassification,
    TransformerEncoderConfig,
    TransformerEncoderForMaskedLM,
    TransformerEncoderForSequenceClassification,
    TransformerEncoderForTokenClassification,
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


TAGGERS = {
    "recurrent": (RecurrentForTokenClassification, RecurrentConfig(**SIZES, bidirectional=True)),
    "residual": (RecurrentForTokenClassification, RecurrentConfig(**SIZES, block="residual", conv_kernel_size=3)),
    "words": (RecurrentForTokenClassification, RecurrentConfig(**SIZES, first_continuing_id=8)),
    "encoder": (TransformerEncoderForTokenClassification, TransformerEncoderConfig(**SIZES, **HEADS)),
}


@pytest.mark.parametrize("name", TAGGERS)
@torch.no_grad()
def test_an_empty_text_has_no_tags(name):
    model_class, config = TAGGERS[name]
    model = model_class(config).eval()
    tag = pipeline("token-classification", model=model, tokenizer=TOKENIZER)
    assert tag("") == []
    assert [len(tags) for tags in tag(["", "a good film", ""])] == [0, 3, 0]
    assert model(torch.zeros(2, 0, dtype=torch.long)).logits.shape == (2, 0, config.num_labels)


@pytest.mark.parametrize(
    ("model_class", "config"),
    [
        (RecurrentForCausalLM, RecurrentConfig(**SIZES)),
        (TransformerDecoderForCausalLM, TransformerDecoderConfig(**SIZES, **HEADS)),
        (TransformerEncoderForMaskedLM, TransformerEncoderConfig(**SIZES, **HEADS)),
    ],
)
def test_a_text_without_tokens_is_no_text_to_write_from(model_class, config):
    model = model_class(config)
    with pytest.raises(ValueError, match=r"^input_ids of shape \(2, 0\) has no tokens: give at least one per text"):
        model(torch.zeros(2, 0, dtype=torch.long))
    with pytest.raises(ValueError, match=r"^inputs_embeds of shape \(2, 0, 8\) has no tokens"):
        model(inputs_embeds=torch.zeros(2, 0, 8))
