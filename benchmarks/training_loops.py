"""The training loop against the bare step it is made of, and two processes against one."""

import copy
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from transformers import PreTrainedModel

from benchmarks.peers import PAD, Sizes, our_decoder, our_translator, random_tokens
from benchmarks.timing import Result, clock, ratio_of_pairs
from benchmarks.training_steps import TRANSLATION
from seqnlp.data import LanguageModelCollator, LengthGroupedBatchSampler
from seqnlp.training import TrainingArguments, TrainingLoop, start_run
from seqnlp.training.batches import MicroBatch
from seqnlp.training.optimization import create_optimizer


ROWS, LENGTH = 8, 256  # a step's examples over all processes, and the tokens of each


def make_loop(
    make_model: Callable[[], PreTrainedModel],
    examples: list[dict],
    collator,
    batch_size: int,
    **arguments: Any,
) -> TrainingLoop:
    """
    A loop over examples of one length, which evaluates nothing, with the settings that recipes have.

    Args:
        make_model: What is trained.
        examples: With `input_ids`.
        collator: Makes a batch of them.
        batch_size: Examples of a process in a batch.
        **arguments: Further ones of [`TrainingArguments`].
    """
    given = {
        "output_dir": tempfile.mkdtemp(),
        "report_to": "none",
        "num_threads": torch.get_num_threads(),
        "per_device_train_batch_size": batch_size,
        "metric_for_best_model": "loss",
        "greater_is_better": False,
    }
    args = TrainingArguments(**given | arguments)
    run = start_run("benchmark", "transformer", args)
    sampler = LengthGroupedBatchSampler([len(example["input_ids"]) for example in examples], batch_size)
    return TrainingLoop(run, args, make_model(), examples, sampler, collator, lambda loop: {"loss": 0.0})


class BareSteps:
    """Behind each step of a loop takes the same step bare, with a model of its own, and times both."""

    def __init__(self, loop: TrainingLoop):
        self.twin = copy.deepcopy(loop.model)
        self.optimizer = create_optimizer(self.twin, loop.arguments)
        self.max_grad_norm = loop.arguments.max_grad_norm
        self.loop_times: list[float] = []
        self.bare_times: list[float] = []
        self.now = clock()
        self.mark: float | None = None
        loop.on_step_begin.append(self.begin)
        loop.on_step_end.append(self.end)

    def begin(self, loop: TrainingLoop, micro_batches: list[MicroBatch]) -> None:
        """Note the step's batch."""
        (micro,) = micro_batches
        self.batch = micro.batch

    def end(self, loop: TrainingLoop) -> None:
        """Note the time of the step, and take it once more."""
        if self.mark is not None:  # before the first step much is made once
            self.loop_times.append(1000 * (self.now() - self.mark))
            start = self.now()
            self.twin(**self.batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(self.twin.parameters(), self.max_grad_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.bare_times.append(1000 * (self.now() - start))
        self.mark = self.now()


class PairCollator:
    """Sources and labels of one length, stacked."""

    def __call__(self, examples: list[dict]) -> dict[str, torch.Tensor]:
        return {name: torch.stack([torch.as_tensor(example[name]) for example in examples]) for name in examples[0]}


def loop_overhead(rounds: int) -> Iterator[Result]:
    """
    A step of the loop, with batching, collating, clipping, schedule and records, against its forward, backward,
    clipping and optimizer alone: the language model's and, much shorter, the translator's.
    """
    steps = 2 * rounds
    sizes = Sizes()
    windows = [
        {"input_ids": row, "labels": row} for row in random_tokens(ROWS * (steps + 2), LENGTH, sizes.vocab_size)
    ]
    tokens = random_tokens(64 * (steps + 2), 32, TRANSLATION.vocab_size)
    pairs = [{"input_ids": row, "labels": row} for row in tokens]
    cases = [
        (
            f"language model, {ROWS} x {LENGTH} tokens",
            lambda: our_decoder(sizes),
            windows,
            LanguageModelCollator(PAD),
            8,
        ),
        ("translator, 64 x (32 + 32) tokens", lambda: our_translator(TRANSLATION), pairs, PairCollator(), 64),
    ]
    for name, make_model, examples, collator, batch_size in cases:
        # The last step evaluates and writes a checkpoint; it is not among those counted.
        loop = make_loop(make_model, examples, collator, batch_size, max_train_steps=steps + 2)
        bare_steps = BareSteps(loop)
        loop.train()
        ours, bare = bare_steps.loop_times[:steps], bare_steps.bare_times[:steps]
        yield Result(
            name=name,
            peer_name="the bare step",
            ours=ours,
            peer=bare,
            ratio=ratio_of_pairs(ours, bare),
            target=1.03,
            at_most=True,
        )


def milliseconds_per_step(steps: int = 8) -> tuple[float, bool]:
    """Median time of a step, and whether this process is the one to tell it."""
    num_processes = int(os.environ.get("WORLD_SIZE", 1))
    sizes = Sizes()
    torch.set_num_threads(1)
    windows = [
        {"input_ids": row, "labels": row} for row in random_tokens(ROWS * (steps + 1), LENGTH, sizes.vocab_size)
    ]
    batch_size = ROWS // num_processes
    collator = LanguageModelCollator(PAD)
    loop = make_loop(lambda: our_decoder(sizes), windows, collator, batch_size, max_train_steps=steps + 1)
    ends: list[float] = []
    loop.on_step_end.append(lambda loop: ends.append(time.perf_counter()))
    loop.train()
    # Neither the first step, nor the last with its evaluation.
    times = [after - before for before, after in itertools.pairwise(ends[1:-1])]
    return 1000 * statistics.median(times), loop.accelerator.is_main_process


def two_processes(rounds: int) -> Iterator[Result]:
    """
    The language model's step of 8 x 256 tokens, by two processes with four rows each against one with eight; one
    thread per process; by the clock on the wall, so the machine must have nothing else to do.
    """
    times = {1: [], 2: []}
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    for _ in range(rounds):
        for number, values in times.items():
            launch = [sys.executable, "-m", "accelerate.commands.launch", "--num_machines", "1"]
            launch += ["--dynamo_backend", "no", "--mixed_precision", "no", "--num_processes", str(number)]
            launch += ["--multi_gpu"] if number > 1 else []
            command = [*launch, "-m", "benchmarks", "step-time"]
            run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            values.append(json.loads(run.stdout.splitlines()[-1]))
    yield Result(
        name="language model, 8 x 256 tokens, two processes",
        peer_name="one process",
        ours=times[2],
        peer=times[1],
        ratio=ratio_of_pairs(times[2], times[1]),
        target=1.7,
    )
