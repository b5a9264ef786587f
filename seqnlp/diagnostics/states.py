"""What the units of recurrent models hold over a text, and what they respond to.

Karpathy, Johnson & Fei-Fei 2015, "Visualizing and Understanding Recurrent Networks" (arXiv 1506.02078), section 4.1,
read the states of language models over a text and found units that are on inside quotes, or follow the length of the
line; Strobelt et al. 2018, "LSTMVis" (arXiv 1606.07461), look for them. Here each unit is correlated with each
property of the text.

Shapes: `S` steps, one for each token (or word) that the cells read; `H` units of a cell.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from .errors import DiagnosticsError
from .recurrent_layers import find_cells, spelled, watch_cells
from .text_properties import TextProperty, measure_properties


LEAST_STEPS = 20
"""Fewer than that cannot be shifted against a text in any telling number of ways."""
_TOO_LIKELY = 0.05
_SAME = 1e-9  # correlations nearer than that are equal, but for rounding


@dataclass(frozen=True)
class Trace:
    """
    One state, or one gate, of a cell over a text.

    Attributes:
        cell: Layer and direction, e.g. `layer 1` or `layer 2, backward`.
        layer: The layer, from 1 for the lowest.
        part: Which: a name among the cell's `states` or of a gate that its step gives, e.g. `cell`, `forget_gate`.
        is_state: Whether it is a state, and no gate.
        is_backward: Whether the cell reads from the end of the text.
        values: `(S, H)`, after each step, by place in the text.
    """

    cell: str
    layer: int
    part: str
    is_state: bool
    is_backward: bool
    values: torch.Tensor

    @property
    def name(self) -> str:
        """In words, e.g. `layer 1, forget gate`."""
        return f"{self.cell}, {spelled(self.part)}{' state' * self.is_state}"


@dataclass(frozen=True)
class Reading:
    """
    A text as a recurrent model read it.

    Attributes:
        text: The text.
        spans: Where in it each of the `S` steps stands, `(start, end)`; empty where a token of the model's own, such
            as the one that begins a text, is no part of it.
        traces: Every state and every gate of every cell.
        part_read: Which part of an encoder-decoder read it; empty for other models.
    """

    text: str
    spans: list[tuple[int, int]]
    traces: list[Trace]
    part_read: str = ""


@dataclass(frozen=True)
class Response:
    """
    How the units follow one property of the text.

    Attributes:
        property: The property.
        traces: Whose units were searched.
        correlations: For each trace `(H,)`, Pearson's correlation of each unit with the property.
        chance: What the strongest of all these units reaches by chance: below it are 95 % of the largest absolute
            correlations with the same property shifted around the text, by each number of steps.
        luck: The share of these shifts at which some unit does at least as well as the best one without a shift,
            which is one of them.
    """

    property: TextProperty
    traces: list[Trace]
    correlations: list[torch.Tensor]
    chance: float
    luck: float

    def best(self, count: int = 1) -> list[tuple[Trace, int, float]]:
        """The units that follow it most closely: trace, number from 0, and correlation."""
        units = zip(self.traces, self.correlations, strict=True)
        found = [(trace, unit, float(r)) for trace, values in units for unit, r in enumerate(values)]
        return sorted(found, key=lambda one: -abs(one[2]))[:count]

    def correlations_of(self, trace: Trace) -> torch.Tensor:
        """`(H,)`, those of one of the traces."""
        return next(values for one, values in zip(self.traces, self.correlations, strict=True) if one is trace)

    @property
    def is_beyond_chance(self) -> bool:
        """Whether the best unit does better than 95 % of the shifts."""
        return abs(self.best()[0][2]) > self.chance


def read_states(model: PreTrainedModel, input_ids: torch.Tensor, text: str, spans: list[tuple[int, int]]) -> Reading:
    """
    Run a recurrent model over a text and keep every state and gate. Of an encoder-decoder, the encoder reads it.

    Args:
        model: A language model, a classifier or any other model that has recurrent cells and reads tokens.
        input_ids: `(1, num_tokens)`.
        text: What the tokens are made of.
        spans: Where in the text each token stands.

    Raises:
        DiagnosticsError: For a model without a recurrent state, and for one that does not read tokens.
    """
    if model.main_input_name != "input_ids" or getattr(model.config, "input_size", None) is not None:
        raise DiagnosticsError(f"{type(model).__name__} reads no text: states are shown over a text.")
    is_encoder_decoder = model.config.is_encoder_decoder
    reader = model.get_encoder() if is_encoder_decoder else model
    cells = find_cells(reader)
    if not cells:
        raise DiagnosticsError(
            f"{type(model).__name__} has no recurrent state to show: what reads the text has no cell that hands one "
            "on. What it looks at is shown by seqnlp attention."
        )
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), watch_cells(reader, cells), _watch_words(model) as words:
            reader(input_ids=input_ids.to(model.device))
    finally:
        model.train(was_training)
    if words:  # a model that reads the spelling of words takes a step per word
        spans = _join(spans, words[0])
    traces = []
    for cell in cells:
        for index, part in enumerate(cell.module.states):
            traces.append(_trace(cell, part, True, cell.states_in_time(index)))
        for part, values in cell.gates.items():
            traces.append(_trace(cell, part, False, values[::-1] if cell.is_backward else values))
    return Reading(text, spans, traces, "encoder" if is_encoder_decoder else "")


def _trace(cell, part: str, is_state: bool, steps: list[torch.Tensor]) -> Trace:
    values = torch.stack([step[0] for step in steps]).float().cpu()  # (S, H)
    return Trace(cell.name, cell.layer, part, is_state, cell.is_backward, values)


@contextmanager
def _watch_words(model: nn.Module) -> Iterator[list[list[int]]]:
    """Collect for each token the number of the word that it is a part of, where the cells read words."""
    found: list[list[int]] = []
    reader = getattr(model, "word_reader", None)
    handle = (
        None if reader is None else reader.register_forward_hook(lambda *call: found.append(call[2][2][0].tolist()))
    )
    try:
        yield found
    finally:
        if handle is not None:
            handle.remove()


def _join(spans: list[tuple[int, int]], words: list[int]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for (start, end), word in zip(spans, words, strict=True):
        if word == len(joined):
            joined.append((start, end))
        else:
            joined[word] = (joined[word][0], max(end, joined[word][1]))
    return joined


def find_responses(reading: Reading, traces: list[Trace]) -> tuple[list[Response], list[str]]:
    """
    Correlate each unit with each property of the text. A cell that reads forward is held against the property behind
    its token, one that reads backward against the property before it: either has read up to there.

    Args:
        reading: The text.
        traces: Those of its traces whose units are searched.

    Returns:
        A response for each property that changes in the text, and remarks on those that do not, and on what was left
        out.
    """
    inner = [index for index, (start, end) in enumerate(reading.spans) if start < end]
    if len(inner) < LEAST_STEPS:
        return [], [
            f"No search for what units respond to: it takes {LEAST_STEPS} steps, and the text has {len(inner)}."
        ]
    units = [_standardized(trace.values[inner]) for trace in traces]
    found, remarks = [], []
    for measured in measure_properties(reading.text):
        sides = [torch.stack([measured.values[reading.spans[index][side]] for index in inner]) for side in (1, 0)]
        if any(side.min() == side.max() for side in sides):
            remarks.append(f"{measured.name}: the same everywhere in this text, so nothing can respond to it.")
            continue
        if measured.remark:
            remarks.append(f"{measured.name}: {measured.remark}.")
        found.append(_respond(measured, traces, units, [sides[trace.is_backward] for trace in traces]))
    return found, remarks


def _standardized(values: torch.Tensor) -> torch.Tensor:
    """Each column less its mean, and of length 1; zero where it does not change."""
    values = values.double() - values.double().mean(dim=0)
    length = values.norm(dim=0)
    # What is left of a constant is rounding.
    return torch.where(length > 1e-6, values / length.clamp(min=1e-6), 0.0)


def _respond(
    measured: TextProperty, traces: list[Trace], units: list[torch.Tensor], targets: list[torch.Tensor]
) -> Response:
    strongest = torch.zeros(len(targets[0]), dtype=torch.float64)
    correlations = []
    for values, target in zip(units, targets, strict=True):
        moved = shifted_correlations(values, _standardized(target))  # (S, H)
        correlations.append(moved[0].float())
        strongest = torch.maximum(strongest, moved.abs().amax(dim=1))
    luck = float((strongest >= strongest[0] - _SAME).double().mean())
    return Response(measured, traces, correlations, float(strongest.quantile(1 - _TOO_LIKELY)), luck)


def shifted_correlations(values: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """
    The correlation of each unit with a target that is moved around the text by each number of steps.

    A shifted property changes as often, and for as long, as in its place, so what follows it by chance is as strong; a
    test that takes the steps for independent would find units everywhere. Where nothing follows it, no shift is set
    apart from the others, so that the one of 0 is among the highest 5 % in 5 % of texts.

    Args:
        values: `(S, H)`, standardized.
        target: `(S,)`, standardized.

    Returns:
        `(S, H)`: row `k` has the sums over `t` of `values[t + k] * target[t]`, places counted around the text.
    """
    spectrum = torch.fft.rfft(values, dim=0) * torch.fft.rfft(target).conj().unsqueeze(1)
    return torch.fft.irfft(spectrum, n=len(target), dim=0)
