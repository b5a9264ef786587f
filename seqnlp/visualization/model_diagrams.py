"""Whole models as drawings: names, numbers and the order of the parts are asked of the models themselves."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel

from .cell_diagrams import DiagramError
from .svg import TIMES, Drawing


_SOURCE = ("a", "small", "bird", "sings")
_READ, _WRITTEN = ("<s>", "ein", "Vogel", "singt"), ("ein", "Vogel", "singt", "</s>")


def part(model: nn.Module, path: str) -> nn.Module:
    """
    A part of a model by its path, e.g. `model.layers.0`.

    Raises:
        DiagramError: If there is none.
    """
    try:
        found = model.get_submodule(path)
    except AttributeError as error:
        raise DiagramError(
            f"{type(model).__name__} has no {path}, which its drawing shows: change the drawing."
        ) from error
    return found


def _size(matrix: nn.Module) -> str:
    return f" {TIMES} ".join(map(str, matrix.weight.shape))


def draw_unrolled(model: PreTrainedModel, path: str | Path) -> None:
    """
    Draw a recurrent language model as a loop, and beside it the same loop unrolled over a few tokens.

    Args:
        model: With the parts `model.embed_tokens`, `model.layers` of one direction and `lm_head`.
        path: Where the SVG goes.

    Raises:
        DiagramError: If one of the parts is missing.
    """
    embedding, head = part(model, "model.embed_tokens"), part(model, "lm_head")
    layers = list(part(model, "model.layers"))
    cell = part(model, "model.layers.0.forward_cell")
    count = len(layers)
    height = 330 + 70 * count
    drawing = Drawing(900, height, f"An {cell.title} as a loop, and unrolled over four tokens")
    drawing.text(450, 24, f"One {type(cell).__name__} again and again: the loop, and the loop unrolled", "head")
    ys = {"token": height - 40, "embed": height - 100, "head": 130, "out": 70}
    rows = [height - 175 - 70 * index for index in range(count)]
    read, written = ("the", "cat", "sat", "on"), ("cat", "sat", "on", "the")
    columns = [430, 560, 690, 820]
    _column(drawing, 230, ys, rows, "x_{t}", "ŷ_{t}", "h_{t}")
    for row in rows:
        drawing.line((263, row), (300, row), (300, row + 30), (160, row + 30), (160, row), (197, row))
    drawing.text(325, rows[0], "=", "head")
    for index, x in enumerate(columns):
        _column(drawing, x, ys, rows, read[index], written[index], f"h_{{{index + 1}}}")
        for row in rows:
            drawing.line((x - (58 if index == 0 else 97), row), (x - 33, row))
    for row in rows:
        drawing.line((853, row), (884, row))
        drawing.text(columns[0] - 72, row, "h_{0}")
    notes = [(ys["head"], "lm_head", _size(head)), (ys["embed"], "embed_tokens", _size(embedding))]
    notes += [(row, f"layers[{index}]", type(cell).__name__) for index, row in enumerate(rows)]
    for y, name, note in notes:
        drawing.text(14, y - 8, name, "code", anchor="start")
        drawing.text(14, y + 9, note, "small soft", anchor="start")
    drawing.text(14, ys["token"], "what it reads", "small soft", anchor="start")
    drawing.text(14, ys["out"], "what comes next", "small soft", anchor="start")
    drawing.save(path)


def _column(drawing: Drawing, x: float, ys: dict, rows: list[float], token: str, output: str, state: str) -> None:
    drawing.text(x, ys["token"], token)
    drawing.line((x, ys["token"] - 12), (x, ys["embed"] + 13))
    drawing.box(x, ys["embed"], 66, 26, "embed", "input")
    below = ys["embed"] - 13
    for row in rows:
        drawing.line((x, below), (x, row + 20))
        drawing.box(x, row, 66, 40, state, "state")
        below = row - 20
    drawing.line((x, below), (x, ys["head"] + 13))
    drawing.box(x, ys["head"], 66, 26, "softmax", "output")
    drawing.line((x, ys["head"] - 13), (x, ys["out"] + 12))
    drawing.text(x, ys["out"], output)


def draw_encoder_decoder(model: PreTrainedModel, path: str | Path) -> None:
    """
    Draw a recurrent encoder-decoder with attention, at the step in which it writes its third token.

    Args:
        model: A `RecurrentSeq2SeqForConditionalGeneration` with attention.
        path: Where the SVG goes.

    Raises:
        DiagramError: If one of the parts is missing.
    """
    attention, bridge = part(model, "model.decoder.attention"), part(model, "model.decoder.bridge")
    mix, head = part(model, "model.decoder.attentional_proj"), part(model, "lm_head")
    readers = part(model, "model.encoder.layers.0").cells
    writer = part(model, "model.decoder.layers.0.forward_cell")
    drawing = Drawing(940, 480, "An encoder-decoder with attention, while it writes its third token")
    drawing.text(470, 24, "An encoder-decoder with attention, while it writes its third token", "head")
    sources, targets = [110, 200, 290, 380], [540, 640, 740]
    rows = [330, 280][: len(readers)]
    drawing.frame(50, rows[-1] - 36, 440, 438)
    drawing.frame(490, 296, 800, 438)
    for index, x in enumerate(sources):
        drawing.text(x, 415, _SOURCE[index])
        drawing.line((x, 403), (x, rows[0] + 22))
        drawing.frame(x - 29, rows[-1] - 21, x + 29, rows[0] + 21)
        for number, row in enumerate(rows):
            drawing.box(x, row, 48, 32, f"{'fb'[number] if len(rows) == 2 else 'h'}_{{{index + 1}}}", "state")
            if index < len(sources) - 1:
                ends = [(x + 24, row), (sources[index + 1] - 24, row)]
                drawing.line(*(ends if number == 0 else ends[::-1]))
    for index, x in enumerate(targets):
        drawing.text(x, 415, _READ[index])
        drawing.line((x, 403), (x, 347))
        drawing.box(x, 330, 48, 32, f"s_{{{index + 1}}}", "state")
        if index:
            drawing.line((targets[index - 1] + 24, 330), (x - 24, 330))
    drawing.line((404, 330), (516, 330), style="dashed")
    drawing.text(465, 346, type(bridge).__name__.lower(), "small soft")
    x, weights = targets[2], (0.06, 0.1, 0.12, 0.72)
    drawing.box(290, 170, 190, 44, type(attention).__name__, "gate", "weights, which sum to one")
    for index, source in enumerate(sources):
        drawing.line((source, rows[-1] - 22), (230 + 40 * index, 193), width=0.8 + 6 * weights[index])
    drawing.line((x + 0, 313), (x, 230), (386, 178), style="dashed")
    drawing.text(600, 222, "what is asked for: its state", "small soft", anchor="end")
    drawing.line((386, 160), (x - 66, 130))
    drawing.text(492, 130, "context: the weighted mean", "small soft")
    drawing.line((x, 313), (x, 152))
    drawing.box(x, 130, 130, 42, "tanh", "operation", "attentional_proj")
    drawing.line((x, 109), (x, 92))
    drawing.box(x, 78, 130, 28, "softmax", "output")
    drawing.line((x + 66, 78), (x + 100, 78))
    drawing.text(x + 104, 78, _WRITTEN[2], anchor="start")
    directions = "reads both ways" if len(readers) == 2 else "reads forward"
    drawing.text(245, 458, f"encoder: {type(readers[0]).__name__}, {directions}", "small soft")
    drawing.text(645, 458, f"decoder: {type(writer).__name__}; lm_head {_size(head)}", "small soft")
    drawing.text(x + 76, 130, _size(mix), "small soft", anchor="start")
    drawing.save(path)


def sublayers(layer: nn.Module, run: Callable[[], object]) -> list[tuple[str, ...]]:
    """
    The parts of a layer in the order in which they work, those of one residual connection together.

    Args:
        layer: Its parts are its children; a norm is called after the part that it belongs to, e.g. `mlp_norm`.
        run: A forward pass of the model of which it is a layer.

    Returns:
        E.g. `[("self_attn", "self_attn_norm"), ("mlp", "mlp_norm")]` where the norm comes last.
    """
    order: list[str] = []
    handles = [
        child.register_forward_hook(lambda *call, name=name: order.append(name))
        for name, child in layer.named_children()
        if not isinstance(child, nn.Dropout)
    ]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    found: dict[str, list[str]] = {}
    for name in order:
        found.setdefault(name.removesuffix("_norm"), []).append(name)
    return [tuple(names) for names in found.values()]


def draw_transformers(seq2seq: PreTrainedModel, decoder: PreTrainedModel, path: str | Path) -> None:
    """
    Draw a layer of the encoder and of the decoder of a Transformer, and of a language model, side by side.

    Args:
        seq2seq: With `model.encoder` and `model.decoder`.
        decoder: With `model.layers` alone.
        path: Where the SVG goes.

    Raises:
        DiagramError: If one of the parts is missing.
    """
    ids = torch.tensor([[1, 1]])
    stacks = [
        ("encoder", seq2seq, "model.encoder", lambda: seq2seq(input_ids=ids, decoder_input_ids=ids)),
        ("decoder", seq2seq, "model.decoder", lambda: seq2seq(input_ids=ids, decoder_input_ids=ids)),
        ("language model", decoder, "model", lambda: decoder(input_ids=ids)),
    ]
    columns = [part(model, f"{place}.layers.0") for _, model, place, _ in stacks]
    found = []
    with torch.no_grad():
        for layer, (*_, run) in zip(columns, stacks, strict=True):
            found.append(sublayers(layer, run))
    height = 200 + 146 * max(map(len, found))
    drawing = Drawing(960, height, "A layer of a Transformer's encoder, of its decoder, and of a language model")
    drawing.text(480, 24, "A layer of each kind; each has as many as it likes of them", "head")
    ends, crossed = [], None
    for x, layer, parts, (name, model, *_) in zip((190, 500, 790), columns, found, stacks, strict=True):
        end, places = _draw_stack(drawing, x, height, name, model, layer, parts)
        ends.append(end)
        crossed = places.get("cross_attn", crossed)
    if crossed is not None:
        top = ends[0] - 14
        drawing.line((190, ends[0]), (190, top), (345, top), (345, crossed), (404, crossed), style="dashed")
        drawing.text(268, top - 12, "what was read", "small soft")
    drawing.save(path)


def _draw_stack(drawing, x, height, name, model, layer, parts) -> tuple[float, dict[str, float]]:
    """A stack from the embedding up; gives where it ends, and where each part stands."""
    config, at, places = model.config, height - 72, {}
    drawing.text(x, height - 14, name, "head")
    drawing.box(x, height - 52, 190, 40, "embedding", "input", f"positions: {config.position_embedding_type}")
    bottom = at - 12
    for names in parts:
        adds_behind = names[-1] if names[0].endswith("_norm") else names[0]
        branch = at - 18
        for child in names:
            module, tall = getattr(layer, child), 32 if child.endswith("_norm") else 38
            middle = at - (32 if child == names[0] else 14) - tall / 2
            drawing.line((x, at), (x, middle + tall / 2 + 1))
            if child.endswith("_norm"):
                drawing.box(x, middle, 190, tall, type(module).__name__, "norm")
            else:
                kind = "gate" if "attn" in child else "state"
                drawing.box(x, middle, 190, tall, _spaced(type(module).__name__), kind, _note(child, module, config))
            places[child] = middle
            at = middle - tall / 2
            if child == adds_behind:
                plus = at - 22
                drawing.line((x, at), (x, plus + 10))
                drawing.line((x, branch), (x + 116, branch), (x + 116, plus), (x + 10, plus))
                drawing.circle(x, plus, "+", 9)
                at = plus - 9
    drawing.frame(x - 108, at - 12, x + 128, bottom)
    drawing.text(x + 136, (at + bottom) / 2, f"{TIMES} N", anchor="start")
    end = at - 12
    if name != "encoder":
        drawing.line((x, at), (x, end - 20))
        drawing.box(x, end - 36, 190, 30, "softmax", "output")
        end -= 51
    return end, places


def _spaced(name: str) -> str:
    """`multi-head attention` for `MultiHeadAttention`."""
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
    return words.replace("multi head", "multi-head").replace("feed forward", "feed-forward")


def _note(child: str, module: nn.Module, config) -> str:
    if "attn" not in child:
        return f"{child}: {config.hidden_size} → {config.intermediate_size} → {config.hidden_size}"
    return f"{child}, {config.num_attention_heads} heads{', causal' * module.is_causal}"


def draw_kinds_of_task(classes: dict[str, type], path: str | Path) -> None:
    """
    Draw what goes into a recurrent net and what comes out, for each kind of task.

    Args:
        classes: The class that does each kind: `many to one`, `one to many`, `many to many, aligned` and `many to
            many, not aligned`.
        path: Where the SVG goes.
    """
    kinds = {
        "many to one": ([0, 1, 2], [2], "a class of a text"),
        "one to many": ([0], [0, 1, 2], "a text from its start"),
        "many to many, aligned": ([0, 1, 2], [0, 1, 2], "a label per word"),
        "many to many, not aligned": ([0, 1], [2, 3, 4], "a text from a text"),
    }
    drawing = Drawing(1000, 270, "Kinds of task: many to one, one to many, many to many, aligned or not")
    left = 30.0
    for kind, (inputs, outputs, example) in kinds.items():
        count = max(*inputs, *outputs) + 1
        xs = [left + 42 + 56 * index for index in range(count)]
        middle = (xs[0] + xs[-1]) / 2
        drawing.text(middle, 24, kind, "head")
        for index, x in enumerate(xs):
            drawing.box(x, 130, 36, 30, "", "state")
            if index:
                drawing.line((xs[index - 1] + 18, 130), (x - 18, 130))
            if index in inputs:
                drawing.box(x, 190, 36, 26, "", "input")
                drawing.line((x, 177), (x, 146))
            if index in outputs:
                drawing.box(x, 70, 36, 26, "", "output")
                drawing.line((x, 115), (x, 84))
            before = index - 1
            if before in outputs and index not in inputs and index in outputs:  # what was written is read next
                drawing.line(
                    (xs[before] + 18, 76), (x - 28, 96), (x - 28, 160), (x - 8, 160), (x - 8, 146), style="dashed"
                )
        drawing.text(middle, 224, example, "small")
        drawing.text(middle, 246, classes[kind].__name__.removeprefix("Recurrent"), "code soft")
        left = xs[-1] + 60
    drawing.save(path)
