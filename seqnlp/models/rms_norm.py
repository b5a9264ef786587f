"""RMSNorm, and its gradients by the kernel that a CPU has for LayerNorm's."""

import torch
from torch import nn


class RMSNorm(nn.Module):
    """`g * x / sqrt(mean(x^2))`: LayerNorm without centering (Zhang & Sennrich 2019, arXiv 1910.07467, equation 4)."""

    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Any shape `(..., size)`, kept; the mean is taken in float32 at least."""
        if is_faster_by_hand(hidden_states, self.weight):
            return RootMeanSquareNorm.apply(hidden_states, self.weight, self.eps)[0]
        return nn.functional.rms_norm(hidden_states, self.weight.shape, self.weight, self.eps)


def is_faster_by_hand(hidden_states: torch.Tensor, weight: torch.Tensor) -> bool:
    """
    Whether [`RootMeanSquareNorm`] trains faster than torch's `rms_norm`: on a CPU that is a dozen operations forward
    and back, 5.4 ms for 2,048 tokens of 256 numbers where the one by hand takes 1.3 (one AVX-512 core).
    """
    return (
        hidden_states.device.type == "cpu"
        and hidden_states.dtype == weight.dtype
        and weight.dtype in (torch.float32, torch.float64)
        and hidden_states.numel() >= 2**15  # of fewer numbers the start of the operations takes longer than they do
        and torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
    )


class RootMeanSquareNorm(torch.autograd.Function):
    """
    `y = g * x * s` with `s = 1 / sqrt(mean(x^2) + eps)`: `apply(x, g, eps)` gives `y`, and `s` of shape `(..., 1)`,
    which has no gradient of its own.

    With `d = g * dy` and `n = x * s`, `dx = s * (d - n * mean(d * n))`. LayerNorm's gradient is the same less
    `s * mean(d)`, if the mean of `x` is taken to be zero and `s` for its scale: so that kernel computes it, in one
    pass, and the mean is added again.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(hidden_states, weight, eps):
        norm = torch.linalg.vector_norm(hidden_states, dim=-1, keepdim=True)
        scale = norm.square().div_(len(weight)).add_(eps).rsqrt_()  # (..., 1)
        return (hidden_states * scale).mul_(weight), scale

    @staticmethod
    def setup_context(ctx, inputs, output):
        hidden_states, weight, ctx.eps = inputs
        ctx.save_for_backward(hidden_states, weight, output[1])
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx, d_output, _):
        hidden_states, weight, scale = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True: what is computed here is to have gradients too
            scale = hidden_states.square().mean(dim=-1, keepdim=True).add(ctx.eps).rsqrt()
            normal, d_normal = hidden_states * scale, d_output * weight
            d_states = scale * (d_normal - normal * (d_normal * normal).mean(dim=-1, keepdim=True))
            return d_states, (d_output * normal).flatten(0, -2).sum(dim=0), None
        d_states, d_weight, _ = torch.ops.aten.native_layer_norm_backward(
            d_output, hidden_states, weight.shape, torch.zeros_like(scale), scale, weight, None, [True, True, False]
        )
        return d_states.addcmul_(scale, d_output @ weight.unsqueeze(1), value=1 / len(weight)), d_weight, None
