"""Where a model looks: the attention weights of a text or an image, as the model itself computes them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from .errors import DiagnosticsError


@dataclass(frozen=True)
class AttentionMap:
    """
    The weights of one kind of attention, in every layer and head.

    Attributes:
        name: Which attention, e.g. `cross-attention`.
        layers: For each layer a tensor `(num_heads, num_queries, num_keys)`; a query's weights sum to one over the
            keys.
        queries: What looks: a token, or a place in an image.
        keys: What is looked at.
        grid: Rows and columns of patches, if the keys are an image's; they are the last `rows * columns` keys.
    """

    name: str
    layers: list[torch.Tensor]
    queries: list[str]
    keys: list[str]
    grid: tuple[int, int] | None = None


def attention_maps(
    model: PreTrainedModel,
    inputs: dict[str, torch.Tensor],
    tokens: list[str] | None = None,
    read_tokens: list[str] | None = None,
    predicted_tokens: list[str] | None = None,
) -> list[AttentionMap]:
    """
    Run a model once and take every attention weight it computes.

    Args:
        model: Any model of transformers whose attention has an eager implementation; recurrent encoder-decoders with
            attention, whose alignment it is; and recurrent classifiers with attention pooling.
        inputs: One row of what the model reads: `input_ids` (and `decoder_input_ids`), or `pixel_values`.
        tokens: The tokens of `input_ids` as text; not needed for an image.
        read_tokens: Those of `decoder_input_ids`.
        predicted_tokens: For each of them the token that follows: what is written while the decoder looks there.

    Raises:
        DiagnosticsError: For a model without attention, or one that does not tell its weights.
    """
    pooled: list[torch.Tensor] = []
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), _eager_attention(model), _watch_pooling(model, pooled):
            outputs = model(**inputs, output_attentions=True)
    finally:
        model.train(was_training)

    grid = None
    if "pixel_values" in inputs:
        tokens, grid = _patches(model, outputs)
    kinds = (
        ("attentions", "self-attention", tokens, tokens),
        ("encoder_attentions", "encoder self-attention", tokens, tokens),
        ("decoder_attentions", "decoder self-attention", read_tokens, read_tokens),
        ("cross_attentions", "cross-attention", predicted_tokens, tokens),
    )
    maps = []
    for field, name, queries, keys in kinds:
        layers = getattr(outputs, field, None)
        if not layers:
            continue
        if any(layer is None for layer in layers):
            raise _not_available(model)
        if layers[0].dim() != 4:  # what RWKV calls so are no weights of tokens over tokens
            continue
        if field == "cross_attentions" and not getattr(outputs, "encoder_attentions", None):
            name = "alignment"  # of a recurrent decoder, which is what attention was first called for
        maps.append(AttentionMap(name, [layer[0].float().cpu() for layer in layers], queries, keys, grid))
    maps.extend(AttentionMap("attention pooling", [weights], ["whole text"], tokens) for weights in pooled)
    if not maps:
        if getattr(model.config, "num_attention_heads", None):
            raise _not_available(model)
        raise DiagnosticsError(f"{type(model).__name__} has no attention to look at.")
    for found in maps:
        num_queries, num_keys = found.layers[0].shape[1:]
        if (num_queries, num_keys) != (len(found.queries), len(found.keys)):
            raise DiagnosticsError(
                f"{type(model).__name__}: the {found.name} is {num_queries} by {num_keys}, but there are "
                f"{len(found.queries)} by {len(found.keys)} tokens: it looks at something else than the text."
            )
    return maps


def _not_available(model: PreTrainedModel) -> DiagnosticsError:
    return DiagnosticsError(
        f"{type(model).__name__} does not tell its attention weights: it has no eager implementation "
        "(attn_implementation='eager'), which alone computes them in the open."
    )


@contextmanager
def _eager_attention(model: PreTrainedModel) -> Iterator[None]:
    """Fused implementations never hold the weights: compute them by the eager one inside the block."""
    before = model.config._attn_implementation
    if before == "eager" or not getattr(model.config, "num_attention_heads", None):
        yield
        return
    try:
        model.set_attn_implementation("eager")
    except (ValueError, ImportError) as error:
        raise _not_available(model) from error
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@contextmanager
def _watch_pooling(model: PreTrainedModel, pooled: list[torch.Tensor]) -> Iterator[None]:
    """Collect `(1, 1, num_tokens)` weights of a recurrent classifier's attention pooling inside the block."""

    def record(module: nn.Module, arguments: tuple, output: torch.Tensor) -> None:
        hidden_states, mask = arguments
        # Yang et al. 2016, section 2.2, equations 5 and 6: the module itself hands on the average alone.
        scores = torch.tanh(module.proj(hidden_states)) @ module.context  # (B, S)
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        pooled.append(scores.softmax(dim=-1)[:1, None].float().cpu())

    pooling = getattr(model, "attention_pooling", None)
    handle = pooling.register_forward_hook(record) if pooling is not None else None
    try:
        yield
    finally:
        if handle is not None:
            handle.remove()


def _patches(model: PreTrainedModel, outputs) -> tuple[list[str], tuple[int, int]]:
    """Names for the places of an image that attention sees, row by row, and how many rows and columns there are."""
    sides = []
    for name in ("image_size", "patch_size"):
        value = getattr(model.config, name, None)
        if value is None:
            raise DiagnosticsError(f"{type(model).__name__} has no {name}: which patches it looks at is not known.")
        sides.append((value, value) if isinstance(value, int) else tuple(value))
    rows, columns = (side // part for side, part in zip(*sides, strict=True))
    layers = getattr(outputs, "attentions", None)
    if not layers or layers[0] is None:
        raise _not_available(model)
    num_extra = layers[0].shape[-1] - rows * columns
    if num_extra < 0:
        raise DiagnosticsError(
            f"{type(model).__name__} looks at {layers[0].shape[-1]} places, fewer than the {rows} x {columns} patches "
            "of its configuration: there is no telling which."
        )
    extra = ["class token", *(f"extra token {index}" for index in range(2, num_extra + 1))][:num_extra]
    places = [f"row {row + 1}, column {column + 1}" for row in range(rows) for column in range(columns)]
    return extra + places, (rows, columns)
