"""What Transformers are built of: positions, normalisation, feed-forward, and the layers of encoder and decoder.

Vaswani et al. 2017 (arXiv 1706.03762), section 3, and what has replaced its parts since. Every module reads its
choices from the config. Shapes: `B` rows, `T` tokens.
"""

from collections.abc import Callable

import torch
from torch import nn
from transformers import Cache, PreTrainedConfig
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs

from .attention import MultiHeadAttention


def count_positions(
    attention_mask: torch.Tensor | None, inputs_embeds: torch.Tensor, past_length: int | torch.Tensor = 0
) -> torch.Tensor:
    """
    The position of each token: how many valid tokens stand before it. So padding on either side moves nothing.

    Args:
        attention_mask: `(B, past_length + T)`, 0 at padding; without one, or with one prepared by hand for each pair
            of tokens, every token counts.
        inputs_embeds: `(B, T, hidden_size)`.
        past_length: Number of tokens that a cache holds.

    Returns:
        `(B, T)`, or `(1, T)` where all rows are alike.

    Raises:
        ValueError: If the mask does not fit the tokens.
    """
    batch_size, num_tokens = inputs_embeds.shape[:2]
    if not isinstance(attention_mask, torch.Tensor) or attention_mask.dim() > 2:
        return (torch.arange(num_tokens, device=inputs_embeds.device) + past_length).unsqueeze(0)
    if not torch.compiler.is_compiling() and (
        attention_mask.dim() < 2 or attention_mask.shape[0] != batch_size or attention_mask.shape[1] < num_tokens
    ):
        raise ValueError(
            f"attention_mask of shape {tuple(attention_mask.shape)} does not fit {num_tokens} tokens in {batch_size} "
            "rows: it must be (batch_size, sequence_length), 0 at padding."
        )
    # Padding before the first valid token counts as position 0: any position would do, it must only exist.
    return (attention_mask.long().cumsum(dim=1) - 1).clamp(min=0)[:, -num_tokens:]


def select_tokens(hidden_states: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """One token's state from each row: `(B, T, hidden_size)` states and `(B,)` places to `(B, hidden_size)`."""
    # Spread out by hand: traced for export, take_along_dim would fix the number of rows and tokens.
    index = index.view(-1, 1, 1).expand(-1, 1, hidden_states.shape[-1])
    return hidden_states.gather(1, index).squeeze(1)


def last_valid_token(attention_mask: torch.Tensor | None, hidden_states: torch.Tensor) -> torch.Tensor:
    """
    The state of each row's last valid token, wherever its padding stands.

    Args:
        attention_mask: `(B, T)` or longer by the tokens of a cache, 0 at padding; `None` if all are valid.
        hidden_states: `(B, T, hidden_size)`.

    Returns:
        `(B, hidden_size)`.
    """
    if attention_mask is None:
        return hidden_states[:, -1]
    positions = torch.arange(hidden_states.shape[1], device=hidden_states.device)
    last = torch.where(attention_mask[:, -hidden_states.shape[1] :].bool(), positions, 0).amax(dim=1)  # (B,)
    return select_tokens(hidden_states, last)


def pool_tokens(pooling: str, attention_mask: torch.Tensor | None, hidden_states: torch.Tensor) -> torch.Tensor:
    """
    One vector for a text: its first valid token's state, or the mean or maximum of its valid tokens' states.

    Args:
        pooling: `"first"`, `"mean"` or `"max"`.
        attention_mask: `(B, T)`, 0 at padding; `None` if all are valid.
        hidden_states: `(B, T, hidden_size)`.

    Returns:
        `(B, hidden_size)`; finite, if meaningless, where a row has no valid token.
    """
    if attention_mask is None:
        attention_mask = hidden_states.new_ones(hidden_states.shape[:2])
    mask = attention_mask.bool()
    if pooling == "mean":
        summed = hidden_states.masked_fill(~mask.unsqueeze(-1), 0).sum(dim=1)
        return summed / mask.sum(dim=1, keepdim=True).clamp(min=1)
    if pooling == "max":
        pooled = hidden_states.masked_fill(~mask.unsqueeze(-1), torch.finfo(hidden_states.dtype).min).amax(dim=1)
        return pooled.masked_fill(~mask.any(dim=1, keepdim=True), 0)
    first = mask.int().argmax(dim=1)  # (B,); of equal values the first
    return select_tokens(hidden_states, first)


def position_angles(position_ids: torch.Tensor, size: int, base: float) -> torch.Tensor:
    """
    The angles of `size / 2` clock hands at each position, from one that turns fast to one that hardly turns:
    `position / base^(2 i / size)` (Vaswani et al. 2017, section 3.5; Su et al. 2021, section 3.2.2).

    In float32 whatever the model's type, since half precision cannot tell large neighbouring positions apart; and
    computed anew, for positions of any size.

    Args:
        position_ids: `(B, T)`.
        size: Even.
        base: 10000 in both papers.

    Returns:
        `(B, T, size / 2)`.
    """
    steps = torch.arange(0, size, 2, device=position_ids.device, dtype=torch.float32)
    return position_ids.unsqueeze(-1).float() * base ** (-steps / size)


class SinusoidalPositions(nn.Module):
    """Sines and cosines of the position, interleaved (Vaswani et al. 2017, section 3.5). Nothing is learned."""

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def forward(self, position_ids: torch.Tensor) -> torch.Tensor:
        """From `(B, T)` positions to `(B, T, size)`."""
        angles = position_angles(position_ids, self.size, base=10000.0)
        return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)


class LearnedPositions(nn.Embedding):
    """A vector learned for each position (Gehring et al. 2017, arXiv 1705.03122, section 3.1; Devlin et al. 2019)."""

    def forward(self, position_ids: torch.Tensor) -> torch.Tensor:
        """
        From `(B, T)` positions to `(B, T, size)`.

        Raises:
            ValueError: On CPU, for a position that has no vector.
        """
        try:
            return super().forward(position_ids)
        except IndexError:
            raise ValueError(
                f"Position {int(position_ids.max())} is beyond max_position_embeddings={self.num_embeddings}: give "
                "shorter texts, or train with more positions or with rotary ones."
            ) from None


class RotaryPositions(nn.Module):
    """
    Positions as angles by which queries and keys are turned: only distances reach the scores (Su et al. 2021, arXiv
    2104.09864, section 3.2).
    """

    def __init__(self, head_dim: int, base: float):
        super().__init__()
        self.head_dim = head_dim
        self.base = base

    def forward(self, position_ids: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """
        From `(B, T)` positions to cosines and sines, each `(B, T, head_dim)`; the sines with the signs that
        `rotate` needs.
        """
        angles = position_angles(position_ids, self.head_dim, self.base)
        cosines, sines = angles.cos(), angles.sin()
        return torch.cat([cosines, cosines], dim=-1).to(dtype), torch.cat([-sines, sines], dim=-1).to(dtype)


class Positions(nn.Module):
    """
    How a model knows the order of its tokens, by `config.position_embedding_type`: vectors added to the embeddings,
    angles handed to attention, or neither.
    """

    def __init__(self, config: PreTrainedConfig):
        super().__init__()
        kind = config.position_embedding_type
        self.embed_positions = None
        self.rotary = None
        if kind == "sinusoidal":
            self.embed_positions = SinusoidalPositions(config.hidden_size)
        elif kind == "learned":
            self.embed_positions = LearnedPositions(config.max_position_embeddings, config.hidden_size)
        elif kind == "rotary":
            self.rotary = RotaryPositions(config.head_dim, config.rope_theta)

    def forward(
        self, hidden_states: torch.Tensor, position_ids: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor] | None]:
        """
        Args:
            hidden_states: Embedded tokens, `(B, T, hidden_size)`.
            position_ids: `(B, T)` or `(1, T)`.

        Returns:
            The embeddings with what is added to them, and the cosines and sines for attention or `None`.
        """
        if self.embed_positions is not None:
            hidden_states = hidden_states + self.embed_positions(position_ids).to(hidden_states.dtype)
        if self.rotary is None:
            return hidden_states, None
        device = hidden_states.device.type  # queries and keys are of autocast's type where it is on
        is_on = device != "meta" and torch.is_autocast_enabled(device)  # on meta there is none to ask for
        dtype = torch.get_autocast_dtype(device) if is_on else hidden_states.dtype
        return hidden_states, self.rotary(position_ids, dtype)


class RMSNorm(nn.Module):
    """`g * x / sqrt(mean(x^2))`: LayerNorm without centring (Zhang & Sennrich 2019, arXiv 1910.07467, equation 4)."""

    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Any shape `(..., size)`, kept; torch takes the mean in float32."""
        return nn.functional.rms_norm(hidden_states, self.weight.shape, self.weight, self.eps)


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
        past_key_values: Cache | None = None,
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
            past_key_values: Keys and values of earlier tokens; updated in place.

        Returns:
            `(B, T, hidden_size)`.
        """

        def attend_to_self(states):
            attend = self.self_attn
            return attend(
                states, attention_mask, position_embeddings, past_key_values, position_ids=position_ids, **kwargs
            )[0]

        def attend_to_encoder(states):
            return self.cross_attn(
                states, encoder_attention_mask, None, past_key_values, encoder_hidden_states, **kwargs
            )[0]

        hidden_states = self.add(hidden_states, self.self_attn_norm, attend_to_self)
        if self.cross_attn is not None:
            hidden_states = self.add(hidden_states, self.cross_attn_norm, attend_to_encoder)
        return self.add(hidden_states, self.mlp_norm, self.mlp)
