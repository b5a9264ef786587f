"""Generation by `generate`, greedy and by beams, of a fixed number of tokens."""

import copy
import statistics
import time
from collections.abc import Iterator

import torch
from transformers import PreTrainedModel
from transformers.generation import BaseStreamer

from benchmarks.peers import Sizes, llama, marian, our_decoder, our_lstm, our_recurrent, our_translator, random_tokens
from benchmarks.timing import Action, Contest, Result, ratio_of_pairs
from benchmarks.training_steps import TRANSLATION


def generating(model: PreTrainedModel, inputs: torch.Tensor, new_tokens: int, **options) -> Action:
    """
    Call `generate` for a fixed number of tokens, and give them: no token ends a text, and nothing is held back.
    """
    model.eval()
    model.generation_config.eos_token_id = None

    def run():
        return model.generate(
            inputs,
            attention_mask=torch.ones_like(inputs),
            do_sample=False,
            max_new_tokens=new_tokens,
            **options,
        )

    return run


def greedy() -> Iterator[Contest]:
    """Language models of 5.3 million weights, batch 1 and 32, 32 tokens behind a prompt of 16."""
    sizes, new_tokens = Sizes(), 32
    for rows in (1, 32):
        prompt = random_tokens(rows, 16, sizes.vocab_size)
        for name, model, target in (("decoder", our_decoder, 1.0), ("lstm", our_lstm, 1.3)):
            yield Contest(
                name=f"{name}, batch {rows}",
                peer_name="Llama",
                ours=generating(model(sizes), prompt, new_tokens),
                peer=generating(llama(sizes), prompt, new_tokens),
                target=target,
                items=("tokens", rows * new_tokens),
            )


def beams() -> Iterator[Contest]:
    """Translation of 32 texts of 24 tokens into 32 tokens, beams of 5, 4 + 4 layers, 128 wide."""
    rows, new_tokens = 32, 32
    source = random_tokens(rows, 24, TRANSLATION.vocab_size)
    yield Contest(
        name="5 beams, batch 32",
        peer_name="Marian",
        ours=generating(our_translator(TRANSLATION), source, new_tokens, num_beams=5),
        peer=generating(marian(TRANSLATION), source, new_tokens, num_beams=5),
        target=1.3,
        product_type="float32",
        items=("tokens", rows * new_tokens),
    )


def cell_decoder() -> Iterator[Contest]:
    """
    Translation of texts of 24 tokens, 3 + 3 layers, 256 wide: an SSRU in the decoder against self-attention there.
    """
    sizes = Sizes(vocab_size=8000, layers=3)
    models = [our_translator(sizes, decoder_cell=cell).eval() for cell in ("ssru", None)]
    for rows, num_beams, new_tokens in ((1, 1, 32), (1, 1, 256), (1, 5, 32), (32, 1, 32), (32, 5, 32)):
        source = random_tokens(rows, 24, sizes.vocab_size)
        ours, peer = (generating(model, source, new_tokens, num_beams=num_beams) for model in models)
        yield Contest(
            name=f"SSRU, {'greedy' if num_beams == 1 else f'{num_beams} beams'}, batch {rows}, {new_tokens} tokens",
            peer_name="ours with self-attention",
            ours=ours,
            peer=peer,
            items=("tokens", rows * new_tokens),
        )


class Stopwatch(BaseStreamer):
    """Notes the CPU time at which each token comes."""

    def __init__(self):
        self.times: list[float] = []

    def put(self, value: torch.Tensor) -> None:
        """A token, or at first the prompt."""
        self.times.append(time.process_time())

    def end(self) -> None:
        """The text is complete."""


def long_text(rounds: int) -> Iterator[Result]:
    """A token after 10,000 tokens against a token after 100, by the LSTM and by minGRU; 100 of each per round."""
    yield from (late_against_early(cell_type, rounds) for cell_type in ("lstm", "mingru"))


def late_against_early(cell_type: str, rounds: int) -> Result:
    """The same by one cell."""
    sizes, new_tokens = Sizes(), 100
    model = our_recurrent(sizes, cell_type).eval()
    tokens = random_tokens(1, 10_000, sizes.vocab_size)
    caches = {}
    for length in (100, 10_000):
        with torch.no_grad():
            caches[length] = model(tokens[:, : length - 1], use_cache=True).past_key_values

    def milliseconds_per_token(length: int) -> float:
        stopwatch = Stopwatch()
        generating(
            model,
            tokens[:, :length],
            new_tokens,
            past_key_values=copy.deepcopy(caches[length]),
            streamer=stopwatch,
        )()
        # Not the first, before which generate prepares itself.
        steps = [after - before for before, after in zip(stopwatch.times[1:], stopwatch.times[2:], strict=False)]
        return 1000 * statistics.median(steps)

    late, early = [], []
    for index in range(-1, rounds):
        for length, times in ((10_000, late), (100, early)):
            milliseconds = milliseconds_per_token(length)
            if index >= 0:
                times.append(milliseconds)
    return Result(
        name=f"{cell_type}, a token after 10,000",
        peer_name="ours after 100",
        ours=late,
        peer=early,
        ratio=ratio_of_pairs(late, early),
        target=1.05,
        at_most=True,
    )
