"""Residual blocks around the cells: by hand, under padding, from a carried state, in both directions, in heads."""

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from torch.nn.functional import gelu, layer_norm, pad

from seqnlp import (
    RecurrentCache,
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentForSequenceClassification,
    RecurrentForTimeSeriesPrediction,
    RecurrentModel,
    RecurrentSeq2SeqConfig,
    RecurrentSeq2SeqModel,
)
from seqnlp.models.cells import CELLS
from seqnlp.models.recurrence import eager_recurrence


def config_of(**fields):
    given = {"vocab_size": 20, "hidden_size": 6, "num_hidden_layers": 2, "pad_token_id": 0, "cell_type": "mingru"}
    return RecurrentConfig(**given | {"block": "residual", "conv_kernel_size": 3, "mlp_ratio": 1.5} | fields)


def randomized(model):
    """Norms and biases start as ones and zeros, under which half of their mistakes show nothing."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    return model.eval()


def by_hand(model, inputs):
    """The equations of the class's docstring, one row without padding, each token's convolution by itself."""
    stream = inputs
    for layer in model.layers:
        normed = layer_norm(stream, (6,), layer.conv_norm.weight, layer.conv_norm.bias)
        before = pad(normed, (0, 0, 2, 0))  # two zero tokens
        kernel = layer.convolution.weight[:, 0]  # (W, K)
        sums = [(before[:, t : t + 3] * kernel.t()).sum(dim=1) for t in range(inputs.shape[1])]
        stream = stream + torch.stack(sums, dim=1) + layer.convolution.bias
        normed = layer_norm(stream, (6,), layer.norm.weight, layer.norm.bias)
        start = (torch.zeros(inputs.shape[0], 6),) * layer.forward_cell.num_states
        stream = stream + eager_recurrence(layer.forward_cell, normed, start)[0]
        normed = layer_norm(stream, (6,), layer.mlp_norm.weight, layer.mlp_norm.bias)
        stream = stream + gelu(normed @ layer.up_proj.weight.t() + layer.up_proj.bias) @ layer.down_proj.weight.t()
        stream = stream + layer.down_proj.bias
    return layer_norm(stream, (6,), model.norm.weight, model.norm.bias)


@pytest.mark.parametrize("cell_type", CELLS)
def test_it_computes_its_equations(cell_type):
    model = randomized(RecurrentModel(config_of(cell_type=cell_type)))
    assert model.layers[0].up_proj.out_features == 9
    inputs = torch.randn(2, 7, 6)
    torch.testing.assert_close(model(inputs_embeds=inputs).last_hidden_state, by_hand(model, inputs))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("place", ["left", "right", "inside"])
def test_padding_changes_nothing(place, bidirectional):
    model = randomized(RecurrentModel(config_of(bidirectional=bidirectional, embedding_size=6)))
    ids = torch.randint(1, 20, (1, 8))
    positions = {
        "left": torch.arange(3, 11),
        "right": torch.arange(8),
        "inside": torch.tensor([0, 1, 2, 5, 6, 7, 9, 10]),
    }[place]
    padded, mask = torch.zeros(1, 11, dtype=torch.long), torch.zeros(1, 11, dtype=torch.long)
    padded[0, positions], mask[0, positions] = ids[0], 1
    padded = torch.cat([padded, torch.randint(1, 20, (1, 11))])
    mask = torch.cat([mask, torch.ones(1, 11, dtype=torch.long)])
    alone = model(ids, use_cache=True)
    together = model(padded, attention_mask=mask, use_cache=True)
    torch.testing.assert_close(together.last_hidden_state[0, positions], alone.last_hidden_state[0])
    assert (together.last_hidden_state[mask == 0] == 0).all()
    for ours, theirs in zip(together.cache, alone.cache, strict=True):
        for tensor, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(tensor[:1], other)


@pytest.mark.parametrize("cell_type", CELLS)
def test_a_text_read_in_parts_is_the_text(cell_type):
    model = randomized(RecurrentModel(config_of(cell_type=cell_type)))
    ids = torch.randint(1, 20, (2, 9))
    cache = RecurrentCache(model.config)
    parts = [model(part, cache=cache).last_hidden_state for part in ids.split([1, 4, 1, 3], dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), model(ids).last_hidden_state)
    cache = RecurrentCache(model.config)
    cache.activate_past_recording()
    model(ids, cache=cache)
    cache.crop(-4)
    again = model(ids[:, 5:], cache=cache).last_hidden_state
    torch.testing.assert_close(again, model(ids).last_hidden_state[:, 5:])


@pytest.mark.parametrize("cell_type", CELLS)
def test_beams_ragged_prompts_and_a_static_cache_write_the_same(cell_type):
    model = RecurrentForCausalLM(config_of(cell_type=cell_type, eos_token_id=None, bos_token_id=1)).eval()
    model.lm_head.weight.data.normal_()
    ids = torch.tensor([[0, 0, 5, 7], [3, 4, 5, 6]])
    settings = {"max_new_tokens": 6, "suppress_tokens": [0]}
    together = model.generate(ids, attention_mask=(ids > 0).long(), **settings)
    assert torch.equal(together[0, 4:], model.generate(ids[:1, 2:], **settings)[0, 2:])
    static = model.generate(ids, attention_mask=(ids > 0).long(), cache_implementation="static", **settings)
    assert torch.equal(static, together)
    beams = model.generate(ids, attention_mask=(ids > 0).long(), num_beams=3, **settings)
    uncached = model.generate(ids, attention_mask=(ids > 0).long(), num_beams=3, use_cache=False, **settings)
    assert torch.equal(beams, uncached)


def test_it_saves_loads_and_trains_in_every_head(tmp_path):
    ids, mask = torch.randint(1, 20, (3, 8)), torch.ones(3, 8, dtype=torch.long)
    mask[0, 5:] = 0
    models = [
        (RecurrentForCausalLM(config_of(embedding_size=4)), {"labels": ids}),
        (RecurrentForSequenceClassification(config_of(bidirectional=True)), {"labels": torch.tensor([0, 1, 0])}),
    ]
    for model, labels in models:
        model.activation_checkpointing_enable()
        model.train()(ids, attention_mask=mask, **labels).loss.backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        model.eval().save_pretrained(tmp_path)
        loaded = type(model).from_pretrained(tmp_path).eval()
        assert torch.equal(loaded(ids, attention_mask=mask).logits, model(ids, attention_mask=mask).logits)
    series = RecurrentForTimeSeriesPrediction(config_of(input_size=2)).eval()
    values = torch.randn(2, 5, 2)
    two = series(past_values=values, prediction_length=2).prediction_outputs
    assert torch.equal(series(past_values=values, prediction_length=3).prediction_outputs[:, :2], two)


def test_a_language_model_begins_near_the_loss_of_a_guess():
    config = config_of(hidden_size=64, vocab_size=300, num_hidden_layers=3)
    ids = torch.randint(1, 300, (4, 100))
    loss = RecurrentForCausalLM(config).eval()(ids, labels=ids).loss
    assert abs(loss - torch.tensor(300.0).log()) < 0.3


def test_what_is_not_divided_among_devices_is_the_layer_that_there_is():
    assert RecurrentForCausalLM(config_of())._no_split_modules == {"ResidualRecurrentLayer"}
    assert RecurrentForCausalLM(RecurrentConfig(vocab_size=9, hidden_size=4))._no_split_modules == {"RecurrentLayer"}


def test_what_has_no_block_to_stand_in_is_refused():
    with pytest.raises(StrictDataclassError, match="mlp_ratio=4 is a part of block='residual'"):
        RecurrentConfig(mlp_ratio=4)
    with pytest.raises(ValueError, match="no recurrent layers in blocks"):
        RecurrentModel(config_of(cell_type="lstm")).to_torch()


@pytest.mark.parametrize("cell_type", ["mingru", "lstm"])
def test_what_a_convolution_has_read_is_no_state_of_the_cells(cell_type):
    model = randomized(RecurrentModel(config_of(cell_type=cell_type)))
    cache = model(torch.randint(20, (4, 5))).cache
    states = cache.to_torch()
    assert len(states) == len(CELLS[cell_type].states)
    for index, state in enumerate(states):
        torch.testing.assert_close(state, torch.cat([layer[index] for layer in cache], dim=1).transpose(0, 1))
        assert state.shape == (2, 4, 6)


@pytest.mark.parametrize("cell_type", ["mingru", "lstm"])
def test_an_encoder_of_blocks_is_the_recurrent_model_of_blocks(cell_type):
    sizes = {"vocab_size": 20, "hidden_size": 12, "embedding_size": 7, "num_hidden_layers": 2, "pad_token_id": 0}
    blocks = {"cell_type": cell_type, "block": "residual", "conv_kernel_size": 3, "mlp_ratio": 1.5}
    config = RecurrentSeq2SeqConfig(**sizes, **blocks)
    encoder = randomized(RecurrentSeq2SeqModel(config).encoder)
    model = RecurrentModel(config.recurrent_config(of_decoder=False)).eval()
    model.load_state_dict(encoder.state_dict())
    ids = torch.randint(1, 20, (3, 6))
    mask = torch.ones_like(ids)
    mask[0, :4] = mask[1, 2] = 0
    outputs, cache = encoder(ids, mask), model.create_cache()
    expected = model(ids, mask, cache=cache)
    torch.testing.assert_close(outputs.last_hidden_state, expected.last_hidden_state)
    for layer in range(2):
        *states, read_last = cache.layers[layer].recurrent_states.values()
        assert read_last.shape == (3, 2, 24)  # of the convolution, with which no decoder can begin
        kept = torch.stack([state.flatten(1) for state in states], dim=1)
        torch.testing.assert_close(outputs.final_state[:, layer], kept)
