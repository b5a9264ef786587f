"""Measure ourselves against the peers: `python -m benchmarks NAME...`, `all`, or `--list`."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from statistics import median
from typing import Annotated

import torch
import typer
from tabulate import tabulate
from transformers.utils import logging

from benchmarks import generation, memory, recurrent_layers, training_loops, training_steps
from benchmarks.kinds import time_by_kind
from benchmarks.machine import describe_machine
from benchmarks.speed import SPEED, write_readme
from benchmarks.timing import Contest, Result, alternate


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
        """Measure, one row after the other."""
        if self.results is not None:
            yield from self.results(rounds)
            return
        for contest in self.contests():
            result = alternate(contest, rounds)
            if self.profiled:
                result.kinds = time_by_kind(contest.ours)
            yield result


BENCHMARKS = {
    "recurrent-layer": Benchmark(
        "A recurrent layer, forward and backward", recurrent_layers.recurrent_layer, profiled=True
    ),
    "language-model": Benchmark("Training step of a language model", training_steps.language_model, profiled=True),
    "seq2seq": Benchmark("Training step of a translator", training_steps.seq2seq, profiled=True),
    "classifier": Benchmark("Training step of a classifier", training_steps.classifier, profiled=True),
    "generation": Benchmark("Greedy generation", generation.greedy, profiled=True),
    "beams": Benchmark("Generation by beams", generation.beams, profiled=True),
    "long-text": Benchmark("A token of a long text", results=generation.long_text),
    "loop": Benchmark("The training loop over its bare step", results=training_loops.loop_overhead),
    "memory": Benchmark("Peak memory of a training step", results=memory.memory, clock="resident memory"),
    "processes": Benchmark("Two processes against one", results=training_loops.two_processes, clock="wall"),
}

app = typer.Typer(add_completion=False)


def show(results: list[Result]) -> str:
    """A table for the terminal."""
    rows = [
        [
            result.name,
            result.peer_name,
            result.unit,
            f"{median(result.ours):,.4g}",
            f"{median(result.peer):,.4g}",
            f"{result.measured:.2f}",
            "" if result.target is None else f"{'<=' if result.at_most else '>='} {result.target:g}",
            {None: "", True: "reached", False: "missed"}[result.is_reached],
            "" if result.product_share is None else f"{result.product_share:.0%}",
        ]
        for result in results
    ]
    headers = ["ours", "against", "unit", "median", "median", "ratio", "target", "", "products"]
    return tabulate(rows, headers=headers, disable_numparse=True)


@app.command()
def main(
    names: Annotated[list[str] | None, typer.Argument(help="Benchmarks, or all.", show_default=False)] = None,
    list_names: Annotated[bool, typer.Option("--list", help="List the benchmarks.")] = False,
    rounds: Annotated[int, typer.Option(min=5, help="Turns of each side.")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="Threads; more than one are timed by the wall clock.")] = 1,
    keep: Annotated[bool, typer.Option(help="Write the results to benchmarks/results/speed/ and the README.")] = True,
) -> None:
    """
    Run our models and the peers by turns; print medians and ratios; keep them as JSON, and in benchmarks/README.md.
    """
    if list_names or not names:
        for name, benchmark in BENCHMARKS.items():
            typer.echo(f"{name:16} {benchmark.title}")
        raise typer.Exit(0 if list_names else 2)
    unknown = [name for name in names if name not in (*BENCHMARKS, "all")]
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: not one of {', '.join(BENCHMARKS)}, all.")
    torch.set_num_threads(threads)
    logging.set_verbosity_error()
    for name in BENCHMARKS if "all" in names else dict.fromkeys(names):
        torch.manual_seed(0)
        benchmark, results = BENCHMARKS[name], []
        typer.echo(f"\n{benchmark.title} ({name})")
        for result in benchmark.run(rounds):
            results.append(result)
            sys.stderr.write(f"  {result.name} against {result.peer_name}: {result.measured:.2f}\n")
        typer.echo(show(results))
        if keep:
            SPEED.mkdir(parents=True, exist_ok=True)
            record = {
                "benchmark": name,
                "title": benchmark.title,
                "command": f"python -m benchmarks {name} --rounds {rounds} --threads {threads}",
                "rounds": rounds,
                "clock": benchmark.clock or ("wall" if threads > 1 else "CPU time of the process"),
                "machine": describe_machine(),
                "date": time.strftime("%Y-%m-%d", time.gmtime()),
                "results": [{**asdict(result), "reached": result.is_reached} for result in results],
            }
            (SPEED / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
            write_readme()


if __name__ == "__main__":
    app()
