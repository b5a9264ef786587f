"""What `seqnlp scale` has found: the laws in words, the table, the page, the record."""

import html
import statistics
from typing import Any, NamedTuple

from tabulate import tabulate

from ..diagnostics.scaling import PowerLaw, fit_power_law, frontier
from ..metrics import spread_of
from ..tasks import TASKS
from ..tasks.reporting.run_page import versions_of
from ..training import write_json
from ..visualization.page import folded, html_row, html_table, list_of, page_of, picture_of
from ..visualization.scaling import Curve, plot_scaling
from .compare_runs import Comparison, public_flags
from .scale_runs import ScaledRun


PAGE, RECORD, PICTURE = "scale.html", "laws.json", "scale.png"
LEAST_POINTS = 4  # of the frontier


class Laws(NamedTuple):
    """
    What was fitted.

    Attributes:
        by_parameters: The least loss of each run against its parameters.
        by_compute: The best loss that each amount of compute reached; `None` with too few points.
        front: Those points.
    """

    by_parameters: PowerLaw
    by_compute: PowerLaw | None
    front: list[tuple[float, float]]


def fit_laws(runs: list[ScaledRun]) -> Laws:
    """The power laws of some runs."""
    by_parameters = fit_power_law([run.record["model"]["parameters"] for run in runs], [run.loss for run in runs])
    front = frontier([point for run in runs for point in run.points if point[0] > 0])
    by_compute = fit_power_law(*zip(*front, strict=True)) if len(front) >= LEAST_POINTS else None
    return Laws(by_parameters, by_compute, front)


def write_report(comparison: Comparison, runs: list[ScaledRun], budget: float | None) -> str:
    """
    Write `scale.html`, `scale.png` and `laws.json`.

    Args:
        comparison: The recipe, its YAML and its flags.
        runs: At every size, by size.
        budget: What was asked for, in operations.

    Returns:
        What is printed.
    """
    folder, laws, first = comparison.folder, fit_laws(runs), runs[0].record
    task = TASKS[first["task"]]
    loss_name = f"validation loss, {task.loss_unit}"
    architecture = first["hyperparameters"]["architecture"]
    curves = [
        Curve(
            _counted(run), run.place, run.record["model"]["parameters"], run.loss, [p for p in run.points if p[0] > 0]
        )
        for run in runs
    ]
    picture = plot_scaling(architecture, curves, laws.by_parameters, laws.by_compute, laws.front, loss_name)
    (folder / PICTURE).write_bytes(picture)
    write_json(folder / RECORD, _record(comparison, runs, laws, budget))
    headers, rows = _table(runs, loss_name)
    answers = [_told(laws.by_parameters, "parameters", "N"), _told(laws.by_compute, "compute", "C")]
    notes = _notes(runs)
    conditions = (
        f"{comparison.recipe.stem} by {comparison.config.name}, {architecture}: {len(rows)} sizes of the same depth, "
        f"the same data and as many epochs each{f', within {budget:.3g} operations in all' if budget else ''}."
    )
    parts = [
        f'<p class="soft">{html.escape(conditions)}</p>',
        *(f'<p class="answer">{html.escape(answer)}</p>' for answer in answers),
        picture_of(picture, "Validation loss against parameters and against training compute, with the fitted laws"),
        html_table(headers, [html_row(row) for row in rows], "The sizes"),
        "<h2>How to read this</h2>",
        list_of(notes),
        "<h2>How it was made</h2>",
        folded("Commands", "\n".join(f"accelerate launch {run.record['command']}" for run in runs)),
        folded("Versions", versions_of(first["versions"])),
    ]
    law = laws.by_parameters
    falls = f"loss falls with parameters to the power of {-law.exponent:.3g}"
    found = falls if law.is_settled else "whether loss falls with parameters is not settled"
    title = f"{task.title}, {architecture}: {found}"
    (folder / PAGE).write_text(page_of(title, parts), encoding="utf-8")
    table = tabulate(rows, headers, disable_numparse=True)
    return "\n".join([table, "", *answers, "", *notes, "", f"The page to show is {folder / PAGE}."])


def _counted(run: ScaledRun) -> str:
    count = run.record["model"]["parameters"]
    return f"{count / 1e6:.3g} M" if count >= 1e6 else f"{count / 1e3:.3g} k"


def _told(law: PowerLaw | None, what: str, symbol: str) -> str:
    if law is None:
        few = "Too few validations lie on the frontier for a law of"
        return f"{few} {what}: validate more often, by --flags '--eval_steps N'."
    offset = f"{law.offset:.3g} + " if law.has_offset else ""
    shown = f"L({symbol}) = {offset}{law.scale:.3g} ({symbol} / {law.reference:.3g})^{-law.exponent:.3g}"
    around = "no interval, with as many numbers as points"
    if law.interval is not None:
        around = f"95 % interval {law.interval[0]:.3g} to {law.interval[1]:.3g}"
    text = f"By {what}: {shown}; exponent {law.exponent:.3g}, {around}."
    if not law.is_settled:
        return f"{text} Whether the loss falls with {what} at all is not settled."
    part = "its part above the first number" if law.has_offset else "it"
    return f"{text} To halve {part} takes {law.factor_to_halve:.3g} times as much."


def _table(runs: list[ScaledRun], loss_name: str) -> tuple[list[str], list[list[str]]]:
    groups: dict[int, list[ScaledRun]] = {}
    for run in runs:
        groups.setdefault(run.place, []).append(run)
    rows = []
    for group in groups.values():
        record = group[0].record
        mean, deviation = spread_of(run.loss for run in group)
        epochs = statistics.mean(run.losses[-1][0] for run in group)
        rows.append(
            [
                f"{record['model']['parameters']:,}",
                str(record["model"]["config"].get("hidden_size", "")),
                f"{group[0].cost.tokens * epochs:,.0f}",
                f"{group[0].cost.of(epochs):.3g}",
                f"{mean:.4f}" + ("" if deviation is None else f" ± {deviation:.4f}"),
            ]
        )
    return ["parameters", "hidden size", "tokens read", "operations", loss_name], rows


def _notes(runs: list[ScaledRun]) -> list[str]:
    mean = ", the mean over the seeds" if len({run.seed for run in runs}) > 1 else ""
    return [
        f"The loss is the least of any validation of a run{mean}; the test split was not read.",
        "Parameters are all of them, embeddings too (as Pearce & Song 2024 advise). Operations are those of the "
        "matrix products, three times as many in training as in a forward pass.",
        "E, the loss that no size gets below, is fitted from four sizes on. It is known by what lies near it: a "
        "narrow range of sizes leaves it, and the exponent with it, uncertain.",
        "The interval is of the residuals' bootstrap, widened by Student's t. Validations of one run are not "
        "independent of each other: by compute it is too narrow rather than too wide.",
        "The schedule is the same at every size: a learning rate that suits one need not suit another.",
    ]


def _record(comparison: Comparison, runs: list[ScaledRun], laws: Laws, budget: float | None) -> dict[str, Any]:
    def described(law: PowerLaw | None) -> dict[str, Any] | None:
        return law and {**vars(law), "form": "offset + scale * (x / reference)^-exponent"}

    return {
        "recipe": comparison.recipe.stem,
        "config": comparison.config.name,
        "flags": public_flags(comparison),
        "budget": budget,
        "by_parameters": described(laws.by_parameters),
        "by_compute": described(laws.by_compute),
        "frontier": [list(point) for point in laws.front],
        "runs": [
            {
                "parameters": run.record["model"]["parameters"],
                "seed": run.seed,
                "loss": run.loss,
                "operations_per_token": run.cost.per_token,
                "tokens_per_epoch": run.cost.tokens,
                "points": [list(point) for point in run.points],
            }
            for run in runs
        ],
    }
