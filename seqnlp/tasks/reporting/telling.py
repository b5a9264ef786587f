"""What a run tells its user: what it is about to do, what was kept of it, and what to do with it."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Dataset, IterableDataset
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from ...data import lengths_of
from ...metrics import Score
from ...training import Evaluator, Predictions, TrainingLoop
from ...training.optimizers import described as described_optimizer
from ..arguments import TRANSFORMER, TextModelArguments
from .results import dataset_of
from .unknown import UNKNOWN_SHARE


if TYPE_CHECKING:
    from ..base import PreparedData

LONGEST_TRIAL = 60
"""Characters of a text that a command holds."""
LONGEST_SAMPLE = 160
"""Characters of a text that a line of training shows."""


class Telling:
    """
    The part of a [`Task`] that talks to whoever started the run.

    Attributes:
        targets: What a model predicts, in the plural, for its speed: texts, tokens.
        compared_with: What its baselines are; empty where there are none.
    """

    targets = "targets"
    compared_with = ""

    def introduce(self, loop: TrainingLoop, data: "PreparedData") -> str:
        """What is about to run, a line per fact. Called by every process, before the first step."""
        model = loop.unwrapped_model
        facts = {
            "data": described_data(loop.record.dataset),
            "tokens": self._described_tokens(loop, data),
            "vocabulary": self.described_vocabulary(data.processor),
            "model": self._described_model(model),
            "training": described_schedule(loop),
            "optimizer": described_optimizer(loop.arguments),
            "output": str(loop.run.output_dir),
        }
        width = max(map(len, facts)) + 2
        return "\n" + "\n".join(f"{name:{width}}{fact}" for name, fact in facts.items() if fact) + "\n"

    def count_tokens(self, loop: TrainingLoop, data: "PreparedData") -> dict[str, int]:
        """The tokens of each split, where it is known how many: those of its rows, or of a text that is one stream."""
        rows = {split: part for split, part in data.examples.items() if isinstance(part, Dataset)}
        counts = {split: sum(lengths_of(part, "input_ids")) for split, part in rows.items()}
        held_out = {split: count["tokens"] for split, count in data.counts.items() if "tokens" in count}
        if held_out and not isinstance(loop.train_dataset, IterableDataset):
            counts["train"] = len(loop.train_dataset)
        return counts | held_out

    def unknown_share(self, data: "PreparedData") -> float | None:
        """The share of the validation tokens that the tokenizer does not know."""
        return data.details.get(UNKNOWN_SHARE, {}).get("validation")

    def _described_tokens(self, loop: TrainingLoop, data: "PreparedData") -> str:
        counts, share = self.count_tokens(loop, data), self.unknown_share(data)
        if counts:
            loop.record.dataset["tokens"] = counts
        shown = ", ".join(f"{split} {count:,}" for split, count in counts.items())
        return shown if not shown or share is None else f"{shown}; unknown {share:.1%} of those of validation"

    def described_vocabulary(self, processor: Any) -> str:
        """The size of the vocabulary, and what its tokens are."""
        if not isinstance(processor, PreTrainedTokenizerBase):
            return ""
        return f"{len(processor):,} tokens{self.described_tokenizer()}"

    def described_tokenizer(self) -> str:
        """Where the vocabulary comes from, if flags say it."""
        arguments = self.model_args
        if not isinstance(arguments, TextModelArguments):
            return ""
        name = arguments.tokenizer_name or arguments.model_name_or_path
        return f", from {name}" if name else f", {arguments.tokenizer_type}, trained on the training split"

    def _described_model(self, model: PreTrainedModel) -> str:
        count = sum(parameter.numel() for parameter in model.parameters())
        trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        text = f"{self.label}, {type(model).__name__}: {count:,} parameters"
        return text if trained == count else f"{text}, of which {trained:,} are trained"

    def has_attention(self, config: PreTrainedConfig) -> bool:
        """Whether `seqnlp attention` has something to show of such a model."""
        if self.architecture == TRANSFORMER:
            return True
        return not self.is_recurrent and hasattr(config, "num_attention_heads")

    def trial(self, data: "PreparedData", folder: Path) -> list[str]:
        """The flags that give the trained model something to answer: a row of validation, or what its task has."""
        rows = data.loaded.splits["validation"]
        column = next((name for name in ("text", "source") if name in rows.column_names), None)
        texts = (text for text in rows[column][:200] if 0 < len(text.strip()) <= LONGEST_TRIAL) if column else ()
        text = next((text for text in texts if text.isprintable()), None)
        return ["--text", text or (*self.widget, "The")[0]]

    def sample(self, evaluator: Evaluator, data: "PreparedData", predictions: Any) -> str:
        """
        What a model under training does, at each validation: a translation, a continuation, its worst error. Called by
        every process; empty where there is nothing to show.

        Args:
            evaluator: Its model is asked.
            data: The prepared data.
            predictions: What it said of the rows of validation.
        """
        return ""

    def next_commands(self, data: "PreparedData", folder: Path, config: PreTrainedConfig) -> str:
        """What to do with a finished run: commands to copy."""
        place, trial = str(folder), self.trial(data, folder)
        commands = {"try it": ["try", place, *trial]}
        if self.has_attention(config):
            reads_images = "--file" in trial
            given = ["--image", trial[-1]] if reads_images else trial
            commands["see where it looks"] = ["attention", place, *given, "--output", str(folder / "attention.html")]
        commands["publish it"] = ["publish", place, "--dry_run"]
        width = max(map(len, commands)) + 2
        lines = (f"  {what + ':':{width}}{shlex.join(['seqnlp', *words])}" for what, words in commands.items())
        return "\n".join(["Next:", *lines])


def described_data(dataset: dict[str, Any]) -> str:
    """The name of a dataset of `run.json`, and the rows of its splits."""
    name, splits = dataset_of({"dataset": dataset}), dataset.get("splits", {})
    parts = (f"{split} {part['rows']:,}" if "rows" in part else f"{split} streamed" for split, part in splits.items())
    return f"{name}: rows of {', '.join(parts)}" if splits else name


def described_schedule(loop: TrainingLoop) -> str:
    """How many steps there are, and how they come about."""
    text = f"{loop.max_steps:,} steps"
    if loop.steps_per_epoch is not None:
        text += f", {loop.max_steps / loop.steps_per_epoch:.3g} epochs of {loop.steps_per_epoch:,} steps"
    if loop.step:
        text += f"; goes on at step {loop.step:,}"
    minutes = loop.arguments.max_train_minutes
    return text + (f"; {minutes:g} minutes at most" if minutes else "")


def described_kept(kept: dict[str, Any], score: Score | None, last_step: int) -> str:
    """
    Which weights were kept of a run, and why.

    Args:
        kept: What `run.json` says of it.
        score: What is known of the metric that chose.
        last_step: Of the run.
    """
    weights = f"moving average (decay {kept['ema_decay']:g}) of the weights" if "ema_decay" in kept else "weights"
    how = "highest" if score is not None and score.greater_is_better else "lowest"
    if "average_of" in kept:
        others = f"epoch {kept['epoch']:.4g} with the {how} {kept['metric']}" if "step" in kept else "the last step"
        return (
            f"Kept: the mean of the weights at the last {kept['average_of']} validations, which translates validation "
            f"better than those of {others}."
        )
    if "step" not in kept:
        verb = "is that" if "ema_decay" in kept else "are those"
        return f"The {weights} {verb} of the last step: no validation could choose."
    return (
        f"Kept: the {weights} of epoch {kept['epoch']:.4g} (step {kept['step']:,} of {last_step:,}), whose validation "
        f"{kept['metric']} is the {how}, {score.shown(kept['value'])}."
    )


def surest_error(predictions: Predictions, names: Sequence[str], text_of: Callable[[int], str]) -> str:
    """
    The wrong class that a classifier gives the highest probability, in a line; empty if all are right.

    Args:
        predictions: Logits and labels, of one class per row.
        names: Of the classes.
        text_of: What is shown of a row.
    """
    logits, labels = predictions
    shares = np.exp(logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True))
    found = logits.argmax(-1)
    surest = np.where(found != labels, shares.max(-1), -1.0)
    row = int(surest.argmax())
    if surest[row] < 0:
        return ""
    what = f"is {names[labels[row]]}, taken for {names[found[row]]} ({surest[row]:.1%})"
    return f"Surest error of {int((found != labels).sum()):,}: {what}: {shortened(text_of(row))}"


def shortened(text: str) -> str:
    """A text in one line, cut where it is long."""
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_SAMPLE else f"{text[:LONGEST_SAMPLE]}..."
