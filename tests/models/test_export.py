"""Models as graphs for any number of rows and tokens: torch.export, and ONNX run by onnxruntime."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torch.export import Dim

from seqnlp import RecurrentCache, RecurrentConfig, RecurrentForCausalLM, RecurrentForSequenceClassification
from seqnlp.models.recurrent_cache import write_state


SHAPES = [(2, 5), (3, 11), (4, 2)]


class Logits(nn.Module):
    """Tensors in, logits out: what a graph can have at its ends."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits


class Step(nn.Module):
    """One token and the state before it in, logits and the state after it out."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, hidden, cell):
        cache = RecurrentCache(self.model.config)
        write_state(cache, 0, (hidden, cell), num_tokens=1)
        logits = self.model(input_ids=input_ids, past_key_values=cache).logits
        return logits, *cache.layers[0].recurrent_states.values()


def text(shape):
    ids = torch.randint(1, 20, shape)
    mask = torch.ones_like(ids)
    mask[0, :1] = 0
    mask[-1, 1:] = 0
    return ids, mask


def configuration(cell_type, **kwargs):
    return RecurrentConfig(vocab_size=20, hidden_size=6, cell_type=cell_type, **kwargs)


def dynamic(*names):
    return tuple({0: Dim("rows", min=1, max=64), 1: Dim("tokens", min=2, max=512)} for _ in names)


@pytest.mark.parametrize("cell_type", ["gru", "lstm"])
@pytest.mark.parametrize("model_class", [RecurrentForSequenceClassification, RecurrentForCausalLM])
def test_exported_for_any_length(model_class, cell_type):
    bidirectional = model_class is RecurrentForSequenceClassification
    model = Logits(model_class(configuration(cell_type, bidirectional=bidirectional, num_hidden_layers=2)).eval())
    exported = torch.export.export(model, text((2, 7)), dynamic_shapes=dynamic("ids", "mask"), strict=False).module()
    for shape in SHAPES:
        torch.testing.assert_close(exported(*text(shape)).shape, model(*text(shape)).shape)
        inputs = text(shape)
        torch.testing.assert_close(exported(*inputs), model(*inputs))


def run_onnx(program, inputs, path):
    program.save(path)
    session = onnxruntime.InferenceSession(path)
    names = [value.name for value in session.get_inputs()]
    return session.run(None, {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)})


@pytest.mark.filterwarnings("ignore")
def test_onnx_classifier_at_three_lengths(tmp_path):
    config = configuration("lstm", bidirectional=True)
    model = Logits(RecurrentForSequenceClassification(config).eval())
    program = torch.onnx.export(model, text((2, 7)), dynamo=True, dynamic_shapes=dynamic("ids", "mask"), verbose=False)
    for shape in SHAPES:
        inputs = text(shape)
        (logits,) = run_onnx(program, inputs, tmp_path / "model.onnx")
        np.testing.assert_allclose(logits, model(*inputs).detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_onnx_language_model_step_by_step(tmp_path):
    language_model = RecurrentForCausalLM(configuration("lstm")).eval()
    model = Step(language_model)
    ids = torch.randint(20, (3, 6))
    state = (torch.zeros(3, 1, 6), torch.zeros(3, 1, 6))
    rows = {0: Dim("rows", min=1, max=64)}
    program = torch.onnx.export(
        model, (ids[:, :1], *state), dynamo=True, dynamic_shapes=(rows, rows, rows), verbose=False
    )
    expected = language_model(ids).logits.detach().numpy()
    for step in range(6):
        logits, *state = run_onnx(program, (ids[:, step : step + 1], *state), tmp_path / "model.onnx")
        np.testing.assert_allclose(logits[:, 0], expected[:, step], rtol=1e-4, atol=1e-5)
        state = [torch.tensor(tensor) for tensor in state]
