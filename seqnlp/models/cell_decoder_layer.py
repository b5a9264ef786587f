"""A decoder's layer in which a recurrent cell stands for self-attention.

Shapes: `B` rows, `T` tokens, `S` tokens of the source.
"""

import torch
from transformers import EncoderDecoderCache
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs

from .attention import MultiHeadAttention
from .configuration_transformer import TransformerConfig
from .recurrence import Padding
from .recurrent_cache import num_states_kept, read_state, write_state
from .recurrent_layer import RecurrentLayer
from .transformer_layers import TransformerLayer, create_feed_forward, create_norm


class CellDecoderLayer(TransformerLayer):
    """
    A cell over the text so far, attention over the encoded text, then feed-forward (Kim et al. 2019, "From Research to
    Production and Back", section 3, with the SSRU): what a layer keeps of the text so far has one size however long
    that is. All else is as in a [`DecoderLayer`], the frame of residual connections and norms included.
    """

    def __init__(self, config: TransformerConfig, layer_idx: int):
        super().__init__(config)
        self.layer_idx = layer_idx
        self.recurrence = RecurrentLayer(config.recurrent_config(), layer_idx)
        self.recurrence_norm = create_norm(config)
        self.cross_attn = MultiHeadAttention(config, layer_idx)
        self.cross_attn_norm = create_norm(config)
        self.mlp = create_feed_forward(config)
        self.mlp_norm = create_norm(config)

    def forward(
        self,
        hidden_states: torch.Tensor,
        padding: Padding | None = None,
        encoder_hidden_states: torch.Tensor | None = None,
        encoder_attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
        cache: EncoderDecoderCache | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> torch.Tensor:
        """
        Args:
            hidden_states: `(B, T, hidden_size)`.
            padding: Which tokens are padding; they leave the cell's state as it is.
            encoder_hidden_states: `(B, S, hidden_size)`.
            encoder_attention_mask: What `create_bidirectional_mask` made of the encoder's mask.
            position_ids: Not read: a cell knows the order.
            position_embeddings: Not read.
            cache: The states after earlier tokens, keys and values of the source; updated in place.

        Returns:
            `(B, T, hidden_size)`.
        """

        def read_text(states):
            of_text = None if cache is None else cache.self_attention_cache
            before = None if of_text is None else read_state(of_text, self.layer_idx)
            kept = 0 if of_text is None else num_states_kept(of_text)
            # Not by a call, which would checkpoint once more within this layer's own checkpoint.
            outputs, after = self.recurrence.forward(states, before, padding, kept)
            for state in after:
                write_state(of_text, self.layer_idx, state)
            return outputs

        def attend_to_encoder(states):
            return self.cross_attn(states, encoder_attention_mask, None, cache, encoder_hidden_states, **kwargs)[0]

        hidden_states = self.add(hidden_states, self.recurrence_norm, read_text)
        hidden_states = self.add(hidden_states, self.cross_attn_norm, attend_to_encoder)
        return self.add(hidden_states, self.mlp_norm, self.mlp)


__all__ = []
