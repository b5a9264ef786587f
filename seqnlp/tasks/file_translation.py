"""A file translated line by line: batches of similar length, in the order of the file, resumed after a kill."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from transformers import PreTrainedModel

from ..training.evaluation import cut_into_batches
from .translation import Tokenizers, longest_translation


JOURNAL = ".part"
"""What is put behind the name of the output for what is done so far."""


class TranslationError(ValueError):
    """Lines that cannot be translated, or work that cannot be gone on with; the message says why and what would do."""


class TranslatedLine(NamedTuple):
    """
    The translation of a line.

    Attributes:
        text: The translation.
        is_whole: Whether the model ended it; else the length at most did.
    """

    text: str
    is_whole: bool


class Engine(Protocol):
    """What translates: this model by torch, or an export of it in another runtime."""

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text."""

    def translate(self, texts: list[str]) -> list[TranslatedLine]:
        """The translations of a batch."""

    def describe(self) -> dict[str, Any]:
        """What the translations depend on, for JSON: work is gone on with by an equal engine alone."""


class TorchEngine:
    """
    Translates by `generate`.

    Args:
        model: An encoder-decoder, on its device.
        tokenizers: Of source and target.
        **beams: What is not as the model's generation configuration has it: `num_beams`, `length_penalty`,
            `max_new_tokens`.
    """

    def __init__(self, model: PreTrainedModel, tokenizers: Tokenizers, **beams: Any):
        self.model, self.tokenizers, self.beams = model, tokenizers, beams

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """
        The number of tokens of each text.

        Raises:
            TranslationError: For a text longer than the positions that the model has learned.
        """
        lengths = [len(ids) for ids in self.tokenizers.source(list(texts), verbose=False).input_ids] if texts else []
        config = self.model.config
        is_learned = getattr(config, "position_embedding_type", None) == "learned"
        longest = max(lengths, default=0)
        if is_learned and longest > config.max_position_embeddings:
            text = texts[lengths.index(longest)]
            raise TranslationError(
                f"The line {text[:40]!r}... has {longest} tokens, and the model has learned "
                f"max_position_embeddings={config.max_position_embeddings}: divide it."
            )
        return lengths

    def translate(self, texts: list[str]) -> list[TranslatedLine]:
        """The translations of a batch; each is as long at most as it would be alone."""
        batch = self.tokenizers.source(texts, padding=True, return_tensors="pt", verbose=False)
        batch = {name: batch[name].to(self.model.device) for name in ("input_ids", "attention_mask")}
        bounds = [longest_translation(self.model.config, length) for length in batch["attention_mask"].sum(1).tolist()]
        how = {"do_sample": False, "max_length": None, "max_new_tokens": max(bounds), **self.beams}
        with torch.no_grad():
            written = self.model.generate(**batch, **how)[:, 1:].tolist()  # without the token that starts it
        end = self.model.generation_config.eos_token_id
        ends = set(end if isinstance(end, list) else [end])
        found = []
        for tokens, bound in zip(written, bounds, strict=True):
            tokens = tokens[: min(bound, how["max_new_tokens"])]
            text = self.tokenizers.target.decode(tokens, skip_special_tokens=True).strip()
            found.append(TranslatedLine(text, not ends.isdisjoint(tokens)))
        return found

    def describe(self) -> dict[str, Any]:
        """The weights and how they are used."""
        weights = hashlib.sha256()
        for name, weight in self.model.state_dict().items():
            weights.update(name.encode() + weight.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        generation = self.model.generation_config.to_diff_dict()
        return {"weights": weights.hexdigest(), "generation": generation, "beams": self.beams}


class Translated(NamedTuple):
    """
    Lines and what was done to get them.

    Attributes:
        lines: A line for each line of the input.
        empty: How many of them are, since there was nothing to translate.
        resumed: How many came from work that was begun before.
        cut: How many the model did not end, so that they were cut off at the length at most.
    """

    lines: list[str]
    empty: int
    resumed: int
    cut: int


def translate_lines(
    lines: Sequence[str],
    engine: Engine,
    batch_size: int = 32,
    journal: Path | None = None,
    progress: Callable[[int], None] = lambda count: None,
) -> Translated:
    """
    Translate each line; one of white space alone becomes an empty one.

    Args:
        lines: The lines, without their ends.
        engine: What translates.
        batch_size: Lines of a batch, at most; of longer ones fewer, see [`cut_into_batches`].
        journal: A file for what is done so far: where it holds work on the same lines by an equal engine, that is gone
            on with. It is left to the caller to remove it.
        progress: Told how many lines more are done.

    Raises:
        TranslationError: If the journal is that of other work.
    """
    wanted = [row for row, line in enumerate(lines) if line.strip()]
    done: dict[int, TranslatedLine] = {}
    if journal is not None:
        identity = {
            "batch_size": batch_size,
            "lines": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
            **engine.describe(),
        }
        done = _open_journal(journal, json.loads(json.dumps(identity)), len(lines))
    texts = [lines[row] for row in wanted]
    cut = cut_into_batches(len(texts), batch_size, engine.lengths(texts))
    batches = [[wanted[place] for place in batch] for batch in cut]
    # Whole batches alone, as they would be without the kill: what stands beside a line may change its last digits.
    left = [batch for batch in batches if not done.keys() >= set(batch)]
    resumed = len(wanted) - sum(map(len, left))
    progress(len(lines) - len(wanted) + resumed)
    for batch in left:
        found = engine.translate([lines[row] for row in batch])
        lined = (one._replace(text=re.sub("[\r\n]+", " ", one.text)) for one in found)  # a line for a line
        new = dict(zip(batch, lined, strict=True))
        if journal is not None:
            with journal.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps([row, *one], ensure_ascii=False) + "\n" for row, one in new.items())
                file.flush()
                os.fsync(file.fileno())
        done |= new
        progress(len(batch))
    texts = [done[row].text if row in done else "" for row in range(len(lines))]
    cut = sum(not one.is_whole for one in done.values())
    return Translated(texts, len(lines) - len(wanted), resumed, cut)


def _open_journal(path: Path, identity: dict[str, Any], num_lines: int) -> dict[int, TranslatedLine]:
    """The translations that a journal holds, by their rows; a new one holds none."""
    entries = []
    if path.exists():
        content = path.read_text(encoding="utf-8", errors="replace")
        whole, _, torn = content.rpartition("\n")  # a kill may have cut the last line
        try:
            entries = [json.loads(line) for line in whole.split("\n")] if whole else []
        except ValueError:
            entries = [None]
        if entries and entries[0] != identity:
            raise TranslationError(
                f"{path} holds work on other lines, by another model or with other flags: finish that, or remove it."
            )
        if torn:
            path.write_text(f"{whole}\n" if whole else "", encoding="utf-8")
    if not entries:
        path.write_text(json.dumps(identity) + "\n", encoding="utf-8")
    return {row: TranslatedLine(*one) for row, *one in entries[1:] if 0 <= row < num_lines}
