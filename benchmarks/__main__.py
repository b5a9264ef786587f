"""`python -m benchmarks VERB`: speed beside the peers, and the tables and cards that are made of kept records."""

import json
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks import cards as cards_module
from benchmarks import diagrams as diagrams_module
from benchmarks import drafts as drafts_module
from benchmarks import gpu as gpu_module
from benchmarks import gpu_report, gpu_setting, memory, speed_tables, training_loops
from benchmarks import growth as growth_module
from benchmarks import profiles as profiles_module
from benchmarks import results as results_module
from benchmarks import speed as speed_module
from benchmarks import tried as tried_module
from seqnlp.tasks.reporting.translation_results import draw_bleu_by_length
from seqnlp.tasks.translation import Translation


app = typer.Typer(
    help="Speed beside the peers, and the tables and cards that are made of the records in benchmarks/results/.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
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
        width = max(map(len, speed_module.BENCHMARKS))
        for name, benchmark in speed_module.BENCHMARKS.items():
            typer.echo(f"{name:{width}} {benchmark.title}")
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
def runtimes(
    rounds: Annotated[int, typer.Option(min=5, help="Turns of each side.")] = 7,
    keep: Annotated[
        bool, typer.Option(help="Write the results to benchmarks/results/runtimes/ and the README.")
    ] = True,
) -> None:
    """Tokens per second of `generate` and of exported models, by turns, with one thread."""
    from benchmarks import runtimes as runtimes_module  # needs the extra `export`

    typer.echo(speed_tables.runtimes_table([runtimes_module.measure_speed(rounds, keep)]))


@app.command()
def exported(
    model: Annotated[str, typer.Argument(help="The folder of a translator's run, or its name on the Hub.")],
    split: Annotated[str, typer.Option(help="What is translated.")] = "test",
    beams: Annotated[int, typer.Option(min=1, help="1 takes the likeliest token each time.")] = 1,
    dataset_name: Annotated[
        str | None, typer.Option("--dataset_name", help="A folder with the data, if that is not on the Hub.")
    ] = None,
    keep: Annotated[
        bool, typer.Option(help="Write the result to benchmarks/results/exported/ and the README.")
    ] = True,
) -> None:
    """Translate a split by `generate` and by the exported model: tokens alike, BLEU, times."""
    from benchmarks import runtimes as runtimes_module  # needs the extra `export`

    typer.echo(
        speed_tables.exported_table([runtimes_module.measure_translator(model, split, beams, dataset_name, keep)])
    )


@app.command()
def drafts(
    target: Annotated[str, typer.Argument(help="The folder of a language model's run, or its name on the Hub.")],
    draft: Annotated[str, typer.Argument(help="The same of a smaller one with the same tokens, which guesses.")],
    rounds: Annotated[int, typer.Option(min=5, help="Texts that are written.")] = 15,
    dataset_name: Annotated[
        str | None, typer.Option("--dataset_name", help="A folder with the data, if that is not on the Hub.")
    ] = None,
    keep: Annotated[bool, typer.Option(help="Write the result to benchmarks/results/drafts/ and the README.")] = True,
) -> None:
    """Speculative decoding: the calls of a model and its time, where another one or the text itself guesses ahead."""
    typer.echo(speed_tables.drafts_table([drafts_module.measure(target, draft, rounds, dataset_name, keep)]))


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
    """Write docs/results.md, docs/tried.md and the best rows of README.md from the kept records of runs."""
    results_module.main(records or [])


@app.command()
def tried(
    records: Annotated[
        list[Path], typer.Argument(help="run.json of finished runs of one task, dataset and architecture.")
    ],
    name: Annotated[str, typer.Option(help="What was tried, in a word or two: the end of the file's name.")],
    finding: Annotated[str, typer.Option(help="What was found, in a sentence or two with its numbers.")],
) -> None:
    """Keep runs that did not reach their aim in benchmarks/results/tried/, and write docs/tried.md."""
    try:
        path = tried_module.keep([json.loads(path.read_text(encoding="utf-8")) for path in records], name, finding)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="RECORDS") from error
    results_module.main([])
    typer.echo(path)


@app.command("bleu_by_length")
def bleu_by_length(
    records: Annotated[list[Path], typer.Argument(help="run.json of translators trained on Multi30k.")],
    output: Annotated[Path, typer.Option(help="Where the picture goes.")] = Path("bleu_by_length.png"),
) -> None:
    """Draw BLEU by the length of the source, a line per model; nothing is kept."""
    output.parent.mkdir(parents=True, exist_ok=True)
    known = [json.loads(path.read_text(encoding="utf-8")) for path in records]
    if not draw_bleu_by_length([record for record in known if record["task"] == Translation.name], output):
        raise typer.BadParameter("none of them translated the test set of 2016 of Multi30k.", param_hint="RECORDS")
    typer.echo(output)


@app.command()
def cards() -> None:
    """Write model_cards/ from the kept records of runs and from recipes/configs/."""
    cards_module.main()


@app.command()
def diagrams(
    output_dir: Annotated[Path, typer.Option("--output_dir", help="Where the SVG files go.")] = Path("outputs/tour"),
) -> None:
    """Draw the models of docs/tour.md, each from the modules that it is made of."""
    for path in diagrams_module.draw_all(output_dir):
        typer.echo(path)


@app.command()
def gpu(
    parts: Annotated[list[str] | None, typer.Argument(help="Parts; all by default.", show_default=False)] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer rounds and steps: four minutes instead of eight.")
    ] = False,
    device: Annotated[str, typer.Option(help="cuda, or cpu to try the code itself at tiny sizes.")] = "cuda",
    output_dir: Annotated[Path, typer.Option("--output_dir", help="Where gpu.json and gpu.md go.")] = Path(
        "outputs/gpu"
    ),
    minutes: Annotated[
        float | None, typer.Option(help="For all parts; 8, or 4 with --quick, or 30 on a CPU.", min=0.1)
    ] = None,
    keep: Annotated[
        bool, typer.Option(help="Write what a card told to benchmarks/results/gpu/ and the README.")
    ] = True,
) -> None:
    """Run everything that only a GPU can tell: parity, training, resuming, speed beside the peers, memory."""
    _refuse_unknown(parts or [], gpu_module.PARTS)
    if device not in ("cuda", "cpu"):
        raise typer.BadParameter(f"{device}: not one of cuda, cpu.", param_hint="--device")
    if device == "cuda" and not torch.cuda.is_available():
        raise typer.BadParameter("there is no GPU that torch can use; --device cpu tries the code itself.")
    size = "tiny" if device == "cpu" else "quick" if quick else "full"
    setting = gpu_setting.Setting(device, size)
    limit = minutes or {"full": 8, "quick": 4, "tiny": 30}[size]
    record = gpu_module.run_all(parts or list(gpu_module.PARTS), setting, output_dir, limit)
    typer.echo(gpu_report.report(record))
    if keep and device == "cuda":
        gpu_report.keep(record)
        speed_tables.write_readme()
    failed = list(gpu_report.failures(record))
    for line in failed:
        typer.echo(f"does not hold: {line}", err=True)
    raise typer.Exit(1 if failed else 0)


@app.command()
def growth(
    axes: Annotated[list[str] | None, typer.Argument(help="What grows; all by default.", show_default=False)] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of the models at each point.")] = 3,
) -> None:
    """What a token costs as texts, vocabulary and batch grow, and a row as a streamed corpus does."""
    names = axes or list(growth_module.AXES)
    _refuse_unknown(names, growth_module.AXES)
    points = []
    for point in growth_module.measure(names, rounds):
        points.append(point)
        typer.echo(json.dumps(point))
    growth_module.write_page(json.loads(growth_module.keep(points).read_text(encoding="utf-8")))
    typer.echo(growth_module.table(points))


@app.command(hidden=True)
def growth_point(axis: str, model: str, value: int) -> None:
    """One point, which `growth` starts."""
    typer.echo(json.dumps(growth_module.cost_of_point(axis, model, value)))


@app.command(hidden=True)
def gpu_part(
    name: str,
    device: Annotated[str, typer.Option()],
    size: Annotated[str, typer.Option()],
    file: Annotated[Path, typer.Option()],
) -> None:
    """One part, which `gpu` starts."""
    gpu_module.run_part(name, gpu_setting.Setting(device, size), file)


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
