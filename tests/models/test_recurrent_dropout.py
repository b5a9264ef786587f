"""Dropout by one mask per row, and of recurrent weights: against masks applied by hand, eager and fused."""

import copy

import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentForSequenceClassification,
    RecurrentModel,
    RecurrentSeq2SeqConfig,
    RecurrentSeq2SeqForConditionalGeneration,
)
from seqnlp.models.recurrent_layer import SequenceDropout, drop_weights


SIZES = {"vocab_size": 12, "hidden_size": 6, "num_hidden_layers": 2, "pad_token_id": 0}
IDS = torch.tensor([[3, 4, 5, 6, 7], [8, 9, 3, 0, 0], [5, 5, 0, 0, 0]])
MASK = (IDS != 0).long()


def test_one_mask_per_row():
    drop, ones = SequenceDropout(0.25).train(), torch.ones(40, 7, 50)
    torch.manual_seed(0)
    found = drop(ones)
    assert set(found.unique().tolist()) == {0.0, float(torch.tensor(1 / 0.75))}
    assert torch.equal(found, found[:, :1].expand_as(found))  # the same for each token
    assert not torch.equal(found[0], found[1])
    assert float((found[:, 0] == 0).float().mean()) == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 2000) ** 0.5)
    assert drop.eval()(ones) is ones


def dropped_states(model, **inputs):
    """What each dropout of a model makes of its inputs, as shares of them."""
    seen = []
    for module in model.train().modules():
        if isinstance(module, torch.nn.Dropout) and module.p:
            module.register_forward_hook(lambda module, inputs, outputs: seen.append(outputs / inputs[0]))
    model(**inputs)
    return seen


RATES = {"dropout": 0.5, "embedding_dropout": 0.5, "head_dropout": 0.5, "variational_dropout": True}


def assert_dropped_for_whole_rows(seen):
    for ratio in seen:
        assert set(ratio.unique().round().tolist()) <= {0.0, 2.0}
        torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))


@pytest.mark.parametrize(("block", "count"), [("plain", 3), ("residual", 4)])
def test_all_that_a_language_model_drops_is_dropped_for_whole_rows(block, count):
    torch.manual_seed(1)
    model = RecurrentForCausalLM(RecurrentConfig(**SIZES, **RATES, cell_type="gru", block=block))
    seen = dropped_states(model, input_ids=IDS[:1])
    assert len(seen) == count  # embeddings, between the layers or behind each of two, and what the head reads
    assert_dropped_for_whole_rows(seen)


@pytest.mark.parametrize(("block", "count"), [("plain", 5), ("residual", 7)])
def test_all_that_an_encoder_decoder_drops_is_dropped_for_whole_rows(block, count):
    torch.manual_seed(1)
    config = RecurrentSeq2SeqConfig(**SIZES, **RATES, cell_type="gru", block=block, bos_token_id=1)
    seen = dropped_states(RecurrentSeq2SeqForConditionalGeneration(config), input_ids=IDS[:1], labels=IDS[:1])
    assert len(seen) == count  # as above, but for the head once more
    assert_dropped_for_whole_rows(seen)


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("cell_type", ["elman", "gru", "lstm"])
@pytest.mark.parametrize("way", ["eager", "fused"])
@pytest.mark.parametrize("mask", [None, MASK])
def test_weights_are_dropped_as_by_a_mask_on_the_matrix(cell_type, way, mask):
    settings = {"cell_type": cell_type, "recurrence_implementation": way, "bidirectional": True}
    model = RecurrentModel(RecurrentConfig(**SIZES, **settings, weight_drop=0.5)).train()
    assert all(drop_weights(cell, 0.5).is_plain for layer in model.layers for cell in layer.cells)  # for the kernels
    weight = torch.randn(3, 5, 12)
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(3)
    outputs = model(IDS, attention_mask=mask).last_hidden_state
    found = gradients(model, (outputs * weight).sum())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())

    plain = RecurrentModel(RecurrentConfig(**SIZES, **{**settings, "recurrence_implementation": "eager"})).train()
    plain.load_state_dict(before)
    masks = {}
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in plain.named_parameters():  # the layers in order, forward before backward
            if name.endswith("recurrent_proj.weight"):
                masks[name] = torch.nn.functional.dropout(torch.ones_like(parameter), 0.5)
                parameter *= masks[name]
    assert len(masks) == 4
    expected = plain(IDS, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(outputs, expected)
    for name, gradient in gradients(plain, (expected * weight).sum()).items():
        torch.testing.assert_close(found[name], gradient * masks.get(name, 1), msg=name)
    assert not torch.equal(model(IDS).last_hidden_state, model(IDS).last_hidden_state)  # another mask each time
    assert torch.equal(model.eval()(IDS).last_hidden_state, model(IDS).last_hidden_state)


def test_an_encoder_decoder_drops_the_weights_of_both_sides():
    config = RecurrentSeq2SeqConfig(**SIZES, cell_type="lstm", bos_token_id=1, weight_drop=0.5)
    model = RecurrentSeq2SeqForConditionalGeneration(config).train()
    torch.manual_seed(3)
    found = model(IDS, labels=IDS).logits
    plain = RecurrentSeq2SeqForConditionalGeneration(RecurrentSeq2SeqConfig(**SIZES, cell_type="lstm", bos_token_id=1))
    plain.load_state_dict(model.state_dict())
    torch.manual_seed(3)
    maps = [parameter for name, parameter in plain.named_parameters() if name.endswith("recurrent_proj.weight")]
    assert len(maps) == 6  # two layers, of two directions in the encoder
    with torch.no_grad():
        for weight in maps:
            weight *= torch.nn.functional.dropout(torch.ones_like(weight), 0.5)
    torch.testing.assert_close(found, plain.eval()(IDS, labels=IDS).logits)


@pytest.mark.parametrize("field", [{"weight_drop": 0.5}, {"variational_dropout": True}])
def test_what_is_drawn_once_per_pass_is_refused_where_each_token_is_a_pass(field):
    with pytest.raises(
        StrictDataclassClassValidationError, match=r"input_feeding=True reads the target in a pass per"
    ):
        RecurrentSeq2SeqConfig(**field, input_feeding=True)


def test_weight_drop_and_the_kernel_of_the_evaluation_agree_where_nothing_is_dropped():
    model = RecurrentForSequenceClassification(RecurrentConfig(**SIZES, weight_drop=1e-9)).train()
    logits = model(IDS, attention_mask=MASK).logits
    torch.testing.assert_close(logits, model.eval()(IDS, attention_mask=MASK).logits)


def test_what_has_no_such_weights_is_refused():
    with pytest.raises(
        StrictDataclassClassValidationError, match="for cells with a map from the hidden state, and 'm"
    ):
        RecurrentConfig(cell_type="mingru", weight_drop=0.5)
    model = RecurrentModel(RecurrentConfig(**SIZES, weight_drop=0.5)).train()
    cell = model.layers[0].forward_cell
    cell.recurrent_proj = torch.nn.Sequential(cell.recurrent_proj)
    with pytest.raises(ValueError, match=r"weight_drop=0\.5: a Sequential is wrapped around the recurrent map"):
        model(IDS)
