"""Whether a model's loss is a mean or a sum over its batch: models of transformers do either."""

import math

import torch
from transformers import PreTrainedModel

from .batches import Batch
from .errors import TrainingError


def gives_mean(model: PreTrainedModel, batch: Batch, device: torch.device) -> bool:
    """
    Whether the model gives the mean over its batch instead of the sum divided by `num_items_in_batch`.

    Args:
        model: In training mode, not wrapped.
        batch: Of which the first row is taken.
        device: Where the model is.

    Raises:
        TrainingError: If its loss follows neither rule, so that the gradient of a step would be a wrong one.
    """
    row = {name: tensor[:1] for name, tensor in batch.items()}
    model.eval()
    with torch.no_grad():
        counts = torch.tensor([1, 2], device=device)
        losses = [float(model(**row, num_items_in_batch=count).loss) for count in counts]
    model.train()
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
