"""Backpropagation through time as written out, against the eager loop: outputs, states and every gradient."""

import pytest
import torch

from seqnlp import RecurrentConfig, RecurrentModel
from seqnlp.models import recurrence
from seqnlp.models.cells import CELLS
from seqnlp.models.recurrence import Padding, eager_recurrence, fused_recurrence


MASKS = {
    "none": None,
    "right": [[1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0, 0]],
    "left": [[0, 0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0]],
    "middle": [[1, 0, 0, 1, 1, 0, 1], [0, 1, 1, 0, 1, 1, 0], [1, 1, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0]],
    "nothing": [[0] * 7] * 4,
}

PACKED = {name: cell_class for name, cell_class in CELLS.items() if cell_class.forward_packed is not None}
every_cell = pytest.mark.parametrize(("cell_type", "act"), [*((name, "tanh") for name in PACKED), ("elman", "relu")])


@pytest.fixture(autouse=True)
def always_packed(monkeypatch):
    monkeypatch.setattr(recurrence, "_runs_packed", lambda *args: True)


def make(cell_type, act="tanh", dtype=torch.double, mask=None):
    cell = CELLS[cell_type](3, 5, act).to(dtype)
    inputs = torch.randn(4, 7, 3, dtype=dtype, requires_grad=True)
    state = tuple(torch.randn(4, 5, dtype=dtype, requires_grad=True) for _ in range(cell.num_states))
    padding = None if mask is None else Padding.from_mask(torch.tensor(mask), num_directions=2)
    return cell, inputs, state, padding


def weighted_sum(outputs, final):
    """A loss in which every output and every number of the final state has another weight."""
    generator = torch.Generator().manual_seed(0)
    return sum((t * torch.randn(t.shape, generator=generator, dtype=t.dtype)).sum() for t in (outputs, *final))


def gradients(cell, inputs, state, outputs, final):
    return torch.autograd.grad(weighted_sum(outputs, final), [inputs, *state, *cell.parameters()])


@every_cell
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("mask", MASKS)
def test_outputs_states_and_gradients_equal_the_eager_loop(cell_type, act, reverse, mask):
    cell, inputs, state, padding = make(cell_type, act, mask=MASKS[mask])
    expected, expected_final = eager_recurrence(cell, inputs, state, padding, reverse)
    outputs, final = fused_recurrence(cell, inputs, state, padding, reverse)
    assert "BackpropagationThroughTime" in repr(outputs.grad_fn)
    torch.testing.assert_close((outputs, *final), (expected, *expected_final))
    if padding is not None:
        assert (outputs[~padding.mask] == 0).all()
    ours = gradients(cell, inputs, state, outputs, final)
    torch.testing.assert_close(ours, gradients(cell, inputs, state, expected, expected_final))
    assert fused_recurrence(cell, inputs, state, padding, reverse, return_state=False)[1] is None


@every_cell
def test_gradients_equal_finite_differences(cell_type, act):
    cell, inputs, state, padding = make(cell_type, act, mask=MASKS["middle"])

    def run(inputs, *tensors):  # gradcheck changes the tensors in place, the cell's parameters among them
        outputs, final = fused_recurrence(cell, inputs, tensors[: len(state)], padding)
        return outputs, *final

    assert torch.autograd.gradcheck(run, (inputs, *state, *cell.parameters()), fast_mode=True)


def test_only_the_gradients_asked_for_are_computed():
    cell, inputs, state, padding = make("gru", mask=MASKS["left"])
    expected = gradients(cell, inputs, state, *fused_recurrence(cell, inputs, state, padding))
    cell.requires_grad_(False)
    cell.recurrent_proj.bias.requires_grad_()
    outputs, final = fused_recurrence(cell, inputs.detach(), tuple(tensor.detach() for tensor in state), padding)
    weighted_sum(outputs, final).backward()
    torch.testing.assert_close(cell.recurrent_proj.bias.grad, expected[-1])
    assert cell.input_proj.weight.grad is None


@every_cell
@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
def test_bfloat16_stays_close_to_float64_and_accumulates_in_float32(cell_type, act, weights):
    """Under autocast and with bfloat16 weights; over 200 steps, so that what accumulates would show."""
    cell = CELLS[cell_type](16, 32, act)
    inputs, mask = torch.randn(4, 200, 16), torch.ones(4, 200, dtype=torch.long)
    mask[0, 120:] = 0
    padding = Padding.from_mask(mask, 1)
    state = tuple(torch.zeros(4, 32) for _ in range(cell.num_states))
    exact, _ = eager_recurrence(cell.double(), inputs.double(), tuple(s.double() for s in state), padding)
    exact.sum().backward()
    expected = [parameter.grad for parameter in cell.parameters()]
    cell.zero_grad()
    cell.to(weights)
    with torch.autocast("cpu", torch.bfloat16, enabled=weights == torch.float32):
        outputs, final = fused_recurrence(cell, inputs.to(weights), tuple(s.to(weights) for s in state), padding)
        assert outputs.dtype == torch.bfloat16
        assert {tensor.dtype for tensor in final} == {weights}
        outputs.float().sum().backward()
    assert (outputs - exact).abs().max() < 0.05 * max(1, exact.abs().max())
    for parameter, grad in zip(cell.parameters(), expected, strict=True):
        assert parameter.grad.dtype == weights
        assert (parameter.grad - grad).norm() < 0.05 * grad.norm()


def test_a_second_derivative_is_refused():
    cell, inputs, state, padding = make("gru")
    outputs, _ = fused_recurrence(cell, inputs, state, padding)
    with pytest.raises(RuntimeError, match=r"set_recurrence_implementation\('eager'\)"):
        torch.autograd.grad(outputs.sum(), inputs, create_graph=True)


def test_the_graph_can_be_gone_through_again():
    cell, inputs, state, padding = make("lstm", mask=MASKS["right"])
    outputs, final = fused_recurrence(cell, inputs, state, padding)
    first, second = (
        torch.autograd.grad(outputs.sum() + final[1].sum(), inputs, retain_graph=True)[0] for _ in range(2)
    )
    assert torch.equal(first, second)


@pytest.mark.parametrize("cell_type", PACKED)
def test_a_checkpointed_model_gives_the_same_gradients(cell_type):
    model = RecurrentModel(
        RecurrentConfig(vocab_size=9, hidden_size=4, cell_type=cell_type, num_hidden_layers=2)
    ).train()
    ids, mask = torch.randint(9, (3, 6)), torch.ones(3, 6, dtype=torch.long)
    mask[1, :2] = 0
    model(ids, attention_mask=mask, use_cache=False).last_hidden_state.sum().backward()
    expected = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    model.activation_checkpointing_enable()
    model(ids, attention_mask=mask, use_cache=False).last_hidden_state.sum().backward()
    torch.testing.assert_close([parameter.grad for parameter in model.parameters()], expected)


def test_where_the_packed_loop_is_chosen(monkeypatch):
    monkeypatch.undo()
    is_packed = recurrence._runs_packed
    half = Padding.from_mask((torch.arange(64) < torch.linspace(1, 64, 32).unsqueeze(1)).long(), 1)
    inputs = torch.empty(32, 64, 256)
    cells = {name: cell_class(256, 256) for name, cell_class in PACKED.items()}
    assert [name for name, cell in cells.items() if is_packed(cell, inputs, None)] == ["elman", "gru"]
    assert all(is_packed(cell, inputs, half) for cell in cells.values())
    assert not is_packed(cells["gru"].to("meta"), inputs.to("meta"), None)
    assert not is_packed(CELLS["gru"](256, 256).half(), inputs, half)
    without_kernel = CELLS["lstm"](256, 256)
    without_kernel.kernel = None  # as of a cell that torch does not know: the loop of steps is all that it would have
    assert is_packed(without_kernel, inputs, None)
    with torch.no_grad():
        assert not any(is_packed(CELLS[name](256, 256), inputs, None) for name in cells)


@pytest.mark.parametrize("tiles", [False, True])
def test_products_in_tiles_are_packed_for_more_padding(tiles, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(recurrence, "has_tiles", lambda: tiles)
    monkeypatch.setattr(recurrence, "has_bfloat16_kernels", lambda: True)
    cell, inputs = CELLS["lstm"](256, 256), torch.empty(32, 64, 256)

    def is_packed(share):
        mask = torch.arange(64) < torch.full((32, 1), round(64 * (1 - share))).index_fill(0, torch.tensor([0]), 64)
        return recurrence._runs_packed(cell, inputs, Padding.from_mask(mask.long(), 1))

    for narrow in (False, True):  # a third of 32 x 256 x 512 multiplications saved, then nearly all
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            assert is_packed(1 / 3) == (not (tiles and narrow))
            assert is_packed(0.9)
            with torch.no_grad():
                assert is_packed(0.9) == (not (tiles and narrow))


@pytest.mark.parametrize("has_kernels", [False, True])
def test_bfloat16_is_packed_where_the_processor_has_no_kernel_for_it(has_kernels, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(recurrence, "has_bfloat16_kernels", lambda: has_kernels)
    cell, inputs = CELLS["lstm"](8, 8), torch.empty(2, 3, 8)
    with torch.no_grad():
        assert not recurrence._runs_packed(cell, inputs, None)
        with torch.autocast("cpu", torch.bfloat16):
            assert recurrence._runs_packed(cell, inputs, None) == (not has_kernels)
        assert recurrence._runs_packed(cell.bfloat16(), inputs.bfloat16(), None) == (not has_kernels)
        assert not recurrence._runs_packed(cell.to("meta"), inputs.to("meta"), None)
