"""Where one step of a recipe's training goes.

The recipe itself runs, with its own data and defaults; after a few steps one is recorded by torch.profiler, and the
run ends there.
"""

import os
import runpy
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.kinds import shares_by_kind
from benchmarks.machine import describe_machine
from benchmarks.speed_tables import PROFILES, write_readme
from seqnlp import training
from seqnlp.tasks import TASKS


RECIPES = Path(__file__).parent.parent / "recipes"
# Each recipe by its defaults, and translation and language models also by their other family.
RUNS = {name: [""] for name in TASKS} | {
    "language_modeling": ["", "--architecture transformer"],
    "translation": ["", "--architecture gru"],
}
PROFILED_STEP = 5


class Profiled(Exception):
    """The step is recorded; the rest of the run is not wanted."""

    def __init__(self, record: dict):
        super().__init__()
        self.record = record


class ProfiledLoop(training.TrainingLoop):
    """Trains some steps as ever, records one, and stops."""

    def optimizer_step(self, micro_batches) -> torch.Tensor:
        if self.step < PROFILED_STEP:
            return super().optimizer_step(micro_batches)
        start = time.process_time()
        with profile(activities=[ProfilerActivity.CPU]) as profiler, record_function("the step"):
            super().optimizer_step(micro_batches)
        seconds = time.process_time() - start
        events = profiler.key_averages()
        total = sum(event.self_cpu_time_total for event in events)
        largest = sorted(events, key=lambda event: -event.self_cpu_time_total)[:10]
        shapes = {name: list(tensor.shape) for name, tensor in micro_batches[0].batch.items()}
        raise Profiled(
            {
                "batch": shapes,
                "milliseconds": 1000 * seconds,
                "kinds": shares_by_kind(events),
                "operations": {event.key: event.self_cpu_time_total / total for event in largest},
            }
        )


def profile_recipe(recipe: str, arguments: str) -> dict:
    """Run a recipe up to its recorded step."""
    with tempfile.TemporaryDirectory() as folder:
        sys.argv = [f"{recipe}.py", "--output_dir", folder, "--report_to", "none", "--num_threads", "1"]
        sys.argv += arguments.split()
        training.TrainingLoop = ProfiledLoop  # recipes take it from there
        try:
            runpy.run_path(str(RECIPES / f"{recipe}.py"), run_name="__main__")
        except Profiled as profiled:
            return {"recipe": recipe, "arguments": arguments, **profiled.record, "machine": describe_machine()}
    raise RuntimeError(f"{recipe} ended before its step {PROFILED_STEP}.")


def profile_all(recipes: Iterable[str]) -> None:
    """Record one step of each recipe, some of [`RUNS`], and keep where its time goes."""
    os.environ.setdefault("ACCELERATE_USE_CPU", "true")
    for recipe in recipes:
        for arguments in RUNS[recipe]:
            torch.manual_seed(0)
            name = "-".join([recipe, *arguments.removeprefix("--").split()])
            training.write_json(PROFILES / f"{name}.json", profile_recipe(recipe, arguments))
            write_readme()
