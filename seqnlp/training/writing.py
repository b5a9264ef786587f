"""Texts drawn from a language model under training."""

import torch
from accelerate import DistributedType
from transformers import PreTrainedTokenizerBase, TextStreamer

from .loop import TrainingLoop


def write_texts(
    loop: TrainingLoop,
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
        loop: Its model writes, as it is at the time.
        tokenizer: The model's; with `<s>` and `</s>`.
        prompt: What every text begins with; it may be empty.
        count: How many texts are written.
        max_new_tokens: Where a text ends at the latest.
        temperature: The logits are divided by it: below 1, what is likely becomes likelier.

    Returns:
        The texts, `prompt` included, the same on every process.
    """
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    rows = [{"input_ids": [tokenizer.bos_token_id, *ids], "labels": []}] * count
    # Another stream of chance in every process, and the same in a run that was resumed when training was over.
    torch.manual_seed(loop.arguments.seed * 4_099 + loop.accelerator.process_index)
    suppressed = [token for token in tokenizer.all_special_ids if token != tokenizer.eos_token_id]

    def write(model, batch: dict[str, torch.Tensor]) -> list[str]:
        written = model.generate(
            input_ids=batch["input_ids"],
            do_sample=True,
            top_k=0,
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            suppress_tokens=suppressed,
        )
        return tokenizer.batch_decode(written, skip_special_tokens=True)

    return loop.evaluate_rows(rows, write)


def stream_texts(
    loop: TrainingLoop,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[str],
    max_new_tokens: int,
    temperature: float = 1.0,
    longest: int | None = None,
) -> list[str]:
    """
    One text for each prompt, printed by the main process while it is written.

    Args:
        loop: Its model writes, as it is at the time; called on every process.
        tokenizer: The model's; with `<s>`.
        prompts: What the texts begin with.
        max_new_tokens: How many tokens are added to a prompt.
        temperature: The logits are divided by it: below 1, what is likely becomes likelier.
        longest: Tokens of a text at most, prompt and `<s>` included; at least one is added.

    Returns:
        The texts, prompts included; on other processes than the main one an empty list.
    """
    model, is_main = loop.accelerator.unwrap_model(loop.model), loop.accelerator.is_main_process
    if not is_main and loop.accelerator.distributed_type != DistributedType.FSDP:  # with shards all must take part
        return []
    was_training, texts = model.training, []
    model.eval()
    for prompt in prompts:
        if is_main:
            print()
        ids = tokenizer(tokenizer.bos_token + prompt, add_special_tokens=False, return_tensors="pt")
        room = max_new_tokens if longest is None else max(1, longest - ids["input_ids"].shape[1])
        written = model.generate(
            **ids.to(loop.accelerator.device),
            do_sample=True,
            temperature=temperature,
            max_new_tokens=min(max_new_tokens, room),
            suppress_tokens=tokenizer.all_special_ids,
            streamer=TextStreamer(tokenizer, skip_special_tokens=True) if is_main else None,
        )
        texts.append(tokenizer.decode(written[0], skip_special_tokens=True))
    model.train(was_training)
    return texts if is_main else []
