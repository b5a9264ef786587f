"""What is special to recurrent models: the cells' states and gates step by step, and their recurrent matrices.

A cell is any module that has `recurrent_proj` (`None` where it has no such matrix), and its `gates` and `states` by
name, as those of seqnlp do; torch's `RNN`, `GRU` and `LSTM` show their matrices alone, since what happens inside their
kernels cannot be seen.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn


# Karpathy et al. 2015, "Visualizing and Understanding Recurrent Networks" (arXiv 1506.02078), section 4.2: left- and
# right-saturated gates are those below 0.1 and above 0.9.
LOW, HIGH = 0.1, 0.9

_TORCH_GATES = {
    "LSTM": ("input_gate", "forget_gate", "cell_candidate", "output_gate"),
    "GRU": ("reset_gate", "update_gate", "hidden_candidate"),
    "RNN_TANH": ("hidden_candidate",),
    "RNN_RELU": ("hidden_candidate",),
}


@dataclass(frozen=True)
class Saturation:
    """
    The shares of a gate's values at either end, where its derivative has all but gone.

    Attributes:
        low: Share near the lower end: below 0.1 for a gate (0 to 1), below -0.9 for a candidate or state under tanh
            (-1 to 1), exactly 0 under ReLU.
        high: Share near the upper end: above 0.9. ReLU has none, nor has `"positive"`. `"linear"` has neither end.
    """

    low: float
    high: float


def saturation(values: torch.Tensor, activation: str) -> Saturation:
    """
    The saturated shares of activations.

    Args:
        values: Of any shape.
        activation: What made them: `"sigmoid"`, `"tanh"`, `"relu"`, `"positive"`: sigmoid up to 0.5, then linear; or
            `"linear"`, nothing.
    """
    none = torch.zeros_like(values, dtype=torch.bool)
    low, high = {
        "sigmoid": (values < LOW, values > HIGH),
        "tanh": (values < -HIGH, values > HIGH),
        "relu": (values == 0, none),
        "positive": (values < LOW, none),
        "linear": (none, none),
    }[activation]
    return Saturation(float(low.double().mean()), float(high.double().mean()))


def spectral_radius(matrix: torch.Tensor) -> float:
    """
    The largest absolute eigenvalue of a square matrix.

    In a linear recurrence gradients shrink where it is below one and can grow where it is above (Pascanu et al. 2013,
    arXiv 1211.5063, section 2.1).
    """
    return float(torch.linalg.eigvals(matrix.detach().double().cpu()).abs().max())


def recurrent_matrices(model: nn.Module, within: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """
    Each block of each recurrent matrix, `(hidden_size, hidden_size)`, with its name, e.g. `layer 1, forget gate`: of a
    model, or of the part whose path contains `within`, without which the layers of several parts have the same names.
    """
    for cell in find_cells(model, within):
        if cell.module.recurrent_proj is None:
            continue
        blocks = cell.module.recurrent_proj.weight.split(cell.module.hidden_size)
        for gate, block in zip(cell.module.gates, blocks, strict=True):
            yield f"{cell.name}, {spelled(gate)}", block
    for path, module in model.named_modules():
        if within not in path or not isinstance(module, nn.RNNBase) or getattr(module, "proj_size", 0):
            continue
        for layer in range(module.num_layers):
            for suffix, direction in (("", ""), ("_reverse", ", backward")):
                weight = getattr(module, f"weight_hh_l{layer}{suffix}", None)
                if weight is None:
                    continue
                for gate, block in zip(_TORCH_GATES[module.mode], weight.split(module.hidden_size), strict=True):
                    yield f"{path or module.mode} layer {layer + 1}{direction}, {spelled(gate)}", block


def spelled(name: str) -> str:
    """A gate's name in words: `forget gate` for `forget_gate`."""
    return name.replace("_", " ")


def reads_words(model: nn.Module) -> bool:
    """Whether a model makes words of its tokens first, so that its layers take a step for each word."""
    return getattr(model, "word_reader", None) is not None


@dataclass
class Cell:
    """
    A recurrent cell of a model, and what it did in the last forward pass.

    Attributes:
        layer: Its layer, from 1 for the lowest.
        module: The cell.
        is_backward: Whether it reads each row from its end.
        states: The state after each step in the order of reading: tuples of `(batch_size, hidden_size)`.
        gates: The values of each gate by name, one tensor per step.
    """

    layer: int
    module: nn.Module
    is_backward: bool
    states: list[tuple[torch.Tensor, ...]] = field(default_factory=list)
    gates: dict[str, list[torch.Tensor]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Layer and direction, e.g. `layer 1` or `layer 2, backward`."""
        return f"layer {self.layer}{', backward' if self.is_backward else ''}"

    def states_in_time(self, index: int) -> list[torch.Tensor]:
        """The tensors of one part of the state (0: hidden state, 1: the LSTM's cell) by their place in the text."""
        tensors = [state[index] for state in self.states]
        return tensors[::-1] if self.is_backward else tensors

    def saturations(self) -> dict[str, Saturation]:
        """The saturated share of each gate; of the hidden state where a cell has no gates."""
        if not self.gates:
            return {"hidden state": saturation(torch.stack(self.states_in_time(0)), self.module.hidden_act)}
        candidate_act = getattr(self.module, "candidate_act", "tanh")
        return {
            spelled(name): saturation(torch.stack(values), "sigmoid" if name.endswith("_gate") else candidate_act)
            for name, values in self.gates.items()
        }


def find_cells(model: nn.Module, within: str = "") -> list[Cell]:
    """The cells of a model in the order of its modules, or of the part whose path contains `within`."""
    cells = []
    for path, module in model.named_modules():
        if within in path and all(hasattr(module, name) for name in ("recurrent_proj", "gates", "states")):
            layer = re.findall(r"\.(\d+)\.", f".{path}.")
            cells.append(Cell(int(layer[-1]) + 1 if layer else 1, module, "backward" in path))
    return cells


@contextmanager
def watch_cells(model: nn.Module, cells: list[Cell]) -> Iterator[None]:
    """
    Fill `states` and `gates` of the cells in the forward passes inside the block; the model runs its cells in the
    eager loop meanwhile, where each step can be seen.
    """
    if not cells:
        yield
        return
    before = model.config.recurrence_implementation
    handles = [cell.module.register_forward_hook(_recorder(cell)) for cell in cells]
    model.set_recurrence_implementation("eager")
    try:
        yield
    finally:
        model.set_recurrence_implementation(before)
        for handle in handles:
            handle.remove()


def _recorder(cell: Cell):
    def record(module, arguments, output):
        state, gates = output
        cell.states.append(state)
        for name, values in gates.items():
            cell.gates.setdefault(name, []).append(values.detach())

    return record
