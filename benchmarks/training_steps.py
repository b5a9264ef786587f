"""Training steps, from the batch to the updated weights, against transformers' models of equal sizes."""

from collections.abc import Callable, Iterator

import torch
from transformers import PreTrainedModel

from benchmarks.peers import (
    LOSS_CHUNK,
    Sizes,
    bert,
    gpt2,
    llama,
    marian,
    our_decoder,
    our_encoder,
    our_translator,
    ragged_texts,
    random_tokens,
)
from benchmarks.timing import Action, Contest


REMARK = f"our loss_chunk_size is {LOSS_CHUNK}"
TRANSLATION = Sizes(vocab_size=8000, width=128)


def training_step(model: PreTrainedModel, batch: dict[str, torch.Tensor], dtype: str = "float32") -> Action:
    """Forward, backward and the fused AdamW."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step():
        with torch.autocast(model.device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
            loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def contest(
    name: str,
    peer_name: str,
    models: tuple[PreTrainedModel, PreTrainedModel],
    batch: dict[str, torch.Tensor],
    dtypes: tuple[str, str],
    target: float | None,
    remarks: str = REMARK,
) -> Contest:
    """A step of ours against a step of a peer, each in its type."""
    ours, peer = (training_step(model, batch, dtype) for model, dtype in zip(models, dtypes, strict=True))
    return Contest(name, peer_name, ours, peer, target, dtypes[0], remarks=remarks)


def language_model() -> Iterator[Contest]:
    """4 layers, 256 wide, vocabulary 8,192, 8 x 256 tokens, without padding or dropout."""
    sizes = Sizes()
    tokens = random_tokens(8, 256, sizes.vocab_size)
    batch = {"input_ids": tokens, "labels": tokens}
    rows: list[tuple[str, str, Callable, float]] = [
        ("float32", "GPT-2", gpt2, 1.6),
        ("float32", "Llama", llama, 1.1),
        ("bfloat16", "Llama", llama, 1.3),
    ]
    for dtype, peer_name, peer, target in rows:
        models = our_decoder(sizes), peer(sizes)
        yield contest(f"step {dtype}", f"{peer_name} {dtype}", models, batch, (dtype, dtype), target)


def seq2seq() -> Iterator[Contest]:
    """4 + 4 layers, 128 wide, vocabulary 8,000, 64 pairs of at most 32 tokens a side, half of it padding."""
    sizes, rows, length = TRANSLATION, 64, 32
    source, target = (ragged_texts(rows, length, sizes.vocab_size) for _ in range(2))
    batch = {**source, "labels": target["input_ids"].masked_fill(target["attention_mask"] == 0, -100)}
    for dtype, goal in (("float32", 1.4), ("bfloat16", None)):
        models = our_translator(sizes), marian(sizes)
        yield contest(f"step {dtype}", f"Marian {dtype}", models, batch, (dtype, dtype), goal)


def classifier() -> Iterator[Contest]:
    """4 layers, 256 wide, 32 texts of at most 64 tokens, half of it padding."""
    sizes, rows, length = Sizes(), 32, 64
    batch = {**ragged_texts(rows, length, sizes.vocab_size), "labels": torch.randint(2, (rows,))}
    for dtype in ("float32", "bfloat16"):
        models = our_encoder(sizes), bert(sizes)
        yield contest(f"step {dtype}", f"BERT {dtype}", models, batch, (dtype, dtype), 1.15, "")
