"""What Transformers are built of: normalization, feed-forward, the layers and the stacks of encoder and decoder.

Vaswani et al. 2017 (arXiv 1706.03762), section 3, and what has replaced its parts since. Every module reads its
choices from the config. Shapes: `B` rows, `T` tokens.
"""

from collections.abc import Callable

import torch
from torch import nn
from transformers import Cache, PreTrainedConfig
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .attention import MultiHeadAttention
from .positions import Positions, count_positions
from .rms_norm import RMSNorm
from .unpadding import Unpadding


def create_norm(config: PreTrainedConfig) -> nn.Module:
    """`config.norm_type`: LayerNorm (Ba et al. 2016, arXiv 1607.06450, equation 4) or RMSNorm."""
    if config.norm_type == "rms_norm":
        return RMSNorm(config.hidden_size, config.layer_norm_eps)
    return nn.LayerNorm(config.hidden_size, config.layer_norm_eps, bias=config.use_bias)


def create_final_norm(config: PreTrainedConfig) -> nn.Module:
    """What stands behind the last layer: a norm where norms come first, nothing where each layer ends in one."""
    return create_norm(config) if config.norm_position == "pre" else nn.Identity()


class FeedForward(nn.Module):
    """
    Each token on its own through a wider layer: `W2 f(W1 x)`, with ReLU (Vaswani et al. 2017, section 3.3, equation 2)
    or GELU (Hendrycks & Gimpel 2016, arXiv 1606.08415, section 2).
    """

    def __init__(self, config: PreTrainedConfig):
        super().__init__()
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.use_bias)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=config.use_bias)
        self.activation = {"relu": nn.functional.relu, "gelu": nn.functional.gelu}[config.hidden_act]
        self.dropout = nn.Dropout(config.activation_dropout)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """`(B, T, hidden_size)` to the same shape."""
        inner = self.activation(self.up_proj(hidden_states))  # (B, T, intermediate_size)
        return self.down_proj(self.dropout(inner))


class GatedFeedForward(nn.Module):
    """SwiGLU: one linear map gates the other, `W2 (silu(W x) * V x)` (Shazeer 2020, arXiv 2002.05202, equation 6)."""

    def __init__(self, config: PreTrainedConfig):
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.use_bias)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.use_bias)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=config.use_bias)
        self.dropout = nn.Dropout(config.activation_dropout)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """`(B, T, hidden_size)` to the same shape."""
        gate = nn.functional.silu(self.gate_proj(hidden_states))  # (B, T, intermediate_size)
        inner = gate * self.up_proj(hidden_states)
        return self.down_proj(self.dropout(inner) if self.training else inner)


def create_feed_forward(config: PreTrainedConfig) -> nn.Module:
    """`config.hidden_act`: `"relu"`, `"gelu"` or `"swiglu"`."""
    return GatedFeedForward(config) if config.hidden_act == "swiglu" else FeedForward(config)


class TransformerLayer(GradientCheckpointingLayer):
    """What the layers of encoder and decoder share: sublayers, each inside a residual connection with a norm."""

    def __init__(self, config: PreTrainedConfig):
        super().__init__()
        self.norm_position = config.norm_position
        self.dropout = nn.Dropout(config.dropout)

    def add(
        self, hidden_states: torch.Tensor, norm: nn.Module, sublayer: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """
        `norm(x + sublayer(x))` (post, Vaswani et al. 2017, section 3.1) or `x + sublayer(norm(x))` (pre, Xiong et al.
        2020, arXiv 2002.04745, figure 1); the sublayer's output goes through dropout (Vaswani, section 5.4).
        """
        update = sublayer(hidden_states if self.norm_position == "post" else norm(hidden_states))
        if self.training:  # the call of a module that does nothing would show in the time of a generated token
            update = self.dropout(update)
        hidden_states = hidden_states + update
        return norm(hidden_states) if self.norm_position == "post" else hidden_states


class EncoderLayer(TransformerLayer):
    """Self-attention over the whole text, then feed-forward (Vaswani et al. 2017, section 3.1, figure 1, left)."""

    def __init__(self, config: PreTrainedConfig, layer_idx: int):
        super().__init__(config)
        self.self_attn = MultiHeadAttention(config, layer_idx)
        self.self_attn_norm = create_norm(config)
        self.mlp = create_feed_forward(config)
        self.mlp_norm = create_norm(config)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> torch.Tensor:
        """
        Args:
            hidden_states: `(B, T, hidden_size)`.
            attention_mask: What `create_bidirectional_mask` made.
            position_embeddings: Cosines and sines of rotary positions.

        Returns:
            `(B, T, hidden_size)`.
        """

        def attend_to_self(states):
            return self.self_attn(states, attention_mask, position_embeddings, **kwargs)[0]

        hidden_states = self.add(hidden_states, self.self_attn_norm, attend_to_self)
        return self.add(hidden_states, self.mlp_norm, self.mlp)


class DecoderLayer(TransformerLayer):
    """
    Self-attention over the text so far, attention over an encoded text if there is one, then feed-forward (Vaswani et
    al. 2017, section 3.1, figure 1, right; without an encoder Radford et al. 2018).
    """

    def __init__(self, config: PreTrainedConfig, layer_idx: int, has_cross_attention: bool = False):
        super().__init__(config)
        self.self_attn = MultiHeadAttention(config, layer_idx, is_causal=True)
        self.self_attn_norm = create_norm(config)
        self.cross_attn = MultiHeadAttention(config, layer_idx) if has_cross_attention else None
        self.cross_attn_norm = create_norm(config) if has_cross_attention else None
        self.mlp = create_feed_forward(config)
        self.mlp_norm = create_norm(config)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        encoder_hidden_states: torch.Tensor | None = None,
        encoder_attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
        cache: Cache | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> torch.Tensor:
        """
        Args:
            hidden_states: `(B, T, hidden_size)`.
            attention_mask: What `create_causal_mask` made.
            encoder_hidden_states: `(B, S, hidden_size)`, for a layer with cross-attention.
            encoder_attention_mask: What `create_bidirectional_mask` made of the encoder's mask.
            position_ids: Handed on to self-attention: flash attention reads from it where packed texts begin.
            position_embeddings: Cosines and sines of rotary positions.
            cache: Keys and values of earlier tokens; updated in place.

        Returns:
            `(B, T, hidden_size)`.
        """

        def attend_to_self(states):
            attend = self.self_attn
            return attend(states, attention_mask, position_embeddings, cache, position_ids=position_ids, **kwargs)[0]

        def attend_to_encoder(states):
            return self.cross_attn(states, encoder_attention_mask, None, cache, encoder_hidden_states, **kwargs)[0]

        hidden_states = self.add(hidden_states, self.self_attn_norm, attend_to_self)
        if self.cross_attn is not None:
            hidden_states = self.add(hidden_states, self.cross_attn_norm, attend_to_encoder)
        return self.add(hidden_states, self.mlp_norm, self.mlp)


class TransformerStack:
    """
    Embedded tokens with their positions through layers: what encoders and decoders share, before a family's
    `PreTrainedModel` among the bases.
    """

    def add_layers(self, create_layer: Callable[[int], nn.Module], num_layers: int) -> None:
        """Make the parts, those before and behind the layers too, and draw the weights."""
        config = self.config
        self.embed_tokens = None
        if getattr(config, "input_size", None) is None:
            self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.embedding_scale = config.hidden_size**0.5 if config.scale_embedding else 1.0
        self.positions = Positions(config)
        self.embedding_norm = create_norm(config) if config.embedding_norm else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList([create_layer(index) for index in range(num_layers)])
        self.norm = create_final_norm(config)
        self.gradient_checkpointing = False
        self.post_init()

    def run_layers(
        self,
        inputs_embeds: torch.Tensor,
        position_ids: torch.Tensor,
        /,
        *layer_inputs: torch.Tensor | None,
        unpadding: Unpadding | None = None,
        **kwargs,
    ) -> torch.Tensor:
        """
        From embeddings to the states behind the last layer, both `(B, T, hidden_size)`.

        Args:
            inputs_embeds: The embeddings, without positions.
            position_ids: `(B, T)` or `(1, T)`.
            layer_inputs: What each layer gets besides the states by its place: reentrant gradient checkpointing
                carries the gradients of these alone.
            unpadding: How the layers are to skip the padding, where the states are zero then.
            kwargs: What each layer gets by name.
        """
        hidden_states, position_embeddings = self.positions(inputs_embeds * self.embedding_scale, position_ids)
        hidden_states = self.dropout(self.embedding_norm(hidden_states))
        if unpadding is not None:
            hidden_states, kwargs = unpadding.remove(hidden_states), {**kwargs, "unpadding": unpadding}
        for layer in self.layers:
            hidden_states = layer(hidden_states, *layer_inputs, position_embeddings=position_embeddings, **kwargs)
        hidden_states = self.norm(hidden_states)
        return hidden_states if unpadding is None else unpadding.restore(hidden_states)


class EncoderStack(TransformerStack):
    """A stack in which each token sees all others (Vaswani et al. 2017, figure 1, left)."""

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.add_layers(lambda index: EncoderLayer(config, index), config.num_hidden_layers)

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutput:
        """
        Args:
            input_ids: `(batch_size, sequence_length)`.
            attention_mask: `(batch_size, sequence_length)`, 0 at padding, which may stand anywhere; `None` means that
                every token is valid.
            position_ids: `(batch_size, sequence_length)`; by default the number of valid tokens before each.
            inputs_embeds: `(batch_size, sequence_length, hidden_size)`, instead of `input_ids`.

        Returns:
            `last_hidden_state`, `(batch_size, sequence_length, hidden_size)`.

        Raises:
            ValueError: If not exactly one of `input_ids` and `inputs_embeds` is given, or if the mask has another
                shape.
        """
        inputs_embeds = self.embed(input_ids, inputs_embeds)
        position_ids = count_positions(attention_mask, inputs_embeds, position_ids=position_ids)
        mask = create_bidirectional_mask(self.config, inputs_embeds, attention_mask)
        unpadding = Unpadding.of_training(self.layers, attention_mask)
        states = self.run_layers(inputs_embeds, position_ids, mask, unpadding=unpadding, **kwargs)
        return BaseModelOutput(last_hidden_state=states)
