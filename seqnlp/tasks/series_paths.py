"""Sample paths of a model of time series, the same ones on every machine, and what scores need of them."""

import zlib

import numpy as np
import torch
from transformers import PreTrainedModel

from ..metrics import crps_of_paths, intervals_of_paths


ROWS_AT_ONCE = 4096
"""Paths that are drawn at the same time, at most: each keeps a state or keys and values of its own."""


def noise_of(past: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """
    The uniform noise of one series, `(num_paths, steps, channels, 2)`, that follows from its past alone, whatever is
    in its batch: whoever draws paths of it draws these.
    """
    seed = zlib.crc32(past.float().cpu().contiguous().numpy().tobytes())
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def summarize_paths(
    model: PreTrainedModel,
    past: torch.Tensor,
    observed: torch.Tensor,
    future: torch.Tensor,
    num_paths: int,
    batch_size: int,
) -> dict[str, torch.Tensor]:
    """
    CRPS and central intervals of each number of the future, from sample paths that are not kept.

    Args:
        model: One with a `distribution_output`.
        past: `(rows, context_length, channels)`.
        observed: Of that shape.
        future: `(rows, steps, channels)`.
        num_paths: Paths per row.
        batch_size: Rows of a full batch: the model is asked equally often for each batch, as sharded ones must be.

    Returns:
        `crps`, `(rows, steps, channels)`, and `intervals`, `(rows, steps, channels, levels, 2)`.
    """
    size, found = max(1, ROWS_AT_ONCE // num_paths), []
    for first in range(0, batch_size, size):
        part = slice(first, first + size) if first < len(past) else slice(0, 1)
        noise = torch.stack([noise_of(row, (num_paths, *future.shape[1:], 2)) for row in past[part]])
        paths = model.draw_paths(
            past[part], observed[part], future.shape[1], num_paths, noise.to(past.device)
        ).sequences
        if first < len(past):
            draws, came = paths.double().transpose(0, 1).cpu().numpy(), future[part].cpu().numpy()
            found.append((crps_of_paths(draws, came), intervals_of_paths(draws)))
    crps, intervals = (torch.from_numpy(np.concatenate(parts)) for parts in zip(*found, strict=True))
    return {"crps": crps, "intervals": intervals}
