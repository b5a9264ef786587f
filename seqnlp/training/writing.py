"""Texts drawn from a language model under training, by every process its share."""

import torch
from transformers import PreTrainedTokenizerBase

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
    Texts that begin with `prompt`, each token drawn from all that the model gives a chance; nothing rules out any but
    the special tokens other than `</s>`, which ends a text.

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
