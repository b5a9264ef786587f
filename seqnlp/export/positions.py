"""Positions as a table, for runtimes that look them up."""

import torch
from transformers import PreTrainedConfig

from ..models.positions import Positions


def position_table(positions: Positions, config: PreTrainedConfig) -> torch.Tensor:
    """
    The vector that is added to the embedding at each position, learned, computed or zero.

    Args:
        positions: Of a model whose positions are not rotary.
        config: Of the model.

    Returns:
        `(max_position_embeddings, hidden_size)`.
    """
    places = torch.arange(config.max_position_embeddings).unsqueeze(0)
    zeros = torch.zeros(1, config.max_position_embeddings, config.hidden_size)
    return positions(zeros, places)[0][0]
