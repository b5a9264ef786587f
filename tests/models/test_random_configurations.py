"""What holds for every configuration, tried on some that nobody chose.

The other tests take a family's configuration and change a field or two; here all fields are drawn at once, from all
that a family allows, so that combinations meet that nobody thought of. The draws are the same in every run.
"""

import dataclasses
import random

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
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
    VisionTransformerConfig,
    VisionTransformerForImageClassification,
)
from seqnlp.models.cells import CELLS


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
    cell_type = draw.choice(list(CELLS))
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


FAMILIES = {
    RecurrentConfig: RecurrentForCausalLM,
    RecurrentSeq2SeqConfig: RecurrentSeq2SeqForConditionalGeneration,
    TransformerConfig: TransformerForConditionalGeneration,
    TransformerDecoderConfig: TransformerDecoderForCausalLM,
    TransformerEncoderConfig: TransformerEncoderForSequenceClassification,
    VisionTransformerConfig: VisionTransformerForImageClassification,
}
every_family = pytest.mark.parametrize("config_class", FAMILIES, ids=lambda family: family.model_type)
# As sizes, small enough to be built.
WITHIN = {"[1, inf)": [1, 2, 3, 8], "[0, 1)": [0, 0.5, 0.999], "[2, 1024]": [2, 3], "[3, inf)": [3, 9], "(0, 64]": [2]}
WHOLE = ("[1, inf)", "[2, 1024]", "[3, inf)")
WIDE = [-1e30, -1, -1e-9, 0, 1e-30, 1e-6, 0.3, 1, 7, 100, 101.0, 1e30, float("nan"), float("inf"), float("-inf")]
# What a draw must not leave open, and what is read instead of tokens.
GIVEN = {"image_size": 4, "patch_size": 2, "input_size": None, "input_mean": None, "input_scale": None}


def fields_of(config_class):
    own = config_class.__annotations__
    return {field.name: field for field in dataclasses.fields(config_class) if field.name in own}


@every_family
def test_every_number_of_a_configuration_has_a_range(config_class):
    for name, field in fields_of(config_class).items():
        is_number = any(word in str(field.type) for word in ("int", "float"))
        is_known = "range" in field.metadata or name.endswith("_token_id") or name in ("image_size", "patch_size")
        assert is_known or not is_number, name


@every_family
@pytest.mark.parametrize("seed", range(60))
def test_numbers_from_wide_ranges_are_refused_by_name_or_give_a_finite_loss(config_class, seed):
    draw = random.Random(f"{config_class.model_type} {seed}")
    fields, drawn = fields_of(config_class), {}
    for name, field in fields.items():
        if name in GIVEN:
            drawn[name] = GIVEN[name]
        elif name.endswith("_token_id"):
            drawn[name] = draw.choice([0, 1, 2, 6])
        elif "range" in field.metadata:
            drawn[name] = draw.choice(WITHIN.get(field.metadata["range"], [1, 2, 10, 100]))
    drawn |= {"vocab_size": 7, "head_dim": 4, "hidden_size": 8, "max_position_embeddings": 8}
    drawn = {name: value for name, value in drawn.items() if name in fields}
    drawn |= {"num_attention_heads": 2, "num_key_value_heads": 1} if "num_attention_heads" in fields else {}
    ranged = [name for name in fields if "range" in fields[name].metadata and name not in GIVEN]
    wild = {name: draw.choice(WIDE) for name in draw.sample(ranged, 2)}
    sizes = [name for name in wild if fields[name].metadata["range"] in WHOLE]
    wild |= {name: draw.choice([-3, 0, 1]) for name in sizes}
    if "pad_token_id" in fields:
        wild["pad_token_id"] = draw.choice([-1, 0, 6, 7])
    drawn |= wild
    if "embedding_size" in fields:
        drawn["embedding_size"] = drawn["hidden_size"]
    if "block" in fields:
        drawn["block"] = "residual"
    if "gate_initializer" in fields:
        drawn["gate_initializer"] = "chrono"
    if "position_embedding_type" in fields and "rope_theta" in fields:
        drawn["position_embedding_type"] = "rotary"
    try:
        config = config_class(**drawn)
    except StrictDataclassError as error:
        (line,) = str(error).splitlines()[1:]  # the first one, of huggingface_hub, says that it is the configuration
        assert any(f"{name}={value}" in line for name, value in wild.items()), line
        return
    torch.manual_seed(seed)
    model = FAMILIES[config_class](config).train()
    ids = torch.tensor([[1, 2, 3, 4], [5, 3, 1, 2]])
    if config_class is VisionTransformerConfig:
        inputs = {"pixel_values": torch.randn(2, config.num_channels, 4, 4), "labels": torch.tensor([0, 1])}
    elif config_class is TransformerEncoderConfig:
        inputs = {"input_ids": ids, "labels": torch.tensor([0, 1])}
    else:
        inputs = {"input_ids": ids, "labels": ids}
    loss = model(**inputs).loss
    assert loss.isfinite(), drawn


@every_family
@pytest.mark.parametrize(
    "fields",
    [
        {"initializer_range": -0.1},
        {"num_labels": 0},
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0}},
        {"rope_scaling": {"rope_type": "linear", "factor": 2.0}},
        {"sliding_window": 128},
        {"partial_rotary_factor": 0.5},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_means_nothing_in_any_family_is_refused_by_name(config_class, fields):
    with pytest.raises(StrictDataclassError, match=next(iter(fields))):
        config_class(**fields)


@pytest.mark.parametrize("config_class", [family for family in FAMILIES if family is not VisionTransformerConfig])
@pytest.mark.parametrize("name", ["pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"])
@pytest.mark.parametrize("value", [-1, 50, [2, 50]])
def test_token_ids_are_rows_of_the_embeddings(config_class, name, value):
    if isinstance(value, list) and name != "eos_token_id":
        value = 51
    with pytest.raises(StrictDataclassError, match=f"{name}=.* must be at least 0 and below 50, since vocab_size=50"):
        config_class(**{"vocab_size": 50, name: value})


@every_family
def test_the_edges_of_the_ranges(config_class):
    known = fields_of(config_class)
    for name, good, bad in (
        ("rope_theta", (1, 1e6), (0, -1, float("inf"))),
        ("layer_norm_eps", (1e-12, 1.0), (0, -1e-6)),
        ("dropout", (0, 0.99), (1, -0.1, float("nan"))),
        ("initializer_range", (0, 100), (-1e-9, 101.0)),
        ("forget_gate_bias", (-50, 50.0), (float("nan"), float("-inf"))),
        ("hidden_size", (8, 16), (0, -8)),
    ):
        if name not in known:
            continue
        fixed = {"num_attention_heads": 2} if "num_attention_heads" in known else {}
        fixed |= {"position_embedding_type": "rotary"} if name == "rope_theta" else {}
        for value in good:
            assert getattr(config_class(**{**fixed, name: value}), name) == value
        for value in bad:
            with pytest.raises(StrictDataclassError, match=f"{name}="):
                config_class(**{**fixed, name: value})
