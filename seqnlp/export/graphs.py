"""Models as graphs: tensors in, tensors out, by names, for any number of rows and tokens.

A head that answers at once is one graph, `model`. A model that writes is the graph of a step, with its memory among
inputs and outputs: what comes out as `present.*` goes in again as `past_key_values.*`. An encoder-decoder has its
encoder in a graph of its own, `encoder`, whose outputs are inputs of every step of `decoder` by the same names.

Shapes: `B` rows, `T` tokens read now, `P` tokens read before, `S` tokens of a source.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.export import Dim, ExportedProgram
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedConfig, PreTrainedModel

from ..models import (
    RecurrentCache,
    RecurrentForCausalLM,
    RecurrentSeq2SeqCache,
    RecurrentSeq2SeqForConditionalGeneration,
    TransformerDecoderForCausalLM,
    TransformerForConditionalGeneration,
)
from ..models.cells import CELLS
from ..models.recurrent_cache import read_state, write_state
from .base import ExportError


PAST, PRESENT = "past_key_values.", "present."
"""What the names of a step's memory begin with, before it and after it."""
NUM_TOKENS = f"{PAST}num_tokens"
"""How many tokens a step's memory has read, where its states do not tell."""
# How many of each an example has that a graph is traced with. No two are alike, and none is 1: a trace takes equal
# numbers for the same one, and a 1 for a constant.
EXAMPLE = {"rows": 2, "tokens": 5, "past_tokens": 7, "total_tokens": 12, "source_tokens": 9, "steps": 11}


@dataclass
class Graph:
    """
    One graph of a model.

    Attributes:
        name: `model`, or `encoder` and `decoder`.
        module: Takes the inputs by place and gives the outputs as a tuple.
        inputs: The shape of each input by name, its open dimensions by theirs (see `EXAMPLE`).
        outputs: The names of the outputs.
    """

    name: str
    module: nn.Module
    inputs: dict[str, tuple[int | str, ...]]
    outputs: list[str]

    def examples(self, sizes: dict[str, int], num_tokens: int = 2, seed: int = 0) -> tuple[torch.Tensor, ...]:
        """
        Random inputs; masks are 0 at the first place, and 1 at the last.

        Args:
            sizes: Of the open dimensions.
            num_tokens: Ids are below it.
            seed: Of the draws.
        """
        generator = torch.Generator().manual_seed(seed)
        found = []
        for name, shape in self.inputs.items():
            shape = tuple(sizes.get(size, size) for size in shape)
            if name.endswith("_ids"):
                tensor = torch.randint(num_tokens, shape, generator=generator)
            elif name == NUM_TOKENS:  # a position: no number at random
                tensor = torch.full(shape, float(sizes["past_tokens"]))
            elif is_mask(name):
                tensor = (torch.rand(shape, generator=generator) < 0.7).long()
                tensor[:, 0], tensor[:, -1] = 0, 1
            else:
                tensor = torch.randn(shape, generator=generator)
            found.append(tensor)
        return tuple(found)

    def trace(self) -> ExportedProgram:
        """The graph as a program of `torch.export`."""
        shapes = tuple(
            {place: Dim.DYNAMIC for place, size in enumerate(shape) if isinstance(size, str)}
            for shape in self.inputs.values()
        )
        # `forward` takes `*tensors`, whose shapes are one argument's.
        with torch.no_grad():
            program = torch.export.export(self.module, self.examples(EXAMPLE), dynamic_shapes=(shapes,), strict=False)
        for module in program.graph_module.modules():
            if isinstance(module, torch.fx.GraphModule):
                for node in module.graph.nodes:
                    node.meta.pop("stack_trace", None)  # files of this machine, which a saved program would name
        return program


def refuse_head(model: PreTrainedModel) -> None:
    """
    Refuse models that are not of this package or have no head, and taggers that read words by their spelling.

    Raises:
        ExportError: With the name of the class.
    """
    kind = type(model).__name__
    if not model.config.model_type.startswith("seqnlp_"):
        raise ExportError(
            f"A {kind} (model_type={model.config.model_type!r}) is not of seqnlp, whose models these are."
        )
    if "For" not in kind:
        raise ExportError(f"A {kind} has no head: export one that classifies, predicts or writes.")
    first = getattr(model.config, "first_continuing_id", None) if kind.endswith("ForTokenClassification") else None
    if first is not None:
        raise ExportError(
            f"A {kind} that reads words by their spelling (first_continuing_id={first}) is no graph: how many words "
            "there are depends on the tokens. Train it with --tokenizer_type wordpiece."
        )


def has_cells(config: PreTrainedConfig) -> bool:
    """Whether anything is run over time, by one recurrence or another."""
    return getattr(config, "recurrence_implementation", None) is not None


@contextlib.contextmanager
def ready_to_trace(model: PreTrainedModel, recurrence: str = "fused") -> Iterator[PreTrainedModel]:
    """The model for the time of a `with` as it is traced: cells as one operator over time, or else `eager` steps."""
    if not has_cells(model.config):
        yield model
        return
    before = model.config.recurrence_implementation
    model.set_recurrence_implementation(recurrence)
    try:
        yield model
    finally:
        model.set_recurrence_implementation(before)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings and remarks of exporters about themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def graphs_of(model: PreTrainedModel) -> list[Graph]:
    """The graphs of a model of this package that has a head, in the order in which they run."""
    if isinstance(model, RecurrentForCausalLM | TransformerDecoderForCausalLM):
        memory = _memory(model.config, model.config.num_hidden_layers)
        inputs = {"input_ids": ("rows", "tokens"), "attention_mask": ("rows", "total_tokens"), **memory}
        step = RecurrentStep if isinstance(model, RecurrentForCausalLM) else TransformerStep
        return [Graph("model", step(model), inputs, ["logits", *map(after, memory)])]
    if isinstance(model, RecurrentSeq2SeqForConditionalGeneration):
        return _recurrent_seq2seq(model)
    if isinstance(model, TransformerForConditionalGeneration):
        return _transformer_seq2seq(model)
    config, output = model.config, "logits"
    inputs = {"input_ids": ("rows", "tokens"), "attention_mask": ("rows", "tokens")}
    if model.main_input_name == "pixel_values":
        inputs = {"pixel_values": ("rows", config.num_channels, *config.image_shape)}
    elif model.main_input_name == "past_values":
        shape = ("rows", "steps", config.input_size)
        inputs, output = {"past_values": shape, "past_observed_mask": shape}, "prediction_outputs"
    return [Graph("model", AtOnce(model, list(inputs), output), inputs, [output])]


def is_mask(name: str) -> bool:
    """Whether an input says what is to be seen: 1 or 0."""
    return name.endswith("_mask")


def after(name: str) -> str:
    """The name under which a step's memory comes out that goes in as `name`."""
    return name.replace(PAST, PRESENT)


def _memory(config: PreTrainedConfig, num_layers: int, of: str = PAST, length: str = "past_tokens"):
    """Names and shapes of what a stack of layers keeps: recurrent states, or keys and values."""
    memory = {}
    for layer in range(num_layers):
        if hasattr(config, "cell_type"):
            for state in CELLS[config.cell_type].states:
                memory[f"{of}{layer}.{state}"] = ("rows", 1, config.hidden_size)
            # What writes reads in one direction: its layers are as wide as a state.
            if config.conv_kernel_size is not None:
                memory[f"{of}{layer}.convolved"] = ("rows", config.conv_kernel_size - 1, config.hidden_size)
        else:
            for part in ("key", "value"):
                memory[f"{of}{layer}.{part}"] = ("rows", config.num_key_value_heads, length, config.head_dim)
    return memory


def _recurrent_seq2seq(model: RecurrentSeq2SeqForConditionalGeneration) -> list[Graph]:
    config = model.config
    source = {"input_ids": ("rows", "source_tokens"), "attention_mask": ("rows", "source_tokens")}
    memory = _memory(config, config.num_hidden_layers)
    # With input feeding the decoder reads one token at a time: each waits for what attention found for the last.
    ids = ("rows", 1) if config.input_feeding else ("rows", "tokens")
    looked_at = {}
    if config.attention_type != "none":
        looked_at["encoder_hidden_states"] = ("rows", "source_tokens", config.source_size)
        projection = model.model.decoder.attention.k_proj
        looked_at["projected_keys"] = ("rows", "source_tokens", projection.out_features)
    if config.input_feeding:
        memory[f"{PAST}attentional_vector"] = ("rows", config.hidden_size)
    inputs = {"decoder_input_ids": ids, "attention_mask": source["attention_mask"], **looked_at, **memory}
    return [
        Graph("encoder", RecurrentEncoder(model), source, [*looked_at, *memory]),
        Graph("decoder", RecurrentDecoder(model, list(inputs)), inputs, ["logits", *map(after, memory)]),
    ]


def _transformer_seq2seq(model: TransformerForConditionalGeneration) -> list[Graph]:
    config = model.config
    source = {"input_ids": ("rows", "source_tokens"), "attention_mask": ("rows", "source_tokens")}
    encoded = _memory(config, config.decoder_layers, "encoder_key_values.", "source_tokens")
    if config.decoder_cell is None:
        decoder, memory = TransformerDecoder(model), _memory(config, config.decoder_layers)
    else:
        decoder, memory = CellDecoder(model), _memory(config.recurrent_config(), config.decoder_layers)
        if decoder.counts:  # states do not tell how many tokens they have read
            memory[NUM_TOKENS] = ("rows", 1)
    ids = {"decoder_input_ids": ("rows", "tokens")}
    inputs = {**ids, "attention_mask": source["attention_mask"], **encoded, **memory}
    return [
        Graph("encoder", TransformerEncoder(model), source, list(encoded)),
        Graph("decoder", decoder, inputs, ["logits", *map(after, memory)]),
    ]


class _Module(nn.Module):
    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self.model = model


class AtOnce(_Module):
    """A head that answers in one pass."""

    def __init__(self, model: PreTrainedModel, names: list[str], output: str):
        super().__init__(model)
        self.names, self.output = names, output

    def forward(self, *tensors):
        return (self.model(**dict(zip(self.names, tensors, strict=True)))[self.output],)


class RecurrentStep(_Module):
    """Tokens, the mask of all tokens so far and the state before them in; logits and the state after them out."""

    def forward(self, *tensors):
        input_ids, attention_mask, *state = tensors
        length = input_ids.shape[1]
        mask = attention_mask.narrow(1, attention_mask.shape[1] - length, length)
        cache = RecurrentCache(self.model.config)
        _write_states(cache, state)
        logits = self.model(input_ids=input_ids, attention_mask=mask, cache=cache).logits
        return logits, *_states(cache)


class TransformerStep(_Module):
    """Tokens, the mask of all so far, keys and values before them in; logits, keys and values after them out."""

    def forward(self, *tensors):
        input_ids, attention_mask, *past = tensors
        # By an index: a trace would tie the length of the mask to the sum of two others, at least two each.
        length = past[0].shape[2] + input_ids.shape[1]
        mask = attention_mask.index_select(1, torch.arange(length, device=attention_mask.device))
        cache = _key_values(past)
        logits = self.model(input_ids=input_ids, attention_mask=mask, cache=cache).logits
        return logits, *_flat(cache)


class RecurrentEncoder(_Module):
    """A source in; out comes what attention looks at and the state that the decoder starts from."""

    def forward(self, *tensors):
        input_ids, attention_mask = tensors
        decoder = self.model.model.decoder
        encoded = self.model.model.encoder(input_ids=input_ids, attention_mask=attention_mask)
        found = []
        if decoder.attention is not None:
            found += [encoded.last_hidden_state, decoder.attention.project_keys(encoded.last_hidden_state)]
        found += [tensor for state in decoder.states_from(encoded.final_state) for tensor in state]
        if self.model.config.input_feeding:
            found.append(encoded.last_hidden_state.new_zeros(input_ids.shape[0], self.model.config.hidden_size))
        return tuple(found)


class RecurrentDecoder(_Module):
    """Target tokens, what the encoder gave and the state before them in; logits and the state after them out."""

    def __init__(self, model: PreTrainedModel, names: list[str]):
        super().__init__(model)
        self.names = names

    def forward(self, *tensors):
        given = dict(zip(self.names, tensors, strict=True))
        config = self.model.config
        cache = RecurrentSeq2SeqCache(config)
        num_states = config.num_hidden_layers * config.number_of_conv_states
        memory = [tensor for name, tensor in given.items() if name.startswith(PAST)]
        _write_states(cache.self_attention_cache, memory[:num_states])
        if config.attention_type != "none":
            write_state(cache.cross_attention_cache, 0, (given["projected_keys"], *memory[num_states:]))
            cache.is_updated[0] = True
        outputs = self.model(
            attention_mask=given["attention_mask"],
            decoder_input_ids=given["decoder_input_ids"],
            encoder_outputs=(given.get("encoder_hidden_states"), None),
            cache=cache,
        )
        feed = read_state(cache.cross_attention_cache, 0)[1:] if config.input_feeding else ()
        return outputs.logits, *_states(cache.self_attention_cache), *feed


class TransformerEncoder(_Module):
    """A source in; out come the keys and values that each layer of the decoder looks at."""

    def forward(self, *tensors):
        input_ids, attention_mask = tensors
        states = self.model.model.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        layers = self.model.model.decoder.layers
        return tuple(tensor for layer in layers for tensor in layer.cross_attn.encoded_keys_and_values(states))


class TransformerDecoder(_Module):
    """Target tokens, the encoder's and their own keys and values before them in; logits, keys and values out."""

    def forward(self, *tensors):
        decoder_input_ids, attention_mask, *states = tensors
        encoded, past = states[: len(states) // 2], states[len(states) // 2 :]
        cache = EncoderDecoderCache(_key_values(past), _key_values(encoded))
        logits = self.read(decoder_input_ids, attention_mask, cache)
        return logits, *_flat(cache.self_attention_cache)

    def read(self, decoder_input_ids, attention_mask, cache: EncoderDecoderCache, **kwargs) -> torch.Tensor:
        """The logits of the target's tokens; the cache is updated in place."""
        # Only the number of its tokens is read: the layers take the source's keys and values from the cache.
        source = cache.cross_attention_cache.layers[0].keys.new_zeros(*attention_mask.shape, 1)
        return self.model(
            attention_mask=attention_mask,
            decoder_input_ids=decoder_input_ids,
            encoder_outputs=(source,),
            cache=cache,
            **kwargs,
        ).logits


class CellDecoder(TransformerDecoder):
    """
    Target tokens, the encoder's keys and values, the cells' states and the number of tokens before them in; logits,
    states and number out.
    """

    def __init__(self, model: PreTrainedModel):
        super().__init__(model)
        self.counts = model.config.position_embedding_type in ("sinusoidal", "learned")

    def forward(self, *tensors):
        decoder_input_ids, attention_mask, *states = tensors
        config, positions, counted = self.model.config, {}, ()
        if self.counts:
            steps = torch.arange(decoder_input_ids.shape[1], device=decoder_input_ids.device)
            positions["decoder_position_ids"] = states[-1].long() + steps  # (B, T)
            counted = (states.pop() + decoder_input_ids.shape[1],)
        encoded, past = states[: 2 * config.decoder_layers], states[2 * config.decoder_layers :]
        cache = EncoderDecoderCache(RecurrentCache(config.recurrent_config()), _key_values(encoded))
        _write_states(cache.self_attention_cache, past)
        logits = self.read(decoder_input_ids, attention_mask, cache, **positions)
        return logits, *_states(cache.self_attention_cache), *counted


def _write_states(cache: RecurrentCache, tensors: list[torch.Tensor]) -> None:
    num_states = len(tensors) // len(cache.layers)
    for layer in range(len(cache.layers)):
        write_state(cache, layer, tuple(tensors[layer * num_states : (layer + 1) * num_states]))


def _states(cache: RecurrentCache) -> list[torch.Tensor]:
    return [tensor for layer in range(len(cache.layers)) for tensor in read_state(cache, layer)]


def _key_values(tensors: list[torch.Tensor]) -> DynamicCache:
    return DynamicCache(zip(tensors[::2], tensors[1::2], strict=True))


def _flat(cache: DynamicCache) -> list[torch.Tensor]:
    return [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]
