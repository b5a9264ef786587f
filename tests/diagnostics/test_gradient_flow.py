"""Gradients through time, against autograd by hand and against what the equations say."""

import math

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentForSequenceClassification,
    RecurrentForTokenClassification,
    RecurrentModel,
    RecurrentSeq2SeqConfig,
    RecurrentSeq2SeqForConditionalGeneration,
    TransformerDecoderConfig,
    TransformerDecoderForCausalLM,
    TransformerEncoderConfig,
    TransformerEncoderForMaskedLM,
    TransformerEncoderForSequenceClassification,
    VisionTransformerConfig,
    VisionTransformerForImageClassification,
)
from seqnlp.diagnostics import (
    DiagnosticsError,
    GradientSeries,
    Window,
    clipped_steps,
    cut_windows,
    measure_gradient_flow,
    recurrent_matrices,
    saturation,
    spectral_radius,
)


SIZES = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 2}
SMALL = {**SIZES, "num_attention_heads": 4, "dropout": 0.0}

SMALL_IMAGE = {
    "image_size": 8,
    "patch_size": 4,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


def some_windows(count=3, length=8):
    return [Window(row) for row in torch.randint(3, 30, (count, length))]


def elman(**fields):
    config = RecurrentConfig(vocab_size=7, hidden_size=3, cell_type="elman", **fields)
    return RecurrentForCausalLM(config).double()


def test_the_gradient_of_a_net_of_two_steps_is_that_of_autograd_by_hand():
    model = elman()
    first, second, target = 2, 5, 4
    cell = model.model.layers[0].forward_cell
    embedded = model.model.embed_tokens.weight.detach()[[first, second]]
    with torch.no_grad():
        inputs = cell.input_proj(embedded)
        recurrent = cell.recurrent_proj.weight
    hidden_1 = torch.tanh(inputs[0] + cell.recurrent_proj.bias).detach().requires_grad_()
    hidden_2 = torch.tanh(inputs[1] + recurrent @ hidden_1 + cell.recurrent_proj.bias)
    hidden_2.retain_grad()
    torch.nn.functional.cross_entropy(model.lm_head.weight @ hidden_2, torch.tensor(target)).backward()

    flow = measure_gradient_flow(model, [Window(torch.tensor([first, second, target]))])
    (layer,) = flow.series
    assert layer.name == "layer 1"
    assert layer.norms == pytest.approx([float(hidden_2.grad.norm()), float(hidden_1.grad.norm())], rel=1e-5)


def test_the_lstm_shows_its_cell_whose_gradient_counts_every_way_to_the_loss():
    config = RecurrentConfig(vocab_size=7, hidden_size=3, cell_type="lstm", num_hidden_layers=1)
    model = RecurrentForCausalLM(config)
    cell_module = model.model.layers[0].forward_cell
    ids, target = torch.tensor([1, 2, 3]), 4
    inputs = cell_module.input_proj(model.model.embed_tokens(ids)).detach()
    state, kept = (torch.zeros(1, 3), torch.zeros(1, 3)), []
    for step in range(3):
        state, _ = cell_module(inputs[step : step + 1], state)
        state = tuple(tensor if tensor.requires_grad else tensor.requires_grad_() for tensor in state)
        for tensor in state:
            tensor.retain_grad()
        kept.append(state)
    torch.nn.functional.cross_entropy(model.lm_head(state[0]), torch.tensor([target])).backward()

    flow = measure_gradient_flow(model, [Window(torch.tensor([1, 2, 3, target]))])
    by_hand = [[float(state[part].grad.norm()) for state in reversed(kept)] for part in (0, 1)]
    assert [series.name for series in flow.series] == ["layer 1", "layer 1, cell"]
    for series, expected in zip(flow.series, by_hand, strict=True):
        assert series.norms == pytest.approx(expected, rel=1e-4)


def test_the_mean_over_windows_of_several_lengths_is_that_over_those_that_reach_so_far():
    model = elman()
    long, short = Window(torch.tensor([1, 2, 3, 4, 5])), Window(torch.tensor([3, 2, 1]))
    alone = [measure_gradient_flow(model, [window]).lowest.norms for window in (long, short)]
    together = measure_gradient_flow(model, [long, short]).lowest.norms
    assert together[:2] == pytest.approx([(a + b) / 2 for a, b in zip(*alone, strict=False)])
    assert together[2:] == pytest.approx(alone[0][2:])


def test_words_of_windows_of_as_many_tokens_are_not_padded_to_each_other():
    fields = {"hidden_size": 8, "cell_type": "gru", "num_labels": 3, "first_continuing_id": 10}
    model = RecurrentForTokenClassification(RecurrentConfig(vocab_size=20, **fields))
    few, many = Window(torch.tensor([1, 11, 12, 2, 13, 3])), Window(torch.tensor([1, 2, 3, 4, 5, 6]))
    alone = [measure_gradient_flow(model, [window]).lowest.norms for window in (few, many)]
    assert [len(norms) for norms in alone] == [3, 6]  # a step for each word
    together = measure_gradient_flow(model, [few, many])
    assert together.lowest.norms[:3] == pytest.approx([(a + b) / 2 for a, b in zip(*alone, strict=False)])
    assert together.lowest.norms[3:] == pytest.approx(alone[1][3:])
    assert (together.step, measure_gradient_flow(elman(), [Window(torch.arange(3))]).step) == ("word", "token")


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_a_linear_recurrence_vanishes_or_explodes_by_its_spectral_radius(scale):
    # With ReLU held open by a large bias the net is linear, and each step back multiplies by the matrix.
    model = elman(hidden_act="relu", recurrent_initializer="identity")
    cell = model.model.layers[0].forward_cell
    with torch.no_grad():
        cell.recurrent_proj.weight.mul_(scale)
        cell.recurrent_proj.bias.fill_(100.0)
    flow = measure_gradient_flow(model, [Window(torch.arange(7))])
    assert flow.spectral_radii == {"layer 1, hidden candidate": pytest.approx(scale)}
    assert flow.lowest.factor_per_step == pytest.approx(scale, rel=1e-4)
    assert flow.lowest.reach(0.2) == (5 if scale > 1 else 2)
    assert flow.saturation["layer 1, hidden state"].low == 0  # none is shut


def test_of_a_head_that_reads_all_tokens_the_last_alone_is_followed():
    """
    With the mean as pooling every token has a way of its own to the loss, and only that of the last one says how far a
    gradient reaches: linear recurrences of half and a quarter give 1, 1/2, 1/4 and 1, 1/4, 1/16. All ways together
    would give 1, 1 + 1/2, 1 + 1/2 + 1/4.
    """
    config = RecurrentConfig(
        vocab_size=30,
        hidden_size=6,
        cell_type="elman",
        hidden_act="relu",
        recurrent_initializer="identity",
        bidirectional=True,
        pooling="mean",
    )
    model = RecurrentForSequenceClassification(config).double()
    cells = model.model.layers[0].forward_cell, model.model.layers[0].backward_cell
    with torch.no_grad():
        for cell, scale in zip(cells, (0.5, 0.25), strict=True):
            cell.recurrent_proj.weight.mul_(scale)
            cell.recurrent_proj.bias.fill_(100.0)  # ReLU is open, so that the net is linear
    flow = measure_gradient_flow(model, some_windows(2, 5))
    found = {series.name: [norm / series.norms[0] for norm in series.norms] for series in flow.series}
    assert found["layer 1"] == pytest.approx([0.5**distance for distance in range(5)], rel=1e-5)
    assert found["layer 1, backward"] == pytest.approx([0.25**distance for distance in range(5)], rel=1e-5)


def test_the_loss_of_several_labels_is_that_of_the_least_likely_one():
    """By hand: `d -log sigmoid(z) / dh = -(1 - sigmoid(z)) w` for `z = w h + b`."""
    config = RecurrentConfig(
        **SIZES, cell_type="gru", pooling="last", num_labels=3, problem_type="multi_label_classification"
    )
    model = RecurrentForSequenceClassification(config).eval()
    window = some_windows(1, 6)[0]
    flow = measure_gradient_flow(model, [window])
    with torch.no_grad():
        logits = model(input_ids=window.token_ids[None]).logits[0]
    least = logits.argmin()
    expected = (1 - logits[least].sigmoid()) * model.score.weight[least].norm()
    assert flow.series[-1].norms[0] == pytest.approx(expected.item(), rel=1e-5)
    assert flow.loss.startswith("binary cross-entropy of the label")


def test_above_the_last_layer_a_transformer_that_reads_all_tokens_has_a_gradient_at_the_last_alone():
    model = TransformerEncoderForSequenceClassification(TransformerEncoderConfig(**SMALL, pooling="mean"))
    flow = measure_gradient_flow(model, some_windows(2, 6))
    assert flow.series[-1].norms[0] > 0
    assert flow.series[-1].norms[1:] == [0.0] * 5
    assert all(norm > 0 for norm in flow.lowest.norms)


def test_factor_and_reach_of_made_up_norms():
    assert GradientSeries("x", [8.0, 4.0, 2.0, 1.0]).factor_per_step == pytest.approx(0.5)
    assert GradientSeries("x", [1.0, 0.1, 0.02, 0.001]).reach() == 2
    assert math.isnan(GradientSeries("x", [1.0, 0.0, 0.0]).factor_per_step)


def test_spectral_radius_is_that_of_numpy():
    matrix = torch.randn(20, 20)
    assert spectral_radius(matrix) == pytest.approx(np.abs(np.linalg.eigvals(matrix.double().numpy())).max())


def test_recurrent_matrices_of_our_cells_and_of_torch_are_the_blocks_of_the_gates():
    module = torch.nn.LSTM(4, 5, num_layers=2, bidirectional=True)
    theirs = list(recurrent_matrices(module))
    ours = list(recurrent_matrices(RecurrentModel.from_torch(module)))
    assert [name.removeprefix("LSTM ") for name, _ in theirs] == [name for name, _ in ours]
    assert ours[1][0] == "layer 1, forget gate"
    assert ours[-1][0] == "layer 2, backward, output gate"
    for (_, a), (_, b) in zip(theirs, ours, strict=True):
        assert a.shape == (5, 5)
        assert torch.equal(a, b)


def test_saturated_shares_of_made_up_gates():
    gate = torch.tensor([0.0, 0.05, 0.1, 0.5, 0.9, 0.95, 0.99, 1.0])
    found = saturation(gate, "sigmoid")
    assert (found.low, found.high) == (0.25, 0.375)
    found = saturation(torch.tensor([-1.0, -0.95, -0.5, 0.05, 0.95]), "tanh")
    assert (found.low, found.high) == (0.4, 0.2)
    found = saturation(torch.tensor([0.0, 0.0, 0.0, 3.0]), "relu")
    assert (found.low, found.high) == (0.75, 0.0)


def test_gates_are_counted_over_all_windows():
    model = RecurrentForCausalLM(RecurrentConfig(**SIZES, cell_type="gru"))
    cell = model.model.layers[1].forward_cell
    with torch.no_grad():  # the update gates of the second layer: half shut, half open
        bias = cell.input_proj.bias.view(3, 16)
        bias[1, :8], bias[1, 8:] = -50, 50
    flow = measure_gradient_flow(model, [*some_windows(2, 8), *some_windows(1, 5)])
    found = flow.saturation["layer 2, update gate"]
    assert (found.low, found.high) == (0.5, 0.5)
    assert len(flow.saturation) == 6


def test_clipped_share_compares_the_gradient_of_each_window():
    model, windows = RecurrentForCausalLM(RecurrentConfig(**SIZES)), some_windows()
    norms = []
    for window in windows:
        model.zero_grad()
        ids = window.token_ids.unsqueeze(0)
        model(input_ids=ids, labels=ids).loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9)))
    limit = (sorted(norms)[0] + sorted(norms)[1]) / 2
    assert measure_gradient_flow(model, windows, max_grad_norm=limit).clipped_share == pytest.approx(2 / 3)
    assert measure_gradient_flow(model, windows).clipped_share is None


def test_clipped_steps_are_those_between_two_entries_of_a_runs_history():
    history = [
        {"step": 20, "epoch": 1.0, "train_loss": 2.0, "clipped_share": 0.5},
        {"step": 20, "epoch": 1.0, "validation_loss": 2.0},
        {"step": 30, "epoch": 1.5, "train_loss": 1.0, "clipped_share": 0.2},
    ]
    assert clipped_steps(history) == pytest.approx((0.5 * 20 + 0.2 * 10) / 30)
    assert clipped_steps(history[1:2]) is None


@pytest.mark.parametrize("family", ["ours", "gpt2"])
def test_a_transformer_is_measured_by_its_hidden_states(family):
    if family == "ours":
        model = TransformerDecoderForCausalLM(TransformerDecoderConfig(**SMALL))
    else:
        model = GPT2LMHeadModel(GPT2Config(vocab_size=30, n_embd=16, n_layer=2, n_head=2, n_positions=20))
    windows = some_windows(1)
    flow = measure_gradient_flow(model, windows)
    ids = windows[0].token_ids.unsqueeze(0)
    embedded = model.get_input_embeddings()(ids[:, :-1]).detach().requires_grad_()
    model.eval()
    logits = model(inputs_embeds=embedded).logits[:, -1]
    torch.nn.functional.cross_entropy(logits, ids[:, -1]).backward()
    assert [series.name for series in flow.series] == ["embeddings", "layer 1", "layer 2"]
    assert flow.lowest.norms == pytest.approx(embedded.grad[0].norm(dim=-1).flip(0).tolist(), rel=1e-4)
    assert not any(flow.series[-1].norms[1:])  # above the last layer a token sees no other
    assert flow.spectral_radii == flow.saturation == {}


def test_a_bidirectional_classifier_is_followed_from_both_ends():
    config = RecurrentConfig(**{**SIZES, "num_hidden_layers": 1}, bidirectional=True, pooling="attention")
    flow = measure_gradient_flow(RecurrentForSequenceClassification(config), some_windows())
    forward, _, backward, _ = flow.series
    assert (forward.name, backward.name) == ("layer 1", "layer 1, backward")
    assert all(norm > 0 for norm in forward.norms + backward.norms)
    assert len(forward.norms) == len(backward.norms) == 8


def test_a_head_that_reads_the_first_token_is_measured_from_there():
    config = BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    flow = measure_gradient_flow(BertForSequenceClassification(config), some_windows())
    assert len(flow.lowest.norms) == 8
    assert flow.series[-1].norms[0] > 0
    assert not any(flow.series[-1].norms[1:])


def test_masked_language_models_and_encoder_decoders():
    masked = TransformerEncoderForMaskedLM(TransformerEncoderConfig(**SMALL))
    flow = measure_gradient_flow(masked, some_windows(), mask_token_id=2, special_token_ids=(2,))
    assert len(flow.lowest.norms) == 8
    assert flow.series[-1].norms[0] > 0

    config = RecurrentSeq2SeqConfig(**SIZES, decoder_start_token_id=1, pad_token_id=0)
    windows = [Window(row[:6], row) for row in torch.randint(3, 30, (3, 8))]
    flow = measure_gradient_flow(RecurrentSeq2SeqForConditionalGeneration(config), windows, max_grad_norm=1e-9)
    assert [series.name for series in flow.series][:2] == ["layer 1", "layer 1, cell"]
    assert len(flow.lowest.norms) == 6
    assert flow.clipped_share == 1


def test_the_radii_of_an_encoder_decoder_are_those_of_the_decoder_that_is_followed():
    """The encoder's layers have the same numbers, and directions that the decoder has not."""
    fields = {**SIZES, "num_hidden_layers": 1, "decoder_start_token_id": 1, "pad_token_id": 0}
    config = RecurrentSeq2SeqConfig(**fields, cell_type="elman")
    model = RecurrentSeq2SeqForConditionalGeneration(config)
    matrices = {name: module for name, module in model.named_modules() if name.endswith("recurrent_proj")}
    assert len(matrices) == 3
    with torch.no_grad():
        for name, module in matrices.items():
            module.weight.copy_(torch.eye(16) * (0.5 if "decoder" in name else 2.0))
    flow = measure_gradient_flow(model, [Window(row[:6], row) for row in torch.randint(3, 30, (1, 8))])
    assert flow.spectral_radii == {"layer 1, hidden candidate": pytest.approx(0.5)}


def test_measuring_leaves_the_model_as_it_was():
    model = RecurrentForCausalLM(RecurrentConfig(**SIZES)).train()
    measure_gradient_flow(model, some_windows())
    assert model.training
    assert model.config.recurrence_implementation == "fused"
    assert not any(module._forward_hooks for module in model.modules() if hasattr(module, "recurrent_proj"))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_windows_end_at_evenly_spaced_places():
    ids = torch.arange(20)
    assert [window.tolist() for window in cut_windows(ids, 4, 3)] == [
        [0, 1, 2, 3],
        [8, 9, 10, 11],
        [16, 17, 18, 19],
    ]
    assert len(cut_windows(ids, 19, 5)) == 2
    assert torch.equal(cut_windows(ids, 30, 5)[0], ids)


def test_what_cannot_be_measured_is_refused_in_one_line():
    with pytest.raises(DiagnosticsError, match=r"A text of 1 token is too short .* give at least 3"):
        measure_gradient_flow(elman(), [Window(torch.tensor([1]))])
    with pytest.raises(DiagnosticsError, match="no text"):
        measure_gradient_flow(elman(), [])
    images = VisionTransformerForImageClassification(VisionTransformerConfig(**SMALL_IMAGE))
    with pytest.raises(DiagnosticsError, match="has no such head"):
        measure_gradient_flow(images, some_windows())
    with pytest.raises(DiagnosticsError, match="mask token"):
        measure_gradient_flow(TransformerEncoderForMaskedLM(TransformerEncoderConfig(**SMALL)), some_windows())
    silent = elman()
    torch.nn.init.zeros_(silent.lm_head.weight)
    with pytest.raises(DiagnosticsError, match="zero"):
        measure_gradient_flow(silent, [Window(torch.arange(5))])
