"""What every recurrent cell is: its maps, its states, one step; and what those that are linear in their state share.

Shapes: `B` rows, `D` input width, `H` hidden width. A state is a tuple of tensors of shape `(B, H)`: the hidden state
and, for the LSTM, the cell.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from transformers import initialization as init


State = tuple[torch.Tensor, ...]

CELLS: dict[str, type["RecurrentCell"]] = {}
"""Every cell by its `cell_type`; to be had of `cells.py`, which enters ours."""


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
    """
    What the cells share: the map from the input and the map from the hidden state, each with its bias.

    A subclass says what its class attributes mean for it, and has `forward`, one step by its equations. Parameters of
    its own, beside those of the two maps, are made in its `__init__`, as they are to start.

    Attributes:
        cell_type: Its name in configurations, in [`CELLS`] and as `--architecture`.
        title: Its name in print.
        equations: One step in plain text, one line per equation, with parameters of its own by their names.
        citation: Who described it.
        gates: Names of the stacked blocks of `input_proj` and `recurrent_proj`, in order. One whose name ends in
            `_gate` has values between 0 and 1, another is a candidate.
        states: Names of the tensors of its state, the one that is seen above the cell first (see `output`).
        hidden_acts: The values of `hidden_act` that it can be built with.
        initializers: The values of `recurrent_initializer` that it can start with.
        keeping_gates: The gates that keep the old state where they are open.
        admitting_gates: The gates that let something new into the state where they are open.
        has_recurrent_map: Whether there is a map from the hidden state; without it `recurrent_proj` is `None`.
        candidate_act: The activation of its candidate: `"tanh"`, `"positive"` (see [`positive`]) or `"linear"`, none.
        frame: What a recipe puts around the cell unless it is told of a block: fields of a configuration, which has
            none of them by itself.
        output_gain: A language model's output matrix over this cell starts with `output_gain / sqrt(hidden_size)`. The
            components of a new cell's hidden state are small, a few hundredths under gates and a few tenths without,
            and equally small whatever the width.
        torch_class: Its twin in `torch.nn`, or `None`.
        kernel: `kernel(inputs, state, weights)` runs the cell over `(B, T, D)` inputs in torch's kernel and gives the
            `(B, T, H)` outputs and the final state; or `None`.
        forward_packed: With `backward_packed` the cell over all time steps and back, for
            [`BackpropagationThroughTime`]; or `None`. `forward_packed(packing, projected, weight, bias, initial)`
            gives the hidden state in the type of the products (which may be smaller than the one in which it
            accumulates), the states, and what else the way back needs.
        backward_packed: `backward_packed(packing, saved, weight, d_states)` gives the `delta` of the product with `W`
            and that of the product with `U`. Both work in place, in `projected` and in `d_states`.
        worth_packing: Without and with gradients: from how many multiplications saved, by step and gate, the packed
            loop over time is faster on CPU than torch's. Measured on one AVX-512 core, widths 64 to 512, a third to
            all of a batch valid.
        worth_packing_in_tiles: The same for products in bfloat16 where the processor multiplies them in tiles (see
            [`has_tiles`]): torch's kernel brings its matrix into their order once, the loop at every step.
    """

    cell_type: str
    title: str
    equations: str
    citation: str
    gates: tuple[str, ...]
    states: tuple[str, ...] = ("hidden",)
    hidden_acts: tuple[str, ...] = ("tanh",)
    initializers: tuple[str, ...] = ("orthogonal", "uniform")
    keeping_gates: tuple[str, ...] = ()
    admitting_gates: tuple[str, ...] = ()
    has_recurrent_map = True
    candidate_act = "tanh"
    frame: Mapping[str, Any] = MappingProxyType({})
    output_gain = 4.0
    torch_class: type[nn.RNNBase] | None = None
    kernel = None
    forward_packed = None
    backward_packed = None
    worth_packing = {False: 2.5e5, True: 0.0}
    worth_packing_in_tiles = worth_packing

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "cell_type" in vars(cls):  # FSDP makes subclasses too, which are no cells of their own
            CELLS[cls.cell_type] = cls

    def __init__(self, input_size: int, hidden_size: int, hidden_act: str = "tanh"):
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.hidden_act = hidden_act
        self.input_proj = GateProjection(input_size, hidden_size, self.gates, is_recurrent=False)
        self.recurrent_proj = None
        if self.has_recurrent_map:
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

    def output(self, hidden: torch.Tensor) -> torch.Tensor:
        """What is seen of a hidden state, or of all of them, above the cell: by default the state itself."""
        return hidden

    @classmethod
    def has_memory_gates(cls) -> bool:
        """Whether gates decide what the state keeps, so that `gate_initializer` has something to start."""
        return bool(cls.keeping_gates or cls.admitting_gates)

    @property
    def maps(self) -> list[GateProjection]:
        """The map from the input and, if there is one, the map from the hidden state."""
        return [self.input_proj] if self.recurrent_proj is None else [self.input_proj, self.recurrent_proj]

    @property
    def num_states(self) -> int:
        """Number of tensors in the state."""
        return len(self.states)

    @property
    def torch_options(self) -> dict[str, str]:
        """What `torch_class` has to be told to be this cell."""
        return {}

    def torch_weights(self) -> list[torch.Tensor]:
        """The parameters in the order of torch's kernels: `W`, `U`, bias of `W`, bias of `U`."""
        return [*(module.weight for module in self.maps), *(module.bias for module in self.maps)]

    def hold_at_padding(
        self, inputs: torch.Tensor, padding_mask: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """
        Inputs and weights with which `kernel` leaves the state at padding as it is, but for the hidden state, which is
        read where each row ends.

        Args:
            inputs: `(B, T, D)`, padding at the end of each row.
            padding_mask: `(B, T)`, true at padding.
        """
        return inputs, self.torch_weights()

    @torch.no_grad()
    def start_own_tensors(self) -> None:
        """Give the parameters and buffers that are not the maps' their values in a new cell, unless loaded."""
        own = [*self.named_parameters(recurse=False), *self.named_buffers(recurse=False)]
        if own:
            new = type(self)(self.input_size, self.hidden_size, self.hidden_act)
            for name, tensor in own:
                init.copy_(tensor, getattr(new, name))

    @property
    def is_plain(self) -> bool:
        """Whether the maps are what their weights say: not wrapped (LoRA), quantized, parametrized, hooked, offloaded.

        A kernel that reads the weights would silently skip what such a wrapper adds, and offloaded weights are there
        during a call of their map alone.
        """
        return all(
            type(module) is GateProjection
            and not module._forward_hooks
            and not module._forward_pre_hooks
            and all(_is_plain(tensor) for tensor in (module.weight, module.bias))
            for module in self.maps
        )


def _is_plain(weight: torch.Tensor) -> bool:
    # A quantized weight may stand in an untouched module, as a subclass of tensor that says it is of a float type.
    return type(weight) in (torch.Tensor, nn.Parameter) and weight.is_floating_point() and not weight.is_meta


class LinearCell(RecurrentCell):
    """
    A cell whose next state is linear in the one before: `h_t = a_t * h_{t-1} + u_t`, where `a_t` and `u_t` follow from
    the input alone. So all steps of a sequence can be computed at once, by [`LinearScan`].

    A subclass has `coefficients`; its one step and the scan follow from it.
    """

    has_recurrent_map = False
    candidate_act = "positive"
    # Its gates see the input alone: what they decide by must be brought to it by what surrounds the cell.
    frame = MappingProxyType({"block": "residual", "conv_kernel_size": 4})
    output_gain = 1.0  # a new cell's state is an average of candidates near one half

    def coefficients(
        self, projected_input: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """
        From `input_proj` of inputs, of shape `(..., len(gates) * H)`, to `a` and `u`, each `(..., H)` and at least
        float32, in which the state accumulates; and every gate by its name.
        """
        raise NotImplementedError

    def forward(self, projected_input, state):
        (hidden,) = state

        decay, update, gates = self.coefficients(projected_input)
        new_hidden = decay * hidden + update

        return (new_hidden.to(hidden.dtype),), gates
