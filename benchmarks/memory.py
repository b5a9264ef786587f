"""Peak memory of a training step, each in a process of its own."""

import json
import resource
import subprocess
import sys
from collections.abc import Iterator

import psutil
import torch

from benchmarks.peers import LOSS_CHUNK, Sizes, gpt2, our_decoder, random_tokens
from benchmarks.timing import Result, ratio_of_pairs
from benchmarks.training_steps import training_step


SIZES = Sizes(vocab_size=32_000)
MODELS = {"ours": our_decoder, "gpt2": gpt2}


def resident() -> float:
    """MiB that this process holds now."""
    return psutil.Process().memory_info().rss / 2**20


def peak_resident() -> float:
    """MiB that it held when it held most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def peak_of_step(name: str) -> float:
    """
    MiB by which the resident memory of this process was largest during two training steps, over what it was before
    the model was made: weights, gradients, optimizer and everything a step holds.
    """
    torch.set_num_threads(1)
    # What is loaded and allocated once, whatever the size of the model.
    warm = random_tokens(1, 2, 10)
    training_step(MODELS[name](Sizes(vocab_size=16, width=16, layers=1)), {"input_ids": warm, "labels": warm})()
    before = resident()
    tokens = random_tokens(8, 256, SIZES.vocab_size)
    step = training_step(MODELS[name](SIZES), {"input_ids": tokens, "labels": tokens})
    for _ in range(2):  # the first makes the optimizer's state
        step()
    return peak_resident() - before


def memory(rounds: int) -> Iterator[Result]:
    """
    The language model's step of 8 x 256 tokens with a vocabulary of 32,000; at most three times, since memory hardly
    varies.
    """
    peaks = {name: [] for name in MODELS}
    for _ in range(min(rounds, 3)):
        for name, values in peaks.items():
            command = [sys.executable, "-m", "benchmarks", "step-memory", name]
            run = subprocess.run(command, capture_output=True, text=True, check=True)
            values.append(json.loads(run.stdout.splitlines()[-1]))
    yield Result(
        name="step float32, vocabulary 32,000",
        peer_name="GPT-2 float32",
        ours=peaks["ours"],
        peer=peaks["gpt2"],
        ratio=ratio_of_pairs(peaks["ours"], peaks["gpt2"]),
        target=0.5,
        at_most=True,
        unit="MiB",
        remarks=f"our loss_chunk_size is {LOSS_CHUNK}",
    )
