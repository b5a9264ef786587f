"""The ways to run any cell over time: step by step, fused, all steps at once, or as one operator of an exported graph.

Each has the contract of [`eager_recurrence`]. Shapes: `B` rows, `T` time steps, `D` input width, `H` hidden width.
"""

import copy
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn
from torch._higher_order_ops.scan import scan
from transformers.utils import logging

from .backpropagation_through_time import BackpropagationThroughTime, Packing
from .cells import LinearCell, RecurrentCell, State
from .processor import has_bfloat16_kernels, has_tiles
from .projections import autocast_dtype


logger = logging.get_logger(__name__)

# How many numbers of states are computed at once on a CPU: tensors of more than 32 MB are mapped into memory anew each
# time, which costs more than what is computed in them. From 2^17 to 2^20 it makes no difference.
WINDOW_SIZE = 2**19


@dataclass(frozen=True)
class Padding:
    """
    Where a batch has padding, and the order in which each direction reads it.

    Attributes:
        mask: `(B, T)` bool, true at valid tokens.
        lengths: `(B,)`, the number of valid tokens of each row.
        orders: For each direction the `(B, T)` positions in reading order, valid tokens first, and the permutation
            that undoes it; `None` where that is the order they stand in.
    """

    mask: torch.Tensor
    lengths: torch.Tensor
    orders: tuple[tuple[torch.Tensor, torch.Tensor] | None, ...]

    @classmethod
    def from_mask(cls, mask: torch.Tensor | None, num_directions: int) -> "Padding | None":
        """Read a `(B, T)` mask, nonzero at valid tokens; `None` where nothing is padding."""
        # Looking at the values waits for the device, and a traced graph cannot branch on them: it takes the general
        # road.
        may_look = not torch.compiler.is_compiling()
        if mask is None or (may_look and bool(mask.all())):
            return None
        mask = mask.bool()
        length = mask.shape[1]
        positions = torch.arange(length, device=mask.device)
        orders = []
        for direction in (positions, positions.flip(0))[:num_directions]:
            order = torch.where(mask, direction, direction + length).argsort(dim=1)  # (B, T)
            in_order = may_look and bool((order == positions).all())
            orders.append(None if in_order else (order, order.argsort(dim=1)))
        return cls(mask, mask.sum(dim=1), tuple(orders))

    @cached_property
    def packings(self) -> tuple[Packing, ...]:
        """For each direction the order of the tokens without padding, shared by all layers."""
        positions = torch.arange(self.mask.shape[1], device=self.mask.device).expand(self.mask.shape)
        return tuple(
            Packing.of_lengths(positions if order is None else order[0], self.lengths) for order in self.orders
        )

    def to(self, *args, **kwargs) -> "Padding":
        """As a tensor's `to`: accelerate moves what it hands to a layer on another device, if it has this method."""
        orders = [None if order is None else tuple(o.to(*args, **kwargs) for o in order) for order in self.orders]
        return Padding(self.mask.to(*args, **kwargs), self.lengths.to(*args, **kwargs), tuple(orders))


def token_mask(
    attention_mask, inputs_embeds: torch.Tensor, num_read: int | torch.Tensor | None = None
) -> torch.Tensor | None:
    """
    The `(B, T)` mask of the tokens read now, of one that may be longer by the tokens read before; `None` for none.

    Args:
        attention_mask: `(B, T)` to `(B, num_read + T)`, 0 at padding.
        inputs_embeds: `(B, T, size)`.
        num_read: How many tokens were read before; `None` where nobody has counted.

    Raises:
        ValueError: If the mask does not fit the embeddings.
    """
    if isinstance(attention_mask, dict):  # from generation with a compiled cache: a mask for each layer type
        attention_mask = attention_mask["linear_attention"]
    if attention_mask is None:
        return None
    batch_size, num_tokens = inputs_embeds.shape[:2]
    num_before = attention_mask.shape[-1] - num_tokens
    fits = attention_mask.dim() == 2 and attention_mask.shape[0] == batch_size and num_before >= 0
    if fits and num_read is not None and not torch.compiler.is_compiling() and num_before > 0:
        fits = bool(num_before <= num_read)
    if not fits:
        raise ValueError(
            f"attention_mask of shape {tuple(attention_mask.shape)} does not fit {num_tokens} tokens in "
            f"{batch_size} rows: it must be (batch_size, sequence_length), longer at most by the tokens read before, "
            "0 at padding."
        )
    return attention_mask[:, -num_tokens:]


def refuse_packed_texts(position_ids: torch.Tensor | None, mask: torch.Tensor | None) -> None:
    """
    Positions that begin anew within a row say that several texts share it, and a recurrence would read them as one.

    Args:
        position_ids: `(B, T)` or `(1, T)`, if any are given.
        mask: `(B, T)`, 0 at padding, whose positions say nothing; `None` for none.

    Raises:
        ValueError: If they do.
    """
    if position_ids is None or torch.compiler.is_compiling():
        return
    begins = position_ids[:, 1:] <= position_ids[:, :-1]
    if mask is not None:
        begins = begins & mask[:, 1:].bool() & mask[:, :-1].bool()
    if begins.any():
        row, token = begins.nonzero()[0].tolist()
        raise ValueError(
            f"position_ids begin anew at token {token + 1} of row {row}: a recurrent network reads all of a row as "
            "one text. Give each text a row of its own, with padding behind it, as DataCollatorWithPadding does."
        )


def eager_recurrence(
    cell: RecurrentCell,
    inputs: torch.Tensor,
    state: State,
    padding: Padding | None = None,
    reverse: bool = False,
    return_state: bool = True,
) -> tuple[torch.Tensor, State | None]:
    """
    Run a cell over time in a loop; padding leaves the state as it is.

    Args:
        cell: Any [`RecurrentCell`].
        inputs: `(B, T, D)`.
        state: The state before the first step.
        padding: Which tokens are padding, or `None`.
        reverse: Whether to read each row from its end.
        return_state: Whether the final state is wanted; without it the fused implementation saves work.

    Returns:
        The cell's output at each token, `(B, T, H)`, zero at padding; and the state after the last valid token of each
        row.
    """
    projected = cell.input_proj(inputs)  # (B, T, gates * H)
    steps = range(inputs.shape[1])
    outputs = [None] * len(steps)
    for step in reversed(steps) if reverse else steps:
        new_state, _ = cell(projected[:, step], state)
        if padding is not None:
            valid = padding.mask[:, step, None]
            new_state = tuple(torch.where(valid, new, old) for new, old in zip(new_state, state, strict=True))
        state = new_state
        outputs[step] = cell.output(state[0])
    # A generated token is one step: there is nothing to copy.
    outputs = torch.stack(outputs, dim=1) if len(outputs) > 1 else outputs[0].unsqueeze(1)  # (B, T, H)
    if padding is not None:
        outputs = outputs.masked_fill(~padding.mask.unsqueeze(-1), 0)
    return outputs, state if return_state else None


def fused_recurrence(
    cell: RecurrentCell,
    inputs: torch.Tensor,
    state: State,
    padding: Padding | None = None,
    reverse: bool = False,
    return_state: bool = True,
) -> tuple[torch.Tensor, State | None]:
    """
    Run a cell over time in the fastest way that gives what [`eager_recurrence`] gives, and gradients once: in torch's
    kernel (cuDNN on CUDA, oneDNN for the LSTM on CPU) or, on CPU, by [`BackpropagationThroughTime`]. A [`LinearCell`]
    is run by [`linear_recurrence`]; any other cell that has neither, step by step.

    The kernels know nothing of padding (a PackedSequence does, but loses the fused CPU kernel). So each row's valid
    tokens are first moved to its start in reading order, the kernel runs over the whole rectangle, and what it
    computed at the padding behind them is dropped.
    """
    length = inputs.shape[1]
    if torch.compiler.is_exporting() and not (isinstance(length, int) and length == 1):  # an open number may be one
        return scan_recurrence(cell, inputs, state, padding, reverse, return_state)
    if length == 1:  # nothing to fuse, and unlike the kernels a cell can be traced into one graph
        return eager_recurrence(cell, inputs, state, padding, reverse, return_state)
    has_a_fast_way = cell.kernel is not None or cell.forward_packed is not None
    if has_a_fast_way and not cell.is_plain:
        return _run_wrapped(cell, inputs, state, padding, reverse, return_state)
    return _run_fused(cell, inputs, state, padding, reverse, return_state)


@torch.compiler.disable  # whether maps fold is read off their values
def _run_wrapped(cell, inputs, state, padding, reverse, return_state):
    folded = fold(cell, inputs)
    if folded is not None:
        return _run_fused(folded, inputs, state, padding, reverse, return_state)
    logger.warning_once(
        "The projections of a recurrent cell are wrapped, hooked or offloaded (LoRA with dropout, quantization, "
        "device_map, ...) such that the fused recurrence cannot see what they compute: such cells run by "
        "recurrence_implementation='eager'."
    )
    return eager_recurrence(cell, inputs, state, padding, reverse, return_state)


class FoldedProjection(nn.Module):
    """A map as the weight and bias that some module computes with."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor):
        super().__init__()
        self.weight, self.bias = weight, bias

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(inputs, self.weight, self.bias)


def fold(cell: RecurrentCell, inputs: torch.Tensor) -> RecurrentCell | None:
    """
    The same cell with plain maps for wrapped ones that are affine: `W + s B A` for a LoRA (Hu et al. 2021, arXiv
    2106.09685, section 4.1), through which gradients flow to `A` and `B`.

    What a map computes is asked of the map itself: its bias is what it makes of zeros, its weight what it makes of the
    unit vectors. That costs as much as reading `H` tokens.

    Args:
        cell: Its maps may be wrapped by anything.
        inputs: `(B, T, D)`, what it is to read.

    Returns:
        `None` where that would cost more than the steps, where a map is hooked, drops out or is not affine, and in
        half precision, in which a sum of weights is rounded otherwise than a sum of products.
    """
    num_tokens = inputs.shape[0] * inputs.shape[1]
    is_exact = inputs.dtype in (torch.float32, torch.float64) and autocast_dtype(inputs.device) is None
    if num_tokens < cell.hidden_size or not is_exact:
        return None
    folded = copy.copy(cell)
    folded._modules = {"recurrent_proj": None}
    names = ["input_proj"] if cell.recurrent_proj is None else ["input_proj", "recurrent_proj"]
    for name, size in zip(names, (cell.input_size, cell.hidden_size), strict=False):
        projection = _fold_map(getattr(cell, name), size, inputs)
        if projection is None:
            return None
        folded._modules[name] = projection
    return folded


def _fold_map(module: nn.Module, size: int, like: torch.Tensor) -> FoldedProjection | None:
    for part in module.modules():
        drops = isinstance(part, nn.Dropout) and part.training and part.p > 0
        if drops or part._forward_hooks or part._forward_pre_hooks or part._backward_hooks:
            return None
    bias = module(like.new_zeros(1, size)).squeeze(0)
    weight = (module(torch.eye(size, dtype=like.dtype, device=like.device)) - bias).t().contiguous()
    folded = FoldedProjection(weight, bias)
    with torch.no_grad():
        probe = torch.linspace(-1, 1, size, dtype=like.dtype, device=like.device).unsqueeze(0)
        found, expected = folded(probe), module(probe)
        if not torch.allclose(found, expected, rtol=1e-4, atol=1e-5 * max(1.0, float(expected.abs().max()))):
            return None
    return folded


@torch.compiler.disable  # traced, a loop over time falls apart into a block of operations per step: minutes to compile
def _run_fused(cell, inputs, state, padding, reverse, return_state):
    if isinstance(cell, LinearCell):
        run = linear_recurrence
    elif _runs_packed(cell, inputs, padding):
        run = _run_packed
    else:
        run = eager_recurrence if cell.kernel is None else _run_kernel
    return run(cell, inputs, state, padding, reverse, return_state)


def _runs_packed(cell: RecurrentCell, inputs: torch.Tensor, padding: Padding | None) -> bool:
    """
    Whether the cell can run packed, and skipping the padding saves more than torch's kernel gains at the rest, or this
    processor has no such kernel: under autocast there is an error then, and else torch's own loop rounds every state.
    """
    dtype = cell.input_proj.weight.dtype
    is_on_cpu = inputs.device.type == "cpu" and dtype in (torch.float32, torch.float64, torch.bfloat16)
    if cell.forward_packed is None or not is_on_cpu:
        return False
    is_narrow = _product_dtype(dtype) == torch.bfloat16
    if cell.kernel is None or (is_narrow and not has_bfloat16_kernels()):
        return True
    num_padding = 0 if padding is None else padding.mask.numel() - int(padding.lengths.sum())
    saved = num_padding / inputs.shape[1] * cell.hidden_size * (cell.input_size + cell.hidden_size)
    in_tiles = has_tiles() and is_narrow
    return saved >= (cell.worth_packing_in_tiles if in_tiles else cell.worth_packing)[torch.is_grad_enabled()]


def _product_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type in which weights of `dtype` are multiplied on a CPU: autocast's, where it is on."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") and dtype == torch.float32 else dtype


def _run_packed(cell, inputs, state, padding, reverse, return_state):
    if padding is None:
        batch_size, length = inputs.shape[:2]
        order = torch.arange(length).flip(0) if reverse else torch.arange(length)
        packing = Packing.of_lengths(order.expand(batch_size, -1), torch.full((batch_size,), length))
    else:
        packing = padding.packings[int(reverse)]
    weights = cell.torch_weights()
    dtype = _product_dtype(weights[0].dtype)
    tensors = [tensor.to(dtype) for tensor in (inputs, *weights)]  # what autocast does for the maps it knows of
    with torch.autocast("cpu", enabled=False):
        outputs, *final_state = BackpropagationThroughTime.apply(cell, packing, *tensors, *state)
    return outputs, tuple(tensor.to(weights[0].dtype) for tensor in final_state) if return_state else None


def _run_kernel(cell, inputs, state, padding, reverse, return_state):
    state = tuple(tensor.contiguous() for tensor in state)  # cuDNN takes no part of a larger tensor
    if padding is None:
        outputs, state = cell.kernel(inputs.flip(1) if reverse else inputs, state, cell.torch_weights())
        return outputs.flip(1) if reverse else outputs, state

    order = padding.orders[int(reverse)]
    if order is not None:
        inputs = inputs.gather(1, order[0].unsqueeze(-1).expand_as(inputs))
    weights = cell.torch_weights()
    if return_state:
        positions = torch.arange(inputs.shape[1], device=inputs.device)
        inputs, weights = cell.hold_at_padding(inputs, positions >= padding.lengths.unsqueeze(1))
    outputs, (_, *others) = cell.kernel(inputs, state, weights)

    final_state = None
    if return_state:
        last = (padding.lengths - 1).clamp(min=0).view(-1, 1, 1).expand(-1, 1, outputs.shape[-1])
        is_empty = (padding.lengths == 0).unsqueeze(1)
        final_state = (torch.where(is_empty, state[0], outputs.gather(1, last).squeeze(1)), *others)
    if order is not None:
        outputs = outputs.gather(1, order[1].unsqueeze(-1).expand_as(outputs))
    return outputs.masked_fill(~padding.mask.unsqueeze(-1), 0), final_state


def linear_recurrence(
    cell: LinearCell,
    inputs: torch.Tensor,
    state: State,
    padding: Padding | None = None,
    reverse: bool = False,
    return_state: bool = True,
) -> tuple[torch.Tensor, State | None]:
    """
    Run a cell that is linear in its state over all steps at once, by [`LinearScan`]. Same contract as
    [`eager_recurrence`], second derivatives included. The state accumulates in float32 at least, whatever its type.
    """
    (hidden,), length = state, inputs.shape[1]
    window = length
    if inputs.device.type == "cpu":
        window = max(1, WINDOW_SIZE // max(1, inputs.shape[0] * cell.hidden_size))
    windows = inputs.split(window, dim=1)
    outputs = [None] * len(windows)
    for index in reversed(range(len(outputs))) if reverse else range(len(outputs)):
        here = slice(index * window, (index + 1) * window)
        decay, update, _ = cell.coefficients(cell.input_proj(windows[index]))
        if padding is not None:
            is_padding = ~padding.mask[:, here].unsqueeze(-1)
            decay, update = decay.masked_fill(is_padding, 1), update.masked_fill(is_padding, 0)
        states = LinearScan.apply(decay, update, hidden.to(decay.dtype), reverse)
        hidden = states[:, 0 if reverse else -1]  # padding has left it as it was
        outputs[index] = cell.output(states if padding is None else states.masked_fill(is_padding, 0))
    outputs = torch.cat(outputs, dim=1) if len(outputs) > 1 else outputs[0]
    dtype = state[0].dtype
    return outputs.to(dtype), (hidden.to(dtype),) if return_state else None


class LinearScan(torch.autograd.Function):
    """
    `h_t = a_t * h_{t-1} + u_t` over all steps: `apply(a, u, h_0, reverse)` takes `(B, T, H)`, `(B, T, H)` and `(B, H)`
    and gives the `(B, T, H)` states; with `reverse`, `h_{t+1}` stands for `h_{t-1}`.

    The steps are divided into short parts, which are run beside each other from a state of zero; then the state is
    carried from part to part, which is such a scan again, of the parts' decays and last states. That takes about three
    times the multiplications in some `2 P log_P(T)` operations instead of `T`, where `P` is the length of a part, and
    is exact for any decay and any state. Other ways, measured on CPU: the scan in log space of Feng et al. 2024
    (appendix B) takes positive states alone, loses three digits by 4,096 steps and is at least 20 times as slow;
    doubling the distance that a step looks back (Hillis & Steele 1986) is at least 7 times as slow.
    """

    @staticmethod
    def forward(ctx, decay, update, initial, reverse):
        states = _scan(decay, update, initial, reverse)
        ctx.save_for_backward(decay, initial, states)
        ctx.reverse = reverse
        return states

    @staticmethod
    def backward(ctx, d_states):
        """The gradient by a state is linear in that by the next one: `dh_t = d_t + a_{t+1} * dh_{t+1}`."""
        decay, initial, states = ctx.saved_tensors
        first = -1 if ctx.reverse else 0
        after = _moved(decay, torch.zeros_like(initial), not ctx.reverse)
        d_update = LinearScan.apply(after, d_states, torch.zeros_like(initial), not ctx.reverse)
        d_decay = d_update * _moved(states, initial, ctx.reverse)
        return d_decay, d_update, decay[:, first] * d_update[:, first], None


def _moved(values: torch.Tensor, first: torch.Tensor, reverse: bool) -> torch.Tensor:
    """For each step what the step before it has, in the order of reading; `first` for the first one."""
    first = first.unsqueeze(1)
    return torch.cat([values[:, 1:], first] if reverse else [first, values[:, :-1]], dim=1)


def _scan(decay, update, initial, reverse):
    batch_size, length, size = decay.shape
    is_on_cpu = decay.device.type == "cpu"
    # On a CPU a step of that many numbers takes longer than to start an operation. On a card each operation costs the
    # same for few numbers and for many, so there are shorter parts, and fewer operations.
    is_large = is_on_cpu and batch_size * size >= 2048
    part = 16 if is_on_cpu else 8
    if is_large or length <= 2 * part:
        return _scan_steps(decay, update, initial, reverse)

    num_parts = -(-length // part)
    missing = num_parts * part - length
    if missing:  # steps that leave the state as it is
        decay = torch.nn.functional.pad(decay, (0, 0, 0, missing), value=1.0)
        update = torch.nn.functional.pad(update, (0, 0, 0, missing))
    decay, update = decay.unflatten(1, (num_parts, part)), update.unflatten(1, (num_parts, part))
    zeros = torch.zeros_like(decay[:, :, 0])  # (B, parts, H)
    states = _scan_steps(decay, update, zeros, reverse)  # each part from zero
    decays = _scan_steps(decay, zeros.unsqueeze(2).expand_as(decay), torch.ones_like(zeros), reverse)
    last = 0 if reverse else -1
    carried = _scan(decays[:, :, last], states[:, :, last], initial, reverse)  # the state after each part
    states.addcmul_(decays, _moved(carried, initial, reverse).unsqueeze(2))
    return states.flatten(1, 2)[:, :length]


def _scan_steps(decay, update, state, reverse):
    """One step after the other along the last dimension but one."""
    states = torch.empty_like(decay, memory_format=torch.contiguous_format)
    steps = list(zip(decay.unbind(-2), update.unbind(-2), states.unbind(-2), strict=True))
    for decay_t, update_t, state_t in reversed(steps) if reverse else steps:
        state = torch.addcmul(update_t, decay_t, state, out=state_t)
    return states


def scan_recurrence(
    cell: RecurrentCell,
    inputs: torch.Tensor,
    state: State,
    padding: Padding | None = None,
    reverse: bool = False,
    return_state: bool = True,
) -> tuple[torch.Tensor, State | None]:
    """
    Run a cell over time as one operator of a traced graph, for any number of steps: what `torch.export` and ONNX (as
    `Scan`) take. Same contract as [`eager_recurrence`].
    """
    # Not views: a second layer's scan is compared with the first's, which fails on the base of a view.
    projected = cell.input_proj(inputs).transpose(0, 1).contiguous()  # (T, B, gates * H)
    valid = projected.new_ones(projected.shape[:2], dtype=torch.bool) if padding is None else padding.mask.t()
    valid = valid.contiguous()
    if reverse:
        projected, valid = projected.flip(0), valid.flip(0)

    def step(state: State, inputs: tuple[torch.Tensor, torch.Tensor]) -> tuple[State, torch.Tensor]:
        projected, valid = inputs[0], inputs[1].unsqueeze(-1)
        new_state, _ = cell(projected, state)
        state = tuple(torch.where(valid, new, old) for new, old in zip(new_state, state, strict=True))
        # A product, since what is carried and what is given out must not be one tensor.
        return state, cell.output(state[0]) * valid

    state = tuple(tensor.clone(memory_format=torch.contiguous_format) for tensor in state)  # as the steps leave it
    state, outputs = scan(step, state, (projected, valid))
    outputs = outputs.flip(0) if reverse else outputs
    return outputs.transpose(0, 1), state if return_state else None


RECURRENCE_FUNCTIONS = {"eager": eager_recurrence, "fused": fused_recurrence}
