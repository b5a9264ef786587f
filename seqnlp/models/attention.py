"""Attention: queries, keys and values -> similarity -> weights -> output, for one head and for many.

Vaswani et al. 2017, "Attention Is All You Need" (arXiv 1706.03762), section 3.2. Shapes: `B` rows, `H` query heads,
`G` key and value heads, `T` queries, `S` keys, `D` components per head.
"""

import torch
from torch import nn
from transformers import Cache, EncoderDecoderCache, PreTrainedConfig
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs

from .beam_search import beside_source
from .positions import rotate
from .processor import has_tiles
from .projections import project
from .unpadding import Unpadding


def dot_product_similarity(query: torch.Tensor, key: torch.Tensor, scaling: float) -> torch.Tensor:
    """
    How well each query fits each key: `Q K^T / sqrt(D)` (section 3.2.1, equation 1, inside the softmax).

    Args:
        query: `(B, H, T, D)`.
        key: `(B, H, S, D)`.
        scaling: `1 / sqrt(D)`, which keeps the variance of the scores that of the components.

    Returns:
        Scores, `(B, H, T, S)`.
    """
    return (query * scaling) @ key.transpose(-2, -1)


def attention_weights(scores: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
    """
    Scores to weights that sum to one over the keys; what the mask hides gets none (section 3.2.3).

    Args:
        scores: `(B, H, T, S)`.
        attention_mask: Broadcastable to the scores: bool, true where a query may look, or floats that are added, very
            negative where it may not.

    Returns:
        `(B, H, T, S)`. A query that may look nowhere (padding) gets equal weights rather than NaN.
    """
    if attention_mask is not None:
        # Half of the lowest number, so that no sum leaves the range of float16 and the lowest number of a wider type
        # does not become minus infinity. Added, since that needs no step of its own on the way back, as filling would.
        lowest = torch.finfo(scores.dtype).min / 2
        if attention_mask.dtype == torch.bool:
            attention_mask = torch.zeros_like(attention_mask, dtype=scores.dtype).masked_fill_(~attention_mask, lowest)
        else:
            attention_mask = attention_mask.clamp(min=lowest).to(scores.dtype)
        scores = scores + attention_mask
    return scores.softmax(dim=-1)  # torch sums in float32, whatever narrower type it is given


def share_key_value_heads(states: torch.Tensor, num_groups: int) -> torch.Tensor:
    """
    Give each query head its keys or values: `num_groups` neighboring query heads share one head.

    Ainslie et al. 2023, "GQA" (arXiv 2305.13245), section 2.2.

    Args:
        states: `(B, G, S, D)`.
        num_groups: `H / G`; 1 is ordinary multi-head attention.

    Returns:
        `(B, H, S, D)`.
    """
    return states if num_groups == 1 else states.repeat_interleave(num_groups, dim=1)


def eager_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs,
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Scaled dot-product attention (section 3.2.1, equation 1), stage by stage: the reference for all faster ones.

    Args:
        module: The attention that calls; its `num_key_value_groups` and `training` are read.
        query: `(B, H, T, D)`.
        key: `(B, G, S, D)`.
        value: `(B, G, S, D)`.
        attention_mask: See [`attention_weights`]; `None` lets every query look everywhere.
        scaling: See [`dot_product_similarity`].
        dropout: Probability of dropping a weight.

    Returns:
        The output, `(B, T, H, D)`, and the weights, `(B, H, T, S)`.
    """
    key = share_key_value_heads(key, module.num_key_value_groups)
    value = share_key_value_heads(value, module.num_key_value_groups)

    scores = dot_product_similarity(query, key, scaling)  # (B, H, T, S)
    weights = attention_weights(scores, attention_mask)  # (B, H, T, S)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    output = weights @ value  # (B, H, T, D)

    return output.transpose(1, 2).contiguous(), weights


def is_faster_in_stages(query: torch.Tensor, key: torch.Tensor) -> bool:
    """
    Whether [`eager_attention_forward`] trains faster than the kernel behind torch's `scaled_dot_product_attention`.

    On CPU that kernel goes back in half precision through small blocks that are multiplied slowly: forward and
    backward took it 37 ms and the stages 16 ms (8 rows, 4 heads, 256 tokens, 64 components, bfloat16, one AVX-512
    core), and 18 against 3 ms for 64 rows of 32 tokens. The stages hold all weights, which bounds the length; where
    products are fast, sooner: on a core with AMX the stages took 0.2 to 0.3 of the kernel's time for 32 to 128 tokens,
    0.6 to 0.9 for 256, 1.0 for 320, and 1.0 to 1.3 for 512.

    Args:
        query: `(B, H, T, D)`, of the type in which products are computed.
        key: `(B, G, S, D)`.
    """
    return (
        query.device.type == "cpu"
        and query.dtype in (torch.bfloat16, torch.float16)
        and torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and query.shape[2] * key.shape[2] <= (320 if has_tiles() else 512) ** 2
    )


class MultiHeadAttention(nn.Module):
    """
    Multi-head attention (section 3.2.2), over a text itself or from a decoder's states over an encoder's.

    With `num_key_value_heads < num_attention_heads` several heads share keys and values (Ainslie et al. 2023). The
    interface that computes it is `config._attn_implementation`: [`eager_attention_forward`], sdpa, flex or flash.
    """

    def __init__(self, config: PreTrainedConfig, layer_idx: int, is_causal: bool = False):
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        self.is_causal = is_causal
        self.head_dim = config.head_dim
        self.num_key_value_groups = config.num_attention_heads // config.num_key_value_heads
        self.scaling = self.head_dim**-0.5
        self.attention_dropout = config.attention_dropout
        query_size = config.num_attention_heads * self.head_dim
        key_value_size = config.num_key_value_heads * self.head_dim
        self.q_proj = nn.Linear(config.hidden_size, query_size, bias=config.use_bias)
        self.k_proj = nn.Linear(config.hidden_size, key_value_size, bias=config.use_bias)
        self.v_proj = nn.Linear(config.hidden_size, key_value_size, bias=config.use_bias)
        self.o_proj = nn.Linear(query_size, config.hidden_size, bias=config.use_bias)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
        cache: Cache | None = None,
        key_value_states: torch.Tensor | None = None,
        unpadding: Unpadding | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """
        Args:
            hidden_states: What asks, `(B, T, hidden_size)`.
            attention_mask: What `create_causal_mask` or `create_bidirectional_mask` of transformers made.
            position_embeddings: Cosines and sines by which queries and keys are turned, each `(B, T, head_dim)`.
            cache: Keys and values of earlier tokens; updated in place.
            key_value_states: What is asked, `(B, S, hidden_size)`; `None` for `hidden_states` itself. They may be
                fewer than `B`, each asked by equally many neighboring rows.
            unpadding: Of a text that attends to itself: `hidden_states` are its valid tokens, `(1, N, hidden_size)`,
                and so is what is returned.

        Returns:
            `(B, T, hidden_size)`, and the weights, `(B, H, T, S)`, or `None` where the interface does not tell them.
        """
        num_rows, num_tokens = hidden_states.shape[:2]
        if key_value_states is None:
            projected = project((self.q_proj, self.k_proj, self.v_proj), hidden_states)
            query, key, value = (self._split_heads(states, unpadding) for states in projected)
            if position_embeddings is not None:
                query = rotate(query, *position_embeddings)
                key = rotate(key, *position_embeddings)
            if cache is not None:
                if isinstance(cache, EncoderDecoderCache):
                    cache = cache.self_attention_cache
                key, value = cache.update(key, value, self.layer_idx)  # (B, G, S, D)
        else:
            key, value = self.encoded_keys_and_values(key_value_states, cache)
            # Rows that read one source ask as tokens of a row.
            hidden_states = beside_source(hidden_states, key.shape[0])
            query = self._split_heads(self.q_proj(hidden_states))  # (B, H, T, D)

        implementation = self.config._attn_implementation
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, eager_attention_forward)
        if implementation == "sdpa" and is_faster_in_stages(query, key):
            attend = eager_attention_forward
            if attention_mask is None and self.is_causal and query.shape[2] > 1:  # as sdpa reads a missing mask
                attention_mask = query.new_ones(query.shape[2], key.shape[2], dtype=torch.bool).tril()  # (T, S)
        output, weights = attend(
            self,
            query,
            key,
            value,
            attention_mask,
            dropout=self.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            **kwargs,
        )
        output = output.flatten(2)  # (B, T, H * D)
        output = self.o_proj(output if unpadding is None else unpadding.remove(output))
        if output.shape[0] != num_rows:
            output = output.view(num_rows, num_tokens, -1)
            if weights is not None:  # from (number of sources, H, rows of each * T, S)
                weights = weights.unflatten(2, (-1, num_tokens)).transpose(1, 2).flatten(0, 1)
        return output, weights

    def encoded_keys_and_values(
        self, key_value_states: torch.Tensor, cache: EncoderDecoderCache | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of an encoder's `(B, S, hidden_size)` states, each `(B, G, S, D)`."""
        # An encoded text does not change while its translation is written: projected once, then read from the cache.
        if cache is not None and cache.is_updated.get(self.layer_idx):
            cached = cache.cross_attention_cache.layers[self.layer_idx]
            return cached.keys, cached.values
        key = self._split_heads(self.k_proj(key_value_states))  # (B, G, S, D)
        value = self._split_heads(self.v_proj(key_value_states))  # (B, G, S, D)
        if cache is not None:
            key, value = cache.cross_attention_cache.update(key, value, self.layer_idx)
            cache.is_updated[self.layer_idx] = True
        return key, value

    def _split_heads(self, states: torch.Tensor, unpadding: Unpadding | None = None) -> torch.Tensor:
        """From `(B, T, heads * D)`, or from the valid tokens alone, to `(B, heads, T, D)`."""
        if unpadding is not None:
            states = unpadding.restore(states)
        return states.reshape(*states.shape[:-1], -1, self.head_dim).transpose(1, 2)
