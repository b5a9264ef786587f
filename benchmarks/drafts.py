"""
Speculative decoding (Leviathan et al. 2023, arXiv 2211.17192) by trained language models: how often the larger model
is called and how long it takes, where a smaller one or the text itself guesses what it says next.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel
from transformers.utils import logging

from benchmarks.generation import generating
from benchmarks.machine import where_and_when
from benchmarks.speed_tables import DRAFTS, write_readme
from benchmarks.timing import Result, by_turns, ratio_of_pairs, seconds_of
from seqnlp.cli.models import ModelError, NamedModel, load_model
from seqnlp.data import values_of
from seqnlp.publishing.recomputation import task_of
from seqnlp.tokenization import encode_documents
from seqnlp.training import write_json


PROMPT, NEW_TOKENS = 32, 64
LOOKUP = {"prompt_lookup_num_tokens": 10}
"""What followed the last tokens where they stood before, 10 tokens of it."""


@contextmanager
def calls_of(model: PreTrainedModel | None) -> Iterator[list[None]]:
    """A list with an entry for each call of a model in the block; empty where there is no model."""
    calls: list[None] = []
    handle = None if model is None else model.register_forward_hook(lambda *_: calls.append(None))
    try:
        yield calls
    finally:
        if handle is not None:
            handle.remove()


def prompts_of(named: NamedModel, dataset: str | None, count: int) -> list[torch.Tensor]:
    """Pieces of the validation text of a model's run, evenly spread, each `(1, PROMPT)`."""
    loaded = task_of(named.run, dataset).load()
    texts = values_of(loaded.splits["validation"], "text")
    ids = torch.from_numpy(np.concatenate(encode_documents(named.tokenizer(), texts)))
    starts = torch.linspace(0, len(ids) - PROMPT, count).long()
    return [ids[start : start + PROMPT].unsqueeze(0) for start in starts]


def load_pair(target: str, draft: str) -> tuple[NamedModel, NamedModel]:
    """
    Two language models that have the same tokens.

    Raises:
        ModelError: If they do not, or one of them cannot be loaded.
    """
    pair = load_model(target), load_model(draft)
    first, second = (named.tokenizer().get_vocab() for named in pair)
    if first != second:
        raise ModelError(f"{draft} has other tokens than {target}: train it with --tokenizer_name {target}.")
    return pair


def measure(target: str, draft: str, rounds: int, dataset: str | None, keep: bool) -> dict[str, Any]:
    """
    Let a model write with and without guesses, with one thread: the same texts, or an error.

    Args:
        target: The folder of the run of the model that writes, or the model's id.
        draft: The same of the one that guesses.
        rounds: Prompts; for each all ways take turns.
        dataset: A folder with the data, where the record's name does not lead to it.
        keep: Whether to keep the result as JSON and in benchmarks/README.md.

    Raises:
        RuntimeError: If guesses change what is written.
    """
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    named, guesser = load_pair(target, draft)
    guesser.model.generation_config.eos_token_id = None  # as nothing ends what the other writes
    prompts = prompts_of(named, dataset, rounds)
    names = {"who": named.architecture, "parameters": named.model.num_parameters()}
    record = {
        "target": names,
        "prompt_tokens": PROMPT,
        "new_tokens": NEW_TOKENS,
        **where_and_when(),
        "runs": list(_runs(named.model, guesser, prompts)),
    }
    if keep:
        write_json(DRAFTS / f"{named.architecture}-by-{guesser.architecture}.json", record)
        write_readme()
    return record


def _runs(model: PreTrainedModel, guesser: NamedModel, prompts: list[torch.Tensor]) -> Iterator[dict[str, Any]]:
    """The calls and seconds of each text, by who guesses; the seconds are those of a [`Result`]."""
    ways = {
        guesser.architecture: (guesser.model, {"assistant_model": guesser.model}),
        "the text itself": (None, LOOKUP),
    }
    for who, (draft, options) in ways.items():
        seconds, alone_seconds, target_calls, draft_calls = [], [], [], []
        for prompt in prompts:
            alone = generating(model, prompt, NEW_TOKENS)
            guessed = generating(model, prompt, NEW_TOKENS, **options)
            with calls_of(model) as target, calls_of(draft) as guesses:
                written = guessed()
            if not torch.equal(written, alone()):
                raise RuntimeError(f"With guesses by {who} {type(model).__name__} writes something else.")
            target_calls.append(len(target))
            draft_calls.append(len(guesses))
            for pair in by_turns(guessed, alone, 2, seconds_of):
                seconds.append(pair[0])
                alone_seconds.append(pair[1])
        result = Result(who, "alone", seconds, alone_seconds, ratio_of_pairs(seconds, alone_seconds), unit="s")
        calls = {"target_calls": target_calls, "draft_calls": draft_calls}
        yield {**asdict(result), **calls, "parameters": draft.num_parameters() if draft else None}
