"""`seqnlp scale`: how the loss of a recipe falls with the size of its model and with compute."""

from pathlib import Path
from typing import Annotated

import typer

from ..tasks import TASKS
from ..training.parsing import typed_flags
from .compare_runs import CompareError, Comparison, launch_one_step, open_folder, read_comparison, refuse_in_yaml
from .scale_report import write_report
from .scale_runs import ScaledRun, ScaleError, cost_of, costs_of, epochs_within, find_sizes, parse_sizes, run_size


OWN_FLAGS = ("evaluate_test", "model_name_or_path")
"""Flags of a recipe that scale sets itself, or that it has no use for, beside those of every verb."""


def scale(
    config: Annotated[Path, typer.Argument(metavar="YAML", help="One of recipes/configs, which names its recipe.")],
    sizes: Annotated[
        str,
        typer.Option(
            "--sizes",
            help="Numbers of parameters, embeddings too, e.g. 100k,300k,1M,3M,10M.",
            rich_help_panel="Sizes",
        ),
    ],
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            help="Floating-point operations of all runs together, e.g. 1e15, from which the number of epochs follows; "
            "the config's number of epochs if not given.",
            rich_help_panel="Sizes",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Runs per size.", rich_help_panel="Runs")] = 1,
    first_seed: Annotated[
        int, typer.Option("--first_seed", min=0, help="The first seed.", rich_help_panel="Runs")
    ] = 1,
    flags: Annotated[
        str,
        typer.Option(
            "--flags", rich_help_panel="Runs", help="Further flags of the recipe, in quotes, e.g. `--eval_steps 200`."
        ),
    ] = "",
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output_dir",
            help="Where runs and results go; by default outputs/scale_NAME.",
            rich_help_panel="Runs",
        ),
    ] = None,
) -> None:
    """
    Train a recipe at several sizes, and fit a power law to its validation loss: by parameters, and by compute along
    the best of all learning curves. The test split is never read.

    The width is what grows; depth, data, tokenizer and schedule stay. The command can be repeated: finished runs are
    kept, and an interrupted run goes on. Writes scale.html (one page that opens offline), scale.png and laws.json.

    Example:

        seqnlp scale lm_shakespeare_transformer --sizes 100k,300k,1M,3M --budget 1e15
    """
    counts = parse_sizes(sizes)
    if budget is not None and not 0 < budget < float("inf"):
        raise ScaleError(f"--budget {budget:g} must be a number of operations above 0.")
    comparison = read_comparison(config, flags, output_dir, "scale", OWN_FLAGS)
    if comparison.recipe.stem not in TASKS:
        raise CompareError(f"{config}: {comparison.recipe.stem} is no task of seqnlp, so its loss is not known.")
    refuse_in_yaml(comparison, ["model_name_or_path"])
    given = typed_flags(comparison.flags)
    decided = [name for name in ("max_train_steps", "num_train_epochs") if f"--{name}" in given]
    decided += ["max_train_steps"] if comparison.hyperparameters.get("max_train_steps") is not None else []
    if budget is not None and decided:
        raise ScaleError(f"--budget says how long to train, and {decided[0]} does as well: leave out one of them.")
    with open_folder(comparison):
        _scale(comparison, counts, budget, range(first_seed, first_seed + seeds))


def _scale(comparison: Comparison, counts: list[int], budget: float | None, seeds: range) -> None:
    """Make the runs that are not there yet, and report of all of them."""
    typer.echo("One step, to know the model")
    probe = launch_one_step(comparison, seeds.start)
    cost_of(probe)  # whether it can be counted at all
    found = find_sizes(probe, counts)
    costs = costs_of(probe, found)
    trained = []
    if budget is not None:
        epochs = epochs_within(budget, costs, len(seeds))
        trained = [f"--num_train_epochs={epochs:.6g}"]
        typer.echo(f"{epochs:.3g} epochs each, {costs[0].tokens * epochs:,.0f} tokens")
    runs = []
    for place, (one, cost) in enumerate(zip(found, costs, strict=True)):
        for seed in seeds:
            typer.echo(f"{one.count:,.0f} parameters, seed {seed}: {cost.per_token:,.0f} operations per token")
            record = run_size(comparison, one, seed, trained)
            runs.append(ScaledRun(place, seed, cost_of(record), record))
            typer.echo(f"  loss {runs[-1].loss:.4f}")
    typer.echo(f"\n{write_report(comparison, runs, budget)}")
