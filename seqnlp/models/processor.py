"""What this processor can do, where it decides which of two ways computes the same, or is faster."""

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


@cache
def has_bfloat16_kernels() -> bool:
    """
    Whether oneDNN has recurrent layers in bfloat16 for it, which takes AVX-512. Autocast hands an LSTM to oneDNN all
    the same, and torch raises an error where it has none.
    """
    return not torch.backends.mkldnn.is_available() or torch.ops.mkldnn._is_mkldnn_bf16_supported()
