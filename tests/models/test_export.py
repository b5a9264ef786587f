"""Every head as a graph for any number of rows and tokens: torch.export, and ONNX run by onnxruntime."""

import functools

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torch.export import Dim
from transformers import DynamicCache

from seqnlp import (
    RecurrentCache,
    RecurrentForCausalLM,
    RecurrentForSequenceClassification,
    RecurrentForTokenClassification,
    RecurrentSeq2SeqForConditionalGeneration,
    TransformerDecoderForCausalLM,
    TransformerDecoderForSequenceClassification,
    TransformerEncoderForMaskedLM,
    TransformerEncoderForSequenceClassification,
    TransformerEncoderForTokenClassification,
    TransformerForConditionalGeneration,
    VisionTransformerForImageClassification,
)
from seqnlp.models.recurrent_cache import write_state


SHAPES = [(2, 5), (3, 11), (4, 2)]

WORDS = {"vocab_size": 20, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
RECURRENT = {**WORDS, "hidden_size": 6}
ATTENTION = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "initializer_range": 0.2}
# One configuration a head, chosen so that together they show every cell, every kind of position and every pooling
# that selects tokens.
HEADS = {
    RecurrentForCausalLM: {**RECURRENT, "cell_type": "gru", "num_hidden_layers": 2},
    RecurrentForSequenceClassification: {**RECURRENT, "cell_type": "lstm", "bidirectional": True},
    RecurrentForTokenClassification: {**RECURRENT, "cell_type": "elman", "bidirectional": True},
    RecurrentSeq2SeqForConditionalGeneration: {**RECURRENT, "cell_type": "gru"},
    TransformerDecoderForCausalLM: {**WORDS, **ATTENTION, "num_hidden_layers": 2, "num_key_value_heads": 1},
    TransformerDecoderForSequenceClassification: {**WORDS, **ATTENTION},
    TransformerEncoderForMaskedLM: {**WORDS, **ATTENTION, "position_embedding_type": "rotary"},
    TransformerEncoderForSequenceClassification: {**WORDS, **ATTENTION, "pooling": "first"},
    TransformerEncoderForTokenClassification: {**WORDS, **ATTENTION, "position_embedding_type": "none"},
    TransformerForConditionalGeneration: {**WORDS, **ATTENTION},
    VisionTransformerForImageClassification: {
        **ATTENTION,
        "image_size": (4, 10),
        "patch_size": 2,
        "pooling": "class_token",
    },
}
CLASSIFIERS = [model_class for model_class in HEADS if model_class.__name__.endswith("Classification")]


class Logits(nn.Module):
    """Tensors in, logits out: what a graph can have at its ends."""

    def __init__(self, model, names):
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *tensors):
        caching = {} if self.model.main_input_name == "pixel_values" else {"use_cache": False}
        return self.model(**dict(zip(self.names, tensors, strict=True)), **caching).logits


class RecurrentStep(nn.Module):
    """One token and the state before it in, logits and the state after it out."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, *state):
        cache = RecurrentCache(self.model.config)
        write_state(cache, 0, state)
        logits = self.model(input_ids=input_ids, past_key_values=cache).logits
        return logits, *cache.layers[0].recurrent_states.values()


class TransformerStep(nn.Module):
    """One token, the mask, and keys and values before it in; logits, and keys and values after it out."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, *keys_and_values):
        cache = DynamicCache(zip(keys_and_values[::2], keys_and_values[1::2], strict=True))
        logits = self.model(input_ids=input_ids, attention_mask=attention_mask, past_key_values=cache).logits
        return logits, *flatten(cache)


def flatten(cache):
    return [states for layer in cache.layers for states in (layer.keys, layer.values)]


def text(shape):
    """Ids and a mask: the first row padded on the left, the last one, but for a token, on the right."""
    ids = torch.randint(1, 20, shape)
    mask = torch.ones_like(ids)
    mask[0, :1] = 0
    mask[-1, 1:] = 0
    return ids, mask


def inputs_of(model_class, shape):
    if model_class.main_input_name == "pixel_values":
        return {"pixel_values": torch.randn(shape[0], 3, 4, 10)}
    inputs = dict(zip(("input_ids", "attention_mask"), text(shape), strict=True))
    if model_class.config_class.is_encoder_decoder:
        target = text((shape[0], shape[1] + 3))
        inputs |= dict(zip(("decoder_input_ids", "decoder_attention_mask"), target, strict=True))
    return inputs


def dynamic_dimensions(inputs):
    rows = Dim("rows", min=1, max=64)
    tokens = {False: Dim("tokens", min=2, max=512), True: Dim("target_tokens", min=2, max=512)}
    return tuple(
        {0: rows} if name == "pixel_values" else {0: rows, 1: tokens[name.startswith("decoder")]} for name in inputs
    )


@functools.cache  # the ONNX tests go on from the same graph
def exported(model_class, **fields):
    inputs = inputs_of(model_class, (2, 7))
    config = model_class.config_class(**{**HEADS[model_class], **fields})
    model = Logits(model_class(config).eval(), list(inputs))
    dimensions = (dynamic_dimensions(inputs),)
    return model, torch.export.export(model, tuple(inputs.values()), dynamic_shapes=dimensions, strict=False)


def run_onnx(session, inputs):
    names = [value.name for value in session.get_inputs()]
    return session.run(None, {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)})


def session_of(program, path):
    program.save(path)
    return onnxruntime.InferenceSession(path)


@pytest.mark.parametrize("model_class", HEADS)
def test_exported_for_any_length(model_class):
    model, program = exported(model_class)
    graph = program.module()
    for shape in SHAPES:
        inputs = inputs_of(model_class, shape).values()
        logits = graph(*inputs)
        assert logits.shape[0] == shape[0]
        torch.testing.assert_close(logits, model(*inputs))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model_class", CLASSIFIERS)
def test_onnx_classifier_at_three_lengths(model_class, tmp_path):
    model, program = exported(model_class)
    session = session_of(torch.onnx.export(program, dynamo=True, verbose=False), tmp_path / "model.onnx")
    for shape in SHAPES:
        inputs = inputs_of(model_class, shape).values()
        (logits,) = run_onnx(session, inputs)
        np.testing.assert_allclose(logits, model(*inputs).detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cell_type", ["mingru", "minlstm"])
def test_a_cell_that_is_linear_in_its_state_is_exported_both_ways(cell_type, tmp_path):
    model, program = exported(RecurrentForTokenClassification, cell_type=cell_type)
    graph = program.module()
    session = session_of(torch.onnx.export(program, dynamo=True, verbose=False), tmp_path / "model.onnx")
    for shape in SHAPES:
        inputs = inputs_of(RecurrentForTokenClassification, shape).values()
        logits = model(*inputs)
        torch.testing.assert_close(graph(*inputs), logits)
        np.testing.assert_allclose(run_onnx(session, inputs)[0], logits.detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cell_type", ["lstm", "mingru"])
def test_onnx_recurrent_language_model_step_by_step(cell_type, tmp_path):
    config = RecurrentForCausalLM.config_class(**RECURRENT, cell_type=cell_type)
    language_model = RecurrentForCausalLM(config).eval()
    ids = torch.randint(20, (3, 6))
    state = [torch.zeros(3, 1, 6) for _ in range(config.number_of_conv_states)]
    rows = {0: Dim("rows", min=1, max=64)}
    program = torch.onnx.export(
        RecurrentStep(language_model),
        (ids[:, :1], *state),
        dynamo=True,
        dynamic_shapes=(rows, (rows,) * len(state)),
        verbose=False,
    )
    session = session_of(program, tmp_path / "model.onnx")
    expected = language_model(ids).logits.detach().numpy()
    for step in range(6):
        logits, *state = run_onnx(session, (ids[:, step : step + 1], *state))
        np.testing.assert_allclose(logits[:, 0], expected[:, step], rtol=1e-4, atol=1e-5)
        state = [torch.tensor(tensor) for tensor in state]


@pytest.mark.filterwarnings("ignore")
def test_onnx_transformer_language_model_step_by_step(tmp_path):
    config = TransformerDecoderForCausalLM.config_class(**HEADS[TransformerDecoderForCausalLM])
    language_model = TransformerDecoderForCausalLM(config).eval()
    rows, tokens = Dim("rows", min=1, max=64), Dim("tokens", min=2, max=512)
    ids, mask = torch.randint(1, 20, (3, 9)), torch.ones(3, 9, dtype=torch.long)
    mask[0, :2] = 0
    expected = language_model(ids, attention_mask=mask).logits.detach().numpy()

    def cache_of(ids, mask):
        with torch.no_grad():
            return flatten(language_model(ids, attention_mask=mask, use_cache=True).past_key_values)

    states = cache_of(ids[:2, :4], mask[:2, :4])
    program = torch.onnx.export(
        TransformerStep(language_model),
        (ids[:2, 4:5], mask[:2, :5], *states),
        dynamo=True,
        dynamic_shapes=({0: rows}, {0: rows, 1: tokens + 1}, tuple({0: rows, 2: tokens} for _ in states)),
        verbose=False,
    )
    session = session_of(program, tmp_path / "model.onnx")
    states = cache_of(ids[:, :3], mask[:, :3])
    for step in range(3, 9):
        logits, *states = run_onnx(session, (ids[:, step : step + 1], mask[:, : step + 1], *states))
        np.testing.assert_allclose(logits[:, 0], expected[:, step], rtol=1e-4, atol=1e-5)
        states = [torch.tensor(tensor) for tensor in states]
