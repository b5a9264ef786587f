"""The frame in which recurrent layers are stacked deep: norms, residual connections, a short convolution and an MLP.

Shapes: `B` rows, `T` tokens, `W` width of the stream that runs through all layers, `K` width of the convolution.
"""

import torch
from torch import nn

from .cells import State
from .configuration_recurrent import RecurrentConfig
from .recurrence import Padding
from .recurrent_layer import RecurrentLayer, create_dropout


class ShortConvolution(nn.Conv1d):
    """
    Each channel's weighted sum over a token and the `K - 1` before it, padding left out (a causal depthwise
    convolution, as in front of the recurrence of De et al. 2024, arXiv 2402.19427, section 2.3).

    The last `K - 1` inputs of each row are its state.
    """

    def __init__(self, width: int, kernel_size: int):
        super().__init__(width, width, kernel_size, groups=width)

    def forward(
        self, inputs: torch.Tensor, state: torch.Tensor, padding: Padding | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Args:
            inputs: `(B, T, W)`.
            state: `(B, K - 1, W)`, what was read before; zeros at the start.
            padding: Which tokens are padding; in its order these stand behind a row's valid ones.

        Returns:
            `(B, T, W)`, undefined at padding, and the state after the last valid token of each row.
        """
        order = None if padding is None else padding.orders[0]
        if order is not None:
            inputs = inputs.gather(1, order[0].unsqueeze(-1).expand_as(inputs))
        history = torch.cat([state.to(inputs.dtype), inputs], dim=1)  # (B, K - 1 + T, W)
        outputs = super().forward(history.transpose(1, 2)).transpose(1, 2)
        if order is not None:
            outputs = outputs.gather(1, order[1].unsqueeze(-1).expand_as(outputs))
        kept = self.kernel_size[0] - 1
        if padding is None:
            return outputs, history[:, history.shape[1] - kept :]
        last = padding.lengths.unsqueeze(1) + torch.arange(kept, device=inputs.device)  # (B, K - 1)
        return outputs, history.gather(1, last.unsqueeze(-1).expand(-1, -1, history.shape[-1]))


class ResidualRecurrentLayer(RecurrentLayer):
    """
    `x + conv(norm(x))`, then `x + cell(norm(x))`, then `x + MLP(norm(x))`: each sublayer reads a normalized stream and
    adds to it, the first and the last where the configuration asks for them.

    Feng et al. 2024 (arXiv 2410.01201) put their cells into such a frame, and so do Griffin (De et al. 2024) and the
    xLSTM (Beck et al. 2024, arXiv 2405.04517). The norm comes first (Xiong et al. 2020, arXiv 2002.04745).
    """

    def __init__(self, config: RecurrentConfig, layer_idx: int):
        super().__init__(config, layer_idx)
        width = config.output_size
        self.dropout = nn.Identity()  # the stream itself is never dropped
        self.norm = nn.LayerNorm(width)
        self.conv_norm = self.convolution = None
        if config.conv_kernel_size is not None:
            self.conv_norm = nn.LayerNorm(width)
            self.convolution = ShortConvolution(width, config.conv_kernel_size)
        self.mlp_norm = self.up_proj = self.down_proj = None
        if config.mlp_ratio is not None:
            inner = round(config.mlp_ratio * width)
            self.mlp_norm = nn.LayerNorm(width)
            self.up_proj = nn.Linear(width, inner)
            self.down_proj = nn.Linear(inner, width)
        # What each sublayer adds is dropped, in every layer.
        self.residual_dropout = create_dropout(config, config.dropout)

    def _read(self, hidden_states, state, padding, return_state) -> tuple[torch.Tensor, State | None]:
        drop = self.residual_dropout
        convolved = ()
        if self.convolution is not None:
            if state is None:
                kept = self.convolution.kernel_size[0] - 1
                before = hidden_states.new_zeros(hidden_states.shape[0], kept, hidden_states.shape[2])
            else:
                *state, before = state
            update, after = self.convolution(self.conv_norm(hidden_states), before, padding)
            hidden_states, convolved = hidden_states + drop(update), (after,)

        update, state = super()._read(self.norm(hidden_states), state, padding, return_state)
        hidden_states = hidden_states + drop(update)

        if self.up_proj is not None:
            update = self.down_proj(nn.functional.gelu(self.up_proj(self.mlp_norm(hidden_states))))
            hidden_states = hidden_states + drop(update)
        if padding is not None:
            hidden_states = hidden_states.masked_fill(~padding.mask.unsqueeze(-1), 0)
        return hidden_states, (*state, *convolved) if return_state else None


__all__ = []
