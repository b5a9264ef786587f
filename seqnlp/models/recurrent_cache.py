"""The state of a recurrent net as a transformers `Cache`: its size does not grow with the text."""

import torch
from transformers import Cache, DynamicCache, PreTrainedConfig, StaticCache
from transformers.cache_utils import LinearAttentionCacheLayerMixin, LinearAttentionLayer


class RecurrentCacheLayer(LinearAttentionLayer):
    """
    One layer's state: `number_of_states` tensors (hidden state and, for an LSTM, the cell), each of shape
    `(batch_size, num_directions, hidden_size)`, and the number of tokens they have seen.
    """

    def __init__(self, number_of_states: int = 1, is_static: bool = False):
        super().__init__(number_of_states=number_of_states)
        self.is_compileable = is_static
        # A compiled step must find its numbers where they were: a tensor, as in transformers' own static layers.
        self.cumulative_length = torch.zeros((), dtype=torch.long) if is_static else 0

    def lazy_initialization(self, *args, **kwargs) -> None:
        """Set up a static layer's states, and move its count to their device: a compiled step may not mix devices."""
        super().lazy_initialization(*args, **kwargs)
        if self.is_compileable:
            device = next(state.device for state in self.recurrent_states.values() if state is not None)
            self.cumulative_length = self.cumulative_length.to(device)

    def update_recurrent_state(self, recurrent_states: torch.Tensor, state_idx: int = 0, **kwargs) -> torch.Tensor:
        """Store a state. A static layer copies it to a fixed address; else it is kept as it is, with its graph."""
        if self.is_compileable:
            return super().update_recurrent_state(recurrent_states, state_idx)
        self.recurrent_states[state_idx] = recurrent_states
        self.is_recurrent_states_initialized[state_idx] = True
        return recurrent_states

    def get_seq_length(self) -> int:
        """Number of tokens read so far, padding included."""
        return int(self.cumulative_length)

    def reset(self) -> None:
        """Back to the state before the first token."""
        super().reset()
        if torch.is_tensor(self.cumulative_length):
            self.cumulative_length.zero_()
        else:
            self.cumulative_length = 0

    def detach(self) -> None:
        """Cut the state off from the graph that made it, as truncated backpropagation through time does."""
        for index, state in self.recurrent_states.items():
            if state is not None:
                self.recurrent_states[index] = state.detach()

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each row `repeats` times."""
        self._map(lambda state: state.repeat_interleave(repeats, dim=0))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep the rows named by `indices`."""
        self._map(lambda state: state[indices.to(state.device)])

    def _map(self, function) -> None:
        for index, state in self.recurrent_states.items():
            if state is not None:
                self.recurrent_states[index] = function(state)


class RecurrentStates:
    """
    What the caches of a [`RecurrentModel`] share: the state after the tokens it has read, one [`RecurrentCacheLayer`]
    a layer.

    It can be reordered (beam search), repeated and reset, but not cropped: a state cannot be taken back by a token.
    """

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Number of tokens read so far, padding included."""
        return self.layers[layer_idx].get_seq_length()

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        """Length and offset of the mask over all tokens read, as attention layers give it."""
        return self.get_seq_length(layer_idx) + query_length, 0

    def crop(self, tokens_to_remove: int) -> None:
        """Refused.

        Raises:
            ValueError: Always, unless nothing is to be removed.
        """
        if tokens_to_remove != 0:
            raise ValueError(
                f"A recurrent state cannot be taken back by {abs(tokens_to_remove)} tokens: read the shortened text "
                "anew."
            )

    def detach_(self) -> "RecurrentStates":
        """Cut every state off from the graph that made it, in place; for truncated backpropagation through time."""
        for layer in self.layers:
            layer.detach()
        return self

    def to_torch(self) -> tuple[torch.Tensor, ...]:
        """
        The states as `torch.nn.RNN`, `GRU` and `LSTM` return them: each `(num_layers * num_directions, batch,
        hidden)`.
        """
        states = zip(*(layer.recurrent_states.values() for layer in self.layers), strict=True)
        return tuple(torch.cat(list(layers), dim=1).transpose(0, 1).contiguous() for layers in states)

    def __iter__(self):
        for layer in self.layers:
            yield tuple(layer.recurrent_states.values())


class RecurrentCache(RecurrentStates, DynamicCache):
    """
    The state of a [`RecurrentModel`], kept with the graph that made it: gradients flow from one call to the next.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: PreTrainedConfig):
        Cache.__init__(self, layers=_layers(config, is_static=False))


class StaticRecurrentCache(RecurrentStates, StaticCache):
    """
    The state of a [`RecurrentModel`] at an address that stays, as a compiled step needs it. It carries no gradients.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: PreTrainedConfig):
        Cache.__init__(self, layers=_layers(config, is_static=True))


def _layers(config: PreTrainedConfig, is_static: bool) -> list[RecurrentCacheLayer]:
    return [RecurrentCacheLayer(config.number_of_conv_states, is_static) for _ in range(config.num_hidden_layers)]


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
            f"past_key_values is a {type(cache).__name__} that keeps keys and values in layer {layer_idx}; a "
            "recurrent model needs RecurrentCache(model.config) or DynamicCache(config=model.config)."
        )
    states = tuple(layer.recurrent_states.values())
    return states if layer.has_previous_state[0] else None


def write_state(cache: Cache, layer_idx: int, states: tuple[torch.Tensor, ...], num_tokens: int) -> None:
    """Store a layer's state after `num_tokens` more tokens."""
    layer = cache.layers[layer_idx]
    for index, state in enumerate(states):
        layer.update_recurrent_state(state, state_idx=index)
        # transformers sets these in update_conv_state alone, which recurrent layers have no use for.
        layer.has_previous_state[index] = True
        layer.device, layer.dtype = state.device, state.dtype
    if isinstance(layer, RecurrentCacheLayer):
        layer.cumulative_length += num_tokens
