"""The state that truncated backpropagation through time carries from batch to batch, as named tensors."""

import torch
from transformers import Cache


def cache_to_tensors(cache: Cache) -> dict[str, torch.Tensor]:
    """
    Every state of a recurrent cache by layer and number, and how many tokens it has read.

    Args:
        cache: The cache of a recurrent model.
    """
    tensors = {"num_tokens": torch.as_tensor(cache.num_tokens).detach().clone()}
    for number, layer in enumerate(cache.layers):
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
    count = tensors["num_tokens"]
    cache.num_tokens = count.to(cache.num_tokens.device) if torch.is_tensor(cache.num_tokens) else int(count)
    for number, layer in enumerate(cache.layers):
        for index, state in layer.recurrent_states.items():
            layer.recurrent_states[index] = tensors[f"{number}.{index}"].to(state.device, state.dtype)
    return cache
