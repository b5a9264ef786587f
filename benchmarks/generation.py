"""Generation by `generate`, greedy and by beams, of a fixed number of tokens."""

import copy
import statistics
import time
from collections.abc import Iterator

import torch
from transformers import DynamicCache, GenerationMixin, PreTrainedModel
from transformers.generation import BaseStreamer

from benchmarks.peers import (
    SPECIAL,
    Sizes,
    llama,
    marian,
    our_decoder,
    our_lstm,
    our_recurrent,
    our_translator,
    random_tokens,
)
from benchmarks.timing import Action, Contest, Result, ratio_of_pairs
from benchmarks.training_steps import TRANSLATION
from seqnlp import RecurrentSeq2SeqConfig, RecurrentSeq2SeqForConditionalGeneration, compile_generation


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


def compiled(model: PreTrainedModel, prompt: torch.Tensor, new_tokens: int) -> Action:
    """
    Generation by a compiled step, once that is compiled.

    Raises:
        RuntimeError: If its tokens are not those of the usual way.
    """
    plain = generating(model, prompt, new_tokens)()
    compile_generation(model)
    action = generating(model, prompt, new_tokens)
    if not torch.equal(action(), plain):
        raise RuntimeError(f"A compiled step of {type(model).__name__} gives other tokens.")
    return action


def by_a_compiled_step() -> Iterator[Contest]:
    """Batch 1, 64 tokens behind 16; the peers write in their usual way."""
    sizes, new_tokens = Sizes(), 64
    for name, model, peer_name, peer, its_sizes, target in (
        ("decoder", our_decoder, "Llama", llama, sizes, 1.5),
        ("lstm", our_lstm, "Llama", llama, sizes, 2.0),
        ("translator", our_translator, "Marian", marian, TRANSLATION, None),
        ("gru translator", our_recurrent_translator, "Marian", marian, TRANSLATION, None),
    ):
        prompt = random_tokens(1, 16, its_sizes.vocab_size)
        yield Contest(
            name=f"{name}, compiled step",
            peer_name=peer_name,
            ours=compiled(model(its_sizes), prompt, new_tokens),
            peer=generating(peer(its_sizes), prompt, new_tokens),
            target=target,
            items=("tokens", new_tokens),
        )


def our_recurrent_translator(sizes: Sizes) -> PreTrainedModel:
    """A GRU of the same width with attention; both ways over the source."""
    config = RecurrentSeq2SeqConfig(
        vocab_size=sizes.vocab_size,
        hidden_size=sizes.width,
        cell_type="gru",
        attention_type="multiplicative",
        decoder_start_token_id=SPECIAL["bos_token_id"],
        **SPECIAL,
    )
    return RecurrentSeq2SeqForConditionalGeneration(config)


def with_a_source_for_each_beam(model: PreTrainedModel) -> PreTrainedModel:
    """The same model, searched by beams in transformers' own way."""

    class Plain(type(model)):
        _expand_inputs_for_generation = GenerationMixin._expand_inputs_for_generation
        _get_top_k_continuations = GenerationMixin._get_top_k_continuations

    plain = Plain(model.config)
    plain.load_state_dict(model.state_dict())
    return plain


def beams() -> Iterator[Contest]:
    """Translation of 32 texts of 24 tokens into 32 tokens, beams of 5, 4 + 4 layers, 128 wide."""
    rows, new_tokens = 32, 32
    source = random_tokens(rows, 24, TRANSLATION.vocab_size)
    translator, recurrent = our_translator(TRANSLATION), our_recurrent_translator(TRANSLATION)
    for name, peer_name, ours, peer, target in (
        ("5 beams, batch 32", "Marian", translator, marian(TRANSLATION), 1.3),
        ("5 beams, batch 32", "a source per beam", translator, with_a_source_for_each_beam(translator), None),
        ("5 beams, GRU, batch 32", "a source per beam", recurrent, with_a_source_for_each_beam(recurrent), None),
    ):
        yield Contest(
            name=name,
            peer_name=peer_name,
            ours=generating(ours, source, new_tokens, num_beams=5),
            peer=generating(peer, source, new_tokens, num_beams=5),
            target=target,
            product_type="float32" if target else None,
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
    """Tokens of long texts: by the LSTM and by minGRU, and by the decoder with either cache."""
    yield from (late_against_early(cell_type, rounds) for cell_type in ("lstm", "mingru"))
    yield from decoder_after_much(rounds)


def decoder_after_much(rounds: int, length: int = 4_096, new_tokens: int = 30) -> Iterator[Result]:
    """A token of the decoder after 4,096, with its own cache against transformers' `DynamicCache`."""
    model = our_decoder(Sizes()).eval()
    config = model.config
    token, times = torch.tensor([[5]]), ([], [])
    for index in range(-1, rounds):
        caches = model.create_cache(), DynamicCache(config=config)
        with torch.no_grad():
            for layer in range(config.num_hidden_layers):
                states = torch.randn(2, 1, config.num_key_value_heads, length, config.head_dim)
                for cache in caches:
                    cache.update(*states, layer)
            taken = ([], [])
            for _ in range(new_tokens):
                for cache, seconds in zip(caches, taken, strict=True):
                    start = time.process_time()
                    model(token, cache=cache)
                    seconds.append(time.process_time() - start)
        if index >= 0:
            for all_times, seconds in zip(times, taken, strict=True):
                all_times.append(1000 * statistics.median(seconds))
    yield Result(
        name=f"decoder, a token after {length:,}",
        peer_name="with DynamicCache",
        ours=times[0],
        peer=times[1],
        ratio=ratio_of_pairs(*times),
        target=1.4,
    )


def late_against_early(cell_type: str, rounds: int) -> Result:
    """A token after 10,000 tokens against a token after 100, by one cell; 100 of each per round."""
    sizes, new_tokens = Sizes(), 100
    model = our_recurrent(sizes, cell_type).eval()
    tokens = random_tokens(1, 10_000, sizes.vocab_size)
    caches = {}
    for length in (100, 10_000):
        with torch.no_grad():
            caches[length] = model(tokens[:, : length - 1], use_cache=True).cache

    def milliseconds_per_token(length: int) -> float:
        stopwatch = Stopwatch()
        generating(
            model,
            tokens[:, :length],
            new_tokens,
            cache=copy.deepcopy(caches[length]),
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
