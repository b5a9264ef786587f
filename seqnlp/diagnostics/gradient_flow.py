"""How the gradient of a loss fades or grows on its way back through a text.

Hochreiter 1991; Bengio, Simard & Frasconi 1994, "Learning Long-Term Dependencies with Gradient Descent is Difficult";
Pascanu et al. 2013 (arXiv 1211.5063), section 2.

The loss is read at one token alone, so that the distance of an earlier token from the loss is a plain number: the
steps between the two. Where a model's head reads several tokens (a mean, attention pooling, the two ends of a
bidirectional net), only what reaches the loss by way of the last of them is followed back. A cell that reads backward
has its last token at the other end, and is followed from the first token that the head reads.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import torch
from torch.nn import functional
from transformers import PreTrainedModel

from .errors import DiagnosticsError
from .recurrent_layers import (
    Cell,
    Saturation,
    find_cells,
    reads_words,
    recurrent_matrices,
    spectral_radius,
    watch_cells,
)


ROWS_AT_ONCE = 16


class Window(NamedTuple):
    """
    A piece of text to measure on.

    Attributes:
        token_ids: `(num_tokens,)`. A language model reads all but the last, which it is to predict.
        source_ids: `(source_length,)`, what an encoder reads; `token_ids` are then the target's.
    """

    token_ids: torch.Tensor
    source_ids: torch.Tensor | None = None


@dataclass(frozen=True)
class GradientSeries:
    """
    A layer's gradients by distance.

    Attributes:
        name: The layer, e.g. `layer 1`, `layer 1, cell`, `embeddings`.
        norms: At index `d` the Euclidean norm of the gradient of the loss with respect to the layer's state `d` tokens
            (words, where it reads them) from the loss: the mean over the windows that reach so far.
    """

    name: str
    norms: list[float]

    @property
    def factor_per_step(self) -> float:
        """
        By what factor the norm changes with each step back, fitted to its logarithm from distance 1 on: below one it
        vanishes, above one it explodes. NaN where fewer than two distances have a gradient.
        """
        points = [(d, math.log(norm)) for d, norm in enumerate(self.norms) if d > 0 and norm > 0]
        if len(points) < 2:
            return math.nan
        middle = sum(d for d, _ in points) / len(points)
        spread = sum((d - middle) ** 2 for d, _ in points)
        return math.exp(sum((d - middle) * value for d, value in points) / spread)

    def reach(self, share: float = 0.01) -> int:
        """The farthest distance whose norm is at least this share of the norm at distance 0."""
        least = share * self.norms[0]
        return max((d for d, norm in enumerate(self.norms) if norm > 0 and norm >= least), default=0)


@dataclass(frozen=True)
class GradientFlow:
    """
    What [`measure_gradient_flow`] found.

    Attributes:
        loss: Which loss, in words.
        num_windows: Pieces of text it is averaged over.
        series: Layer by layer from the bottom.
        spectral_radii: Of each block of each recurrent matrix, by layer and gate; in an encoder-decoder those of the
            decoder, whose gradients are followed.
        saturation: Of each gate of the same cells, by layer and gate.
        max_grad_norm: The norm to which gradients are clipped in training, or `None` where it is not known.
        clipped_share: Share of the windows whose gradient is above `max_grad_norm`; `None` where not measured.
        clipped_steps: Share of the steps of its training that were clipped; `None` where that is not known.
        step: What a step is, by which distances are counted: a token or a word.
    """

    loss: str
    num_windows: int
    series: list[GradientSeries]
    spectral_radii: dict[str, float] = field(default_factory=dict)
    saturation: dict[str, Saturation] = field(default_factory=dict)
    max_grad_norm: float | None = None
    clipped_share: float | None = None
    clipped_steps: float | None = None
    step: str = "token"

    @property
    def lowest(self) -> GradientSeries:
        """The lowest layer: what reaches it has come all the way, through time and through the layers above."""
        return self.series[0]

    def as_dict(self) -> dict:
        """Everything as plain numbers, for JSON."""
        derived = [
            {**asdict(series), "factor_per_step": series.factor_per_step, "reach": series.reach()}
            for series in self.series
        ]
        return {**asdict(self), "series": derived}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "GradientFlow":
        """What [`as_dict`][GradientFlow.as_dict] gave, also by way of JSON."""
        series = [GradientSeries(one["name"], one["norms"]) for one in values["series"]]
        saturation = {name: Saturation(**share) for name, share in values["saturation"].items()}
        return cls(**{**values, "series": series, "saturation": saturation})


def clipped_steps(history: Sequence[dict[str, Any]]) -> float | None:
    """
    The share of the steps of a training whose gradient was clipped.

    Args:
        history: Of `run.json`: entries with `step` and `clipped_share`, the share among the steps since the entry
            before; others are left out.

    Returns:
        The share over all, or `None` where none was noted.
    """
    entries = sorted((entry["step"], entry["clipped_share"]) for entry in history if "clipped_share" in entry)
    before, clipped = 0, 0.0
    for step, share in entries:
        clipped += share * (step - before)
        before = step
    return clipped / before if before else None


LOSSES = {
    "causal": "cross-entropy of the last token, given those before it",
    "seq2seq": "cross-entropy of the target's last token, given the source and the target's tokens before it",
    "masked": "cross-entropy of the last token that is not special, masked",
    "classifier": "cross-entropy of the class that the model finds least likely",
    "several labels": "binary cross-entropy of the label that the model finds least likely, taken to be there",
    "token classifier": "cross-entropy of the last token's least likely class",
    "regression": "the predicted number itself",
}


def loss_kind(model: PreTrainedModel) -> str:
    """
    Which of [`LOSSES`] a model has.

    A classifier's true label is not known here. The least likely class is taken, since its gradient never vanishes at
    the loss already, as that of a confident model's prediction would.

    Raises:
        DiagnosticsError: For a model without a head that reads text.
    """
    name = type(model).__name__
    if getattr(model.config, "is_encoder_decoder", False) and model.can_generate():
        return "seq2seq"
    if "ForMaskedLM" in name:
        return "masked"
    if "ForTokenClassification" in name:
        return "token classifier"
    if "ForSequenceClassification" in name:
        if model.config.problem_type == "multi_label_classification":
            return "several labels"
        return "regression" if model.config.num_labels == 1 else "classifier"
    if model.can_generate() and model.main_input_name == "input_ids":
        return "causal"
    raise DiagnosticsError(
        f"{name}: gradients are followed back from the loss of a language model or of a classifier of texts or "
        "tokens, and this model has no such head."
    )


def cut_windows(token_ids: torch.Tensor, length: int, count: int) -> list[torch.Tensor]:
    """
    `count` pieces of `length` tokens that end at evenly spaced places, fewer if the text has fewer; the whole
    text where it is shorter than that.
    """
    spare = len(token_ids) - length
    if spare <= 0:
        return [token_ids]
    count = min(count, spare + 1)
    starts = [0] if count == 1 else [round(spare * index / (count - 1)) for index in range(count)]
    return [token_ids[start : start + length] for start in starts]


def measure_gradient_flow(
    model: PreTrainedModel,
    windows: list[Window],
    mask_token_id: int | None = None,
    special_token_ids: tuple[int, ...] = (),
    max_grad_norm: float | None = None,
) -> GradientFlow:
    """
    Measure how the gradient of the loss at one token reaches the states at the tokens before it.

    In a recurrent model with visible cells a state is what a cell hands on from step to step, h(t) and for an LSTM
    c(t), and its gradient counts every way from it to the loss. In any other model it is what
    `output_hidden_states=True` returns for a token: the embedding and each layer's output. Dropout is off.

    Args:
        model: Any model of [`LOSSES`].
        windows: Pieces of text.
        mask_token_id: What a masked language model's last token is replaced by.
        special_token_ids: Tokens that are never masked.
        max_grad_norm: If given, and the model is a language model, the share of windows whose gradient (of the mean
            loss over all their tokens, with respect to all parameters) has a larger norm is measured too. A training
            step averages the gradients of a whole batch, whose norm is smaller: this share is an upper estimate.

    Raises:
        DiagnosticsError: For a text that is too short, and a model that does not show its states.
    """
    kind = loss_kind(model)
    _check_lengths(windows, kind)
    if kind == "masked" and mask_token_id is None:
        raise DiagnosticsError(
            f"{type(model).__name__}: a masked language model is measured where a token is masked, and its tokenizer "
            "has no mask token."
        )
    sums, counts = defaultdict(lambda: torch.zeros(0)), defaultdict(lambda: torch.zeros(0))
    within = "decoder" if kind == "seq2seq" else ""
    cells = find_cells(model, within)
    steps: dict[str, list[Cell]] = defaultdict(list)
    was_training = model.training
    model.eval()
    try:
        # Windows of as many tokens may be of more and fewer words, and would be padded to each other.
        for batch in _equal_lengths(windows, 1 if reads_words(model) else ROWS_AT_ONCE):
            here = [Cell(cell.layer, cell.module, cell.is_backward) for cell in cells]
            with torch.enable_grad(), watch_cells(model, here):
                outputs, loss = _run(model, batch, kind, mask_token_id, special_token_ids)
            for name, norms, distances in _gradients(model, outputs, loss, here, kind):
                longest = max(int(distances.max()) + 1, len(sums[name]))
                for table, values in ((sums, norms), (counts, torch.ones_like(norms))):
                    table[name] = functional.pad(table[name], (0, longest - len(table[name])))
                    table[name].index_add_(0, distances.flatten(), values.flatten())
            for cell in here:
                steps[cell.name].append(cell)
        clipped = None
        if max_grad_norm and kind in ("causal", "seq2seq"):
            clipped = sum(_gradient_norm(model, w, kind) > max_grad_norm for w in windows) / len(windows)
    finally:
        model.train(was_training)
    return GradientFlow(
        LOSSES[kind],
        len(windows),
        [GradientSeries(name, (sums[name] / counts[name].clamp(min=1)).tolist()) for name in sums],
        {name: spectral_radius(matrix) for name, matrix in recurrent_matrices(model, within)},
        _mean_saturation(steps),
        max_grad_norm,
        clipped,
        step="word" if reads_words(model) else "token",
    )


def _check_lengths(windows: list[Window], kind: str) -> None:
    least = 3 if kind == "causal" else 2
    for window in windows:
        if len(window.token_ids) < least:
            what = "two to read and one to predict" if kind == "causal" else "two steps in time"
            raise DiagnosticsError(
                f"A text of {len(window.token_ids)} token{'s' * (len(window.token_ids) != 1)} is too short to follow "
                f"a gradient through time: give at least {least}, {what}."
            )
    if not windows:
        raise DiagnosticsError("There is no text to measure on.")


def _equal_lengths(windows: list[Window], at_once: int) -> Iterator[list[Window]]:
    """Batches of windows of one length: no padding, and every distance means the same in each row."""
    groups = defaultdict(list)
    for window in windows:
        groups[len(window.token_ids), 0 if window.source_ids is None else len(window.source_ids)].append(window)
    for group in groups.values():
        for start in range(0, len(group), at_once):
            yield group[start : start + at_once]


def _forward(model, batch: list[Window], kind: str):
    """The model's outputs over a batch of windows, and their targets, `(B, T)`, for a language model."""
    token_ids = torch.stack([window.token_ids for window in batch]).to(model.device)  # (B, T)
    if kind == "causal":
        outputs = model(input_ids=token_ids[:, :-1], use_cache=False, output_hidden_states=True)
        return outputs, token_ids[:, 1:]
    if kind == "seq2seq":
        source_ids = torch.stack([window.source_ids for window in batch]).to(model.device)  # (B, S)
        read = model.prepare_decoder_input_ids_from_labels(labels=token_ids)
        outputs = model(input_ids=source_ids, decoder_input_ids=read, use_cache=False, output_hidden_states=True)
        return outputs, token_ids
    return model(input_ids=token_ids, output_hidden_states=True), None


def _run(model, batch: list[Window], kind: str, mask_token_id, special_token_ids):
    """The outputs over a batch, and its loss at one token, summed over the rows: each row's gradient is its own."""
    if kind == "masked":
        masked, rows, places, targets = [], [], [], []
        for row, window in enumerate(batch):
            token_ids = window.token_ids.clone()
            plain = [i for i, token in enumerate(token_ids.tolist()) if token not in special_token_ids]
            place = plain[-1] if plain else len(token_ids) - 1
            rows.append(row), places.append(place), targets.append(int(token_ids[place]))
            token_ids[place] = mask_token_id
            masked.append(window._replace(token_ids=token_ids))
        outputs, _ = _forward(model, masked, kind)
        logits, targets = outputs.logits[rows, places], torch.tensor(targets, device=model.device)
    else:
        outputs, targets = _forward(model, batch, kind)
        logits = outputs.logits if outputs.logits.dim() == 2 else outputs.logits[:, -1]  # (B, classes)
        if kind == "regression":
            return outputs, logits.sum()
        if kind == "several labels":
            return outputs, functional.softplus(-logits.float().amin(dim=-1)).sum()
        targets = logits.argmin(dim=-1) if targets is None else targets[:, -1]
    return outputs, functional.cross_entropy(logits.float(), targets, reduction="sum")


def _gradients(model, outputs, loss, cells: list[Cell], kind: str):
    """Name, norms `(B, T)` and distances `(B, T)` of each layer's gradients."""
    field_name = "decoder_hidden_states" if kind == "seq2seq" else "hidden_states"
    layers = getattr(outputs, field_name, None)
    if not layers or any(layer is None or layer.dim() != 3 for layer in layers):
        raise DiagnosticsError(
            f"{type(model).__name__} does not return {field_name} of shape (batch_size, sequence_length, size): its "
            "gradients cannot be followed layer by layer."
        )
    top = layers[-1]
    arriving = torch.autograd.grad(loss, top, retain_graph=True, allow_unused=True)[0]
    if arriving is None:
        raise DiagnosticsError(
            f"{type(model).__name__}: its last {field_name} are not what its loss is computed from, so that the "
            "gradient cannot be followed from there."
        )
    positions = torch.arange(top.shape[1], device=top.device)
    is_read = arriving.abs().sum(dim=-1) > 0  # (B, T)
    if not bool(is_read.any(dim=1).all()):
        raise DiagnosticsError(
            f"{type(model).__name__}: the gradient of its loss is zero, so that there is none to follow."
        )
    last = torch.where(is_read, positions, -1).amax(dim=1, keepdim=True)  # (B, 1)
    first = torch.where(is_read, positions, top.shape[1]).amin(dim=1, keepdim=True)

    watched = _watched(layers, cells)
    for is_backward, read_at in ((False, last), (True, first)):
        names = [name for name, (_, backward) in watched.items() if backward == is_backward]
        if not names:
            continue
        through_one = arriving * (positions == read_at).unsqueeze(-1)
        tensors = [tensor for name in names for tensor in watched[name][0]]
        gradients = iter(
            torch.autograd.grad(
                top, tensors, through_one, retain_graph=True, allow_unused=True, materialize_grads=True
            )
        )
        distances = (positions - read_at).abs().cpu()  # (B, T)
        for name in names:
            parts = [next(gradients) for _ in watched[name][0]]
            gradient = torch.stack(parts, dim=1) if parts[0].dim() == 2 else parts[0]  # (B, T, size)
            yield name, gradient.float().norm(dim=-1).cpu(), distances


def _watched(layers, cells: list[Cell]) -> dict[str, tuple[list[torch.Tensor], bool]]:
    """By name the tensors whose gradients are wanted, one per step or one for all, and whether time runs backward."""
    if not cells:
        names = ["embeddings", *(f"layer {index}" for index in range(1, len(layers)))]
        return {name: ([layer], False) for name, layer in zip(names, layers, strict=True)}
    watched = {}
    for cell in cells:
        for index, state in enumerate(cell.module.states):
            part = f", {state}" if index else ""
            watched[cell.name + part] = cell.states_in_time(index), cell.is_backward
    return watched


def _mean_saturation(steps: dict[str, list[Cell]]) -> dict[str, Saturation]:
    """Over all batches, each weighted by the number of values it has."""
    result = {}
    for name, cells in steps.items():
        weights = [sum(state[0].numel() for state in cell.states) for cell in cells]
        found = [cell.saturations() for cell in cells]
        for gate in found[0]:
            ends = [
                sum(weight * getattr(shares[gate], end) for weight, shares in zip(weights, found, strict=True))
                for end in ("low", "high")
            ]
            result[f"{name}, {gate}"] = Saturation(*(value / sum(weights) for value in ends))
    return result


def _gradient_norm(model, window: Window, kind: str) -> float:
    """The norm that clipping looks at: of the gradient of a window's mean loss by all parameters."""
    with torch.enable_grad():
        outputs, targets = _forward(model, [window], kind)
        loss = functional.cross_entropy(outputs.logits.flatten(0, 1).float(), targets.flatten())
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    return float(torch.nn.utils.get_total_norm([gradient for gradient in gradients if gradient is not None]))
