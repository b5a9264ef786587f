"""`python -m benchmarks VERB`: speed beside the peers, and the tables and cards that are made of kept records."""

import json
from typing import Annotated

import typer

from benchmarks import cards as cards_module
from benchmarks import memory, speed_tables, training_loops
from benchmarks import profiles as profiles_module
from benchmarks import results as results_module
from benchmarks import speed as speed_module


app = typer.Typer(
    help="Speed beside the peers, and the tables and cards that are made of the records in benchmarks/results/.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.command()
def speed(
    names: Annotated[list[str] | None, typer.Argument(help="Benchmarks, or all.", show_default=False)] = None,
    list_names: Annotated[bool, typer.Option("--list", help="List the benchmarks.")] = False,
    rounds: Annotated[int, typer.Option(min=5, help="Turns of each side.")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="Threads; more than one are timed by the wall clock.")] = 1,
    keep: Annotated[bool, typer.Option(help="Write the results to benchmarks/results/speed/ and the README.")] = True,
) -> None:
    """Run our models and the peers by turns; print medians and ratios, and keep them."""
    if list_names or not names:
        for name, benchmark in speed_module.BENCHMARKS.items():
            typer.echo(f"{name:16} {benchmark.title}")
        raise typer.Exit(0 if list_names else 2)
    _refuse_unknown(names, [*speed_module.BENCHMARKS, "all"])
    speed_module.measure_all(speed_module.BENCHMARKS if "all" in names else names, rounds, threads, keep)


@app.command()
def profiles(
    recipes: Annotated[list[str] | None, typer.Argument(help="Recipes; all by default.", show_default=False)] = None,
) -> None:
    """Record one training step of each recipe, and keep where its time goes."""
    _refuse_unknown(recipes or [], profiles_module.RUNS)
    profiles_module.profile_all(recipes or profiles_module.RUNS)


@app.command()
def readme() -> None:
    """Write the tables of benchmarks/README.md from the kept records of speed and profiles."""
    speed_tables.write_readme()


@app.command()
def results(
    records: Annotated[
        list[str] | None, typer.Argument(help="run.json of finished runs, which are kept first.", show_default=False)
    ] = None,
) -> None:
    """Write the results tables of README.md from the kept records of runs."""
    results_module.main(records or [])


@app.command()
def cards() -> None:
    """Write model_cards/ from the kept records of runs and from recipes/configs/."""
    cards_module.main()


@app.command(hidden=True)
def step_time() -> None:
    """One run of the training loop, which `processes` starts: the median time of a step in milliseconds."""
    milliseconds, is_main = training_loops.milliseconds_per_step()
    if is_main:
        typer.echo(json.dumps(milliseconds))


@app.command(hidden=True)
def step_memory(name: str) -> None:
    """Two training steps, which `memory` starts: the memory that they take in MiB."""
    typer.echo(json.dumps(memory.peak_of_step(name)))


def _refuse_unknown(names, known) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: not one of {', '.join(known)}.")


if __name__ == "__main__":
    app()
