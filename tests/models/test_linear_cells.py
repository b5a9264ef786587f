"""minGRU, minLSTM, SSRU: the scan over all steps against a plain loop in double precision, by their equations."""

import pytest
import torch
from torch.nn.functional import logsigmoid

from seqnlp import RecurrentConfig, RecurrentForCausalLM, RecurrentModel
from seqnlp.diagnostics import Window, measure_gradient_flow
from seqnlp.models import recurrence
from seqnlp.models.cells import CELLS, LinearCell
from seqnlp.models.recurrence import LinearScan, Padding, eager_recurrence, fused_recurrence


SIZE = 3
LINEAR = [name for name, cell_class in CELLS.items() if issubclass(cell_class, LinearCell)]
every_cell = pytest.mark.parametrize("cell_type", LINEAR)
both_ways = pytest.mark.parametrize("reverse", [False, True])


def positive(candidate):
    return torch.where(candidate >= 0, candidate + 0.5, torch.sigmoid(candidate))


def mingru(z, candidate, state):
    z = torch.sigmoid(z)
    return (1 - z) * state + z * positive(candidate)


def minlstm(i, f, candidate, state):
    """`f / (f + i)` by logarithms, since both may be below the smallest number."""
    i, f = torch.softmax(torch.stack([logsigmoid(i), logsigmoid(f)]), dim=0)
    return f * state + i * positive(candidate)


def ssru(f, candidate, state):
    f = torch.sigmoid(f)
    return f * state + (1 - f) * candidate


STEPS = {"mingru": mingru, "minlstm": minlstm, "ssru": ssru}
"""Feng et al. 2024, sections 3.1 and 3.2, and Kim et al. 2019, section 3."""


def plainly(cell_type, projected, state, mask, reverse=False):
    """
    Token by token in double precision, by [`STEPS`]; a cell that is not among them by its own step, which
    `test_cells.py` compares with its printed equations.
    """
    projected, state, cell = projected.double(), state.double(), CELLS[cell_type](SIZE, SIZE)
    outputs = [None] * projected.shape[1]
    for t in reversed(range(len(outputs))) if reverse else range(len(outputs)):
        if cell_type in STEPS:
            new = STEPS[cell_type](*projected[:, t].split(SIZE, dim=-1), state)
        else:
            ((new,), _) = cell(projected[:, t], (state,))
        valid = mask[:, t, None]
        state = torch.where(valid, new, state)
        seen = state.clamp(min=0) if cell_type == "ssru" else cell.output(state)
        outputs[t] = torch.where(valid, seen, 0)
    return torch.stack(outputs, dim=1), state


class Given(torch.nn.Module):
    """In place of the map from the input: what goes into the gates is given."""

    def forward(self, inputs):
        return inputs


def make_cell(cell_type):
    cell = CELLS[cell_type](SIZE, SIZE)
    cell.input_proj = Given()
    return cell


def logits(batch, length, cell_type, scale):
    """Of gates, from all but shut to all but open, and candidates of some tens."""
    drawn = torch.randn(batch, length, len(CELLS[cell_type].gates) * SIZE)
    return torch.cat([drawn[..., :-SIZE] * scale, drawn[..., -SIZE:] * 3], dim=-1)


@every_cell
@both_ways
@pytest.mark.parametrize("length", [2, 15, 16, 17, 100, 1000, 4096])
@pytest.mark.parametrize("scale", [1, 10, 1000])
def test_both_forms_are_the_equations_in_float32_with_gradients(cell_type, reverse, length, scale):
    cell = make_cell(cell_type)
    batch = 2
    projected, state = (
        logits(batch, length, cell_type, scale).requires_grad_(),
        torch.randn(batch, SIZE).requires_grad_(),
    )
    weights = torch.randn(batch, length, SIZE) / length**0.5
    expected, final = plainly(cell_type, projected, state, torch.ones(batch, length, dtype=torch.bool), reverse)
    expected_gradients = torch.autograd.grad((expected * weights).sum() + final.sum(), [projected, state])
    runs = [fused_recurrence] if length > 100 else [fused_recurrence, eager_recurrence]
    for run in runs:
        outputs, (last,) = run(cell, projected, (state,), None, reverse)
        torch.testing.assert_close(outputs.double(), expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(last.double(), final, rtol=1e-5, atol=1e-5)
        gradients = torch.autograd.grad((outputs * weights).sum() + last.sum(), [projected, state])
        torch.testing.assert_close(gradients, expected_gradients, rtol=1e-4, atol=1e-5)


@every_cell
@both_ways
@pytest.mark.parametrize(("batch", "window"), [(4, 1000), (4, 7), (1400, 1000)])  # in parts, in windows, step by step
@pytest.mark.parametrize("place", ["left", "right", "inside", "a row of nothing"])
def test_padding_leaves_the_state_as_it_is(cell_type, reverse, batch, window, place, monkeypatch):
    monkeypatch.setattr(recurrence, "WINDOW_SIZE", window * batch * SIZE)
    cell, length = make_cell(cell_type), 41
    projected, state = logits(batch, length, cell_type, 3).requires_grad_(), torch.randn(batch, SIZE).requires_grad_()
    positions, ends = torch.arange(length), torch.randint(1, length, (batch, 1))
    mask = {
        "left": positions >= ends,
        "right": positions < ends,
        "inside": torch.rand(batch, length) < 0.6,
        "a row of nothing": torch.arange(batch).unsqueeze(1).expand(batch, length) > 0,
    }[place]
    outputs, (last,) = fused_recurrence(cell, projected, (state,), Padding.from_mask(mask, 2), reverse)
    expected, final = plainly(cell_type, projected, state, mask, reverse)
    torch.testing.assert_close((outputs.double(), last.double()), (expected, final), rtol=1e-5, atol=1e-5)
    weights = torch.randn_like(expected)
    ours = torch.autograd.grad((outputs * weights).sum() + last.sum(), [projected, state])
    theirs = torch.autograd.grad((expected * weights).sum() + final.sum(), [projected, state])
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert (ours[0][~mask] == 0).all()


@both_ways
@pytest.mark.parametrize("length", [5, 16, 23])
def test_first_and_second_derivatives_of_the_scan(reverse, length):
    tensors = [torch.rand(2, length, 2), torch.randn(2, length, 2), torch.randn(2, 2)]
    tensors = [tensor.double().requires_grad_() for tensor in tensors]
    assert torch.autograd.gradcheck(lambda *given: LinearScan.apply(*given, reverse), tensors)
    assert torch.autograd.gradgradcheck(lambda *given: LinearScan.apply(*given, reverse), tensors)


@both_ways
@pytest.mark.parametrize("decay", [0.0, 1e-30, 0.5, 1 - 1e-6, 1.0])
def test_a_scan_of_one_decay_is_a_geometric_series(reverse, decay):
    length = 4096
    states = LinearScan.apply(torch.full((1, length, 1), decay), torch.ones(1, length, 1), torch.zeros(1, 1), reverse)
    steps = torch.arange(1, length + 1).double()
    decay = torch.tensor(decay).double()  # as rounded to float32
    expected = steps if decay == 1 else (1 - decay**steps) / (1 - decay)
    expected = expected.flip(0) if reverse else expected
    torch.testing.assert_close(states.flatten().double(), expected, rtol=2e-5, atol=0)


@every_cell
@pytest.mark.parametrize("implementation", ["eager", "fused"])
def test_windows_with_a_carried_state_are_the_text_at_once(cell_type, implementation):
    config = RecurrentConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=2,
        cell_type=cell_type,
        recurrence_implementation=implementation,
    )
    model = RecurrentModel(config).double()
    ids = torch.randint(20, (3, 100))
    whole = model(ids, use_cache=True)
    cache, pieces = None, []
    for window in ids.split(33, dim=1):
        outputs = model(window, cache=cache, use_cache=True)
        cache = outputs.cache.detach_()
        pieces.append(outputs.last_hidden_state)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole.last_hidden_state)
    torch.testing.assert_close(list(cache.to_torch()), list(whole.cache.to_torch()))


@every_cell
@pytest.mark.parametrize("implementation", ["eager", "fused"])
def test_bf16_by_autocast_and_by_weights(cell_type, implementation):
    config = RecurrentConfig(
        vocab_size=20, hidden_size=32, num_hidden_layers=2, cell_type=cell_type, bidirectional=True
    )
    model = RecurrentModel(config)
    model.set_recurrence_implementation(implementation)
    ids, mask = torch.randint(20, (4, 60)), torch.ones(4, 60, dtype=torch.long)
    mask[0, 12:] = 0
    exact = model(ids, attention_mask=mask).last_hidden_state
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(rounded.float(), exact, rtol=0, atol=0.02)
    rounded.float().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    half = model.bfloat16()(ids, attention_mask=mask).last_hidden_state
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), exact, rtol=0, atol=0.05)


@pytest.mark.parametrize("embedding_size", [8, 16])  # a map between them makes a stream of bfloat16
@pytest.mark.parametrize("by_weights", [False, True])
@every_cell
def test_in_bf16_a_text_read_token_by_token_is_as_exact_as_at_once(cell_type, by_weights, embedding_size):
    config = RecurrentConfig(
        vocab_size=11,
        embedding_size=embedding_size,
        hidden_size=16,
        cell_type=cell_type,
        block="residual",
        gate_initializer="chrono",
        max_dependency_length=1000,
    )
    model, ids = RecurrentModel(config).eval(), torch.randint(11, (2, 400))
    with torch.no_grad():
        exact = model(ids).last_hidden_state[:, -50:]
        if by_weights:
            model.bfloat16()
        with torch.autocast("cpu", torch.bfloat16, enabled=not by_weights):
            whole = model(ids).last_hidden_state[:, -50:]
            outputs, cache = [], None
            for token in ids.split(1, dim=1):
                step = model(token, cache=cache, use_cache=True)
                outputs, cache = [*outputs, step.last_hidden_state], step.cache
    assert whole.dtype == outputs[-1].dtype
    assert all(state.dtype == torch.float32 for state in cache.to_torch())
    errors = [(found - exact).abs().mean().item() for found in (whole, torch.cat(outputs[-50:], dim=1))]
    assert errors[1] < 1.5 * errors[0]


@every_cell
def test_all_steps_are_computed_at_once_unless_they_are_to_be_seen(cell_type, monkeypatch):
    model = RecurrentModel(RecurrentConfig(vocab_size=9, hidden_size=4, cell_type=cell_type))
    ids = torch.randint(9, (2, 300))
    expected, calls = model(ids).last_hidden_state, []
    monkeypatch.setattr(
        recurrence.torch, "addcmul", lambda *args, **kwargs: calls.append(1) or addcmul(*args, **kwargs)
    )
    torch.testing.assert_close(model(ids).last_hidden_state, expected)
    assert len(calls) == 2 * 16 + 19  # steps of 19 parts of 16 and their decays, and from part to part
    model.set_recurrence_implementation("eager")
    steps = []
    model.layers[0].forward_cell.register_forward_hook(lambda *args: steps.append(args))
    torch.testing.assert_close(model(ids).last_hidden_state, expected)
    assert len(steps) == 300


addcmul = torch.addcmul


@every_cell
def test_lora_is_not_passed_over_by_the_scan(cell_type):
    from peft import LoraConfig, get_peft_model

    config = RecurrentConfig(vocab_size=9, hidden_size=4, cell_type=cell_type)
    adapter = LoraConfig(target_modules=["input_proj"], init_lora_weights=False)
    model = get_peft_model(RecurrentModel(config), adapter).eval()
    ids = torch.randint(9, (2, 20))
    fused = model(ids).last_hidden_state
    with model.disable_adapter():
        assert not torch.allclose(fused, model(ids).last_hidden_state)
    model.base_model.model.set_recurrence_implementation("eager")
    torch.testing.assert_close(fused, model(ids).last_hidden_state)


@every_cell
def test_a_gradient_that_flows_back_is_the_product_of_the_decays(cell_type):
    """Of one layer: `dh_T / dh_t` is diagonal, the product of the forget gates of the steps between."""
    config = RecurrentConfig(vocab_size=9, hidden_size=4, cell_type=cell_type, recurrence_implementation="eager")
    model, ids, seen = RecurrentModel(config), torch.randint(9, (1, 6)), []
    model.layers[0].forward_cell.register_forward_hook(lambda cell, inputs, output: seen.append(output))
    model(ids)
    (gradient,) = torch.autograd.grad(seen[5][0][0].sum(), seen[1][0][0])
    if cell_type not in STEPS:  # what its gates are is not known here
        cell = model.layers[0].forward_cell
        decays, *_ = cell.coefficients(cell.input_proj(model.embed_tokens(ids)))
        torch.testing.assert_close(gradient, decays[:, 2:].prod(dim=1))
        return
    keep = {"mingru": lambda gates: 1 - gates["update_gate"]}.get(cell_type, lambda gates: gates["forget_gate"])
    torch.testing.assert_close(gradient, torch.stack([keep(gates) for _, gates in seen[2:]]).prod(dim=0))


@every_cell
def test_gradient_flow_is_measured(cell_type):
    model = RecurrentForCausalLM(RecurrentConfig(vocab_size=30, hidden_size=16, cell_type=cell_type))
    flow = measure_gradient_flow(model, [Window(torch.randint(30, (12,))) for _ in range(3)])
    assert flow.spectral_radii == {}
    assert {name.split(", ")[1] for name in flow.saturation} == {
        gate.replace("_", " ") for gate in CELLS[cell_type].gates
    }
