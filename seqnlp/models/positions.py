"""How a Transformer knows the order of its tokens: vectors added to the embeddings, or angles handed to attention.

Shapes: `B` rows, `H` heads, `T` tokens, `D` components per head.
"""

import torch
from torch import nn
from transformers import PreTrainedConfig

from .projections import autocast_dtype


def count_positions(
    attention_mask: torch.Tensor | None,
    inputs_embeds: torch.Tensor,
    past_length: int | torch.Tensor = 0,
    position_ids: torch.Tensor | None = None,
) -> torch.Tensor:
    """
    The position of each token: how many valid tokens stand before it. So padding on either side moves nothing.

    Args:
        attention_mask: `(B, past_length + T)`, 0 at padding; without one, or with one prepared by hand for each pair
            of tokens, every token counts.
        inputs_embeds: `(B, T, hidden_size)`.
        past_length: Number of tokens that a cache holds.
        position_ids: Positions that are given, which are returned as they are if the mask fits.

    Returns:
        `(B, T)`, or `(1, T)` where all rows are alike.

    Raises:
        ValueError: If the mask does not fit the tokens.
    """
    batch_size, num_tokens = inputs_embeds.shape[:2]
    if not isinstance(attention_mask, torch.Tensor) or attention_mask.dim() > 2:
        if position_ids is not None:
            return position_ids
        return (torch.arange(num_tokens, device=inputs_embeds.device) + past_length).unsqueeze(0)
    if not torch.compiler.is_compiling() and tuple(attention_mask.shape) != (batch_size, past_length + num_tokens):
        behind = f" behind {int(past_length)} in the cache" if past_length else ""
        raise ValueError(
            f"attention_mask of shape {tuple(attention_mask.shape)} does not fit {num_tokens} tokens in {batch_size} "
            f"rows{behind}: it must be (batch_size, {'cached tokens + ' if behind else ''}sequence_length), 0 at "
            "padding."
        )
    if position_ids is not None:
        return position_ids
    # Padding before the first valid token counts as position 0: any position would do, it must only exist.
    return (attention_mask.long().cumsum(dim=1) - 1).clamp(min=0)[:, -num_tokens:]


def position_angles(position_ids: torch.Tensor, size: int, base: float) -> torch.Tensor:
    """
    The angles of `size / 2` clock hands at each position, from one that turns fast to one that hardly turns:
    `position / base^(2 i / size)` (Vaswani et al. 2017, section 3.5; Su et al. 2021, section 3.2.2).

    In float32 whatever the model's type, since half precision cannot tell large neighboring positions apart; and
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


def rotate(states: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    """
    Turn each pair of components by its angle (Su et al. 2021, arXiv 2104.09864, section 3.4.2, equation 34).

    One departure, that of Llama: component `i` is paired with `i + D / 2`, not with its neighbor. It renames
    components and changes nothing else.

    Args:
        states: Queries or keys, `(B, H, T, D)`.
        cosines: `(B, T, D)`, the second half a copy of the first.
        sines: `(B, T, D)`, the second half as it is, the first its negative.

    Returns:
        `(B, H, T, D)`.
    """
    is_training = states.device.type == "cpu" and states.requires_grad and not torch.compiler.is_compiling()
    is_worth_it = states.shape[-1] >= 64  # of shorter halves each would cost more than the copy
    if is_training and is_worth_it and states.dtype == cosines.dtype:
        return Rotation.apply(states, cosines.unsqueeze(1), sines.unsqueeze(1))
    partners = states.roll(states.shape[-1] // 2, dims=-1)
    return torch.addcmul(states * cosines.unsqueeze(1), partners, sines.unsqueeze(1))


class Rotation(torch.autograd.Function):
    """
    The same without a copy of the partners: `apply(states, cosines, sines)`, the angles `(B, 1, T, D)`. Its gradient
    is the gradient of what came out, turned back.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(states, cosines, sines):
        turned = states * cosines
        half = states.shape[-1] // 2
        first, second = states.split(half, dim=-1)
        of_first, of_second = sines.split(half, dim=-1)
        turned[..., :half].addcmul_(second, of_first)
        turned[..., half:].addcmul_(first, of_second)
        return turned

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx, d_turned):
        cosines, sines = ctx.saved_tensors
        return Rotation.apply(d_turned, cosines, -sines), None, None


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
        dtype = autocast_dtype(hidden_states.device) or hidden_states.dtype  # that of queries and keys
        return hidden_states, self.rotary(position_ids, dtype)
