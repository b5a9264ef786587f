"""One step of a recurrent cell as a drawing, read off the step that the cell itself computes."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import fx, nn

from .svg import MINUS, TIMES, Drawing


class DiagramError(ValueError):
    """A module that is not as its drawing has it; the message says what has changed."""


@dataclass(frozen=True)
class Step:
    """
    What a cell computes in a step, as formulas over its states, its input `x` and its gates.

    Attributes:
        gates: The formula of each gate, by name, e.g. `sigmoid(x + hidden)`. `x` stands for `W x + b`, and a state in
            a gate's sum for its product with `U`.
        states: The formula of each state after the step, by name, over gates and the states before it.
    """

    gates: dict[str, str]
    states: dict[str, str]


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return True


_SIGNS = {operator.add: "+", operator.mul: "*", operator.sub: "-"}
_FUNCTIONS = {torch.sigmoid: "sigmoid", torch.tanh: "tanh"}


def read_step(cell: nn.Module) -> Step:
    """
    Trace one step of a cell that consists of sums, products and activations.

    Args:
        cell: A `RecurrentCell`.

    Raises:
        DiagramError: If something else is in it.
    """
    (new_states, gates) = _output(_Tracer().trace(cell))
    names = {node: name for name, node in gates.items()}
    formulas = {}
    for name, node in gates.items():
        formulas[name] = _formula(node, cell, {other: label for other, label in names.items() if other is not node})
    states = dict(zip(cell.states, new_states, strict=True))
    after = {node: f"new {name}" for name, node in states.items()}
    found = {}
    for name, node in states.items():
        known = names | {other: label for other, label in after.items() if other is not node}
        found[name] = _formula(node, cell, known)
    return Step(formulas, found)


def _output(graph: fx.Graph):
    return next(node for node in graph.nodes if node.op == "output").args[0]


def _formula(node, cell: nn.Module, known: dict) -> str:
    if not isinstance(node, fx.Node):
        return str(node)
    if node in known:
        return known[node]
    if node.op == "placeholder":
        return "x"
    if node.op == "call_module" or (node.op, node.target) == ("call_method", "chunk"):
        return _formula(node.args[0], cell, known)
    if node.target is operator.getitem:
        source, index = node.args
        return cell.states[index] if source.name == "state" else _formula(source, cell, known)
    parts = [_formula(part, cell, known) for part in node.args]
    if node.target in _SIGNS:
        sign = _SIGNS[node.target]
        is_sum = [" + " in part or " - " in part for part in parts]
        return f" {sign} ".join(
            f"({p})" if sign == "*" and s and "(" not in p else p for p, s in zip(parts, is_sum, strict=True)
        )
    if node.target in _FUNCTIONS:
        return f"{_FUNCTIONS[node.target]}({parts[0]})"
    raise DiagramError(f"{type(cell).__name__}: {node.target} in its step has no sign in a drawing.")


# What a drawing below says of a step, beside its layout: it is drawn only of a cell that computes this.
_LSTM = Step(
    {
        "input_gate": "sigmoid(x + hidden)",
        "forget_gate": "sigmoid(x + hidden)",
        "cell_candidate": "tanh(x + hidden)",
        "output_gate": "sigmoid(x + hidden)",
    },
    {"hidden": "output_gate * tanh(new cell)", "cell": "forget_gate * cell + input_gate * cell_candidate"},
)
_GRU = Step(
    {
        "reset_gate": "sigmoid(x + hidden)",
        "update_gate": "sigmoid(x + hidden)",
        "hidden_candidate": "tanh(x + reset_gate * hidden)",
    },
    {"hidden": "update_gate * hidden + (1 - update_gate) * hidden_candidate"},
)


def _check(cell: nn.Module, drawn: Step) -> Step:
    step = read_step(cell)
    for kind in ("gates", "states"):
        ours, theirs = getattr(drawn, kind), getattr(step, kind)
        for name in dict.fromkeys([*ours, *theirs]):
            if ours.get(name) != theirs.get(name):
                raise DiagramError(
                    f"{type(cell).__name__}: {name} is {theirs.get(name)}, and its drawing has {ours.get(name)}: "
                    "change the drawing."
                )
    return step


_GATE_HEIGHT = 44


def _draw_gates(drawing: Drawing, step: Step, places: dict[str, tuple[float, float]]) -> None:
    for name, (x, y) in places.items():
        function = step.gates[name].split("(")[0]
        drawing.box(x, y, max(104, 8 * len(name)), _GATE_HEIGHT, name.replace("_", " "), "gate", function)


def _draw_ends(drawing: Drawing, cell: nn.Module) -> None:
    maps = " and ".join(("W", "U")[: len(cell.maps)])
    count = f"{len(cell.gates)} times {maps} and a bias: one set for each of the boxes"
    drawing.text(drawing.width / 2, drawing.height - 18, count, "small soft")


def draw_lstm(cell: nn.Module, path: str | Path) -> None:
    """
    Draw one step of an LSTM: the cell state along the top, the gates that read the input and the hidden state below.

    Raises:
        DiagramError: If the cell's step is not the one that is drawn.
    """
    step = _check(cell, _LSTM)
    drawing = Drawing(800, 430, f"One step of an {cell.title}, with its {len(cell.gates)} gates")
    drawing.text(400, 24, f"One step of an {cell.title}", "head")
    drawing.frame(110, 46, 690, 362)
    top, row, bus = 95, 270, 335
    places = dict(
        zip(("forget_gate", "input_gate", "cell_candidate", "output_gate"), (200, 330, 460, 590), strict=True)
    )
    drawing.line((62, top), (187, top))
    drawing.line((213, top), (382, top))
    drawing.line((408, top), (738, top))
    drawing.line((200, row), (200, top + 13))
    drawing.line((330, row), (330, 180), (382, 180))
    drawing.line((460, row), (460, 180), (408, 180))
    drawing.line((395, 167), (395, top + 13))
    drawing.line((645, top), (645, 122), has_tip=True)
    drawing.line((645, 158), (645, 187))
    drawing.line((590, row), (590, 200), (632, 200))
    drawing.line((658, 200), (738, 200))
    drawing.line((62, bus), (590, bus), has_tip=False)
    drawing.line((150, 398), (150, bus), has_tip=False)
    for x in places.values():
        drawing.line((x, bus), (x, row + _GATE_HEIGHT / 2))
    drawing.circle(200, top, TIMES)
    drawing.circle(395, top, "+")
    drawing.circle(395, 180, TIMES)
    drawing.box(645, 140, 54, 30, "tanh")
    drawing.circle(645, 200, TIMES)
    _draw_gates(drawing, step, {name: (x, row) for name, x in places.items()})
    drawing.text(56, top, "c_{t-1}", anchor="end")
    drawing.text(746, top, "c_{t}", anchor="start")
    drawing.text(746, 200, "h_{t}", anchor="start")
    drawing.text(56, bus, "h_{t-1}", anchor="end")
    drawing.text(160, 388, "x_{t}", anchor="start")
    drawing.text(270, top - 16, "what is kept", "small soft")
    drawing.text(405, 140, "what is new", "small soft", anchor="start")
    drawing.text(698, 224, "what is shown", "small soft", anchor="start")
    _draw_ends(drawing, cell)
    drawing.save(path)


def draw_gru(cell: nn.Module, path: str | Path) -> None:
    """
    Draw one step of a GRU: the hidden state along the top, the gates below.

    Raises:
        DiagramError: If the cell's step is not the one that is drawn.
    """
    step = _check(cell, _GRU)
    drawing = Drawing(800, 430, f"One step of a {cell.title}, with its {len(cell.gates)} gates")
    drawing.text(400, 24, f"One step of a {cell.title}", "head")
    drawing.frame(110, 46, 690, 362)
    top, row, bus = 95, 270, 335
    places = {"update_gate": 200, "reset_gate": 360, "hidden_candidate": 590}
    drawing.line((62, top), (187, top))
    drawing.line((213, top), (577, top))
    drawing.line((603, top), (738, top))
    drawing.line((200, row), (200, top + 13))
    drawing.line((200, 180), (372, 180))
    drawing.line((428, 180), (577, 180))
    drawing.line((590, row), (590, 193))
    drawing.line((590, 167), (590, top + 13))
    drawing.line((412, row), (457, row))
    drawing.line((483, row), (526, row))
    drawing.line((62, bus), (590, bus), has_tip=False)
    drawing.line((150, 398), (150, bus), has_tip=False)
    for x in (200, 360):
        drawing.line((x, bus), (x, row + _GATE_HEIGHT / 2))
    drawing.line((470, bus), (470, row + 13))
    drawing.line((590, bus), (590, row + _GATE_HEIGHT / 2))
    drawing.circle(200, top, TIMES)
    drawing.circle(590, top, "+")
    drawing.circle(590, 180, TIMES)
    drawing.box(400, 180, 56, 30, f"1 {MINUS} z")
    drawing.circle(470, row, TIMES)
    drawing.text(192, 225, "z", "small soft", anchor="end")
    drawing.text(434, row - 12, "r", "small soft")
    drawing.text(478, 312, "U h_{t-1}", "small soft", anchor="start")
    drawing.text(598, 312, "x_{t}", "small soft", anchor="start")
    _draw_gates(drawing, step, {name: (x, row) for name, x in places.items()})
    drawing.text(56, top, "h_{t-1}", anchor="end")
    drawing.text(746, top, "h_{t}", anchor="start")
    drawing.text(56, bus, "h_{t-1}", anchor="end")
    drawing.text(160, 388, "x_{t}", anchor="start")
    drawing.text(390, top - 16, "what is kept", "small soft")
    drawing.text(600, 140, "what is new", "small soft", anchor="start")
    _draw_ends(drawing, cell)
    drawing.save(path)


CELL_DRAWINGS: dict[str, Callable[[nn.Module, str | Path], None]] = {"lstm": draw_lstm, "gru": draw_gru}
"""The cells that have a drawing, by `cell_type`."""
