"""What a batch adds to the loss of an optimizer step: of models that give a sum or a mean, read once or twice.

Read twice is R-Drop: Liang et al. 2021, "R-Drop: Regularized Dropout for Neural Networks" (arXiv 2106.14448),
section 2.
"""

import math
from collections.abc import Callable

import torch
from transformers import PreTrainedModel
from transformers.utils import ModelOutput, logging

from ..models.losses import IGNORE_INDEX, next_token_labels, symmetric_divergence
from .batches import Batch, MicroBatch
from .errors import ArgumentsError, TrainingError


logger = logging.get_logger(__name__)


class StepLoss:
    """
    A micro-batch's share of the loss of a step, which is the mean over the targets of all its micro-batches.

    With R-Drop each row is read twice in one pass, under two draws of dropout, and the loss is half of the paper's
    equation 4, so that it is in nats per target as without: the mean of the two readings' losses, and `weight / 2`
    times the symmetric divergence of what they predict. Of several labels per text each is a distribution of its own.
    A model with a `loss_chunk_size` never holds all logits, and adds the divergence itself.

    Args:
        model: What is trained, not wrapped.
        count_targets: Number of targets of a batch that enter its loss.
        r_drop: The paper's `alpha`; 0 reads each row once.

    Raises:
        ArgumentsError: For R-Drop and a regression, which has no distribution over classes.
    """

    def __init__(self, model: PreTrainedModel, count_targets: Callable[[Batch], int], r_drop: float = 0.0):
        self.model = model
        self.count_targets = count_targets
        self.weight = r_drop
        self.readings = 2 if r_drop else 1
        self._gives_mean: bool | None = None  # whatever the model is told; not known yet
        if r_drop and getattr(model.config, "problem_type", None) == "regression":
            raise needs_classes(r_drop)

    def measure(self, batch: Batch, device: torch.device) -> None:
        """
        Find out, once, whether the model gives a sum or a mean, and with R-Drop whether two readings differ; the
        arguments are those of [`gives_mean`].
        """
        if self._gives_mean is not None:
            return
        self._gives_mean = gives_mean(self.model, batch, device)
        if self.readings == 2 and _reads_the_same_twice(self.model, batch):
            logger.warning(
                f"--r_drop {self.weight:g}: two readings of the first batch's texts are the same. Without dropout it "
                "does nothing, and each step takes twice as long."
            )

    def read(self, batch: Batch) -> Batch:
        """What the model reads of a batch: with R-Drop all its rows, and all its rows again."""
        if self.readings == 1:
            return batch
        return {name: torch.cat([tensor, tensor]) for name, tensor in batch.items()}

    def told(self, targets: torch.Tensor) -> dict[str, torch.Tensor | float]:
        """
        What the model's loss is told of `read(...)`, beside the batch.

        Args:
            targets: Of all micro-batches of the step.
        """
        told = {"num_items_in_batch": self.readings * targets}
        if self.readings == 2 and getattr(self.model.config, "loss_chunk_size", None):
            told["divergence_weight"] = self.weight
        return told

    def share(self, outputs: ModelOutput, micro: MicroBatch, targets: torch.Tensor) -> torch.Tensor:
        """
        What the model's outputs for `read(micro.batch)` add to the loss.

        Args:
            outputs: Their `loss` was given `told(targets)`.
            micro: Of which they are; one that is not real adds nothing.
            targets: Of all micro-batches of the step.
        """
        if self._gives_mean:
            # The mean over no targets is no number, and zero times that is none either.
            count = self.count_targets(micro.batch) if micro.is_real else 0
            loss = outputs.loss * (count / targets) if count else outputs.logits.sum() * 0.0
        else:
            loss = outputs.loss if micro.is_real else outputs.loss * 0.0
        if self.readings == 1 or not micro.is_real or outputs.logits is None:  # none: the divergence is in the loss
            return loss
        return loss + self.weight / 2 * self._divergence(outputs.logits, micro.batch) / targets

    def _divergence(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Between the two readings, summed over the targets: of `(2 B, ..., C)` logits and the batch of `B` rows."""
        first, second = logits.chunk(2)
        labels = batch["labels"]
        if labels.shape == first.shape:  # yes or no to each of several labels: two classes, of logits z and 0
            first, second = (torch.stack([each, torch.zeros_like(each)], dim=-1) for each in (first, second))
        elif first.dim() > 2:  # of tokens, some without a label
            if "shift_labels" in batch:
                labels = batch["shift_labels"]
            elif self.model.loss_type == "ForCausalLM":
                labels = next_token_labels(labels)
            counts = labels != IGNORE_INDEX
            first, second = first[counts], second[counts]
        return symmetric_divergence(first, second).sum()


def needs_classes(weight: float) -> ArgumentsError:
    """What to say of `--r_drop` where numbers are predicted."""
    return ArgumentsError(
        f"--r_drop {weight:g} compares distributions over classes, and this model predicts numbers: leave it out."
    )


def _reads_the_same_twice(model: PreTrainedModel, batch: Batch) -> bool:
    """Whether two readings of the first rows in training mode have the same loss, and not for want of labels."""
    rows = {name: tensor[:8] for name, tensor in batch.items()}
    with torch.no_grad():
        first, second = (float(model(**rows, num_items_in_batch=1).loss) for _ in range(2))
    return first != 0 and math.isclose(first, second, rel_tol=1e-6)


def gives_mean(model: PreTrainedModel, batch: Batch, device: torch.device) -> bool:
    """
    Whether the model gives the mean over its batch instead of the sum divided by `num_items_in_batch`.

    Args:
        model: In training mode, not wrapped.
        batch: Of which the first row is taken.
        device: Where the model is.

    Raises:
        TrainingError: If it computes no loss, or one that follows neither rule, so that the gradient of a step would
            be a wrong one.
    """
    row = {name: tensor[:1] for name, tensor in batch.items()}
    model.eval()
    with torch.no_grad():
        counts = torch.tensor([1, 2], device=device)
        found = [getattr(model(**row, num_items_in_batch=count), "loss", None) for count in counts]
    model.train()
    if any(loss is None for loss in found):
        raise TrainingError(f"A {type(model).__name__} computes no loss of its labels: start from another model.")
    losses = [float(loss) for loss in found]
    if math.isnan(losses[0]) and math.isnan(losses[1]):
        return True  # the mean over no targets; their sum is 0
    # However small it is: a model that is sure of its first row has one of 3e-7.
    divides, ignores = (math.isclose(losses[0], factor * losses[1], rel_tol=1e-3) for factor in (2, 1))
    if not divides and not ignores:
        raise TrainingError(
            f"The loss of a {type(model).__name__} is {losses[0]:.4g} for one target and {losses[1]:.4g} for two: "
            "it is neither a sum divided by their number nor a mean."
        )
    return ignores and not divides
