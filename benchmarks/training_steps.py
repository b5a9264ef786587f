"""Training steps, from the batch to the updated weights, against transformers' models of equal sizes."""

from collections.abc import Callable, Iterator

import torch
from torch import nn

from benchmarks.other_peers import JoeyNMTTranslator, TorchLanguageModel, TorchTranslator
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


def training_step(model: nn.Module, batch: dict[str, torch.Tensor], dtype: str = "float32") -> Action:
    """Forward, backward and the fused AdamW."""
    device = next(model.parameters()).device.type
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step():
        with torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16"):
            loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def contest(
    name: str,
    peer_name: str,
    models: tuple[nn.Module, nn.Module],
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
    sizes, batch = Sizes(), _windows()
    rows: list[tuple[str, str, Callable, float | None]] = [
        ("float32", "GPT-2", gpt2, 1.6),
        ("bfloat16", "GPT-2", gpt2, None),
        ("float32", "Llama", llama, 1.1),
        ("bfloat16", "Llama", llama, 1.3),
        ("float32", "torch.nn", TorchLanguageModel, None),
        ("bfloat16", "torch.nn", TorchLanguageModel, None),
    ]
    for dtype, peer_name, peer, target in rows:
        models = our_decoder(sizes), peer(sizes)
        yield contest(f"step {dtype}", f"{peer_name} {dtype}", models, batch, (dtype, dtype), target)


def compiled_language_model() -> Iterator[Contest]:
    """The same with both sides through `torch.compile`. GPT-2's parts are nanoGPT's, which is no package."""
    sizes, batch = Sizes(), _windows()
    for dtype in ("float32", "bfloat16"):
        for peer_name, peer, target in (("GPT-2", gpt2, 1.15), ("Llama", llama, None)):
            torch.compiler.reset()  # of a class only a few models are compiled, the next ones run eagerly
            models = torch.compile(our_decoder(sizes)), torch.compile(peer(sizes))
            yield contest(
                f"compiled step {dtype}", f"{peer_name}, compiled, {dtype}", models, batch, (dtype, dtype), target
            )


def _windows() -> dict[str, torch.Tensor]:
    tokens = random_tokens(8, 256, Sizes().vocab_size)
    return {"input_ids": tokens, "labels": tokens}


def seq2seq() -> Iterator[Contest]:
    """4 + 4 layers, 128 wide, vocabulary 8,000, 64 pairs of at most 32 tokens a side, half of it padding."""
    for peer_name, peer, goal in (("Marian", marian, 1.4), ("torch.nn", TorchTranslator, None)):
        yield from _of_translators(peer_name, peer, goal)


def joeynmt() -> Iterator[Contest]:
    """The same beside JoeyNMT's model, whose package is installed apart."""
    yield from _of_translators("JoeyNMT", JoeyNMTTranslator)


def _of_translators(
    peer_name: str, peer: Callable[[Sizes], nn.Module], float32_target: float | None = None
) -> Iterator[Contest]:
    sizes, rows, length = TRANSLATION, 64, 32
    source, target = (ragged_texts(rows, length, sizes.vocab_size) for _ in range(2))
    batch = {**source, "labels": target["input_ids"].masked_fill(target["attention_mask"] == 0, -100)}
    for dtype, goal in (("float32", float32_target), ("bfloat16", None)):
        models = our_translator(sizes), peer(sizes)
        yield contest(f"step {dtype}", f"{peer_name} {dtype}", models, batch, (dtype, dtype), goal)


def classifier() -> Iterator[Contest]:
    """4 layers, 256 wide, 32 texts of at most 64 tokens, half of it padding."""
    sizes, rows, length = Sizes(), 32, 64
    batch = {**ragged_texts(rows, length, sizes.vocab_size), "labels": torch.randint(2, (rows,))}
    for dtype in ("float32", "bfloat16"):
        models = our_encoder(sizes), bert(sizes)
        yield contest(f"step {dtype}", f"BERT {dtype}", models, batch, (dtype, dtype), 1.15, "")
