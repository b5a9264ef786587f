"""Linear maps: the type in which they are computed, and several of the same states as one."""

from collections.abc import Sequence

import torch
from torch import nn


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """The type in which autocast computes products on a device; `None` where it is off."""
    has_autocast = device.type != "meta"  # torch raises an error if it is asked of others
    return torch.get_autocast_dtype(device.type) if has_autocast and torch.is_autocast_enabled(device.type) else None


def is_plain_linear(module: nn.Module) -> bool:
    """Whether a map is a weight and a bias that can be read: not wrapped by LoRA, quantized, sharded or hooked."""
    return (
        type(module) is nn.Linear
        and type(module.weight) is nn.Parameter
        and not (module._forward_hooks or module._forward_pre_hooks)
    )


def project(maps: Sequence[nn.Module], states: torch.Tensor) -> Sequence[torch.Tensor]:
    """
    What each of several maps, all of them with a bias or none, makes of `(..., H)` states.

    In training on a CPU by one product, where the maps are plain: the states are cast once for all of them under
    autocast, and what comes back to them is summed in the product, not after it.
    """
    is_one = states.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling()
    if not (is_one and all(map(is_plain_linear, maps))):
        return [each(states) for each in maps]
    weight = torch.cat([each.weight for each in maps])
    bias = None if maps[0].bias is None else torch.cat([each.bias for each in maps])
    return nn.functional.linear(states, weight, bias).split([each.out_features for each in maps], dim=-1)
