"""`seqnlp dependency`: how far back each architecture can remember, at equal parameters."""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from tabulate import tabulate
from torch import nn
from transformers import PreTrainedConfig

from ..diagnostics import GradientFlow, Window, measure_gradient_flow
from ..diagnostics.dependency import DEPENDENCY_TASKS, DependencyTask, check_distances, measure_dependency
from ..models import (
    RecurrentConfig,
    RecurrentForTokenClassification,
    RecurrentModel,
    TransformerDecoderConfig,
    TransformerDecoderModel,
)
from ..models.cells import CELLS
from ..tasks import ARCHITECTURES
from ..training import write_json
from ..visualization import plot_gradient_flow
from ..visualization.dependency import name_of, plot_dependency, plot_state_sizes
from ..visualization.tables import readable_tables
from .dependency_records import Kept, Run, read_kept, write_flows
from .flags import FlagError, parse_list, parse_numbers
from .outputs import Overwrite, check_outputs, make_folder
from .sizes import Sizes, count_parameters, match_sizes


LAYERS, HEADS = 2, 4
NUM_WINDOWS = 16  # examples through which gradients are followed
THOROUGH = {
    "parameters": 200_000,
    "steps": 10_000,
    "seeds": 3,
    "distances": "16,32,64,128,256",
    "unseen_distances": "512",
    "learning_rate": "0.001",
}
"""What --thorough sets."""


# Ways to start a recurrent net, as fields of its configuration.
STARTS: dict[str, dict[str, Any]] = {
    "default": {},
    "torch": {"recurrent_initializer": "uniform"},
    "chrono": {"gate_initializer": "chrono"},
    "uniform": {"gate_initializer": "uniform"},
    "identity": {"recurrent_initializer": "identity", "hidden_act": "relu"},
}


def starts_of(architecture: str, starts: list[str]) -> list[str]:
    """Those of the ways to start that an architecture has; every one has the default."""
    cell = CELLS.get(architecture)
    has_gates = cell is not None and cell.has_memory_gates()
    has = {
        "default": True,
        "torch": cell is not None and cell.has_recurrent_map,
        "chrono": has_gates,
        "uniform": has_gates,
        "identity": cell is not None and "identity" in cell.initializers,
    }
    return [start for start in starts if has[start]]


class TaskModel(nn.Module):
    """A recurrent net or a Transformer decoder with a linear map to a task's answers at each step."""

    def __init__(
        self, architecture: str, task: DependencyTask, sizes: dict[str, int], start: dict[str, Any] | None = None
    ):
        super().__init__()
        common = {"num_hidden_layers": LAYERS, **sizes}
        common |= {"vocab_size": task.vocab_size} if task.vocab_size else {"input_size": 2}
        if architecture == "transformer":
            config = TransformerDecoderConfig(num_attention_heads=HEADS, **common)
            self.base = TransformerDecoderModel(config)
        else:
            self.base = RecurrentModel(RecurrentConfig(cell_type=architecture, **common, **(start or {})))
        width = sizes["hidden_size"]
        self.projection = nn.Linear(2, sizes.get("embedding_size", width)) if not task.vocab_size else None
        self.head = nn.Linear(width, task.num_outputs)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """From `(B, T)` token ids or `(B, T, 2)` numbers to `(B, T, num_outputs)`."""
        read = {"input_ids": inputs} if self.projection is None else {"inputs_embeds": self.projection(inputs)}
        return self.head(self.base(**read, use_cache=False).last_hidden_state)

    def as_token_classifier(self) -> RecurrentForTokenClassification:
        """The same recurrent net as a model that labels every token, which other instruments can read."""
        config = RecurrentConfig(**self.base.config.to_diff_dict() | {"num_labels": self.head.out_features})
        model = RecurrentForTokenClassification(config)
        model.model.load_state_dict(self.base.state_dict())
        model.score.load_state_dict(self.head.state_dict())
        return model.eval()


def train_and_test(
    architecture: str, task: DependencyTask, sizes: dict[str, int], start: dict[str, Any], **settings: Any
) -> tuple[list[dict[str, Any]], TaskModel]:
    """What [`measure_dependency`] found under these settings, and the trained model."""
    built: list[TaskModel] = []

    def build(task: DependencyTask) -> TaskModel:
        built.append(TaskModel(architecture, task, sizes, start))
        return built[-1]

    return measure_dependency(build, task, **settings), built[0]


def follow_gradients(model: TaskModel, task: DependencyTask, distance: int) -> GradientFlow:
    """How the gradient of a trained net's last answer fades on its way back through examples of this distance."""
    inputs = task.make(NUM_WINDOWS, distance, torch.Generator().manual_seed(0)).inputs
    return measure_gradient_flow(model.as_token_classifier(), [Window(row) for row in inputs])


def sizes_for(architecture: str, task: DependencyTask, parameters: int) -> Sizes:
    """The sizes of an architecture with which the whole model of a task has this many parameters, within 2 %."""
    return match_sizes(
        architecture,
        lambda sizes: count_parameters(lambda: TaskModel(architecture, task, sizes)),
        parameters,
        heads=HEADS,
    )


def plan(
    tasks: list[DependencyTask],
    learning_rates: dict[str, float],
    starts: list[str],
    seeds: range,
    state_sizes: list[int],
    parameters: int,
) -> Iterator[Run]:
    """Every training in turn: by task, architecture, size of the state (or at equal parameters), seed and start."""
    for task in tasks:
        for architecture, rate in learning_rates.items():
            for size in state_sizes or [None]:
                if size is None:
                    sizes = sizes_for(architecture, task, parameters).fields
                else:
                    sizes = sizes_of_state(architecture, size)
                for seed in seeds:  # so that what is stopped early has tried all starts
                    for start in starts_of(architecture, starts):
                        yield Run(task.name, architecture, start, seed, size, sizes, rate)


def _train_missing(
    runs: list[Run], kept: Kept, watched: set[Run], settings: dict[str, Any], folder: Path
) -> list[dict[str, Any]]:
    """
    Train what is not kept, or has no gradients that are to be drawn, and keep it after each run.

    Args:
        runs: All, in order.
        kept: What is done; what is trained is added.
        watched: Those whose gradients are followed.
        settings: Of [`measure_dependency`], the same for all.
        folder: Where the record goes, with what other runs have left there.

    Returns:
        The entries of all runs.
    """
    results = [entry for run in runs for entry in kept.entries.get(run, [])]
    for run in runs:
        if run not in kept.entries or (run in watched and run not in kept.flows):
            kept.entries[run], model = _train(run, settings)
            entries = kept.entries[run]
            shown = ", ".join(f"{entry['distance']}: {entry['accuracy']:.0%}" for entry in entries)
            typer.echo(f"{run}: {shown} ({entries[0]['seconds']:.0f} s)")
            if run in watched:
                kept.flows[run] = follow_gradients(model, DEPENDENCY_TASKS[run.task], max(settings["distances"]))
        results = [entry for one in runs for entry in kept.entries.get(one, [])]
        write_json(folder / "dependency.json", [*results, *chain.from_iterable(kept.others.values())])
        write_flows(folder, kept.flows)
    return results


def _train(run: Run, settings: dict[str, Any]) -> tuple[list[dict[str, Any]], TaskModel]:
    fields = dict(STARTS[run.start])
    if run.start == "chrono":
        fields["max_dependency_length"] = max(settings["distances"])
    entries, model = train_and_test(
        run.architecture,
        DEPENDENCY_TASKS[run.task],
        run.sizes,
        fields,
        seed=run.seed,
        learning_rate=run.learning_rate,
        **settings,
    )
    return [
        {**vars(run), **entry, "state_size": state_size(model.base.config, entry["distance"])} for entry in entries
    ], model


def check_device(device: str) -> None:
    """
    Refuse a device that is not there.

    Raises:
        FlagError: If torch does not know it, or has none.
    """
    if device not in ("cpu", "cuda"):
        raise FlagError(f"--device {device}: not one of cpu, cuda.")
    if device == "cuda" and not torch.cuda.is_available():
        raise FlagError("--device cuda: there is no GPU that torch can use; leave it out.")


def parse_rates(text: str, architectures: list[str]) -> dict[str, float]:
    """
    The learning rate of each of the architectures.

    Raises:
        FlagError: For what is no number above 0, an architecture twice, and one that is not trained.
    """
    first, *others = parse_list(text, flag="--learning_rate")
    rates = dict.fromkeys(architectures, first)
    named = [part.partition("=") for part in others]
    for name, _, rate in named:
        if name not in rates or [one for one, *_ in named].count(name) > 1:
            raise FlagError(
                f"--learning_rate {text}: {name!r} is not one of {', '.join(architectures)}, each named once at most."
            )
        rates[name] = rate
    try:
        numbers = {name: float(rate) for name, rate in rates.items()}
    except ValueError:
        numbers = {}
    if not numbers or not all(0 < number < math.inf for number in numbers.values()):
        raise FlagError(f"--learning_rate {text}: give a number above 0, e.g. 0.01 or 0.01,{architectures[0]}=0.003.")
    return numbers


def sizes_of_state(architecture: str, size: int) -> dict[str, int]:
    """
    The width at which the layers of a recurrent net keep `size` numbers together, or a Transformer's do per token.

    Raises:
        FlagError: If there is no such width.
    """
    per_unit = LAYERS * (2 if architecture == "transformer" else len(CELLS[architecture].states))
    step = per_unit * (2 * HEADS if architecture == "transformer" else 1)
    if size % step:
        raise FlagError(
            f"--state_sizes {size}: no {architecture} of {LAYERS} layers keeps exactly {size} numbers; give "
            f"multiples of {step}."
        )
    return {"hidden_size": size // per_unit}


def state_size(config: PreTrainedConfig, distance: int) -> int:
    """
    How many numbers a model keeps of a text of this many tokens: a recurrent net its state, however long the text is,
    a Transformer a key and a value of each token in each layer.
    """
    if isinstance(config, TransformerDecoderConfig):
        return 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * distance
    return config.num_hidden_layers * config.number_of_conv_states * config.hidden_size


def dependency_table(results: list[dict[str, Any]]) -> str:
    """
    Architectures by distances, mean and range over the seeds, in percent: for each task a table of Markdown, or what
    [`readable_tables`] makes of it.
    """
    parts = []
    for task in dict.fromkeys(entry["task"] for entry in results):
        entries = [entry for entry in results if entry["task"] == task]
        trained = {entry["distance"]: entry["trained"] for entry in entries}
        distances = sorted(trained)
        found = defaultdict(list)
        for entry in entries:
            found[_row_of(entry), entry["distance"]].append(100 * entry["accuracy"])
        rows = []
        most = max(map(len, found.values()))
        for row in dict.fromkeys(map(_row_of, entries)):
            num_seeds = max(len(found[row, distance]) for distance in distances)
            note = "" if num_seeds == most else f" ({num_seeds} of {most} seeds)"
            rows.append([row[0] + note, *row[1:], *(_spread(found[row, distance]) for distance in distances)])
        blank = [""] * (len(rows[0]) - len(distances) - 1)
        rows.append(["chance", *blank, *[f"{100 * entries[0]['chance']:.0f}"] * len(distances)])
        headers = ["right answers, %", *(["state size"] if blank else [])]
        headers += [f"{d}{'' if trained[d] else ' (unseen)'}" for d in distances]
        tables = readable_tables(headers, rows, 1 + len(blank), across="right answers, %, by distance")
        written = [tabulate(one.rows, one.headers, tablefmt="github", disable_numparse=True) for one in tables]
        parts.append("\n\n".join([f"## {task}", *written, f"Published: {DEPENDENCY_TASKS[task].published}"]))
    return "\n\n".join(parts)


def _row_of(entry: dict[str, Any]) -> tuple[str, ...]:
    """What a row of the table is named by: the model, and what it keeps per token where that is what is compared."""
    size = entry["matched_state_size"]
    if size is None:
        return (name_of(entry),)
    return name_of(entry), f"{size}{' per token' if entry['architecture'] == 'transformer' else ''}"


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.0f}"
    return f"{statistics.mean(values):.0f} ({min(values):.0f} to {max(values):.0f})"


def dependency(
    context: typer.Context,
    tasks: Annotated[
        str, typer.Option("--tasks", rich_help_panel="Tasks", help=f"Which of {', '.join(DEPENDENCY_TASKS)}.")
    ] = "copy,adding,recall,parity",
    architectures: Annotated[
        str, typer.Option("--architectures", rich_help_panel="Models", help=f"Which of {', '.join(ARCHITECTURES)}.")
    ] = ",".join(ARCHITECTURES),
    starts: Annotated[
        str,
        typer.Option(
            "--starts",
            rich_help_panel="Models",
            help=f"Initializations of recurrent nets: which of {', '.join(STARTS)}. Each architecture is trained with "
            "each of them that it has; chrono gates are set for the longest distance in training.",
        ),
    ] = "default",
    distances: Annotated[
        str,
        typer.Option(
            "--distances", rich_help_panel="Tasks", help="Distances to remember over, in steps, in training and test."
        ),
    ] = "16,32,64",
    unseen_distances: Annotated[
        str,
        typer.Option(
            "--unseen_distances", rich_help_panel="Tasks", help="Further distances, in the test only; '' for none."
        ),
    ] = "128",
    parameters: Annotated[
        int,
        typer.Option(
            "--parameters", rich_help_panel="Models", help="Parameters per model, matched within 2 %.", min=2000
        ),
    ] = 20_000,
    state_sizes: Annotated[
        str,
        typer.Option(
            "--state_sizes",
            rich_help_panel="Models",
            help="Sizes of the state, e.g. 32,64,128, in the place of --parameters: the numbers that a recurrent net "
            "keeps per text, and a Transformer per token; the picture then shows accuracy against them.",
        ),
    ] = "",
    steps: Annotated[
        int, typer.Option("--steps", rich_help_panel="Training", help="Optimizer steps per model.", min=1)
    ] = 600,
    batch_size: Annotated[
        int, typer.Option("--batch_size", rich_help_panel="Training", help="Examples per step.", min=1)
    ] = 32,
    learning_rate: Annotated[
        str,
        typer.Option(
            "--learning_rate",
            rich_help_panel="Training",
            help="Highest learning rate; add NAME=RATE for each architecture that needs another one, e.g. "
            "0.01,elman=0.003.",
        ),
    ] = "0.003",
    seeds: Annotated[
        int, typer.Option("--seeds", rich_help_panel="Training", help="Runs with different seeds.", min=1)
    ] = 1,
    first_seed: Annotated[int, typer.Option("--first_seed", rich_help_panel="Training", help="The first seed.")] = 1,
    gradients: Annotated[
        bool,
        typer.Option(
            "--gradients",
            rich_help_panel="Results",
            help="Draw how the gradient fades in each trained recurrent net, as gradflow does: for the first seed, "
            "the longest distance in training, and tasks whose inputs are tokens.",
        ),
    ] = False,
    thorough: Annotated[
        bool,
        typer.Option(
            "--thorough",
            rich_help_panel="Training",
            help="Larger comparison: 200,000 parameters, 10,000 steps, 3 seeds, learning rate 0.001, distances up to "
            "256 in training and 512 in the test.",
        ),
    ] = False,
    device: Annotated[
        str, typer.Option("--device", rich_help_panel="Training", help="Where the models are trained: cpu, cuda.")
    ] = "cpu",
    output_dir: Annotated[
        Path, typer.Option("--output_dir", rich_help_panel="Results", help="Where table, picture and numbers go.")
    ] = Path("outputs/dependency"),
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            rich_help_panel="Results",
            help="Keep the finished runs in --output_dir, also those that are not asked for, and train only the "
            "missing ones.",
        ),
    ] = False,
    records: Annotated[
        str,
        typer.Option(
            "--records",
            rich_help_panel="Results",
            help="Output folders of earlier calls, e.g. one per architecture; their runs are not trained again.",
        ),
    ] = "",
    kept_only: Annotated[
        bool,
        typer.Option(
            "--kept_only",
            rich_help_panel="Results",
            help="Train nothing; make table and pictures from the runs of --records and --resume.",
        ),
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """
    How far back each architecture can remember: accuracy against distance at equal parameters.

    Trains small models from scratch on four tasks: copying symbols over a gap, adding two marked numbers, recalling
    the values of keys, and the parity of all bits so far; and, when told so, on mqar, which is recall at the sizes of
    its paper. Writes dependency.md, dependency.png and dependency.json. The default takes some minutes on two cores,
    --thorough some hours.

    Examples:

        seqnlp dependency --tasks copy,recall --architectures lstm,transformer --seeds 3

        seqnlp dependency --tasks copy --architectures elman,lstm --starts default,chrono,identity

        seqnlp dependency --tasks recall --state_sizes 32,64,128 --architectures gru,lstm,transformer
    """
    if thorough:
        given = [name for name in THOROUGH if context.get_parameter_source(name).name != "DEFAULT"]
        if given:
            raise FlagError(f"--thorough sets --{given[0]} itself: leave out one of the two.")
        parameters, steps, seeds, distances, unseen_distances, learning_rate = THOROUGH.values()
    chosen = [DEPENDENCY_TASKS[name] for name in parse_list(tasks, DEPENDENCY_TASKS, "--tasks")]
    kinds = parse_list(architectures, ARCHITECTURES, "--architectures")
    ways = parse_list(starts, STARTS, "--starts")
    trained = parse_numbers(distances, "--distances")
    unseen = parse_numbers(unseen_distances, "--unseen_distances") if unseen_distances.strip() else []
    keeping = parse_numbers(state_sizes, "--state_sizes") if state_sizes.strip() else []
    for task in chosen:
        check_distances(task, trained, unseen)
    check_device(device)
    if gradients and keeping:
        raise FlagError("--gradients with --state_sizes: gradients are drawn at equal parameters; leave one out.")
    seeds_of_runs = range(first_seed, first_seed + seeds)
    rates = parse_rates(learning_rate, kinds)
    runs = list(plan(chosen, rates, ways, seeds_of_runs, keeping, parameters))
    settings = {"steps": steps, "batch_size": batch_size}
    report, picture, numbers = (output_dir / f"dependency.{suffix}" for suffix in ("md", "png", "json"))
    drawn = {task.name: output_dir / f"gradients-{task.name}.png" for task in chosen if gradients and task.vocab_size}
    folders = [Path(folder) for folder in parse_list(records, flag="--records")] if records.strip() else []
    kept = read_kept(
        [*([output_dir] if resume and numbers.exists() else []), *folders], runs, settings, trained, unseen, output_dir
    )
    outputs = [report, picture, numbers, *drawn.values()]
    read = [folder / numbers.name for folder in folders]
    check_outputs(outputs, f"--output_dir {output_dir}", read, overwrite=overwrite or resume)
    make_folder(output_dir, f"--output_dir {output_dir}")  # here, not after hours
    if kept.told:
        typer.echo(kept.told)
    if kept_only:
        runs = [run for run in runs if run in kept.entries]
        if not runs:
            raise FlagError("--kept_only: none of the runs that are asked for is kept; name folders by --records.")
    watched = {run for run in runs if run.task in drawn and run.seed == first_seed and run.architecture in CELLS}
    watched = watched & set(kept.flows) if kept_only else watched
    train = {"distances": trained, "unseen_distances": unseen, "device": device, **settings}
    results = _train_missing(runs, kept, watched, train, output_dir)
    for name, path in drawn.items():
        flows = {run.name: kept.flows[run] for run in runs if run.task == name and run in kept.flows}
        if flows:
            plot_gradient_flow(flows, path, {run.name: run.architecture for run in kept.flows})
    seen = f"seed {first_seed}" if seeds == 1 else f"mean (least to most) of {seeds} seeds from {first_seed}"
    size = "equal numbers in the state" if keeping else f"{parameters:,} parameters within 2 %"
    text = (
        f"# How far back each architecture remembers\n\n{size[0].upper()}{size[1:]}, {LAYERS} layers, "
        f"{steps:,} steps of {batch_size} examples, learning rate {learning_rate.replace(',', ', ')}; trained on "
        f"distances {distances} in turn; {seen}.\n\n"
        f"{dependency_table(results)}\n"
    )
    report.write_text(text, encoding="utf-8")
    if keeping:
        plot_state_sizes(results, picture, "Recall by what is kept of a text")
    else:
        plot_dependency(results, picture, f"Remembering at {parameters:,} parameters")
    typer.echo(f"\n{text}\nTable, pictures and numbers are in {output_dir}.")
