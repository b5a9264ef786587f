"""Ourselves against the peers, by turns: what is measured, and how it is kept and shown."""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from statistics import median

import torch
from tabulate import tabulate
from transformers.utils import logging

from benchmarks import generation, memory, recurrent_layers, training_loops, training_steps
from benchmarks.kinds import time_by_kind
from benchmarks.machine import where_and_when
from benchmarks.other_peers import PeerMissingError
from benchmarks.speed_tables import SPEED, shown_target, write_readme
from benchmarks.timing import Contest, Result, alternate
from seqnlp.digits import significant
from seqnlp.training import write_json
from seqnlp.training.precision import emulates_bf16


@dataclass(frozen=True)
class Benchmark:
    """
    One or several rows of the table.

    Attributes:
        title: What is measured.
        contests: Makes the contests one by one, so that no two of them need memory together.
        results: Instead, where time is taken in some other way: yields results, given the number of rounds.
        profiled: Whether to tell where our time goes.
        clock: What is read, where it is not the time that [`clock`][benchmarks.timing.clock] gives.
    """

    title: str
    contests: Callable[[], Iterator[Contest]] | None = None
    results: Callable[[int], Iterator[Result]] | None = None
    profiled: bool = False
    clock: str | None = None

    def run(self, rounds: int) -> Iterator[Result]:
        """Measure, one row after the other; those in bfloat16 where the processor multiplies that."""
        if self.results is not None:
            yield from self.results(rounds)
            return
        for contest in self.contests():
            if contest.product_type == "bfloat16" and emulates_bf16(on_cpu=True):  # where torch.nn's LSTM does not run
                sys.stderr.write(f"  {contest.name}: not measured, this processor emulates bfloat16\n")
                continue
            result = alternate(contest, rounds)
            if self.profiled:
                result.kinds = time_by_kind(contest.ours)
            yield result


BENCHMARKS = {
    "recurrent-layer": Benchmark(
        "A recurrent layer, forward and backward", recurrent_layers.recurrent_layer, profiled=True
    ),
    "parallel-cells": Benchmark(
        "Cells whose steps are computed all at once", recurrent_layers.parallel_cells, profiled=True
    ),
    "language-model": Benchmark("Training step of a language model", training_steps.language_model, profiled=True),
    "seq2seq": Benchmark("Training step of a translator", training_steps.seq2seq, profiled=True),
    "compiled-language-model": Benchmark(
        "Training step of a language model through torch.compile", training_steps.compiled_language_model
    ),
    "joeynmt": Benchmark("Training step of a translator beside JoeyNMT", training_steps.joeynmt),
    "classifier": Benchmark("Training step of a classifier", training_steps.classifier, profiled=True),
    "generation": Benchmark("Greedy generation", generation.greedy, profiled=True),
    "compiled-generation": Benchmark("Greedy generation by a compiled step", generation.by_a_compiled_step),
    "beams": Benchmark("Generation by beams", generation.beams, profiled=True),
    "cell-decoder": Benchmark("Generation with a cell in the decoder", generation.cell_decoder),
    "long-text": Benchmark("A token of a long text", results=generation.long_text),
    "loop": Benchmark("The training loop over its bare step", results=training_loops.loop_overhead),
    "memory": Benchmark("Peak memory of a training step", results=memory.memory, clock="resident memory"),
    "processes": Benchmark("Two processes against one", results=training_loops.two_processes, clock="wall"),
}


def show(results: list[Result]) -> str:
    """A table for the terminal."""
    rows = [
        [
            result.name,
            result.peer_name,
            f"{significant(median(result.ours))} {result.unit}",
            f"{significant(median(result.peer))} {result.unit}",
            f"{result.measured:.2f}",
            shown_target(result.target, result.at_most, result.is_reached),
            "" if result.product_share is None else f"{result.product_share:.0%}",
        ]
        for result in results
    ]
    headers = ["ours", "against", "ours, median", "peer, median", "ratio", "target", "products"]
    return tabulate(rows, headers=headers, disable_numparse=True)


def measure_all(names: Iterable[str], rounds: int, threads: int, keep: bool) -> None:
    """
    Run benchmarks one after the other and print what they give.

    Args:
        names: Of [`BENCHMARKS`].
        rounds: Turns of each side.
        threads: Threads of torch.
        keep: Whether to keep the results as JSON and in benchmarks/README.md.
    """
    torch.set_num_threads(threads)
    logging.set_verbosity_error()
    for name in dict.fromkeys(names):
        torch.manual_seed(0)
        benchmark, results = BENCHMARKS[name], []
        print(f"\n{benchmark.title} ({name})")
        try:
            for result in benchmark.run(rounds):
                results.append(result)
                sys.stderr.write(f"  {result.name} against {result.peer_name}: {result.measured:.2f}\n")
        except PeerMissingError as error:  # of one benchmark: the others are measured
            print(f"not measured: {error}")
            continue
        print(show(results))
        if keep:
            record = {
                "benchmark": name,
                "title": benchmark.title,
                "rounds": rounds,
                "clock": benchmark.clock or ("wall" if threads > 1 else "CPU time of the process"),
                **where_and_when(),
                "results": [{**asdict(result), "reached": result.is_reached} for result in results],
            }
            write_json(SPEED / f"{name}.json", record)
            write_readme()
