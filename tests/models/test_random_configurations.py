"""What holds for every configuration, tried on some that nobody chose.

The other tests take a family's configuration and change a field or two; here all fields are drawn at once, from all
that a family allows, so that combinations meet that nobody thought of. The draws are the same in every run.
"""

import random

import pytest
import torch
from torch.nn.functional import pad
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoModelForSequenceClassification

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentForSequenceClassification,
    RecurrentSeq2SeqConfig,
    RecurrentSeq2SeqForConditionalGeneration,
    TransformerConfig,
    TransformerDecoderConfig,
    TransformerDecoderForCausalLM,
    TransformerDecoderForSequenceClassification,
    TransformerEncoderConfig,
    TransformerEncoderForSequenceClassification,
    TransformerForConditionalGeneration,
)


WORDS = {"vocab_size": 37, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": None}
NEW_TOKENS = 6
every_draw = pytest.mark.parametrize("seed", range(8))


def transformer_fields(draw):
    heads = draw.choice([1, 2, 4, 6])
    return {
        **WORDS,
        "hidden_size": draw.choice([16, 24, 36]),
        "head_dim": draw.choice([4, 6, 8]),
        "num_attention_heads": heads,
        "num_key_value_heads": draw.choice([number for number in range(1, heads + 1) if heads % number == 0]),
        "intermediate_size": draw.choice([None, 20, 33]),
        "num_hidden_layers": draw.choice([1, 2, 3]),
        "hidden_act": draw.choice(["relu", "gelu", "swiglu"]),
        "position_embedding_type": draw.choice(["sinusoidal", "learned", "rotary", "none"]),
        "max_position_embeddings": 64,
        "norm_type": draw.choice(["layer_norm", "rms_norm"]),
        "norm_position": draw.choice(["pre", "post"]),
        "use_bias": draw.choice([True, False]),
        "scale_embedding": draw.choice([True, False]),
        "embedding_norm": draw.choice([True, False]),
        "tie_word_embeddings": draw.choice([True, False]),
        "initializer_range": 0.2,
        "_attn_implementation": draw.choice(["eager", "sdpa"]),
    }


def recurrent_fields(draw):
    cell_type = draw.choice(["elman", "gru", "lstm"])
    hidden_size = draw.choice([8, 17, 32])
    tied = draw.choice([True, False])
    return {
        **WORDS,
        "hidden_size": hidden_size,
        "embedding_size": hidden_size if tied else draw.choice([None, 5, 12]),
        "tie_word_embeddings": tied,
        "num_hidden_layers": draw.choice([1, 2, 3]),
        "cell_type": cell_type,
        "hidden_act": draw.choice(["tanh", "relu"]) if cell_type == "elman" else "tanh",
        "recurrent_initializer": draw.choice(["orthogonal", "uniform"]),
        "recurrence_implementation": draw.choice(["eager", "fused"]),
    }


def translator_fields(draw):
    attention_type = draw.choice(["none", "additive", "multiplicative"])
    return {
        **recurrent_fields(draw),
        "attention_type": attention_type,
        "input_feeding": attention_type != "none" and draw.choice([True, False]),
        "bidirectional": draw.choice([True, False]),
        "share_embeddings": draw.choice([True, False]),
        "initializer_range": 0.5,
        "decoder_start_token_id": 1,
    }


def ragged_texts(rows=4):
    """Texts of unequal length, each as ids alone, and all of them padded on the left, on the right and anywhere."""
    texts = [torch.randint(3, WORDS["vocab_size"], (1, length)) for length in torch.randint(1, 8, (rows,)).tolist()]
    longest = max(text.shape[1] for text in texts)
    batches = []
    for place in ("left", "right", "anywhere"):
        left = []
        for text in texts:
            room = longest - text.shape[1]
            left.append({"left": room, "right": 0}.get(place, int(torch.randint(room + 1, ()))))
        sides = [(front, longest - text.shape[1] - front) for front, text in zip(left, texts, strict=True)]
        ids = torch.cat([pad(text, side) for text, side in zip(texts, sides, strict=True)])
        mask = torch.cat([pad(torch.ones_like(text), side) for text, side in zip(texts, sides, strict=True)])
        batches.append((ids, mask))
    return texts, batches


def check_saved(model, auto_class, folder, **inputs):
    """Weights and outputs come back to the bit; what goes on is in double precision, in which ties are told apart."""
    model.eval()
    model.save_pretrained(folder)
    loaded = auto_class.from_pretrained(folder, attn_implementation=model.config._attn_implementation).eval()
    assert type(loaded) is type(model)
    weights, others = model.state_dict(), loaded.state_dict()
    assert weights.keys() == others.keys()
    assert all(torch.equal(weight, others[name]) for name, weight in weights.items())
    assert torch.equal(model(**inputs).logits, loaded(**inputs).logits)
    model.double()


def check_generation(model, texts, ids, mask, keeps_prompt):
    """Cached = uncached = alone, greedily and by beams."""
    for num_beams in (1, 4):
        settings = {"max_new_tokens": NEW_TOKENS, "do_sample": False, "num_beams": num_beams}
        cached = model.generate(ids, attention_mask=mask, **settings)
        assert cached.tolist() == model.generate(ids, attention_mask=mask, use_cache=False, **settings).tolist()
        for row, text in enumerate(texts):
            alone = model.generate(text, attention_mask=torch.ones_like(text), **settings)[0]
            skipped = (text.shape[1], ids.shape[1]) if keeps_prompt else (0, 0)
            assert alone[skipped[0] :].tolist() == cached[row, skipped[1] :].tolist()


@every_draw
@pytest.mark.parametrize("family", ["transformer", "recurrent"])
def test_language_models(family, seed, tmp_path):
    draw = random.Random(seed)
    if family == "transformer":
        model = TransformerDecoderForCausalLM(TransformerDecoderConfig(**transformer_fields(draw)))
    else:
        model = RecurrentForCausalLM(RecurrentConfig(**recurrent_fields(draw)))
    texts, batches = ragged_texts()
    check_saved(model, AutoModelForCausalLM, tmp_path, input_ids=batches[0][0], attention_mask=batches[0][1])
    for ids, mask in batches:
        logits = model(ids, attention_mask=mask).logits
        for row, text in enumerate(texts):
            torch.testing.assert_close(logits[row][mask[row].bool()], model(text).logits[0], atol=1e-6, rtol=1e-5)
    ids, mask = batches[0]
    check_generation(model, texts, ids, mask, keeps_prompt=True)
    static = {"cache_implementation": "static", "disable_compile": True}
    settings = {"attention_mask": mask, "max_new_tokens": NEW_TOKENS, "do_sample": False}
    assert model.generate(ids, **settings).tolist() == model.generate(ids, **settings, **static).tolist()


@every_draw
@pytest.mark.parametrize("family", ["transformer", "recurrent"])
def test_translators(family, seed, tmp_path):
    draw = random.Random(seed)
    if family == "transformer":
        fields = {**transformer_fields(draw), "decoder_layers": draw.choice([None, 1, 2])}
        model = TransformerForConditionalGeneration(TransformerConfig(**fields))
    else:
        model = RecurrentSeq2SeqForConditionalGeneration(RecurrentSeq2SeqConfig(**translator_fields(draw)))
    texts, batches = ragged_texts()
    ids, mask = batches[2]
    inputs = {"input_ids": ids, "attention_mask": mask, "decoder_input_ids": batches[0][0]}
    check_saved(model, AutoModelForSeq2SeqLM, tmp_path, **inputs)
    check_generation(model, texts, ids, mask, keeps_prompt=False)


@every_draw
@pytest.mark.parametrize("family", ["decoder", "encoder", "recurrent"])
def test_classifiers(family, seed, tmp_path):
    draw = random.Random(seed)
    if family == "decoder":
        config = TransformerDecoderConfig(**transformer_fields(draw))
        model = TransformerDecoderForSequenceClassification(config)
    elif family == "encoder":
        absent = ("bos_token_id", "eos_token_id", "scale_embedding", "embedding_norm")
        fields = {name: value for name, value in transformer_fields(draw).items() if name not in absent}
        config = TransformerEncoderConfig(**fields, pooling=draw.choice(["first", "mean", "max"]))
        model = TransformerEncoderForSequenceClassification(config)
    else:
        fields = {**recurrent_fields(draw), "bidirectional": draw.choice([True, False])}
        config = RecurrentConfig(**fields, pooling=draw.choice(["last", "mean", "max", "attention"]))
        model = RecurrentForSequenceClassification(config)
    texts, batches = ragged_texts()
    check_saved(
        model, AutoModelForSequenceClassification, tmp_path, input_ids=batches[2][0], attention_mask=batches[2][1]
    )
    alone = torch.cat([model(text).logits for text in texts])
    for ids, mask in batches:
        torch.testing.assert_close(model(ids, attention_mask=mask).logits, alone, atol=1e-6, rtol=1e-5)
