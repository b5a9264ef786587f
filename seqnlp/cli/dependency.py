"""`seqnlp dependency`: how far back each architecture can remember, at equal parameters."""

import itertools
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from tabulate import tabulate
from torch import nn

from ..diagnostics import GradientFlow, Window, measure_gradient_flow
from ..diagnostics.dependency import TASKS, Task, measure_dependency
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
from ..visualization.dependency import name_of, plot_dependency
from .flags import parse_list, parse_numbers
from .outputs import Overwrite, check_outputs, make_folder
from .sizes import Sizes, count_parameters, match_sizes


LAYERS, HEADS = 2, 4
NUM_WINDOWS = 16  # examples through which gradients are followed


# Ways to start a recurrent net, as fields of its configuration.
STARTS: dict[str, dict[str, Any]] = {
    "default": {},
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
        "chrono": has_gates,
        "uniform": has_gates,
        "identity": cell is not None and "identity" in cell.initializers,
    }
    return [start for start in starts if has[start]]


class TaskModel(nn.Module):
    """A recurrent net or a Transformer decoder with a linear map to a task's answers at each step."""

    def __init__(self, architecture: str, task: Task, sizes: dict[str, int], start: dict[str, Any] | None = None):
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
    architecture: str, task: Task, sizes: dict[str, int], start: dict[str, Any], **settings: Any
) -> tuple[list[dict[str, Any]], TaskModel]:
    """What [`measure_dependency`] found under these settings, and the trained model."""
    built: list[TaskModel] = []

    def build(task: Task) -> TaskModel:
        built.append(TaskModel(architecture, task, sizes, start))
        return built[-1]

    return measure_dependency(build, task, **settings), built[0]


def follow_gradients(model: TaskModel, task: Task, distance: int) -> GradientFlow:
    """How the gradient of a trained net's last answer fades on its way back through examples of this distance."""
    inputs = task.make(NUM_WINDOWS, distance, torch.Generator().manual_seed(0)).inputs
    return measure_gradient_flow(model.as_token_classifier(), [Window(row) for row in inputs])


def sizes_for(architecture: str, task: Task, parameters: int) -> Sizes:
    """The sizes of an architecture with which the whole model of a task has this many parameters, within 2 %."""
    return match_sizes(
        architecture,
        lambda sizes: count_parameters(lambda: TaskModel(architecture, task, sizes)),
        parameters,
        heads=HEADS,
    )


def dependency_table(results: list[dict[str, Any]]) -> str:
    """A Markdown table per task: architectures by distances, mean and range over the seeds, in percent."""
    parts = []
    for task in dict.fromkeys(entry["task"] for entry in results):
        entries = [entry for entry in results if entry["task"] == task]
        trained = {entry["distance"]: entry["trained"] for entry in entries}
        distances = sorted(trained)
        found = defaultdict(list)
        for entry in entries:
            found[name_of(entry), entry["distance"]].append(100 * entry["accuracy"])
        rows = []
        for name in dict.fromkeys(map(name_of, entries)):
            rows.append([name, *(_spread(found[name, distance]) for distance in distances)])
        rows.append(["chance", *[f"{100 * entries[0]['chance']:.0f}"] * len(distances)])
        headers = ["right answers, %", *(f"{d}{'' if trained[d] else ' (unseen)'}" for d in distances)]
        table = tabulate(rows, headers, tablefmt="github", disable_numparse=True)
        parts.append(f"## {task}\n\n{table}\n\nPublished: {TASKS[task].published}")
    return "\n\n".join(parts)


def _spread(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.0f}"
    return f"{statistics.mean(values):.0f} ({min(values):.0f} to {max(values):.0f})"


def dependency(
    tasks: Annotated[str, typer.Option("--tasks", help=f"Which of {', '.join(TASKS)}.")] = ",".join(TASKS),
    architectures: Annotated[
        str, typer.Option("--architectures", help=f"Which of {', '.join(ARCHITECTURES)}.")
    ] = ",".join(ARCHITECTURES),
    starts: Annotated[
        str,
        typer.Option(
            "--starts",
            help=f"How recurrent nets start: which of {', '.join(STARTS)}. An architecture is tried with each that it "
            "has; chrono gates are told the longest distance in training.",
        ),
    ] = "default",
    distances: Annotated[
        str, typer.Option("--distances", help="Steps to remember over, in training and test.")
    ] = "16,32,64",
    unseen_distances: Annotated[
        str, typer.Option("--unseen_distances", help="Further steps, in the test only; '' for none.")
    ] = "128",
    parameters: Annotated[
        int, typer.Option("--parameters", help="Parameters per model, matched within 2 %.", min=2000)
    ] = 20_000,
    steps: Annotated[int, typer.Option("--steps", help="Optimizer steps per model.", min=1)] = 600,
    batch_size: Annotated[int, typer.Option("--batch_size", help="Examples per step.", min=1)] = 32,
    learning_rate: Annotated[float, typer.Option("--learning_rate", help="Highest learning rate.")] = 3e-3,
    seeds: Annotated[int, typer.Option("--seeds", help="Runs with different seeds.", min=1)] = 1,
    first_seed: Annotated[int, typer.Option("--first_seed", help="The first seed.")] = 1,
    gradients: Annotated[
        bool,
        typer.Option(
            "--gradients",
            help="Draw how the gradient fades in each trained recurrent net, as gradflow does: first seed, longest "
            "distance in training, tasks of tokens.",
        ),
    ] = False,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="200,000 parameters, 10,000 steps, 3 seeds, distances up to 256 + 512.")
    ] = False,
    output_dir: Annotated[Path, typer.Option("--output_dir", help="Where table, picture and numbers go.")] = Path(
        "outputs/dependency"
    ),
    overwrite: Overwrite = False,
) -> None:
    """
    How far back each architecture can remember: accuracy against distance at equal parameters.

    Trains small models from scratch on four tasks: copying symbols over a gap, adding two marked numbers, recalling
    the values of keys, and the parity of all bits so far. Writes dependency.md, dependency.png and dependency.json.
    The default takes some minutes on two cores, --thorough some hours.

    Example: seqnlp dependency --tasks copy,recall --architectures lstm,transformer --seeds 3

    Example: seqnlp dependency --tasks copy --architectures elman,lstm --starts default,chrono,identity
    """
    if thorough:
        parameters, steps, seeds, distances, unseen_distances = 200_000, 10_000, 3, "16,32,64,128,256", "512"
        learning_rate = 1e-3
    chosen = [TASKS[name] for name in parse_list(tasks, TASKS, "--tasks")]
    kinds = parse_list(architectures, ARCHITECTURES, "--architectures")
    ways = parse_list(starts, STARTS, "--starts")
    trained = parse_numbers(distances, "--distances")
    unseen = parse_numbers(unseen_distances, "--unseen_distances") if unseen_distances.strip() else []
    all_sizes = {(task.name, kind): sizes_for(kind, task, parameters).fields for task in chosen for kind in kinds}
    report, picture, numbers = (output_dir / f"dependency.{suffix}" for suffix in ("md", "png", "json"))
    drawn = {task.name: output_dir / f"gradients-{task.name}.png" for task in chosen if gradients and task.vocab_size}
    check_outputs([report, picture, numbers, *drawn.values()], f"--output_dir {output_dir}", overwrite=overwrite)
    make_folder(output_dir, f"--output_dir {output_dir}")  # here, not after hours
    results = []
    for task in chosen:
        flows, drawn_of = {}, {}
        for architecture in kinds:
            sizes = all_sizes[task.name, architecture]
            pairs = itertools.product(starts_of(architecture, ways), range(first_seed, first_seed + seeds))
            for start, run in pairs:
                fields = dict(STARTS[start])
                if start == "chrono":
                    fields["max_dependency_length"] = max(trained)
                entries, model = train_and_test(
                    architecture,
                    task,
                    sizes,
                    fields,
                    distances=trained,
                    unseen_distances=unseen,
                    steps=steps,
                    batch_size=batch_size,
                    learning_rate=learning_rate,
                    seed=run,
                )
                of_run = {"architecture": architecture, "start": start, "sizes": sizes}
                results += [{**of_run, **entry} for entry in entries]
                write_json(numbers, results)
                shown = ", ".join(f"{entry['distance']}: {entry['accuracy']:.0%}" for entry in entries)
                typer.echo(f"{task.name}, {name_of(of_run)}, seed {run}: {shown} ({entries[0]['seconds']:.0f} s)")
                if task.name in drawn and run == first_seed and architecture in CELLS:
                    flows[name_of(of_run)] = follow_gradients(model, task, max(trained))
                    drawn_of[name_of(of_run)] = architecture
        if flows:
            plot_gradient_flow(flows, drawn[task.name], drawn_of)
    runs = f"seed {first_seed}" if seeds == 1 else f"mean (least to most) of {seeds} seeds from {first_seed}"
    text = (
        f"# How far back each architecture remembers\n\n{parameters:,} parameters within 2 %, {LAYERS} layers, "
        f"{steps:,} steps of {batch_size} examples, learning rate {learning_rate:g}; trained on distances "
        f"{distances} in turn; {runs}.\n\n"
        f"{dependency_table(results)}\n"
    )
    report.write_text(text, encoding="utf-8")
    plot_dependency(results, picture, f"Remembering at {parameters:,} parameters")
    typer.echo(f"\n{text}\nTable, pictures and numbers are in {output_dir}.")
