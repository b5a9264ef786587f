"""`seqnlp sweep`: better flags of a recipe, searched by validation."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..extras import install
from ..tasks import TASKS
from ..training import write_json
from ..training.parsing import typed_flags
from ..training.started_runs import read_json
from .compare_runs import CompareError, Comparison, launch_one_step, open_folder, read_comparison
from .sweep_report import write_report
from .sweep_space import Space, read_space, values_now
from .sweep_trials import Objective, Sweep, SweepError


OWN_FLAGS = ("evaluate_test",)
"""Flags of a recipe that a sweep sets itself, beside those that every verb does."""
SETTINGS = "space.json"
"""What a folder's sweep was made with."""


def sweep(
    config: Annotated[Path, typer.Argument(metavar="YAML", help="One of recipes/configs, which names its recipe.")],
    space: Annotated[
        Path,
        typer.Option(
            "--space",
            rich_help_panel="Search",
            help="YAML of flags: `learning_rate: {low: 1e-4, high: 1e-2, log: true}`, `optimizer: [adamw, muon]`; "
            "fields of the model under `config_overrides:`.",
        ),
    ],
    trials: Annotated[
        int,
        typer.Option(
            "--trials",
            min=1,
            help="Number of trials in all, including those of earlier calls.",
            rich_help_panel="Search",
        ),
    ] = 20,
    flags: Annotated[
        str,
        typer.Option(
            "--flags",
            help="Further flags of the recipe, in quotes, e.g. `--max_train_samples 500`.",
            rich_help_panel="Runs",
        ),
    ] = "",
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            min=0,
            help="Seed of the search and of every run.",
            rich_help_panel="Search",
        ),
    ] = 1,
    no_pruning: Annotated[
        bool,
        typer.Option(
            "--no_pruning",
            help="Train every trial to its end; otherwise one whose validation is worse than the median is stopped.",
            rich_help_panel="Search",
        ),
    ] = False,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output_dir",
            help="Where runs and results go; by default outputs/sweep_NAME.",
            rich_help_panel="Runs",
        ),
    ] = None,
) -> None:
    """
    Search for better flags of a recipe with Optuna. What counts is the validation score by which weights are chosen;
    no trial reads the test split.

    The first trial is the config as it stands. The command can be repeated: finished trials are kept in study.db, and
    an interrupted one goes on. Writes sweep.html (one page that opens offline), trials.json and best.yaml, which the
    recipe takes.

    Example:

        seqnlp sweep sentiment_sst2_glue --space space.yaml --trials 20
    """
    try:
        import optuna  # noqa: F401 (whether it is there)
    except ImportError as error:
        raise SweepError(f"`seqnlp sweep` needs Optuna: {install('sweep')}") from error
    comparison = read_comparison(config, flags, output_dir, "sweep", OWN_FLAGS)
    if comparison.recipe.stem not in TASKS:
        raise CompareError(f"{config}: {comparison.recipe.stem} is no task of seqnlp, so its flags are not known.")
    dimensions = read_space(space, TASKS[comparison.recipe.stem])
    given = {flag.replace("--no_", "--", 1) for flag in typed_flags(comparison.flags)}
    if twice := [name for name in dimensions if f"--{name}" in given]:
        raise SweepError(f"--flags {flags!r}: {space} searches --{twice[0]}. Leave it out of one of them.")
    settings = {
        "config": {**comparison.hyperparameters, "config_overrides": comparison.overrides},
        "flags": comparison.flags,
        "space": {name: dimension._asdict() for name, dimension in dimensions.items()},
        "seed": seed,
    }
    _refuse_another(comparison.folder, settings)
    with open_folder(comparison):
        _refuse_another(comparison.folder, settings)  # which may have come since
        write_json(comparison.folder / SETTINGS, settings)
        _search(comparison, dimensions, seed, trials, prunes=not no_pruning)


def _refuse_another(folder: Path, settings: dict[str, Any]) -> None:
    """See that a folder holds no sweep with other settings."""
    before = read_json(folder / SETTINGS)
    if before is not None and before != settings:
        changed = next(name for name in settings if before.get(name) != settings[name])
        raise SweepError(
            f"{folder} holds a sweep with another value of {changed}: its trials are not to be compared with these. "
            "Give another --output_dir."
        )


def _search(comparison: Comparison, dimensions: Space, seed: int, trials: int, prunes: bool) -> None:
    """Make the trials that are not there yet, and report of all of them."""
    task = TASKS[comparison.recipe.stem]
    typer.echo("One step, to know the metric")
    probe = launch_one_step(comparison, seed)
    known = probe["hyperparameters"]
    objective = Objective(known["metric_for_best_model"].removeprefix("validation_"), known["greater_is_better"])
    search = Sweep(comparison, dimensions, objective, seed, prunes)
    taken_up = search.take_up()
    begin = values_now(dimensions, comparison.hyperparameters, comparison.overrides, probe)
    search.begin_with(begin)
    outside = [name for name in dimensions if name not in begin]
    if outside:
        typer.echo(f"The config as it stands is outside of the space in {', '.join(outside)}.")
    done = len(search.finished)
    if done or taken_up:
        typer.echo(f"{done} trials are finished; {taken_up} that were interrupted go on.")
    try:
        search.run(trials, typer.echo)
    finally:
        if search.finished:
            text = write_report(search, task, {} if outside else begin)
    typer.echo(f"\n{text}")
