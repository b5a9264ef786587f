"""Keys and values of earlier tokens as transformers' caches, without a copy of all of them for each new token."""

from weakref import WeakKeyDictionary

import torch
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer

from .recurrent_cache import RecurrentStates, SharedSourceCache


LEAST_ROOM, MOST_ROOM = 16, 256


def room_for(length: int) -> int:
    """For how many tokens more than `length` memory is taken at once: half as many, in bounds."""
    return min(MOST_ROOM, max(LEAST_ROOM, length // 2))


# The memory that keys and values lie in, by their layer and not as its attribute: all tensors that transformers
# finds in a cache are its content when a model is exported, and behind the last token there is none.
_BUFFERS: WeakKeyDictionary["GrowingLayer", dict[str, torch.Tensor]] = WeakKeyDictionary()


class GrowingLayer(DynamicLayer):
    """
    A layer whose keys and values, each `(B, G, S, D)`, begin a buffer that has room for more tokens: new ones are
    written behind them, where `DynamicLayer` copies all of them to make them longer.

    What is cut off is written over by what comes next, in tensors that were handed out before as well. Where gradients
    are recorded, or a graph is traced, it grows by copying; and where beams are searched, whose rows are put into
    another order and so copied for each token anyway: keys that lie densely are then read faster.
    """

    def __init__(self):
        super().__init__()
        self._is_reordered = False

    def update(self, key_states, value_states, *args, **kwargs):
        """Keys and values of all tokens so far, with those of new ones, each `(B, G, T, D)`, behind them."""
        if self._is_reordered or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return super().update(key_states, value_states, *args, **kwargs)
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        self.keys = self._append("keys", self.keys, key_states)
        self.values = self._append("values", self.values, value_states)
        return self.keys, self.values

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Row `beam_idx[i]` becomes row `i`, for beam search."""
        super().reorder_cache(beam_idx)
        self._is_reordered = True
        _BUFFERS.pop(self, None)

    def reset(self) -> None:
        """Back to no tokens."""
        super().reset()
        self._is_reordered = False
        _BUFFERS.pop(self, None)

    def _begins_buffer(self, which: str, held: torch.Tensor) -> bool:
        buffer = _BUFFERS.get(self, {}).get(which)
        return (
            buffer is not None
            and (torch.is_inference_mode_enabled() or not buffer.is_inference())
            and buffer.data_ptr() == held.data_ptr()
            and buffer.device == held.device
            and buffer.shape[:2] == held.shape[:2]
            and buffer.stride() == held.stride()
        )

    def _append(self, which: str, held: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        length, total = held.shape[2], held.shape[2] + new.shape[2]
        buffer = _BUFFERS.get(self, {}).get(which)
        if not self._begins_buffer(which, held) or total > buffer.shape[2]:
            buffer = new.new_empty(*new.shape[:2], total + room_for(total), new.shape[3])
            _BUFFERS.setdefault(self, {})[which] = buffer
            buffer[:, :, :length] = held
        buffer[:, :, length:total] = new
        return buffer[:, :, :total]


class GrowingCache(DynamicCache):
    """
    The cache that our decoders go on from: a [`GrowingLayer`] for each layer, in all else a `DynamicCache`.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config=config)
        self.layers = [GrowingLayer() for _ in self.layers]


class TransformerCache(SharedSourceCache):
    """
    What is kept of the target's tokens, in a [`GrowingCache`] or as states of cells, and keys and values of the
    source's, which may be kept once for several neighboring rows of the target.
    """

    def _give_each_row_its_source(self) -> None:
        if self.get_seq_length() > 0 and self.cross_attention_cache.get_seq_length() > 0:
            text = self.self_attention_cache.layers[0]
            kept = text.recurrent_states[0] if isinstance(self.self_attention_cache, RecurrentStates) else text.keys
            num_rows, num_sources = len(kept), len(self.cross_attention_cache.layers[0].keys)
            if num_rows != num_sources:
                self.cross_attention_cache.batch_repeat_interleave(num_rows // num_sources)


__all__ = ["GrowingCache", "TransformerCache"]
