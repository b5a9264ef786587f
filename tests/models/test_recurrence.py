"""The cells and the two ways to run them, against torch.nn: outputs, final states and every gradient."""

import re

import pytest
import torch
from accelerate.utils import send_to_device
from torch import nn

from seqnlp import RecurrentCache, RecurrentConfig, RecurrentModel, StaticRecurrentCache
from seqnlp.models import recurrence, recurrent_cache
from seqnlp.models.cells import CELLS
from seqnlp.models.processor import has_bfloat16_kernels
from seqnlp.models.recurrence import Padding, token_mask


TORCH_CLASSES = {"elman": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
MASKS = {
    "none": None,
    "right": [[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0]],
    "left": [[0, 0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 1]],
    "middle": [[1, 0, 0, 1, 1, 0, 1], [0, 1, 1, 0, 1, 1, 0], [1, 1, 0, 1, 1, 1, 1]],
}

every_cell = pytest.mark.parametrize("cell_type", ["elman", "gru", "lstm"])
needs_bfloat16_kernels = pytest.mark.skipif(
    not has_bfloat16_kernels(), reason="no AVX-512: autocast's LSTM has no kernel"
)
both_implementations = pytest.mark.parametrize("implementation", ["eager", "fused"])


def as_tuple(state):
    return state if isinstance(state, tuple) else (state,)


def make(cell_type, implementation, bidirectional=False, num_layers=2, **kwargs):
    module = TORCH_CLASSES[cell_type](
        5, 6, num_layers, batch_first=True, bidirectional=bidirectional, **kwargs
    ).double()
    model = RecurrentModel.from_torch(module, vocab_size=20, recurrence_implementation=implementation)
    return module, model


@every_cell
@both_implementations
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("padding", MASKS)
def test_outputs_states_and_gradients_equal_torch_run_on_each_row_alone(
    cell_type, implementation, bidirectional, padding
):
    module, model = make(cell_type, implementation, bidirectional)
    inputs = torch.randn(3, 7, 5, dtype=torch.double)
    mask = torch.ones(3, 7, dtype=torch.long) if MASKS[padding] is None else torch.tensor(MASKS[padding])

    ours = inputs.clone().requires_grad_()
    outputs = model(inputs_embeds=ours, attention_mask=None if MASKS[padding] is None else mask)
    states = outputs.cache.to_torch()
    output_weights, state_weights = torch.randn_like(outputs.last_hidden_state), torch.randn_like(states[0])
    loss = (outputs.last_hidden_state * output_weights)[mask.bool()].sum() + sum(
        (s * state_weights).sum() for s in states
    )
    loss.backward()

    theirs = inputs.clone().requires_grad_()
    loss = 0
    for row in range(3):
        valid = mask[row].bool()
        expected, expected_states = module(theirs[row : row + 1, valid])
        torch.testing.assert_close(outputs.last_hidden_state[row, valid], expected[0])
        for state, expected_state in zip(states, as_tuple(expected_states), strict=True):
            torch.testing.assert_close(state[:, row], expected_state[:, 0])
            loss = loss + (expected_state[:, 0] * state_weights[:, row]).sum()
        loss = loss + (expected[0] * output_weights[row, valid]).sum()
    loss.backward()

    assert (outputs.last_hidden_state[~mask.bool()] == 0).all()
    torch.testing.assert_close(ours.grad, theirs.grad)
    assert (ours.grad[~mask.bool()] == 0).all()
    pairs = list(model._paired_weights(module))
    assert len(pairs) == len(list(module.parameters()))
    for parameter, expected in pairs:
        torch.testing.assert_close(parameter.grad, expected.grad)


@every_cell
@both_implementations
def test_float32_equals_torch(cell_type, implementation):
    module = TORCH_CLASSES[cell_type](16, 32, 2, batch_first=True)
    model = RecurrentModel.from_torch(module, vocab_size=20, recurrence_implementation=implementation)
    inputs = torch.randn(4, 20, 16)
    torch.testing.assert_close(model(inputs_embeds=inputs).last_hidden_state, module(inputs)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("implementation", ["eager", "fused"])
def test_relu_elman_equals_torch(implementation):
    module, model = make("elman", implementation, nonlinearity="relu")
    inputs = torch.randn(2, 9, 5, dtype=torch.double)
    torch.testing.assert_close(model(inputs_embeds=inputs).last_hidden_state, module(inputs)[0])


@every_cell
@both_implementations
def test_a_text_read_in_pieces_equals_the_text_read_at_once(cell_type, implementation):
    _, model = make(cell_type, implementation)
    inputs = torch.randn(3, 10, 5, dtype=torch.double)
    mask = torch.ones(3, 10, dtype=torch.long)
    mask[0, :4] = 0  # the first piece of this row is all padding but for the last token
    mask[1, 3:6] = 0
    whole = model(inputs_embeds=inputs, attention_mask=mask)
    cache = RecurrentCache(model.config)
    pieces = [
        model(inputs_embeds=inputs[:, a:b], attention_mask=mask[:, a:b], cache=cache).last_hidden_state
        for a, b in ((0, 3), (3, 4), (4, 10))
    ]
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole.last_hidden_state)
    for state, expected in zip(cache.to_torch(), whole.cache.to_torch(), strict=True):
        torch.testing.assert_close(state, expected)
    assert cache.get_seq_length() == 10


@every_cell
@both_implementations
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_row_without_a_valid_token_keeps_the_initial_state(cell_type, implementation, bidirectional):
    _, model = make(cell_type, implementation, bidirectional)
    mask = torch.tensor([[0, 0, 0, 0], [1, 1, 1, 1]])
    inputs = torch.randn(2, 4, 5, dtype=torch.double, requires_grad=True)
    outputs = model(inputs_embeds=inputs, attention_mask=mask)
    assert (outputs.last_hidden_state[0] == 0).all()
    assert all((state[:, 0] == 0).all() for state in outputs.cache.to_torch())
    outputs.last_hidden_state.sum().backward()
    assert inputs.grad.isfinite().all()

    if not bidirectional:  # and the state it was given, if it was given one
        cache = model(inputs_embeds=torch.randn(2, 3, 5, dtype=torch.double)).cache
        before = [state.clone() for state in cache.to_torch()]
        model(inputs_embeds=inputs, attention_mask=mask, cache=cache)
        for state, expected in zip(cache.to_torch(), before, strict=True):
            torch.testing.assert_close(state[:, 0], expected[:, 0])


@every_cell
@pytest.mark.parametrize("padded", [False, True])
def test_kernels_are_given_states_in_one_piece(cell_type, padded, monkeypatch):
    """cuDNN refuses others, and a direction's states are every other row of a layer's."""
    model = RecurrentModel(RecurrentConfig(vocab_size=9, hidden_size=4, cell_type=cell_type, bidirectional=True))
    model = model.double()  # which no kernel of ours takes
    cell_class, given = type(model.layers[0].forward_cell), []

    def watch(self, inputs, state, weights):
        given.extend(state)
        return kernel(self, inputs, state, weights)

    kernel = cell_class.kernel
    monkeypatch.setattr(cell_class, "kernel", watch)
    monkeypatch.setattr(cell_class, "forward_packed", None)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 1, 1, 1]]) if padded else None
    model(torch.ones(3, 4, dtype=torch.long), attention_mask=mask)
    assert len(given) == 2 * len(cell_class.states)
    assert all(state.is_contiguous() for state in given)


@both_implementations
def test_no_mask_means_that_pad_ids_are_tokens(implementation):
    config = RecurrentConfig(vocab_size=10, hidden_size=8, pad_token_id=0, recurrence_implementation=implementation)
    model = RecurrentModel(config)
    torch.nn.init.normal_(model.embed_tokens.weight)  # the pad id's too, which starts as zero
    ids = torch.tensor([[0, 3, 0, 4, 0]])
    without = model(ids).last_hidden_state
    torch.testing.assert_close(without, model(ids, attention_mask=torch.ones_like(ids)).last_hidden_state)
    assert (without != 0).any(dim=-1).all()


def test_a_mask_has_a_row_per_text_and_may_begin_before_the_tokens_that_are_read_now():
    embeds = torch.zeros(2, 5, 3)
    for shape in ((2, 4), (3, 5), (2, 5, 1), (5,)):
        with pytest.raises(ValueError, match=re.escape(f"of shape {shape} does not fit 5 tokens in 2 rows")):
            token_mask(torch.ones(shape), embeds)
    mask = torch.arange(14).view(2, 7)
    assert token_mask(mask, embeds).tolist() == [[2, 3, 4, 5, 6], [9, 10, 11, 12, 13]]


@pytest.mark.parametrize("has_kernels", [False, pytest.param(True, marks=needs_bfloat16_kernels)])
@every_cell
def test_both_implementations_under_bf16_autocast_agree(cell_type, has_kernels, monkeypatch):
    monkeypatch.setattr(recurrence, "has_bfloat16_kernels", lambda: has_kernels)
    module = TORCH_CLASSES[cell_type](16, 32, batch_first=True)
    model = RecurrentModel.from_torch(module, vocab_size=20)
    inputs = torch.randn(4, 20, 16)
    mask = torch.ones(4, 20, dtype=torch.long)
    mask[0, 12:] = 0
    exact = model(inputs_embeds=inputs, attention_mask=mask).last_hidden_state
    for implementation in ("eager", "fused"):
        model.set_recurrence_implementation(implementation)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = model(inputs_embeds=inputs, attention_mask=mask)
        torch.testing.assert_close(outputs.last_hidden_state.float(), exact, rtol=0, atol=0.05)
        outputs.last_hidden_state.sum().backward()


@pytest.mark.parametrize("cell_type", CELLS)
def test_states_of_blocks_under_bf16_autocast_are_float32_whichever_way_they_are_computed(cell_type):
    sizes = {"vocab_size": 30, "hidden_size": 16, "embedding_size": 8, "num_hidden_layers": 2}
    model = RecurrentModel(RecurrentConfig(cell_type=cell_type, block="residual", **sizes)).eval()
    ids = torch.randint(30, (3, 20))
    mask = torch.ones_like(ids)
    mask[0, 12:] = 0
    exact = model(ids, attention_mask=mask).cache.to_torch()
    for implementation in ("eager", "fused"):
        model.set_recurrence_implementation(implementation)
        for lengths in ((20,), (19, 1), (1, 19), (1,) * 20):
            cache, end = RecurrentCache(model.config), 0
            for piece in ids.split(lengths, dim=1):
                end += piece.shape[1]
                with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                    outputs = model(piece, attention_mask=mask[:, :end], cache=cache).last_hidden_state
                assert outputs.dtype == torch.bfloat16
                assert {state.dtype for states in cache for state in states} == {torch.float32}
            for state, expected in zip(cache.to_torch(), exact, strict=True):
                torch.testing.assert_close(state, expected, rtol=0.02, atol=0.05)


@every_cell
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weights_with_padding(cell_type, dtype):
    module = TORCH_CLASSES[cell_type](16, 32, batch_first=True)
    model = RecurrentModel.from_torch(module, vocab_size=20)
    inputs, mask = torch.randn(4, 20, 16), torch.ones(4, 20, dtype=torch.long)
    mask[0, 12:] = 0
    exact = model(inputs_embeds=inputs, attention_mask=mask).cache.to_torch()
    half = model.to(dtype)(inputs_embeds=inputs.to(dtype), attention_mask=mask).cache.to_torch()
    for state, expected in zip(half, exact, strict=True):
        torch.testing.assert_close(state.float(), expected, rtol=0, atol=0.05)


@every_cell
@pytest.mark.parametrize("bidirectional", [False, True])
def test_to_torch_gives_the_weights_back(cell_type, bidirectional):
    module, model = make(cell_type, "fused", bidirectional, dropout=0.1)
    back = model.to_torch()
    assert type(back) is type(module)
    for name, parameter in module.named_parameters():
        assert torch.equal(parameter, back.get_parameter(name)), name
    assert (back.bidirectional, back.num_layers, back.dropout) == (bidirectional, 2, 0.1)


def test_from_torch_takes_embeddings_and_missing_biases():
    embeddings, module = nn.Embedding(11, 5, padding_idx=2), nn.GRU(5, 6, bias=False, batch_first=True)
    model = RecurrentModel.from_torch(module, embeddings)
    ids = torch.randint(11, (2, 4))
    torch.testing.assert_close(model(ids).last_hidden_state, module(embeddings(ids))[0])
    assert (model.config.vocab_size, model.config.pad_token_id) == (11, 2)


def test_from_torch_refuses_what_it_cannot_represent():
    with pytest.raises(ValueError, match="proj_size=3"):
        RecurrentModel.from_torch(nn.LSTM(5, 6, proj_size=3))
    with pytest.raises(ValueError, match="7 wide, but the module reads 5"):
        RecurrentModel.from_torch(nn.LSTM(5, 6), nn.Embedding(3, 7))


def test_every_gate_and_state_can_be_observed_in_the_eager_loop():
    model = RecurrentModel(RecurrentConfig(vocab_size=9, hidden_size=4, recurrence_implementation="eager"))
    seen = []
    model.layers[0].forward_cell.register_forward_hook(lambda cell, inputs, output: seen.append(output))
    outputs = model(torch.randint(9, (2, 6)))
    assert len(seen) == 6
    (hidden, cell), gates = seen[3]
    assert torch.equal(hidden, outputs.last_hidden_state[:, 3])
    assert set(gates) == {"input_gate", "forget_gate", "cell_candidate", "output_gate"}
    torch.testing.assert_close(hidden, gates["output_gate"] * cell.tanh())
    (grad,) = torch.autograd.grad(outputs.last_hidden_state[:, 5].sum(), hidden)
    assert grad.abs().sum() > 0


def test_eager_can_be_differentiated_twice():
    _, model = make("lstm", "eager")
    inputs = torch.randn(1, 4, 5, dtype=torch.double, requires_grad=True)
    (grad,) = torch.autograd.grad(model(inputs_embeds=inputs).last_hidden_state.sum(), inputs, create_graph=True)
    grad.pow(2).sum().backward()
    assert inputs.grad.abs().sum() > 0


@pytest.mark.parametrize("target", ["input_proj", "recurrent_proj"])
def test_fused_does_not_pass_over_a_wrapped_projection(target):
    from peft import LoraConfig, get_peft_model

    config = RecurrentConfig(vocab_size=9, hidden_size=4)
    model = get_peft_model(RecurrentModel(config), LoraConfig(target_modules=[target], init_lora_weights=False)).eval()
    ids = torch.randint(9, (2, 6))
    fused = model(ids).last_hidden_state
    with model.disable_adapter():
        assert not torch.allclose(fused, model(ids).last_hidden_state)
    model.base_model.model.set_recurrence_implementation("eager")
    torch.testing.assert_close(fused, model(ids).last_hidden_state)


def with_lora(cell_type, **options):
    """The model twice, with adapters that change what it computes: run fused, and run step by step."""
    from peft import LoraConfig, get_peft_model

    models = []
    for implementation in ("fused", "eager"):
        torch.manual_seed(0)
        _, model = make(cell_type, implementation, bidirectional=True)
        lora = LoraConfig(target_modules=["input_proj", "recurrent_proj"], r=2, init_lora_weights=False, **options)
        models.append(get_peft_model(model, lora).double().train())
    return models


def refuse_to_step(*arguments):
    raise AssertionError("it runs step by step")


@every_cell
@pytest.mark.parametrize("padding", ["none", "middle"])
def test_adapters_run_in_the_kernels_with_outputs_and_gradients_of_the_steps(cell_type, padding, monkeypatch):
    fused, eager = with_lora(cell_type)
    inputs = torch.randn(3, 7, 5, dtype=torch.double, requires_grad=True)
    mask = None if MASKS[padding] is None else torch.tensor(MASKS[padding])
    expected = eager(inputs_embeds=inputs, attention_mask=mask).last_hidden_state
    parameters = [inputs, *(parameter for parameter in eager.parameters() if parameter.requires_grad)]
    weights = torch.randn_like(expected)
    gradients = torch.autograd.grad((expected * weights).sum(), parameters)

    monkeypatch.setattr("seqnlp.models.recurrence.eager_recurrence", refuse_to_step)
    outputs = fused(inputs_embeds=inputs, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(outputs, expected)
    parameters = [inputs, *(parameter for parameter in fused.parameters() if parameter.requires_grad)]
    assert len(parameters) == 1 + 2 * 2 * 2 * 2  # A and B of two maps in two directions of two layers
    found = torch.autograd.grad((outputs * weights).sum(), parameters)
    for ours, theirs in zip(found, gradients, strict=True):
        assert theirs.abs().max() > 1e-3
        torch.testing.assert_close(ours, theirs)
    with fused.disable_adapter():
        assert not torch.allclose(fused(inputs_embeds=inputs, attention_mask=mask).last_hidden_state, expected)


class Bent(nn.Module):
    """A wrapper that is not affine."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.weight, self.bias = inner, inner.weight, inner.bias

    def forward(self, inputs):
        return self.inner(inputs) + self.inner(inputs.tanh())


@pytest.mark.parametrize("why", ["dropout", "hook", "not affine", "half precision", "few tokens"])
def test_what_does_not_fold_runs_step_by_step(why):
    from seqnlp.models.recurrence import fold

    adapted, _ = with_lora("lstm", lora_dropout=0.5 if why == "dropout" else 0.0)
    cell = adapted.base_model.model.layers[0].forward_cell
    inputs = torch.randn(2, 1 if why == "few tokens" else 4, 5, dtype=torch.double)
    if why == "hook":
        cell.recurrent_proj.register_forward_hook(lambda *arguments: None)
    if why == "not affine":
        cell.recurrent_proj = Bent(cell.recurrent_proj)
    if why == "half precision":
        cell, inputs = cell.bfloat16(), inputs.bfloat16()
    assert fold(cell, inputs) is None
    if why == "dropout":
        assert fold(cell.eval(), inputs) is not None


class Int8Weight(torch.Tensor):
    """A weight as quantization leaves it in an untouched `nn.Linear`: whole numbers that say they are float32."""

    @staticmethod
    def __new__(cls, weight):
        return torch.Tensor._make_wrapper_subclass(cls, weight.shape, dtype=weight.dtype)

    def __init__(self, weight):
        self.scale = weight.abs().amax() / 127
        self.whole = (weight / self.scale).round().to(torch.int8)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.detach.default:
            return args[0]
        args = [arg.whole * arg.scale if isinstance(arg, cls) else arg for arg in args]
        return func(*args, **(kwargs or {}))


@every_cell
def test_quantized_weights_are_run_as_they_are(cell_type):
    model = RecurrentModel(RecurrentConfig(vocab_size=9, hidden_size=4, cell_type=cell_type)).eval()
    rounded = RecurrentModel(model.config).eval()
    rounded.load_state_dict(model.state_dict())
    for ours, theirs in zip(model.layers[0].forward_cell.maps, rounded.layers[0].forward_cell.maps, strict=True):
        quantized = Int8Weight(ours.weight.detach())
        ours.weight = torch.nn.Parameter(quantized, requires_grad=False)
        assert type(ours.weight) is Int8Weight
        theirs.weight.data = quantized.whole * quantized.scale
    assert not model.layers[0].forward_cell.is_plain
    ids = torch.randint(9, (2, 6))
    with torch.no_grad():
        torch.testing.assert_close(model(ids).last_hidden_state, rounded(ids).last_hidden_state)


@every_cell
def test_a_recording_cache_goes_back_to_the_state_before_the_last_tokens(cell_type, monkeypatch):
    monkeypatch.setattr(recurrent_cache, "ROLL_BACK", 64)
    model = RecurrentModel(RecurrentConfig(vocab_size=9, hidden_size=4, cell_type=cell_type, num_hidden_layers=2))
    ids = torch.randint(9, (2, 90))
    mask = torch.ones_like(ids)
    mask[0, :30] = mask[1, 85:] = 0
    cache = RecurrentCache(model.config)
    cache.activate_past_recording()
    with torch.no_grad():
        whole = model(ids, attention_mask=mask, cache=cache)
        torch.testing.assert_close(whole.last_hidden_state, model(ids, attention_mask=mask).last_hidden_state)
        for removed, length in ((7, 83), (0, 83), (57, 26)):
            cache.crop(-removed)
            shortened = model(ids[:, :length], attention_mask=mask[:, :length], use_cache=True).cache
            assert cache.get_seq_length() == length
            for ours, theirs in zip(cache.to_torch(), shortened.to_torch(), strict=True):
                torch.testing.assert_close(ours, theirs)
        with pytest.raises(ValueError, match="can be taken back by 0 tokens, not by 1"):
            cache.crop(-1)
        cache.batch_select_indices(torch.tensor([1]))
        model(ids[1:, 26:29], attention_mask=mask[1:, :29], cache=cache)
        cache.crop(-3)
        torch.testing.assert_close(cache.to_torch()[0], shortened.to_torch()[0][:, 1:])
        cache.reset()
        assert cache.is_croppable
        assert cache.get_seq_length() == 0


@every_cell
def test_rows_that_change_places_take_their_earlier_states_with_them(cell_type):
    model = RecurrentModel(RecurrentConfig(vocab_size=9, hidden_size=4, cell_type=cell_type, num_hidden_layers=2))
    ids, cache = torch.randint(9, (2, 8)), RecurrentCache(model.config)
    cache.activate_past_recording()
    with torch.no_grad():
        model(ids[:, :5], cache=cache)
        cache.reorder_cache(torch.tensor([1, 0]))
        model(ids[[1, 0], 5:], cache=cache)
        cache.crop(-4)  # to before the rows changed places
        shortened = model(ids[[1, 0], :4], use_cache=True).cache
    for ours, theirs in zip(cache.to_torch(), shortened.to_torch(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("cell_type", CELLS)
def test_no_rows_have_no_outputs(cell_type):
    model = RecurrentModel(RecurrentConfig(vocab_size=9, hidden_size=4, cell_type=cell_type))
    assert model(torch.zeros(0, 5, dtype=torch.long)).last_hidden_state.shape == (0, 5, 4)


def test_a_net_that_reads_both_ways_reads_a_text_at_once_though_states_are_recorded():
    model = RecurrentModel(RecurrentConfig(vocab_size=9, hidden_size=4, bidirectional=True)).eval()
    ids, cache = torch.randint(9, (2, 7)), RecurrentCache(model.config)
    cache.activate_past_recording()
    with torch.no_grad():
        outputs = model(ids, cache=cache).last_hidden_state
        torch.testing.assert_close(outputs, model(ids, use_cache=False).last_hidden_state)
    with pytest.raises(ValueError, match="can be taken back by 0 tokens, not by 1"):
        cache.crop(-1)


def test_a_static_cache_cannot_record():
    with pytest.raises(ValueError, match="keeps one state alone"):
        StaticRecurrentCache(RecurrentConfig(vocab_size=9, hidden_size=4)).activate_past_recording()


def test_cache_repeats_selects_resets_and_refuses_to_crop():
    model = RecurrentModel(RecurrentConfig(vocab_size=9, hidden_size=4))
    cache = model(torch.randint(9, (3, 5))).cache
    hidden = cache.to_torch()[0].clone()
    cache.batch_repeat_interleave(2)
    assert torch.equal(cache.to_torch()[0], hidden.repeat_interleave(2, dim=1))
    cache.batch_select_indices(torch.tensor([0, 2, 4]))
    cache.reorder_cache(torch.tensor([2, 0, 1]))
    assert torch.equal(cache.to_torch()[0], hidden[:, [2, 0, 1]])
    with pytest.raises(ValueError, match="can be taken back by 0 tokens, not by 2"):
        cache.crop(-2)
    assert not cache.is_croppable
    cache.reset()
    assert cache.get_seq_length() == 0
    ids = torch.randint(9, (3, 5))
    torch.testing.assert_close(model(ids, cache=cache).last_hidden_state, model(ids).last_hidden_state)


def test_state_carries_gradients_until_it_is_detached():
    model = RecurrentModel(RecurrentConfig(vocab_size=9, hidden_size=4)).train()
    first = torch.randn(2, 3, 4, requires_grad=True)
    cache = RecurrentCache(model.config)
    model(inputs_embeds=first, cache=cache)
    model(inputs_embeds=torch.randn(2, 3, 4), cache=cache).last_hidden_state.sum().backward()
    assert first.grad.abs().sum() > 0
    cache = RecurrentCache(model.config)
    model(inputs_embeds=first, cache=cache)
    assert not any(state.requires_grad for state in cache.detach_().to_torch())


def test_padding_is_moved_between_devices_as_accelerate_moves_tensors():
    padding = Padding.from_mask(torch.tensor(MASKS["left"]), num_directions=2)
    moved = send_to_device(padding, "meta", skip_keys=["cache"])
    assert moved.mask.is_meta
    assert moved.lengths.is_meta
    assert all(order is None or all(part.is_meta for part in order) for order in moved.orders)
