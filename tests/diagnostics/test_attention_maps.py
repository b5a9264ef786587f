"""Attention maps: the weights that the model itself computes, whatever it is."""

import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    RwkvConfig,
    RwkvForCausalLM,
    ViTConfig,
    ViTForImageClassification,
)

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentForSequenceClassification,
    RecurrentSeq2SeqConfig,
    RecurrentSeq2SeqForConditionalGeneration,
    TransformerConfig,
    TransformerDecoderConfig,
    TransformerDecoderForCausalLM,
    TransformerForConditionalGeneration,
    VisionTransformerConfig,
    VisionTransformerForImageClassification,
)
from seqnlp.diagnostics import DiagnosticsError, attention_maps


SIZES = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 2}
HEADS = {**SIZES, "num_attention_heads": 4}
IMAGE = {
    "image_size": 12,
    "patch_size": 4,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 32,
}
READ, WRITTEN = list("abcdef"), list("vwxyz")


def ids(length):
    return torch.randint(3, 30, (1, length))


def check(found, shape, name):
    """Rows that sum to one, in every layer and head."""
    assert found.name == name
    for layer in found.layers:
        assert layer.shape == shape
        torch.testing.assert_close(layer.sum(dim=-1), torch.ones(shape[:2]))
    assert (len(found.queries), len(found.keys)) == shape[1:]


@pytest.mark.parametrize("family", ["ours", "gpt2", "bert"])
def test_self_attention_is_the_models_own(family):
    if family == "ours":
        model = TransformerDecoderForCausalLM(TransformerDecoderConfig(**HEADS))
    elif family == "gpt2":
        model = GPT2LMHeadModel(GPT2Config(vocab_size=30, n_embd=16, n_layer=2, n_head=4, n_positions=20))
    else:
        model = BertModel(BertConfig(**HEADS, intermediate_size=32))
    inputs = {"input_ids": ids(6)}
    before = model.config._attn_implementation
    (found,) = attention_maps(model, inputs, READ)
    check(found, (4, 6, 6), "self-attention")
    assert found.keys == found.queries == READ
    assert model.config._attn_implementation == before

    model.eval()
    model.set_attn_implementation("eager")
    for ours, theirs in zip(found.layers, model(**inputs, output_attentions=True).attentions, strict=True):
        torch.testing.assert_close(ours, theirs[0])
    is_causal = not any(layer.triu(1).any() for layer in found.layers)
    assert is_causal == (family != "bert")


def test_encoder_decoders_have_three_kinds():
    model = TransformerForConditionalGeneration(TransformerConfig(**HEADS, decoder_start_token_id=1, pad_token_id=0))
    inputs = {"input_ids": ids(6), "decoder_input_ids": ids(5)}
    encoder, decoder, cross = attention_maps(model, inputs, READ, list("12345"), WRITTEN)
    check(encoder, (4, 6, 6), "encoder self-attention")
    check(decoder, (4, 5, 5), "decoder self-attention")
    check(cross, (4, 5, 6), "cross-attention")
    assert decoder.queries == list("12345")
    assert cross.queries == WRITTEN


def test_alignment_of_a_recurrent_encoder_decoder():
    model = RecurrentSeq2SeqForConditionalGeneration(RecurrentSeq2SeqConfig(**SIZES, decoder_start_token_id=1))
    inputs = {"input_ids": ids(6), "decoder_input_ids": ids(5)}
    (found,) = attention_maps(model, inputs, READ, list("12345"), WRITTEN)
    check(found, (1, 5, 6), "alignment")
    assert len(found.layers) == 1

    silent = RecurrentSeq2SeqConfig(**SIZES, decoder_start_token_id=1, attention_type="none")
    with pytest.raises(DiagnosticsError, match="no attention"):
        attention_maps(RecurrentSeq2SeqForConditionalGeneration(silent), inputs, READ, list("12345"), WRITTEN)


def test_attention_pooling_shows_the_weights_of_the_average():
    model = RecurrentForSequenceClassification(RecurrentConfig(**SIZES, bidirectional=True, pooling="attention"))
    seen = []
    model.attention_pooling.register_forward_hook(lambda module, given, output: seen.append((given[0], output)))
    (found,) = attention_maps(model, {"input_ids": ids(6)}, READ)
    check(found, (1, 1, 6), "attention pooling")
    states, pooled = seen[0]
    torch.testing.assert_close(found.layers[0][0] @ states[0], pooled)
    assert len(model.attention_pooling._forward_hooks) == 1


@pytest.mark.parametrize("family", ["ours", "without a class token", "vit"])
def test_vision_transformers_look_at_patches(family):
    if family == "vit":
        model = ViTForImageClassification(ViTConfig(**IMAGE))
    else:
        pooling = "class_token" if family == "ours" else "mean"
        model = VisionTransformerForImageClassification(VisionTransformerConfig(**IMAGE, pooling=pooling))
    (found,) = attention_maps(model, {"pixel_values": torch.randn(1, 3, 12, 12)})
    has_class_token = family != "without a class token"
    check(found, (4, 9 + has_class_token, 9 + has_class_token), "self-attention")
    assert found.grid == (3, 3)
    assert found.keys[-1] == "row 3, column 3"
    assert (found.keys[0] == "class token") == has_class_token


def test_what_has_no_attention_to_show_is_refused_in_one_line(monkeypatch):
    with pytest.raises(DiagnosticsError, match="RecurrentForCausalLM has no attention"):
        attention_maps(RecurrentForCausalLM(RecurrentConfig(**SIZES)), {"input_ids": ids(6)}, READ)
    with pytest.raises(DiagnosticsError, match="RwkvForCausalLM has no attention"):  # what it calls so has no keys
        attention_maps(RwkvForCausalLM(RwkvConfig(**SIZES)), {"input_ids": ids(6)}, READ)

    model = GPT2LMHeadModel(GPT2Config(vocab_size=30, n_embd=16, n_layer=2, n_head=4, n_positions=20))
    with pytest.raises(DiagnosticsError, match="6 by 6, but there are 5 by 5 tokens"):
        attention_maps(model, {"input_ids": ids(6)}, WRITTEN)

    def fused_only(implementation):
        raise ValueError(f"{implementation} is not supported")

    monkeypatch.setattr(model, "set_attn_implementation", fused_only)
    with pytest.raises(DiagnosticsError, match="no eager implementation"):
        attention_maps(model, {"input_ids": ids(6)}, READ)
    # One that takes the setting and goes on as before tells no weights either.
    monkeypatch.setattr(model, "set_attn_implementation", lambda implementation: None)
    with pytest.raises(DiagnosticsError, match="no eager implementation"):
        attention_maps(model, {"input_ids": ids(6)}, READ)
