"""`seqnlp compare`: the same recipe with each architecture, at equal parameters, operations or time."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..tasks import ARCHITECTURES
from .compare_report import Matching, write_report
from .compare_runs import (
    CompareError,
    launch,
    launch_from,
    name_models,
    open_folder,
    overrides_for,
    read_comparison,
    refuse_in_yaml,
    split_flags,
)
from .compare_scores import score_of_all, summarize
from .flags import parse_list
from .sizes import UNITS, size_models


def compare(
    config: Annotated[Path, typer.Argument(metavar="YAML", help="One of recipes/configs, which names its recipe.")],
    architectures: Annotated[
        str,
        typer.Option(
            "--architectures",
            rich_help_panel="What is compared",
            help="Which ones to compare; the first sets the size.",
        ),
    ] = ",".join(ARCHITECTURES),
    match: Annotated[
        Literal["parameters", "flops", "seconds"],
        typer.Option(
            "--match",
            rich_help_panel="What is compared",
            help="What is equal: parameters, operations per text, or training time at equal parameters.",
        ),
    ] = "parameters",
    seeds: Annotated[int, typer.Option("--seeds", rich_help_panel="Runs", help="Runs per architecture.", min=1)] = 3,
    first_seed: Annotated[
        int, typer.Option("--first_seed", rich_help_panel="Runs", help="The first seed.", min=0)
    ] = 1,
    target: Annotated[
        float | None,
        typer.Option(
            "--target",
            rich_help_panel="What is compared",
            help="Size to match; by default the size of the first architecture.",
        ),
    ] = None,
    minutes: Annotated[
        float,
        typer.Option(
            "--minutes",
            rich_help_panel="What is compared",
            help="Training time per run, with --match seconds.",
            min=0.01,
        ),
    ] = 5.0,
    length: Annotated[
        int,
        typer.Option(
            "--length",
            rich_help_panel="What is compared",
            help="Length in tokens of the text for which operations are counted.",
            min=1,
        ),
    ] = 64,
    models: Annotated[
        str,
        typer.Option(
            "--models",
            rich_help_panel="What is compared",
            help="Models that exist, joined by commas, to fine-tune beside them: folders, or names on the Hub.",
        ),
    ] = "",
    model_flags: Annotated[
        str,
        typer.Option(
            "--model_flags",
            rich_help_panel="Runs",
            help="Further flags of the recipe for --models, in quotes, e.g. `--learning_rate 3e-5`.",
        ),
    ] = "",
    flags: Annotated[
        str,
        typer.Option(
            "--flags", rich_help_panel="Runs", help="Further flags of the recipe, in quotes, e.g. `--eval_steps 200`."
        ),
    ] = "",
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output_dir", rich_help_panel="Runs", help="Where runs and results go; by default outputs/compare_NAME."
        ),
    ] = None,
) -> None:
    """
    The same recipe with each architecture: same data, tokenizer and metric, sizes matched within 2 %. With --models,
    models that exist are fine-tuned beside them, each with its own tokenizer and size: is my LSTM worth it?

    Starts the recipe that the YAML names through accelerate launch, once per architecture and seed. The command can be
    repeated: finished runs are kept, and an interrupted run goes on. Writes compare.md, compare.html (one page that
    opens offline) and compare.png.

    Example:

        seqnlp compare sentiment_sst2_sentences --architectures lstm,transformer --seeds 3
    """
    if target is not None and not 0 < target < float("inf"):
        raise CompareError(f"--target {target:g} must be a number of {UNITS[match]} above 0.")
    names = parse_list(architectures, ARCHITECTURES, "--architectures")
    given, given_flags = name_models(models), split_flags(model_flags, "--model_flags")
    comparison = read_comparison(config, flags, output_dir)
    refuse_in_yaml(comparison, ["model_name_or_path"])
    with open_folder(comparison):
        fields = {name: overrides_for(name, comparison.overrides) for name in names}
        probes = {}
        for name in names:  # one step each, to learn class, vocabulary and other sizes
            typer.echo(f"{name}: one step, to know the model")
            probe = comparison.folder / "probes" / name
            words = "--seed", str(first_seed), "--max_train_steps", "1"
            probes[name] = launch(comparison, name, fields[name], probe, *words)
        score = score_of_all(probes[names[0]], bool(given))
        target, sizes = size_models(probes, match, length, target)
        timed = ["--max_train_minutes", str(minutes)] if match == "seconds" else []
        scores, commands = [], []
        for name in names:
            records = []
            for seed in range(first_seed, first_seed + seeds):
                typer.echo(f"{name}, seed {seed}: {sizes[name].count:,.0f} {UNITS[match]}")
                overrides, folder = sizes[name].instead_of(fields[name]), comparison.folder / f"{name}-{seed}"
                records.append(launch(comparison, name, overrides, folder, "--seed", str(seed), *timed))
            commands += [f"accelerate launch {record['command']}" for record in records]
            scores.append(summarize(name, records, length, score))
        for name, model in given.items():
            records = []
            for seed in range(first_seed, first_seed + seeds):
                typer.echo(f"{name}, seed {seed}")
                records.append(launch_from(comparison, name, model, seed, [*given_flags, *timed]))
            commands += [f"accelerate launch {record['command']}" for record in records]
            scores.append(summarize(name, records, length, score))
        matching = Matching(match, target, length, minutes, tuple(given), " ".join(given_flags))
        typer.echo(write_report(comparison, scores, matching, commands, records[-1]))
        typer.echo(f"The page to show is {comparison.folder / 'compare.html'}.")
