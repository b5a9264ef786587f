"""What a masked language model is measured by: how it predicts the tokens that were hidden from it."""

import torch

from .perplexity import NegativeLogLikelihood, Perplexity
from .score import ONE_EXAMPLE, Score


MASKED_LANGUAGE_MODELING_SCORES = (
    Score(
        "loss",
        "Loss",
        "negative log-likelihood in nats of the hidden tokens, divided by their number",
        greater_is_better=False,
        unit="nats per hidden token",
    ),
    Score(
        "perplexity",
        "Perplexity of hidden tokens",
        "exp of the loss; the tokens are those of this model's tokenizer, and their text says which are hidden",
        greater_is_better=False,
    ),
    Score(
        "accuracy",
        "Accuracy",
        "share of the hidden tokens whose most probable token is the right one",
        greater_is_better=True,
        is_share=True,
        digits=1,
        weight_of_an_example=ONE_EXAMPLE,
    ),
)


def masked_language_modeling_scores(nats: float, hits: int, tokens: int) -> dict[str, float]:
    """
    The scores of a held-out text.

    Args:
        nats: Summed negative log-likelihood of the hidden tokens.
        hits: How many of them are the most probable token.
        tokens: How many there are.
    """
    total = {"predictions": [nats], "references": [tokens]}
    return {**NegativeLogLikelihood().compute(**total), **Perplexity().compute(**total), "accuracy": hits / tokens}


@torch.no_grad()
def nats_and_hits(model, batch: dict[str, torch.Tensor]) -> list[tuple[float, int]]:
    """
    Of each row of a batch the summed negative log-likelihood of its hidden tokens, and how many are the most probable.

    Args:
        model: A masked language model.
        batch: `input_ids`, `attention_mask` and `labels`, -100 for tokens that are not hidden.
    """
    labels = batch["labels"]
    logits = model(**{name: value for name, value in batch.items() if name != "labels"}).logits
    hidden = labels != -100
    logits, wanted = logits[hidden].float(), labels[hidden]
    losses = torch.nn.functional.cross_entropy(logits, wanted, reduction="none").double()
    nats = torch.zeros(len(labels), dtype=torch.double, device=labels.device)
    hits = torch.zeros(len(labels), dtype=torch.long, device=labels.device)
    row = hidden.nonzero()[:, 0]
    nats.index_add_(0, row, losses)
    hits.index_add_(0, row, (logits.argmax(-1) == wanted).long())
    return list(zip(nats.tolist(), hits.tolist(), strict=True))
