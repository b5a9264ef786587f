"""What translation needs of a run beside the loop: losses and translations of whole datasets."""

import statistics
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from .loop import Batch, TrainingLoop


def longest_translation(config: PreTrainedConfig, source_length: int) -> int:
    """
    How many tokens a translation may have: enough for any pair of languages, an end to babble, and no more than there
    are learned positions.
    """
    longest = 2 * source_length + 20
    is_learned = getattr(config, "position_embedding_type", None) == "learned"
    return min(longest, config.max_position_embeddings) if is_learned else longest


class Translator:
    """
    Losses and translations of datasets with tokenized `input_ids` and `labels`, each row once under any number of
    processes.

    Args:
        loop: Its model is what translates, as it is at the time.
        tokenizer: Of the target.
        collator: Makes a batch of rows.
    """

    def __init__(self, loop: TrainingLoop, tokenizer: PreTrainedTokenizerBase, collator):
        self.loop = loop
        self.tokenizer = tokenizer
        self.collator = collator

    def loss(self, dataset: Dataset) -> float:
        """The cross-entropy in nats a target token, the end token included, without label smoothing."""
        rows = self.loop.evaluate_rows(dataset, _summed_losses, self.collator, _lengths(dataset))
        return sum(loss for loss, _ in rows) / sum(count for _, count in rows)

    def translate(self, dataset: Dataset, num_beams: int = 1, length_penalty: float = 1.0) -> list[str]:
        """
        The translation of each row, in the dataset's order.

        Args:
            dataset: What is translated; its labels are not looked at.
            num_beams: Number of beams; 1 takes the likeliest token each time.
            length_penalty: Hypotheses are compared by their log-probability divided by their length to this power.
        """

        def decode(model: PreTrainedModel, batch: Batch) -> list[str]:
            tokens = model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                num_beams=num_beams,
                length_penalty=length_penalty if num_beams > 1 else 1.0,
                do_sample=False,
                max_new_tokens=longest_translation(model.config, batch["input_ids"].shape[1]),
            )
            return [text.strip() for text in self.tokenizer.batch_decode(tokens, skip_special_tokens=True)]

        return self.loop.evaluate_rows(dataset, decode, self.collator, _lengths(dataset))

    def is_due(self, every: int) -> bool:
        """Whether the evaluation under way is the `every`-th, twice the `every`-th ...; counted over resumptions."""
        done = sum("validation_loss" in entry for entry in self.loop.record.history)
        return (done + 1) % every == 0

    def speed(self, distance: float = 5.0) -> dict[str, Any]:
        """
        How fast training was: `seconds_to_bleu`, the time at which validation first reached BLEU 5, 10, 15, ...
        (evaluation included), and `target_tokens_per_second`, the median of training alone.
        """
        history = self.loop.record.history
        reached: dict[str, float] = {}
        threshold = distance
        for entry in history:
            while entry.get("validation_bleu", 0.0) >= threshold:
                reached[f"{threshold:g}"] = entry["validation_seconds"]
                threshold += distance
        speeds = [entry["targets_per_second"] for entry in history if "targets_per_second" in entry]
        return {"seconds_to_bleu": reached, "target_tokens_per_second": statistics.median(speeds or [0.0])}


def _lengths(dataset: Dataset) -> list[int]:
    return [len(ids) for ids in dataset["input_ids"]]


def _summed_losses(model: PreTrainedModel, batch: Batch) -> list[tuple[float, int]]:
    labels = batch["labels"]
    logits = model(**batch).logits.float()
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none")  # (B, T)
    return list(zip(losses.sum(dim=1).tolist(), (labels != -100).sum(dim=1).tolist(), strict=True))
