"""Losses over a vocabulary: cross-entropy with label smoothing, and one that never holds all the logits.

Every loss is in nats per item: a mean over the labels that count, or a sum over them divided by `num_items_in_batch`,
which is what gradient accumulation needs. Shapes: `N` labels, `V` classes, `H` the width of the states.
"""

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from transformers import PreTrainedConfig
from transformers.loss.loss_utils import ForSequenceClassificationLoss

from .projections import autocast_dtype, is_plain_linear


IGNORE_INDEX = -100


# How many logits are computed at once, and from which vocabulary on that pays: of 2^20 to 2^23 logits, 2^22 were the
# fastest in float32 and bfloat16, 256 to 2,048 labels of 1,000 to 32,000 classes (one AVX-512 core with AMX).
LOGITS_PER_CHUNK = 2**22
SMALLEST_CHUNKED_VOCABULARY = 1000
# How many of them a CPU turns into gradients at once: a megabyte in float32 stays in its cache meanwhile, which takes
# half the time for bfloat16, and four fifths for float32.
LOGITS_PER_PART = 2**18


def labels_per_chunk(vocab_size: int, at_least: int = 64) -> int | None:
    """
    The `loss_chunk_size` with which a language model trains fastest, for [`chunked_cross_entropy`]; `None` for a
    vocabulary so small that all logits at once take no longer.

    Args:
        vocab_size: Number of classes.
        at_least: The fewest labels that are worth a product: on a CPU 64 are.
    """
    return max(at_least, LOGITS_PER_CHUNK // vocab_size) if vocab_size >= SMALLEST_CHUNKED_VOCABULARY else None


def cross_entropy(
    logits: torch.Tensor,
    labels: torch.Tensor,
    label_smoothing: float = 0.0,
    num_items_in_batch: torch.Tensor | int | None = None,
    ignore_index: int = IGNORE_INDEX,
) -> torch.Tensor:
    """
    The mean of `-log p(label)`, where a share of each label is spread evenly over all classes (Szegedy et al. 2016,
    arXiv 1512.00567, section 7; Vaswani et al. 2017, section 5.4).

    Args:
        logits: `(..., V)`.
        labels: `(...)`, `ignore_index` where no loss is wanted.
        label_smoothing: The share that is spread.
        num_items_in_batch: What to divide the sum by, instead of the number of labels that count here.
        ignore_index: The label that does not count.

    Returns:
        A scalar in float32.
    """
    logits, labels = logits.flatten(0, -2).float(), labels.flatten().to(logits.device)
    reduction = "mean" if num_items_in_batch is None else "sum"
    loss = nn.functional.cross_entropy(
        logits, labels, ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing
    )
    return loss if num_items_in_batch is None else loss / _on_device(num_items_in_batch, loss)


@torch.compiler.disable  # how many labels count is known as it runs; traced, it falls into graphs that are slower
def chunked_cross_entropy(
    hidden_states: torch.Tensor,
    lm_head: nn.Module,
    labels: torch.Tensor,
    chunk_size: int,
    label_smoothing: float = 0.0,
    num_items_in_batch: torch.Tensor | int | None = None,
    ignore_index: int = IGNORE_INDEX,
    divergence_weight: float = 0.0,
) -> torch.Tensor:
    """
    The same as `cross_entropy(lm_head(hidden_states), labels, ...)`, loss and gradients, without the `(N, V)` logits.

    They are computed for `chunk_size` labels at a time, and only where a label counts; while a chunk is there, its
    share of the gradients is computed too, so that nothing has to be kept or computed again (as in Hsu et al. 2024,
    "Liger Kernel", arXiv 2410.10989, section 3.2).

    Args:
        hidden_states: `(..., H)`.
        lm_head: The linear map from states to logits. One that is not a plain `nn.Linear` (wrapped by LoRA, quantized,
            sharded, hooked) is called chunk by chunk, and once more in the backward pass.
        labels: `(...)`, `ignore_index` where no loss is wanted.
        chunk_size: Number of labels per chunk.
        label_smoothing: See [`cross_entropy`].
        num_items_in_batch: See [`cross_entropy`].
        ignore_index: See [`cross_entropy`].
        divergence_weight: Above 0 the second half of the states is another reading of the first, with the same labels,
            and the sum is increased by this times the [`symmetric_divergence`] of the two at each of their labels.

    Returns:
        A scalar in float32.
    """
    hidden_states, labels = hidden_states.flatten(0, -2), labels.flatten().to(hidden_states.device)
    counts = (labels != ignore_index).nonzero().squeeze(1)
    if divergence_weight:
        # Both readings of a label side by side, to be in the same chunk.
        counts = counts.view(2, len(counts) // 2).t().flatten()
        chunk_size += chunk_size % 2
    if divergence_weight or len(counts) < len(labels):
        hidden_states, labels = hidden_states.index_select(0, counts), labels.index_select(0, counts)
    if is_plain_linear(lm_head):
        loss = ChunkedCrossEntropy.apply(
            hidden_states, lm_head.weight, lm_head.bias, labels, chunk_size, label_smoothing, divergence_weight
        )
    else:
        chunks = zip(hidden_states.split(chunk_size), labels.split(chunk_size), strict=True)
        loss = hidden_states.new_zeros((), dtype=torch.float32)
        how = label_smoothing, divergence_weight
        for states, targets in chunks:
            loss = loss + torch.utils.checkpoint.checkpoint(
                _summed_loss_of_chunk, lm_head, states, targets, *how, use_reentrant=False
            )
    return _per_label(loss, labels, num_items_in_batch)


class ChunkedCrossEntropy(torch.autograd.Function):
    """
    The summed cross-entropy of a linear map's logits; forward computes the gradients too, chunk by chunk.

    With `q` the smoothed target distribution and `p = softmax(z)`, the loss of one label is `-sum q log p`, and its
    gradient for the logits `z` is `p - q`. With a weight of the divergence, which needs even chunks, every two labels
    are two readings of one (see [`chunked_cross_entropy`]).
    """

    @staticmethod
    def forward(ctx, hidden_states, weight, bias, labels, chunk_size, label_smoothing, divergence_weight):
        """From `(N, H)` states, `(V, H)` weight, `(V,)` bias or `None` and `(N,)` labels to the summed loss."""
        dtype = autocast_dtype(hidden_states.device) or hidden_states.dtype
        needs_states, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        states_gradient = torch.empty_like(hidden_states) if needs_states else None
        # Sums over all chunks: in float32, lest half precision lose what a late chunk adds.
        weight_gradient = torch.zeros_like(weight, dtype=torch.float32) if needs_weight else None
        bias_gradient = torch.zeros_like(bias, dtype=torch.float32) if needs_bias else None
        narrow_states, narrow_weight = hidden_states.to(dtype), weight.to(dtype)
        narrow_bias = None if bias is None else bias.to(dtype)
        loss = hidden_states.new_zeros((), dtype=torch.float32)
        # All chunks are computed in the same memory: fresh memory costs more than what is computed in it.
        memory = weight.new_empty(min(chunk_size, len(labels)), weight.shape[0], dtype=dtype)
        share = torch.empty_like(narrow_weight) if needs_weight and dtype != torch.float32 else None

        for start in range(0, len(labels), chunk_size):
            states = narrow_states[start : start + chunk_size]  # (C, H)
            target = labels[start : start + chunk_size].unsqueeze(1)  # (C, 1)
            logits = memory[: len(target)]  # (C, V)
            if bias is None:
                torch.mm(states, narrow_weight.t(), out=logits)
            else:
                torch.addmm(narrow_bias, states, narrow_weight.t(), out=logits)
            loss += _turn_into_gradient(logits, target, label_smoothing, divergence_weight, bias_gradient)
            if needs_states:
                states_gradient[start : start + chunk_size] = logits @ narrow_weight
            if needs_weight and dtype == torch.float32:
                weight_gradient.addmm_(logits.t(), states)
            elif needs_weight:
                torch.mm(logits.t(), states, out=share)
                weight_gradient = weight_gradient.add_(share) if start else weight_gradient.copy_(share)
        ctx.save_for_backward(states_gradient, weight_gradient, bias_gradient)
        ctx.dtypes = hidden_states.dtype, weight.dtype, None if bias is None else bias.dtype
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, loss_gradient):
        """Scale what forward computed."""
        gradients = [
            None if gradient is None else (gradient * loss_gradient).to(dtype)
            for gradient, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        ]
        return *gradients, None, None, None, None


def next_token_labels(labels: torch.Tensor, ignore_index: int = IGNORE_INDEX) -> torch.Tensor:
    """Shift `(B, T)` labels so that each position has the token after it; the last has none."""
    return nn.functional.pad(labels[:, 1:], (0, 1), value=ignore_index)


def causal_language_model_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    shift_labels: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
    num_items_in_batch: torch.Tensor | int | None = None,
    ignore_index: int = IGNORE_INDEX,
    **kwargs,
) -> torch.Tensor:
    """
    The cross-entropy of each next token, with the arguments of transformers' loss of that name and label smoothing.

    Args:
        logits: `(B, T, V)`.
        labels: `(B, T)`, not shifted; not read where `shift_labels` are given.
        shift_labels: `(B, T)`, shifted already.
    """
    targets = next_token_labels(labels, ignore_index) if shift_labels is None else shift_labels
    return cross_entropy(logits, targets, label_smoothing, num_items_in_batch, ignore_index)


def token_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    label_smoothing: float = 0.0,
    num_items_in_batch: torch.Tensor | int | None = None,
    ignore_index: int = IGNORE_INDEX,
    **kwargs,
) -> torch.Tensor:
    """The cross-entropy of the label at each position, unshifted: of translations and of masked tokens."""
    return cross_entropy(logits, labels, label_smoothing, num_items_in_batch, ignore_index)


def classifier_loss(
    labels: torch.Tensor,
    pooled_logits: torch.Tensor,
    config: PreTrainedConfig,
    label_smoothing: float = 0.0,
    num_items_in_batch: torch.Tensor | int | None = None,
    **kwargs,
) -> torch.Tensor:
    """
    The loss of transformers for whole texts or images, by `config.problem_type`, with label smoothing: a share of the
    label is spread evenly over the classes, or, of each of several labels, over yes and no.

    Args:
        labels: `(B,)` class ids, `(B, num_labels)` floats of several labels, or numbers.
        pooled_logits: `(B, num_labels)`.
        config: Of the model; its `problem_type` is filled in.
        label_smoothing: The share that is spread.
        num_items_in_batch: What to divide the sum by where there is one class; see [`divide_by_items`] for the others.

    Raises:
        ValueError: For smoothing of numbers, which have no classes.
    """
    loss = ForSequenceClassificationLoss(labels, pooled_logits, config, num_items_in_batch=num_items_in_batch)
    if not label_smoothing:
        return loss
    if config.problem_type == "single_label_classification":
        return cross_entropy(pooled_logits, labels, label_smoothing, num_items_in_batch)
    if config.problem_type == "multi_label_classification":
        smooth = labels * (1 - label_smoothing) + label_smoothing / 2
        return nn.functional.binary_cross_entropy_with_logits(pooled_logits, smooth.to(pooled_logits.device))
    raise ValueError(f"label_smoothing={label_smoothing} is for classes, and numbers have none: set it to 0.")


class WeightedCrossEntropy:
    """
    A classifier's loss in which each class counts as much as it is told: `-w_y log p(y)`, a mean over the examples.
    With label smoothing `s` over `C` classes `-(1 - s) w_y log p(y) - s / C sum_c w_c log p(c)`.

    Set as a model's `loss_function`; the model's logits and its configuration do not change.

    Args:
        weights: `(num_labels,)`, of each class.
    """

    def __init__(self, weights: torch.Tensor):
        self.weights = weights

    def __call__(
        self,
        labels: torch.Tensor,
        pooled_logits: torch.Tensor,
        num_items_in_batch: torch.Tensor | int | None = None,
        label_smoothing: float = 0.0,
        **kwargs,
    ) -> torch.Tensor:
        """From `(B,)` class ids and `(B, num_labels)` logits to a scalar, divided by `num_items_in_batch` if given."""
        weights = self.weights.to(pooled_logits.device)
        loss = nn.functional.cross_entropy(
            pooled_logits.float(), labels, weight=weights, reduction="sum", label_smoothing=label_smoothing
        )
        return _per_label(loss, labels, num_items_in_batch)


class DistillationLoss:
    """
    A classifier's loss that listens to a teacher as well as to the labels, `(1 - w)` times the cross-entropy of the
    labels and `w` times the distance from what the teacher said; a mean over the examples.

    `"kl"`: the Kullback-Leibler divergence of the student's distribution from the teacher's, both of logits divided by
    the temperature `T`, times `T^2`, so that its gradient does not shrink with it (Hinton et al. 2015, arXiv
    1503.02531, section 2). `"mse"`: the squared Euclidean distance between the logits (Ba & Caruana 2014, arXiv
    1312.6184; Tang et al. 2019, arXiv 1903.12136, section 3). Where there are no logits of a teacher, as in an
    evaluation, the cross-entropy alone.

    Set as a model's `loss_function`.

    Args:
        kind: `"kl"` or `"mse"`.
        weight: `w`, from 0 to 1.
        temperature: `T`; `"mse"` has none.
    """

    def __init__(self, kind: str, weight: float, temperature: float):
        self.kind = kind
        self.weight = weight
        self.temperature = temperature

    def __call__(
        self,
        labels: torch.Tensor,
        pooled_logits: torch.Tensor,
        num_items_in_batch: torch.Tensor | int | None = None,
        teacher_logits: torch.Tensor | None = None,
        label_smoothing: float = 0.0,
        **kwargs,
    ) -> torch.Tensor:
        """From `(B,)` class ids, `(B, num_labels)` logits and those of the teacher to a scalar."""
        logits = pooled_logits.float()
        loss = nn.functional.cross_entropy(logits, labels, reduction="sum", label_smoothing=label_smoothing)
        if teacher_logits is not None:
            loss = (1 - self.weight) * loss + self.weight * self.distance(logits, teacher_logits.float()).sum()
        return _per_label(loss, labels, num_items_in_batch)

    def distance(self, logits: torch.Tensor, teacher_logits: torch.Tensor) -> torch.Tensor:
        """`(N,)`, of each of `(N, C)` logits from those of the teacher."""
        if self.kind == "mse":
            return (logits - teacher_logits).pow(2).sum(dim=-1)
        ours, theirs = ((each / self.temperature).log_softmax(dim=-1) for each in (logits, teacher_logits))
        divergence = nn.functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=-1)
        return self.temperature**2 * divergence


class TokenDistillationLoss(DistillationLoss):
    """
    The same for each labeled token; a mean over them. Where the teacher says nothing, which NaN stands for, the
    cross-entropy of the label alone.
    """

    def __call__(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        num_items_in_batch: torch.Tensor | int | None = None,
        teacher_logits: torch.Tensor | None = None,
        label_smoothing: float = 0.0,
        **kwargs,
    ) -> torch.Tensor:
        """From `(B, T, C)` logits, `(B, T)` labels, -100 where none counts, and the teacher's logits to a scalar."""
        counts = labels != IGNORE_INDEX
        logits, labels = logits[counts].float(), labels[counts]  # (N, C), (N,)
        losses = nn.functional.cross_entropy(logits, labels, reduction="none", label_smoothing=label_smoothing)
        if teacher_logits is not None:
            theirs = teacher_logits[counts].float()  # (N, C)
            speaks = ~theirs[:, 0].isnan()
            weight = self.weight * speaks
            theirs = torch.where(speaks.unsqueeze(-1), theirs, logits.detach())  # NaN would be no less NaN times 0
            losses = (1 - weight) * losses + weight * self.distance(logits, theirs)
        return _per_label(losses.sum(), labels, num_items_in_batch)


class NextTokenDistillationLoss(TokenDistillationLoss):
    """The same for the token after each, as a causal language model predicts it."""

    def __call__(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        shift_labels: torch.Tensor | None = None,
        **kwargs,
    ) -> torch.Tensor:
        """As [`TokenDistillationLoss`]; `shift_labels`, if given, are `(B, T)` labels that are shifted already."""
        targets = next_token_labels(labels) if shift_labels is None else shift_labels
        return super().__call__(logits, targets, **kwargs)


def symmetric_divergence(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """
    The mean of the Kullback-Leibler divergences of two distributions from each other, `sum_c (p - q) (log p - log q)
    / 2` in nats: of `(..., C)` logits to `(...)` in float32 (Liang et al. 2021, arXiv 2106.14448, equation 2).
    """
    log_p, log_q = first.float().log_softmax(dim=-1), second.float().log_softmax(dim=-1)
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(dim=-1) / 2


def divide_by_items(
    loss: torch.Tensor, labels: torch.Tensor, problem_type: str, num_items_in_batch: torch.Tensor | int | None
) -> torch.Tensor:
    """
    Make a classifier's loss a sum over the batch divided by `num_items_in_batch`, whatever the problem.

    Of transformers' losses for a whole text only the single-label one does so itself; those of several labels and of
    regression stay means over the batch, and gradients accumulated over unequal batches would be wrong.
    """
    if num_items_in_batch is None or problem_type == "single_label_classification":
        return loss
    return loss * labels.numel() / _on_device(num_items_in_batch, loss)


def _summed_loss_of_chunk(lm_head, states, targets, label_smoothing, divergence_weight):
    logits = lm_head(states).float()
    loss = nn.functional.cross_entropy(logits, targets, reduction="sum", label_smoothing=label_smoothing)
    if divergence_weight:
        loss = loss + divergence_weight * symmetric_divergence(logits[::2], logits[1::2]).sum()
    return loss


def _turn_into_gradient(
    logits: torch.Tensor,
    target: torch.Tensor,
    smooth: float,
    divergence_weight: float,
    bias_gradient: torch.Tensor | None,
) -> torch.Tensor:
    """
    The summed loss of `(C, V)` logits, which become its gradient by them in their place; the sum of that over the
    labels is added to the `(V,)` gradient of the bias, if one is given. In float32, whatever the type of the logits.
    """
    one_by_one = logits.device.type == "cpu" and not torch.compiler.is_compiling()
    rows = max(2, LOGITS_PER_PART // logits.shape[1] // 2 * 2) if one_by_one else len(logits)  # even: pairs stay whole
    loss = logits.new_zeros((), dtype=torch.float32)
    for part, wanted in zip(logits.split(rows), target.split(rows), strict=True):
        gradient = part.float()
        reward = (1 - smooth) * gradient.gather(1, wanted)
        if smooth:
            reward += smooth * gradient.mean(dim=-1, keepdim=True)
        between = gradient[::2] - gradient[1::2] if divergence_weight else None
        highest = gradient.amax(dim=-1, keepdim=True)
        torch.softmax(gradient, dim=-1, out=gradient)
        # log sum exp z = max z - log max p: the exponentials are computed once, for loss and gradient.
        loss += (highest - gradient.amax(dim=-1, keepdim=True).log() - reward).sum()
        if divergence_weight:
            loss += _add_gradient_of_divergence(gradient, between, divergence_weight)
        if smooth:
            gradient -= smooth / logits.shape[1]
        gradient.scatter_add_(1, wanted, gradient.new_full(wanted.shape, smooth - 1))
        if bias_gradient is not None:
            bias_gradient += gradient.sum(dim=0)
        if gradient is not part:
            part.copy_(gradient)
    return loss


def _add_gradient_of_divergence(probabilities: torch.Tensor, between: torch.Tensor, weight: float) -> torch.Tensor:
    """
    `weight` times the summed [`symmetric_divergence`] of neighbouring rows; they are increased by its gradient.

    With `d` the difference of two rows of logits, `log p - log q` is `d` less one number for all classes, so that the
    divergence is `(E_p[d] - E_q[d]) / 2`, and its gradient `(p (d - E_p[d]) + p - q) / 2` for the logits of p and
    `(q (E_q[d] - d) + q - p) / 2` for those of q.

    Args:
        probabilities: `(C, V)`, p and q by turns.
        between: `(C / 2, V)`, d.
    """
    p, q = probabilities[::2], probabilities[1::2]
    under_p = (p * between).sum(dim=-1, keepdim=True)
    under_q = (q * between).sum(dim=-1, keepdim=True)
    difference = (p - q).mul_(weight / 2)
    p.mul_((between - under_p).mul_(weight / 2).add_(1)).add_(difference)
    q.mul_((under_q - between).mul_(weight / 2).add_(1)).sub_(difference)
    return weight / 2 * (under_p - under_q).sum()


def _per_label(
    loss: torch.Tensor, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None
) -> torch.Tensor:
    """A loss summed over labels that all count: their mean, or a share of `num_items_in_batch`."""
    return loss / _on_device(len(labels) if num_items_in_batch is None else num_items_in_batch, loss)


def _on_device(number: torch.Tensor | int, loss: torch.Tensor) -> torch.Tensor | int:
    return number.to(loss.device) if isinstance(number, torch.Tensor) else number
