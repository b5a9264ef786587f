"""What a sweep has found: the page, the record, and the best config as a YAML that the recipe takes."""

import html
import shlex
import warnings
from pathlib import Path
from typing import Any

from tabulate import tabulate

from ..metrics import Score
from ..tasks import Task
from ..training import write_json
from ..training.bar import counted
from ..training.yaml_files import write_yaml
from ..visualization.page import folded, html_row, html_table, list_of, page_of, picture_of
from ..visualization.sweep import Point, plot_sweep
from .compare_runs import Comparison, public_flags
from .sweep_space import OVERRIDES, Interval, divided
from .sweep_trials import FOLDER, REASON, Sweep, shown_values


PAGE, RECORD, BEST, PICTURE = "sweep.html", "trials.json", "best.yaml", "sweep.png"
SHOWN = 20
"""Trials that the page lists."""


def write_report(sweep: Sweep, task: type[Task], begun_with: dict[str, Any]) -> str:
    """
    Write `sweep.html`, `sweep.png`, `trials.json` and `best.yaml`.

    Args:
        sweep: With one finished trial at least.
        task: What is trained.
        begun_with: The values of the first trial, which the config has as it stands; empty where it was another.

    Returns:
        What is printed.
    """
    folder, metric = sweep.comparison.folder, sweep.objective.metric
    score = task.score_of(metric)
    importances = importances_of(sweep)
    write_json(folder / RECORD, _record(sweep, importances))
    if not sweep.complete:
        return f"No trial came to its end: {folder / RECORD} says why."
    best = sweep.complete[0]
    (folder / BEST).write_text(best_config(sweep, best.params), encoding="utf-8")
    answer = _answer(sweep, score, begun_with)
    rows, headers = _rows(sweep, score), ["trial", f"validation {metric}", "outcome", *map(_short, sweep.space)]
    picture = _picture(sweep, score, importances)
    (folder / PICTURE).write_bytes(picture)
    searched = "\n".join(f"{name}: {dimension.described()}" for name, dimension in sweep.space.items())
    notes = [
        "Each trial is one run of the recipe, with the same seed, judged by validation; the test split was not read.",
        "Importances are Optuna's, by PED-ANOVA (Watanabe et al. 2023): how far the values of the best tenth of the "
        "complete trials lie apart from those of all. With few trials they say little.",
        "A trial is pruned when its best validation so far is worse than the median of the others at the same "
        "validation, counted from the start.",
    ]
    parts = [
        f'<p class="soft">{html.escape(_conditions(sweep))}</p>',
        f'<p class="answer">{html.escape(answer)}</p>',
        picture_of(picture, "The trials in order, the importance of each flag, and the score by its values"),
        "<h2>Trials, the best first</h2>",
        html_table(headers, [html_row(row, "best" if place == 0 else "") for place, row in enumerate(rows)], "Trials"),
        "<h2>How to read this</h2>",
        list_of(notes),
        "<h2>How it was made</h2>",
        folded("The best config", (folder / BEST).read_text(encoding="utf-8")),
        folded("What was searched", searched),
    ]
    title = f"{task.title}: validation {metric} {score.shown(best.value)} by trial {best.number}"
    (folder / PAGE).write_text(page_of(title, parts), encoding="utf-8")
    table = tabulate(rows, headers, disable_numparse=True)
    command = training_command(sweep.comparison, folder / BEST)
    return f"{table}\n\n{answer}\n\nThe page to show is {folder / PAGE}.\nTrain by it: {command}"


def importances_of(sweep: Sweep) -> dict[str, float]:
    """
    Optuna's importance of each thing searched, the greatest first; empty where too few trials, or none that differ,
    came to their end.
    """
    from optuna.importance import get_param_importances

    values = {trial.value for trial in sweep.complete}
    if len(values) < 2 or len(sweep.space) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what varied in no trial
        return dict(get_param_importances(sweep.study))


def best_config(sweep: Sweep, values: dict[str, Any]) -> str:
    """The YAML of the sweep with the values of a trial in their places, as the recipe takes it."""
    comparison = sweep.comparison
    flags, fields = divided(values)
    content = {"recipe": comparison.recipe.stem, **comparison.hyperparameters, **flags}
    content.pop("seeds", None)
    overrides = {**comparison.overrides, **fields}
    if overrides:
        content[OVERRIDES] = overrides
    flagged = f" with {public_flags(comparison)}" if comparison.flags else ""
    trials = counted(len(sweep.finished), "trial")
    head = f"# The best of {trials} of {comparison.config.name}{flagged}, by validation with --seed {sweep.seed}.\n"
    return head + write_yaml(content)


def _record(sweep: Sweep, importances: dict[str, float]) -> dict[str, Any]:
    trials = [
        {
            "number": trial.number,
            "state": trial.state.name.lower(),
            "value": trial.value,
            "values": trial.params,
            "validations": list(trial.intermediate_values.values()),
            "folder": trial.user_attrs.get(FOLDER),
            "reason": trial.user_attrs.get(REASON),
        }
        for trial in sweep.finished
    ]
    space = {name: dimension._asdict() for name, dimension in sweep.space.items()}
    return {
        "recipe": sweep.comparison.recipe.stem,
        "config": sweep.comparison.config.name,
        "flags": public_flags(sweep.comparison),
        "seed": sweep.seed,
        **sweep.objective._asdict(),
        "space": space,
        "importances": importances,
        "trials": trials,
    }


def _answer(sweep: Sweep, score: Score, begun_with: dict[str, Any]) -> str:
    best = sweep.complete[0]
    text = f"The best is trial {best.number}, {score.shown(best.value)}: {shown_values(best.params)}."
    first = next((trial for trial in sweep.complete if trial.number == 0), None)
    if begun_with and first is not None and all(first.params.get(n) == v for n, v in begun_with.items()):
        if best.number == 0:
            text += " These are the values that the config has as it stands: nothing better was found."
        else:
            text += f" With the values of the config as it stands, trial 0, it is {score.shown(first.value)}."
    states = [trial.state.name for trial in sweep.finished]
    text += f" {counted(len(states), 'trial')}, of which {states.count('PRUNED')} were pruned and "
    return text + f"{states.count('FAIL')} failed. The best of many is flattered by chance: train it with other seeds."


def _rows(sweep: Sweep, score: Score) -> list[list[str]]:
    others = [trial for trial in sweep.finished if trial not in sweep.complete]
    rows = []
    for trial in [*sweep.complete, *others][:SHOWN]:
        value = "" if trial.value is None else score.shown(trial.value)
        values = [trial.params.get(name) for name in sweep.space]
        shown = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]
        rows.append([str(trial.number), value, trial.state.name.lower(), *shown])
    return rows


def _picture(sweep: Sweep, score: Score, importances: dict[str, float]) -> bytes:
    scale = 100 if score.is_share else 1
    points = [
        Point(trial.number, scale * trial.value, trial.params, trial.state.name == "PRUNED")
        for trial in sweep.finished
        if trial.value is not None
    ]
    log = frozenset(name for name, found in sweep.space.items() if isinstance(found, Interval) and found.log)
    unit = ", %" if score.is_share else f", {score.unit}" if score.unit else ""
    name = f"validation {sweep.objective.metric.replace('_', ' ')}{unit}"
    return plot_sweep(points, importances, log, name, sweep.objective.greater_is_better)


def _conditions(sweep: Sweep) -> str:
    more = "more" if sweep.objective.greater_is_better else "less"
    flags = f", with {public_flags(sweep.comparison)}" if sweep.comparison.flags else ""
    return (
        f"{sweep.comparison.recipe.stem} by {sweep.comparison.config.name}{flags}: validation "
        f"{sweep.objective.metric}, {more} is better; seed {sweep.seed}."
    )


def training_command(comparison: Comparison, best: Path) -> str:
    """The command that trains by the best config, for a shell."""
    return shlex.join(["seqnlp", "train", comparison.recipe.stem, "--config", str(best), *comparison.flags])


def _short(name: str) -> str:
    return name.split(".")[-1]
