"""Texts drawn from a language model, under training or alone."""

from typing import Any

import torch
from transformers import PreTrainedTokenizerBase
from transformers.generation import BaseStreamer

from ..training.evaluation import Evaluator


def write_texts(
    evaluator: Evaluator,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    count: int,
    max_new_tokens: int,
    temperature: float = 1.0,
) -> list[str]:
    """
    Texts that begin with `prompt`, by every process its share. Each token is drawn from all that the model gives a
    chance; nothing rules out any but the special tokens other than `</s>`, which ends a text.

    Args:
        evaluator: Its model writes, as it is at the time.
        tokenizer: The model's; with `<s>` and `</s>`.
        prompt: What every text begins with; it may be empty.
        count: How many texts are written.
        max_new_tokens: Where a text ends at the latest.
        temperature: The logits are divided by it: below 1, what is likely becomes likelier.

    Returns:
        The texts, `prompt` included, the same on every process.
    """
    # Another stream of chance in every process, and the same in a run that was resumed when training was over.
    torch.manual_seed(evaluator.seed * 4_099 + evaluator.process_index)
    suppressed = [token for token in tokenizer.all_special_ids if token != tokenizer.eos_token_id]
    generation = {"top_k": 0, "temperature": temperature, "max_new_tokens": max_new_tokens}
    return _write(evaluator, tokenizer, _ids(tokenizer, prompt), count, suppress_tokens=suppressed, **generation)


def write_on(
    evaluator: Evaluator,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    max_new_tokens: int,
    temperature: float = 1.0,
    longest: int | None = None,
    streamer: BaseStreamer | None = None,
) -> str:
    """
    A text that begins with `prompt`. Special tokens are ruled out, `</s>` too; the generation config decides the rest.

    Args:
        evaluator: Its model writes, as it is at the time; called on every process.
        tokenizer: The model's; with `<s>`.
        prompt: What the text begins with.
        max_new_tokens: How many tokens are added to it.
        temperature: The logits are divided by it: below 1, what is likely becomes likelier.
        longest: Tokens of the text at most, prompt and `<s>` included; at least one is added.
        streamer: Is given the tokens as they come. The text is the main process's: give it one there.

    Returns:
        The text, `prompt` included, the same on every process.
    """
    ids = _ids(tokenizer, prompt)
    room = max_new_tokens if longest is None else min(max_new_tokens, max(1, longest - len(ids)))
    generation = {"temperature": temperature, "max_new_tokens": room, "suppress_tokens": tokenizer.all_special_ids}
    return _write(evaluator, tokenizer, ids, 1, streamer=streamer, **generation)[0]


def _ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    return [tokenizer.bos_token_id, *tokenizer(prompt, add_special_tokens=False)["input_ids"]]


def _write(
    evaluator: Evaluator, tokenizer: PreTrainedTokenizerBase, ids: list[int], count: int, **generation: Any
) -> list[str]:
    def write(model, batch: dict[str, torch.Tensor]) -> list[str]:
        # A configuration may be without a cache while it is trained.
        # BART forces its end token at the last place, which is among those that are suppressed.
        written = model.generate(**batch, do_sample=True, use_cache=True, forced_eos_token_id=None, **generation)
        return tokenizer.batch_decode(written, skip_special_tokens=True)

    return evaluator.evaluate_rows([ids] * count, write, _stack)


def _stack(rows: list[list[int]]) -> dict[str, torch.Tensor]:
    input_ids = torch.tensor(rows)
    return {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
