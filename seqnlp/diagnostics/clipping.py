"""Training with and without clipped gradients (Pascanu et al. 2013, arXiv 1211.5063, section 3.2), side by side."""

import copy
import math
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from .errors import DiagnosticsError
from .gradient_flow import loss_kind


@dataclass(frozen=True)
class TrainingCurve:
    """
    A short training, step by step.

    Attributes:
        losses: Mean cross-entropy per token, in nats, before each step.
        norms: Of the gradient of that loss by all parameters, before it is clipped.
        max_grad_norm: To which gradients were clipped; `None` where they were left as they are.
        ended: Whether a loss or a gradient that is no number ended it before its last step.
    """

    losses: list[float]
    norms: list[float]
    max_grad_norm: float | None
    ended: bool


def compare_clipping(
    model: PreTrainedModel,
    token_ids: torch.Tensor,
    learning_rate: float,
    steps: int,
    max_grad_norm: float = 1.0,
    length: int = 128,
    batch_size: int = 16,
    seed: int = 0,
) -> tuple[TrainingCurve, TrainingCurve]:
    """
    Train two copies of a language model on the same pieces of a text, by plain gradient descent without momentum, with
    clipped gradients and with gradients as they are. Dropout is off; the model itself stays as it is.

    Args:
        model: Its weights are where both begin.
        token_ids: `(num_tokens,)`, the text.
        learning_rate: Of every step.
        steps: At most; a copy whose loss or gradient is no number any more stops.
        max_grad_norm: To which the gradients of the first copy are clipped.
        length: Tokens of a piece, or all of a shorter text.
        batch_size: Pieces of a step.
        seed: Which pieces.

    Returns:
        The curve with clipping, and the one without.

    Raises:
        DiagnosticsError: For a model that is no language model, and a text of fewer than three tokens.
    """
    if loss_kind(model) != "causal":
        raise DiagnosticsError(f"{type(model).__name__}: clipping is compared in the training of language models.")
    if len(token_ids) < 3:
        raise DiagnosticsError(f"A text of {len(token_ids)} tokens is too short to train on: give at least 3.")
    length = min(length, len(token_ids) - 1)
    generator = torch.Generator().manual_seed(seed)
    pieces = token_ids.unfold(0, length + 1, 1)  # (places, length + 1)
    chosen = [torch.randint(len(pieces), (batch_size,), generator=generator) for _ in range(steps)]
    batches = [pieces[places].to(model.device) for places in chosen]
    clipped, plain = (_train(model, batches, learning_rate, limit) for limit in (max_grad_norm, None))
    return clipped, plain


def _train(model, batches: list[torch.Tensor], learning_rate: float, max_grad_norm: float | None) -> TrainingCurve:
    model = copy.deepcopy(model).eval()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    losses, norms = [], []
    for batch in batches:
        with torch.enable_grad():
            logits = model(input_ids=batch[:, :-1], use_cache=False).logits
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten())
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        norm = float(torch.nn.utils.get_total_norm([gradient for gradient in gradients if gradient is not None]))
        losses.append(loss.item())
        norms.append(norm)
        if not math.isfinite(losses[-1] + norm):
            return TrainingCurve(losses, norms, max_grad_norm, True)
        scale = 1.0 if max_grad_norm is None else min(1.0, max_grad_norm / (norm + 1e-6))
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                if gradient is not None:
                    parameter.sub_(gradient, alpha=scale * learning_rate)
    return TrainingCurve(losses, norms, max_grad_norm, False)
