"""What this processor can do, where it decides which of two ways to compute the same is faster."""

from functools import cache

import torch


@cache
def has_tiles() -> bool:
    """
    Whether it multiplies matrices of bfloat16 in tiles (Intel's AMX): several times faster than in float32, where
    AVX-512 alone is twice as fast. So what lies between products weighs more, and libraries that keep matrices in the
    order of the tiles gain.
    """
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))
