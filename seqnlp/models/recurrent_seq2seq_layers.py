"""What the recurrent encoder-decoder is built of besides the recurrent cells and attention.

Shapes: `B` rows, `S` source tokens, `T` target tokens, `H` hidden width, `A` width of attention.
"""

from dataclasses import dataclass

import torch
from torch import nn

from .configuration_recurrent_seq2seq import RecurrentSeq2SeqConfig
from .modeling_recurrent import RecurrentLayer
from .recurrence import Padding, State


@dataclass(frozen=True)
class Source:
    """The source as attention sees it: `(B, S, source_size)` states, `(B, S)` mask, `(B, S, A)` projected keys."""

    hidden_states: torch.Tensor
    mask: torch.Tensor | None
    projected_keys: torch.Tensor


class FlatRecurrentLayer(RecurrentLayer):
    """
    A [`RecurrentLayer`] whose state goes in and out tensor by tensor.

    Reentrant gradient checkpointing carries the gradients of tensors, not of tuples of them, and here the loss reaches
    the encoder through its final state: without attention by no other way.
    """

    def forward(
        self, hidden_states: torch.Tensor, padding: Padding | None, return_state: bool, *state: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """The outputs, and behind them the tensors of the final state if `return_state`; no `state` means zeros."""
        outputs, final_state = super().forward(hidden_states, state or None, padding, return_state)
        return outputs, *(final_state or ())


class LayerStates(nn.Module):
    """Hands on a layer's outputs over the whole target, run at once or step by step: hooks see them here."""

    def forward(self, inputs: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        return outputs


class Alignment(nn.Module):
    """Hands on the weights over the whole target, `(B, T, S)`, as those of one head, `(B, 1, T, S)`."""

    def forward(self, weights: torch.Tensor) -> torch.Tensor:
        return weights.unsqueeze(1)


class Bridge(nn.Module):
    """
    From where the encoder ended to where the decoder starts: `s_0 = tanh(W h + b)`, layer by layer.

    Bahdanau et al. 2015 (arXiv 1409.0473), appendix A.2.2, from the backward direction alone and for one layer. Here
    the map reads the final states of both directions and each decoder layer starts from the encoder layer of the same
    height, as in Sutskever et al. 2014 (arXiv 1409.3215), section 2. The LSTM's cell, which is not bounded by one, has
    a map of its own without tanh.
    """

    def __init__(self, config: RecurrentSeq2SeqConfig):
        super().__init__()
        sizes = (config.source_size, config.hidden_size)
        self.projs = nn.ModuleList(
            nn.ModuleList(nn.Linear(*sizes) for _ in range(config.number_of_conv_states))
            for _ in range(config.num_hidden_layers)
        )

    def forward(self, final_state: torch.Tensor) -> list[State]:
        """
        From `(B, num_layers, num_states, source_size)` to a state a layer, its tensors `(B, 1, H)` as a layer of one
        direction reads them.
        """
        states = []
        for layer, projs in enumerate(self.projs):
            hidden, *cell = (proj(final_state[:, layer, index]).unsqueeze(1) for index, proj in enumerate(projs))
            states.append((torch.tanh(hidden), *cell))
        return states
