"""The state that truncated backpropagation through time carries from batch to batch, as named tensors."""

import torch
from transformers import Cache


def cache_to_tensors(cache: Cache) -> dict[str, torch.Tensor]:
    """
    Every state of a recurrent cache by layer and number, and how many tokens each layer has read.

    Args:
        cache: A cache whose layers have `recurrent_states`.
    """
    tensors = {}
    for number, layer in enumerate(cache.layers):
        tensors[f"{number}.length"] = torch.as_tensor(layer.cumulative_length).detach().clone()
        for index, state in layer.recurrent_states.items():
            tensors[f"{number}.{index}"] = state.detach().contiguous()
    return tensors


def tensors_to_cache(tensors: dict[str, torch.Tensor], cache: Cache) -> Cache:
    """
    Put what [`cache_to_tensors`] gave into a cache of the same layers, in place.

    Args:
        tensors: The states.
        cache: A cache that the model has filled once, with any state.
    """
    for number, layer in enumerate(cache.layers):
        length = tensors[f"{number}.length"]
        is_tensor = torch.is_tensor(layer.cumulative_length)
        layer.cumulative_length = length.to(layer.cumulative_length.device) if is_tensor else int(length)
        for index, state in layer.recurrent_states.items():
            layer.recurrent_states[index] = tensors[f"{number}.{index}"].to(state.device, state.dtype)
    return cache
