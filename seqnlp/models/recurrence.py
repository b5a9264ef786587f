"""The recurrent cells, written from their equations, and the two ways to run one over time.

A cell's parameters are laid out as in `torch.nn.RNN`, `GRU` and `LSTM`: one matrix `W` for the input, one matrix `U`
for the hidden state and a bias for each, the gates stacked along the first dimension in torch's order.

Shapes: `B` rows, `T` time steps, `D` input width, `H` hidden width. A state is a tuple of tensors of shape `(B, H)`:
the hidden state and, for the LSTM, the cell.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn
from torch._higher_order_ops.scan import scan
from transformers.utils import logging

from .recurrence_functions import (
    BackpropagationThroughTime,
    ElmanSteps,
    GRUSteps,
    LSTMSteps,
    Packing,
    ReluElmanSteps,
)


logger = logging.get_logger(__name__)

State = tuple[torch.Tensor, ...]


class GateProjection(nn.Linear):
    """
    The affine maps from a vector to every gate of a cell, stacked into one, in the order of `gates`.

    Args:
        input_size: Width of the vector.
        hidden_size: Width of a gate.
        gates: Names of the gates.
        is_recurrent: Whether the vector is the hidden state, whose map starts differently.
    """

    def __init__(self, input_size: int, hidden_size: int, gates: tuple[str, ...], is_recurrent: bool):
        super().__init__(input_size, len(gates) * hidden_size)
        self.hidden_size = hidden_size
        self.gates = gates
        self.is_recurrent = is_recurrent


class RecurrentCell(nn.Module):
    """What the cells share: the map from the input and the map from the hidden state, each with its bias."""

    gates: tuple[str, ...] = ()
    """Names of the stacked blocks of `input_proj` and `recurrent_proj`, in order."""

    num_states = 1
    """Number of tensors in the state."""

    worth_packing = {False: 2.5e5, True: 0.0}
    """
    Without and with gradients: from how many multiplications saved, by step and gate, the packed loop over time is
    faster on CPU than torch's. Measured on one AVX-512 core, widths 64 to 512, a third to all of a batch valid.
    """

    def __init__(self, input_size: int, hidden_size: int, hidden_act: str = "tanh"):
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.hidden_act = hidden_act
        self.input_proj = GateProjection(input_size, hidden_size, self.gates, is_recurrent=False)
        self.recurrent_proj = GateProjection(hidden_size, hidden_size, self.gates, is_recurrent=True)

    def forward(self, projected_input: torch.Tensor, state: State) -> tuple[State, dict[str, torch.Tensor]]:
        """
        One time step.

        Args:
            projected_input: `input_proj` of this step's input, of shape `(B, len(gates) * H)`.
            state: The state before the step.

        Returns:
            The state after the step, and every gate by its name, each of shape `(B, H)`.
        """
        raise NotImplementedError

    def torch_weights(self) -> list[torch.Tensor]:
        """The parameters in the order of torch's recurrent kernels: `W`, `U`, bias of `W`, bias of `U`."""
        return [self.input_proj.weight, self.recurrent_proj.weight, self.input_proj.bias, self.recurrent_proj.bias]

    def kernel(self, inputs: torch.Tensor, state: State, weights: list[torch.Tensor]) -> tuple[torch.Tensor, State]:
        """
        Run the cell over `(B, T, D)` inputs in torch's kernel; gives the `(B, T, H)` outputs and the final state.
        """
        raise NotImplementedError

    @property
    def steps(self) -> type:
        """The cell's equations and derivatives over all time steps, for [`BackpropagationThroughTime`]."""
        raise NotImplementedError

    @property
    def is_plain(self) -> bool:
        """Whether the maps are what their weights say: not wrapped (LoRA), quantized, parametrised, hooked, offloaded.

        A kernel that reads the weights would silently skip what such a wrapper adds, and offloaded weights are there
        during a call of their map alone.
        """
        return all(
            type(module) is GateProjection
            and not module._forward_hooks
            and not module._forward_pre_hooks
            and not module.weight.is_meta
            for module in (self.input_proj, self.recurrent_proj)
        )


class ElmanCell(RecurrentCell):
    """The simple recurrent net: `h' = tanh(W x + U h + b)`.

    Elman 1990, "Finding Structure in Time", figure 2; with ReLU instead of tanh, Le et al. 2015 (arXiv 1504.00941),
    section 3.
    """

    gates = ("hidden_candidate",)

    def forward(self, projected_input, state):
        (hidden,) = state
        activation = torch.tanh if self.hidden_act == "tanh" else torch.relu

        hidden = activation(projected_input + self.recurrent_proj(hidden))

        return (hidden,), {}

    def kernel(self, inputs, state, weights):
        run = torch.rnn_tanh if self.hidden_act == "tanh" else torch.rnn_relu
        outputs, hidden = run(inputs, state[0].unsqueeze(0), weights, *_kernel_flags())
        return outputs, (hidden.squeeze(0),)

    @property
    def steps(self):
        return ElmanSteps if self.hidden_act == "tanh" else ReluElmanSteps


class GRUCell(RecurrentCell):
    """The gated recurrent unit.

    Cho et al. 2014 (arXiv 1406.1078), section 2.3, equations 5 to 8. One departure, that of cuDNN and `torch.nn.GRU`:
    the reset gate multiplies `U h`, not `h` (equation 8), so that one product with `U` serves all three gates; and
    the candidate has a second bias inside that product. The update gate keeps the old state, as in the paper.
    """

    gates = ("reset_gate", "update_gate", "hidden_candidate")
    steps = GRUSteps

    def forward(self, projected_input, state):
        (hidden,) = state
        from_input = projected_input.chunk(3, dim=-1)  # three of (B, H)
        from_hidden = self.recurrent_proj(hidden).chunk(3, dim=-1)  # three of (B, H)

        reset_gate = torch.sigmoid(from_input[0] + from_hidden[0])
        update_gate = torch.sigmoid(from_input[1] + from_hidden[1])
        hidden_candidate = torch.tanh(from_input[2] + reset_gate * from_hidden[2])
        hidden = update_gate * hidden + (1 - update_gate) * hidden_candidate

        gates = {"reset_gate": reset_gate, "update_gate": update_gate, "hidden_candidate": hidden_candidate}
        return (hidden,), gates

    def kernel(self, inputs, state, weights):
        outputs, hidden = torch.gru(inputs, state[0].unsqueeze(0), weights, *_kernel_flags())
        return outputs, (hidden.squeeze(0),)


class LSTMCell(RecurrentCell):
    """Long short-term memory with input, forget and output gate, without peepholes.

    Hochreiter & Schmidhuber 1997 with the forget gate of Gers, Schmidhuber & Cummins 2000 (equations in section 2); in
    today's notation Graves 2013 (arXiv 1308.0850), equations 7 to 11, less the peepholes.
    """

    gates = ("input_gate", "forget_gate", "cell_candidate", "output_gate")
    num_states = 2
    steps = LSTMSteps
    worth_packing = {False: 2.5e6, True: 1.2e6}  # oneDNN's kernel is what it has to beat

    def forward(self, projected_input, state):
        hidden, cell = state
        from_input = projected_input.chunk(4, dim=-1)  # four of (B, H)
        from_hidden = self.recurrent_proj(hidden).chunk(4, dim=-1)  # four of (B, H)

        input_gate = torch.sigmoid(from_input[0] + from_hidden[0])
        forget_gate = torch.sigmoid(from_input[1] + from_hidden[1])
        cell_candidate = torch.tanh(from_input[2] + from_hidden[2])
        output_gate = torch.sigmoid(from_input[3] + from_hidden[3])
        cell = forget_gate * cell + input_gate * cell_candidate
        hidden = output_gate * torch.tanh(cell)

        gates = {
            "input_gate": input_gate,
            "forget_gate": forget_gate,
            "cell_candidate": cell_candidate,
            "output_gate": output_gate,
        }
        return (hidden, cell), gates

    def kernel(self, inputs, state, weights):
        outputs, hidden, cell = torch.lstm(inputs, [s.unsqueeze(0) for s in state], weights, *_kernel_flags())
        return outputs, (hidden.squeeze(0), cell.squeeze(0))

    def hold_cell_at_padding(
        self, inputs: torch.Tensor, padding_mask: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """
        Inputs with one more feature, 1 at padding, and weights under which it shuts the input gate and opens the
        forget gate.

        The kernel gives the cell after the last step only. With the gates saturated to exactly 0 and 1 the padding
        behind a row's last token leaves the cell as it was, so what comes out is the cell after that token, gradients
        included.

        Args:
            inputs: `(B, T, D)`, padding at the end of each row.
            padding_mask: `(B, T)`, true at padding.
        """
        weight, *others = self.torch_weights()
        column = weight.new_zeros(len(self.gates), self.hidden_size)
        column[self.gates.index("input_gate")] = -_SATURATION
        column[self.gates.index("forget_gate")] = _SATURATION
        inputs = torch.cat([inputs, padding_mask.unsqueeze(-1).to(inputs.dtype)], dim=-1)  # (B, T, D + 1)
        return inputs, [torch.cat([weight, column.view(-1, 1)], dim=1), *others]


CELL_CLASSES = {"elman": ElmanCell, "gru": GRUCell, "lstm": LSTMCell}

# Far beyond what sigmoid can tell from 0 and 1 in any float type, and within the range of float16.
_SATURATION = 3.0e4


def _kernel_flags() -> tuple:
    # has_biases, num_layers, dropout, train, bidirectional, batch_first. cuDNN can only go backward through a call
    # with train=True, also in a model set to eval(); without dropout the flag changes nothing else.
    return True, 1, 0.0, torch.is_grad_enabled(), False, True


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
        The hidden state at each token, `(B, T, H)`, zero at padding; and the state after the last valid token of each
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
        outputs[step] = state[0]
    outputs = torch.stack(outputs, dim=1)  # (B, T, H)
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
    kernel (cuDNN on CUDA, oneDNN for the LSTM on CPU) or, on CPU, by [`BackpropagationThroughTime`].

    The kernels know nothing of padding (a PackedSequence does, but loses the fused CPU kernel). So each row's valid
    tokens are first moved to its start in reading order, the kernel runs over the whole rectangle, and what it
    computed at the padding behind them is dropped.
    """
    if inputs.shape[1] == 1:  # nothing to fuse, and unlike the kernels a cell can be traced into one graph
        return eager_recurrence(cell, inputs, state, padding, reverse, return_state)
    if torch.compiler.is_exporting():
        return scan_recurrence(cell, inputs, state, padding, reverse, return_state)
    if not cell.is_plain:
        logger.warning_once(
            "The projections of a recurrent cell are wrapped, hooked or offloaded (LoRA, quantization, device_map, "
            "...), which the fused recurrence cannot see: such cells run by recurrence_implementation='eager'."
        )
        return eager_recurrence(cell, inputs, state, padding, reverse, return_state)
    return _run_fused(cell, inputs, state, padding, reverse, return_state)


@torch.compiler.disable  # traced, a loop over time falls apart into a block of operations a step: minutes to compile
def _run_fused(cell, inputs, state, padding, reverse, return_state):
    run = _run_packed if _is_faster_packed(cell, inputs, padding) else _run_kernel
    return run(cell, inputs, state, padding, reverse, return_state)


def _is_faster_packed(cell: RecurrentCell, inputs: torch.Tensor, padding: Padding | None) -> bool:
    """Whether skipping the padding saves more than torch's kernel, if there is one, is faster at the rest."""
    dtype = cell.input_proj.weight.dtype
    if inputs.device.type != "cpu" or dtype not in (torch.float32, torch.float64, torch.bfloat16):
        return False
    num_padding = 0 if padding is None else padding.mask.numel() - int(padding.lengths.sum())
    saved = num_padding / inputs.shape[1] * cell.hidden_size * (cell.input_size + cell.hidden_size)
    return saved >= cell.worth_packing[torch.is_grad_enabled()]


def _run_packed(cell, inputs, state, padding, reverse, return_state):
    if padding is None:
        batch_size, length = inputs.shape[:2]
        order = torch.arange(length).flip(0) if reverse else torch.arange(length)
        packing = Packing.of_lengths(order.expand(batch_size, -1), torch.full((batch_size,), length))
    else:
        packing = padding.packings[int(reverse)]
    weights = cell.torch_weights()
    dtype = weights[0].dtype
    if torch.is_autocast_enabled("cpu") and dtype == torch.float32:
        dtype = torch.get_autocast_dtype("cpu")
    tensors = [tensor.to(dtype) for tensor in (inputs, *weights)]  # what autocast does for the maps it knows of
    with torch.autocast("cpu", enabled=False):
        outputs, *final_state = BackpropagationThroughTime.apply(cell.steps, packing, *tensors, *state)
    return outputs, tuple(tensor.to(weights[0].dtype) for tensor in final_state) if return_state else None


def _run_kernel(cell, inputs, state, padding, reverse, return_state):
    if padding is None:
        outputs, state = cell.kernel(inputs.flip(1) if reverse else inputs, state, cell.torch_weights())
        return outputs.flip(1) if reverse else outputs, state

    order = padding.orders[int(reverse)]
    if order is not None:
        inputs = inputs.gather(1, order[0].unsqueeze(-1).expand_as(inputs))
    weights = cell.torch_weights()
    if return_state and cell.num_states == 2:
        positions = torch.arange(inputs.shape[1], device=inputs.device)
        inputs, weights = cell.hold_cell_at_padding(inputs, positions >= padding.lengths.unsqueeze(1))
    outputs, (_, *others) = cell.kernel(inputs, state, weights)

    final_state = None
    if return_state:
        last = (padding.lengths - 1).clamp(min=0).view(-1, 1, 1).expand(-1, 1, outputs.shape[-1])
        is_empty = (padding.lengths == 0).unsqueeze(1)
        final_state = (torch.where(is_empty, state[0], outputs.gather(1, last).squeeze(1)), *others)
    if order is not None:
        outputs = outputs.gather(1, order[1].unsqueeze(-1).expand_as(outputs))
    return outputs.masked_fill(~padding.mask.unsqueeze(-1), 0), final_state


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
        return state, state[0] * valid  # a product, since what is carried and what is given out must not be one tensor

    state = tuple(tensor.clone(memory_format=torch.contiguous_format) for tensor in state)  # as the steps leave it
    state, outputs = scan(step, state, (projected, valid))
    outputs = outputs.flip(0) if reverse else outputs
    return outputs.transpose(0, 1), state if return_state else None


RECURRENCE_FUNCTIONS = {"eager": eager_recurrence, "fused": fused_recurrence}
