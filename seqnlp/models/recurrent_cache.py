"""The state of a recurrent net as a transformers `Cache`, of a size that does not grow with the text."""

from collections import deque

import torch
from transformers import Cache, DynamicCache, EncoderDecoderCache, PreTrainedConfig, StaticCache
from transformers.cache_utils import LinearAttentionCacheLayerMixin, LinearAttentionLayer

from .cells import CELLS, State


# By how many tokens a state that is recorded can be taken back. A draft that is always right grows by two tokens each
# time, and would be as long as this after 65,000.
ROLL_BACK = 512


class RecurrentStates:
    """
    What the caches of a [`RecurrentModel`] share: the state after the tokens it has read, a `LinearAttentionLayer` of
    transformers per layer, whose `recurrent_states` are the cell's `states`, the hidden state first, each of shape
    `(batch_size, num_directions, hidden_size)`, and then what a convolution has read; and the number of these tokens,
    which such layers do not count.

    It can be reordered (beam search), repeated and reset. A state cannot be computed backward, so it is cropped only
    where the states before it were kept: after `activate_past_recording()`, as speculative decoding (Leviathan et al.
    2023, arXiv 2211.17192) asks for it, by up to [`ROLL_BACK`] tokens.

    Args:
        config: The model's configuration.
    """

    is_static = False
    """Whether states keep their address from step to step, as a compiled step needs it."""
    num_cell_states = 0
    """How many of a layer's states, the first ones, are the cell's."""

    def __init__(self, config: PreTrainedConfig):
        self.num_cell_states = len(CELLS[config.cell_type].states)
        self._create_layers(config.num_hidden_layers, config.number_of_conv_states)

    def _create_layers(self, num_layers: int, num_states: int) -> None:
        Cache.__init__(self, layers=[LinearAttentionLayer(number_of_states=num_states) for _ in range(num_layers)])
        # A compiled step must find its numbers where they were: a tensor, as in transformers' own static layers.
        self.num_tokens = torch.zeros((), dtype=torch.long) if self.is_static else 0
        # For each layer its last states, the newest last; `None` where only that one is kept.
        self.past: list[deque[State]] | None = None

    @property
    def is_compileable(self) -> bool:
        """Whether a step can be compiled with this cache: where states are replaced rather than copied, it cannot."""
        return self.is_static

    @property
    def is_linear(self) -> list[bool]:
        """False for each layer: to a cache of such layers alone `generate` would hand all tokens anew, read or not."""
        return [False] * len(self.layers)

    def count(self, num_tokens: int) -> None:
        """Note that the states have read `num_tokens` more tokens."""
        self.num_tokens += num_tokens

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Number of tokens read so far, padding included."""
        return int(self.num_tokens)

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        """Length and offset of the mask over all tokens read, as attention layers give it."""
        return self.get_seq_length(layer_idx) + query_length, 0

    def store(self, layer_idx: int, state_idx: int, state: torch.Tensor) -> None:
        """Keep a state: with its graph, or in a static cache as a copy at a fixed address."""
        layer = self.layers[layer_idx]
        if self.is_static:
            layer.update_recurrent_state(state, state_idx)
            # Behind the first step, which is not compiled: a compiled one may not mix devices.
            self.num_tokens = self.num_tokens.to(state.device)
        else:
            layer.recurrent_states[state_idx] = state
            layer.is_recurrent_states_initialized[state_idx] = True

    def reset(self) -> None:
        """Back to the state before the first token."""
        if self.is_static:
            super().reset()  # in place
            self.num_tokens.zero_()
        else:
            is_recording = self.past is not None
            self._create_layers(len(self.layers), self.layers[0].number_of_states)
            if is_recording:
                self.activate_past_recording()

    @property
    def is_croppable(self) -> bool:
        """Whether earlier states are kept."""
        return self.past is not None

    def activate_past_recording(self) -> None:
        """
        From now on keep the states of the last tokens, so that [`crop`][RecurrentStates.crop] can go back to them.

        Raises:
            ValueError: For a static cache, whose states are overwritten in place.
        """
        if self.is_static:
            raise ValueError("A static cache keeps one state alone: use the usual cache where tokens are taken back.")
        if self.past is None:
            self.past = [deque(maxlen=ROLL_BACK + 1) for _ in self.layers]
            for past, layer in zip(self.past, self.layers, strict=True):
                if layer.has_previous_state[0]:
                    past.append(tuple(layer.recurrent_states.values()))

    def crop(self, tokens_to_remove: int) -> None:
        """
        Go back to the state before the last tokens.

        Args:
            tokens_to_remove: Their number, as 0 or a negative number: so transformers calls it.

        Raises:
            ValueError: For more tokens than states are kept of.
        """
        count = -int(tokens_to_remove)
        if count == 0:
            return
        if count == self.get_seq_length():  # an encoder-decoder's draft goes back to before its first token
            return self.reset()
        kept = 0 if self.past is None else len(self.past[0]) - 1
        if not 0 < count <= kept:
            raise ValueError(
                f"The recurrent state can be taken back by {max(kept, 0)} tokens, not by {count}: read the shortened "
                "text anew, or call activate_past_recording() before these tokens are read."
            )
        for past, layer in zip(self.past, self.layers, strict=True):
            for _ in range(count):
                past.pop()
            layer.recurrent_states.update(enumerate(past[-1]))
        self.num_tokens -= count

    def detach_(self) -> "RecurrentStates":
        """Cut every state off from the graph that made it, in place; for truncated backpropagation through time."""
        return self._map(lambda state: state.detach())

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Row `beam_idx[i]` becomes row `i`, in the states that are kept of earlier tokens too."""
        super().reorder_cache(beam_idx)
        self._map_past(lambda state: state.index_select(0, beam_idx.to(state.device)))

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each row `repeats` times."""
        self._map(lambda state: state.repeat_interleave(repeats, dim=0))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep the rows named by `indices`."""
        self._map(lambda state: state[indices.to(state.device)])

    def _map(self, function) -> "RecurrentStates":
        for layer in self.layers:
            for index, state in layer.recurrent_states.items():
                if state is not None:
                    layer.recurrent_states[index] = function(state)
        self._map_past(function)
        return self

    def _map_past(self, function) -> None:
        for past in self.past or ():
            changed = [tuple(map(function, states)) for states in past]
            past.clear()
            past.extend(changed)

    def to_torch(self) -> tuple[torch.Tensor, ...]:
        """
        The cells' states as `torch.nn.RNN`, `GRU` and `LSTM` return them, each `(num_layers * num_directions, batch,
        hidden)`; what a convolution has read is not among them.
        """
        layers = [list(layer.recurrent_states.values())[: self.num_cell_states] for layer in self.layers]
        states = zip(*layers, strict=True)
        return tuple(torch.cat(tensors, dim=1).transpose(0, 1).contiguous() for tensors in states)

    def __iter__(self):
        for layer in self.layers:
            yield tuple(layer.recurrent_states.values())


class RecurrentCache(RecurrentStates, DynamicCache):
    """The state of a [`RecurrentModel`] with the graph that made it: gradients flow from one call to the next."""


class StaticRecurrentCache(RecurrentStates, StaticCache):
    """The state of a [`RecurrentModel`] at an address that stays, as a compiled step needs it, without gradients."""

    is_static = True


class AttentionCache(RecurrentCache):
    """
    What attention keeps from step to step: the source's projected keys, `(B, S, A)`, and with input feeding the
    attentional vector of the last token, `(B, H)`. Of these rows several neighbors may look at one source.

    Args:
        config: The model's configuration.
        is_static: Whether they keep their address, as compiled generation needs.
    """

    def __init__(self, config: PreTrainedConfig, is_static: bool = False):
        self.is_static = is_static
        self._create_layers(num_layers=1, num_states=2 if config.input_feeding else 1)


class SharedSourceCache(EncoderDecoderCache):
    """Of an encoder-decoder: what is kept of a source may stand once for several neighboring rows of the target."""

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Row `beam_idx[i]` becomes row `i`, with its source."""
        self._give_each_row_its_source()
        super().reorder_cache(beam_idx)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep the rows named by `indices`, with their sources."""
        self._give_each_row_its_source()
        super().batch_select_indices(indices)

    def _give_each_row_its_source(self) -> None:
        raise NotImplementedError


class RecurrentSeq2SeqCache(SharedSourceCache):
    """
    The decoder's state after the target tokens it has read. It can be reordered (beam search), repeated and reset, but
    not cropped. Its `self_attention_cache` is the [`RecurrentCache`] of the recurrent layers, its
    `cross_attention_cache` an [`AttentionCache`].

    Args:
        config: The model's configuration.
        is_static: Whether states keep their address from step to step, as compiled generation needs.
    """

    def __init__(self, config: PreTrainedConfig, is_static: bool = False):
        cache_class = StaticRecurrentCache if is_static else RecurrentCache
        super().__init__(cache_class(config), AttentionCache(config, is_static))

    def activate_past_recording(self) -> None:
        """
        Not offered: of several tokens that are read at once the decoder gives the last state alone.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "The state of a recurrent encoder-decoder cannot be taken back: read the shortened target anew from an "
            "empty RecurrentSeq2SeqCache."
        )

    def reorder_beams(self, beam_idx: torch.LongTensor) -> None:
        """Row `beam_idx[i]` becomes row `i`; it reads the same source, whose keys stay where they are."""
        self.self_attention_cache.reorder_cache(beam_idx)
        states = self.cross_attention_cache.layers[0].recurrent_states
        if states.get(1) is not None:
            states[1] = states[1].index_select(0, beam_idx.to(states[1].device))

    def _give_each_row_its_source(self) -> None:
        state = self.self_attention_cache.layers[0].recurrent_states[0]
        keys = self.cross_attention_cache.layers[0].recurrent_states
        if keys[0] is not None and len(keys[0]) != len(state):
            keys[0] = keys[0].repeat_interleave(len(state) // len(keys[0]), dim=0)


def read_state(cache: Cache, layer_idx: int) -> tuple[torch.Tensor, ...] | None:
    """
    A layer's state in `cache`, each tensor `(batch_size, num_directions, hidden_size)`, or `None` before the first
    token.

    Raises:
        ValueError: If the cache has no place for the state of a recurrent layer.
    """
    layer = cache.layers[layer_idx] if layer_idx < len(cache.layers) else None
    if not isinstance(layer, LinearAttentionCacheLayerMixin):
        raise ValueError(
            f"cache is a {type(cache).__name__} that keeps keys and values in layer {layer_idx}; a "
            "recurrent model needs RecurrentCache(model.config) or DynamicCache(config=model.config)."
        )
    states = tuple(layer.recurrent_states.values())
    return states if layer.has_previous_state[0] else None


def write_state(cache: Cache, layer_idx: int, states: tuple[torch.Tensor, ...]) -> None:
    """Store a layer's state."""
    layer = cache.layers[layer_idx]
    for index, state in enumerate(states):
        if isinstance(cache, RecurrentStates):
            cache.store(layer_idx, index, state)
        else:
            layer.update_recurrent_state(state, state_idx=index)
        # transformers sets these in update_conv_state alone, which recurrent layers have no use for.
        layer.has_previous_state[index] = True
        layer.device, layer.dtype = state.device, state.dtype
    if isinstance(cache, RecurrentStates) and cache.past is not None:
        cache.past[layer_idx].append(states)


def num_tokens_read(cache: Cache | None) -> int | torch.Tensor | None:
    """
    How many tokens the states in `cache` have read; `None` where it does not count them. A tensor in a static cache,
    which a compiled step cannot look into.
    """
    if cache is None:
        return 0
    return cache.num_tokens if isinstance(cache, RecurrentStates) else None


def num_states_kept(cache: Cache) -> int:
    """How many of the states that a layer goes through `cache` has room for."""
    return ROLL_BACK + 1 if isinstance(cache, RecurrentStates) and cache.past is not None else 1


__all__ = ["RecurrentCache", "RecurrentSeq2SeqCache", "StaticRecurrentCache"]
