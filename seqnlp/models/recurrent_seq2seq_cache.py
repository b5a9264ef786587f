"""The state of a recurrent decoder with attention as a transformers `Cache`; it does not grow with the target."""

from transformers import EncoderDecoderCache, PreTrainedConfig

from .recurrent_cache import RecurrentCache, StaticRecurrentCache


class AttentionCache(RecurrentCache):
    """
    What attention keeps from step to step: the source's projected keys, `(B, S, A)`, and with input feeding the
    attentional vector of the last token, `(B, H)`.

    Args:
        config: The model's configuration.
        is_static: Whether they keep their address, as compiled generation needs.
    """

    def __init__(self, config: PreTrainedConfig, is_static: bool = False):
        self.is_static = is_static
        self._create_layers(num_layers=1, num_states=2 if config.input_feeding else 1)


class RecurrentSeq2SeqCache(EncoderDecoderCache):
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
