"""The trials of a sweep: each a run of the recipe in processes of its own, asked for, watched and pruned by Optuna."""

import dataclasses
import json
import math
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..tasks import TASKS
from ..tasks.reporting.results import validation_of
from ..training.output_folder import RECORD
from ..training.started_runs import read_json
from ..training.yaml_files import write_yaml
from .compare_runs import Comparison, prepare_launch, reason_of, send, started, stopped_early
from .sweep_space import Choice, Space, divided


if TYPE_CHECKING:
    import optuna

STUDY = "study.db"
LOG = "validations.jsonl"
SECONDS_BETWEEN_LOOKS = 0.2
MOST_FAILURES = 3  # in a row: then it is not the values' fault
FIRST_TO_PRUNE = 2  # validations are counted from 1, and the first of them says too little
FOLDER, REASON = "folder", "reason"


class SweepError(ValueError):
    """A sweep that cannot go on; the message says why and what would do."""


class Objective(NamedTuple):
    """
    By what trials are compared.

    Attributes:
        metric: The key of the validation metric.
        greater_is_better: Its direction.
    """

    metric: str
    greater_is_better: bool


class Sweep:
    """
    A search, kept in an SQLite database in its folder: trials that are finished there are never made again.

    Args:
        comparison: The recipe, its YAML and its flags.
        space: What is searched.
        objective: By what.
        seed: Of the search and of every run.
        prunes: Whether a trial is stopped when its validation is worse than the median of others at the same point.

    Raises:
        SweepError: If the folder holds a search of the same space that Optuna cannot go on with.
    """

    def __init__(self, comparison: Comparison, space: Space, objective: Objective, seed: int, prunes: bool = True):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.comparison, self.space, self.objective, self.seed = comparison, space, objective, seed
        self._optuna = optuna
        no_pruner, median = optuna.pruners.NopPruner(), optuna.pruners.MedianPruner
        storage = f"sqlite:///{(comparison.folder / STUDY).resolve()}"
        self.study = optuna.create_study(
            storage=storage,
            study_name="sweep",
            load_if_exists=True,
            direction="maximize" if objective.greater_is_better else "minimize",
            pruner=median(n_startup_trials=4, n_warmup_steps=FIRST_TO_PRUNE) if prunes else no_pruner,
        )
        self._refuse_other_distributions()
        # A search that goes on must not draw what it has drawn before.
        self.study.sampler = optuna.samplers.TPESampler(seed=seed + len(self.study.trials))

    @property
    def finished(self) -> list["optuna.trial.FrozenTrial"]:
        """The trials that came to an end, by their number: complete, pruned or failed."""
        failed = self._optuna.trial.TrialState.FAIL
        trials = [t for t in self.study.trials if t.state.is_finished()]
        return [t for t in trials if t.state != failed or REASON in t.user_attrs]  # others were interrupted

    @property
    def complete(self) -> list["optuna.trial.FrozenTrial"]:
        """Those with a value, the best first."""
        found = [t for t in self.finished if t.state == self._optuna.trial.TrialState.COMPLETE]
        return sorted(found, key=lambda t: -t.value if self.objective.greater_is_better else t.value)

    def take_up(self) -> int:
        """
        Ask again for what was interrupted, in its own folder, where it goes on from its checkpoint. Returns how many.
        """
        interrupted = [t for t in self.study.trials if t.state == self._optuna.trial.TrialState.RUNNING]
        for trial in interrupted:
            self.study.enqueue_trial(trial.params, user_attrs={FOLDER: trial.user_attrs.get(FOLDER)})
            self.study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)
        return len(interrupted)

    def begin_with(self, values: dict[str, Any]) -> None:
        """Try these values first, if nothing was tried yet."""
        if values and not self.study.trials:
            self.study.enqueue_trial(values)

    def run(self, count: int, tell: Callable[[str], None]) -> None:
        """
        Make trials until `count` of them are finished, earlier ones included.

        Args:
            count: Number of finished trials.
            tell: Is given a line for each.

        Raises:
            SweepError: If three fail in a row.
            RunsStopped: If a signal came; the trial has been stopped, with a checkpoint, and goes on the next time.
        """
        failures = 0
        while len(self.finished) < count:
            trial = self.study.ask(self._distributions())
            folder = self._folder_of(trial)
            tell(f"Trial {trial.number}: {shown_values(trial.params)}")
            outcome, reason = self._as_before(trial) or self._make(trial, folder)
            failures = failures + 1 if outcome == "failed" else 0
            last = self.study.trials[trial.number]
            shown = f", {self.objective.metric} {last.value:.5g}" if last.value is not None else ""
            tell(f"  {outcome}{shown}{f': {reason}' if reason else ''}")
            if failures == MOST_FAILURES:
                raise SweepError(f"{MOST_FAILURES} trials in a row have failed; the last: {reason}")

    def _distributions(self) -> dict[str, Any]:
        kinds, found = self._optuna.distributions, {}
        for name, dimension in self.space.items():
            if isinstance(dimension, Choice):
                found[name] = kinds.CategoricalDistribution(dimension.values)
            elif dimension.is_whole:
                ends = dimension.low, dimension.high
                found[name] = kinds.IntDistribution(*ends, dimension.log, dimension.step or 1)
            else:
                ends = float(dimension.low), float(dimension.high)
                found[name] = kinds.FloatDistribution(*ends, dimension.log, dimension.step)
        return found

    def _refuse_other_distributions(self) -> None:
        """Optuna cannot go on where a range is read otherwise than by the version of seqnlp that began the search."""
        now = self._distributions()
        for trial in self.study.trials:
            for name, before in trial.distributions.items():
                try:
                    self._optuna.distributions.check_distribution_compatibility(before, now[name])
                except (KeyError, ValueError) as error:
                    raise SweepError(
                        f"{self.comparison.folder} holds a sweep of an earlier version, which searched {name} "
                        "otherwise, e.g. among whole numbers alone. Give another --output_dir."
                    ) from error

    def _folder_of(self, trial: "optuna.Trial") -> Path:
        name = trial.user_attrs.get(FOLDER) or f"trial-{trial.number:03d}"
        trial.set_user_attr(FOLDER, name)
        return self.comparison.folder / name

    def _as_before(self, trial: "optuna.Trial") -> tuple[str, str] | None:
        """Tell the study what the same values have led to, if they were tried: with the same seed they would again."""
        states = self._optuna.trial.TrialState
        twin = next((t for t in self.finished if t.params == trial.params and t.state != states.FAIL), None)
        if twin is None:
            return None
        for place, value in twin.intermediate_values.items():
            trial.report(value, place)
        trial.set_user_attr(FOLDER, twin.user_attrs[FOLDER])
        self.study.tell(trial, twin.value if twin.state == states.COMPLETE else None, state=twin.state)
        return f"{twin.state.name.lower()}, as trial {twin.number} of the same values", ""

    def _make(self, trial: "optuna.Trial", folder: Path) -> tuple[str, str]:
        """Run a trial and tell the study; gives its outcome and, if it failed, why."""
        states, log = self._optuna.trial.TrialState, folder / LOG
        flags, fields = divided(trial.params)
        words = [f"--{name}={value}" for name, value in flags.items() if value is not None]
        words += [f"--seed={self.seed}", "--evaluate_test=false", f"--validation_log={log}"]
        overrides = {**self.comparison.overrides, **fields}
        command = prepare_launch(self._without_nulls(flags, folder), {}, overrides, folder, words)
        pruned = False
        if command is not None:
            with started(command, folder) as process:
                pruned = self._watch(trial, process, log)
        self._report(trial, log, 0)
        record = read_json(folder / RECORD)
        reason = reason_of(folder) if record is None else self._flaw_of(record)
        if record is not None and reason is None:
            self.study.tell(trial, self.value_of(record))
            return "complete", ""
        if record is None and pruned:
            self.study.tell(trial, state=states.PRUNED)
            return "pruned", ""
        trial.set_user_attr(REASON, reason)
        self.study.tell(trial, state=states.FAIL)
        return "failed", reason

    def _without_nulls(self, flags: dict[str, Any], folder: Path) -> Comparison:
        """
        What is run where a trial leaves flags out that the config sets: no word of a command can take them back, so
        the trial gets a config of its own, beside its folder.
        """
        given = self.comparison.hyperparameters
        left_out = {name for name, value in flags.items() if value is None and given.get(name) is not None}
        if not left_out:
            return self.comparison
        kept = {name: value for name, value in given.items() if name not in left_out}
        config = folder.parent / f"{folder.name}.yaml"
        config.write_text(write_yaml({"recipe": self.comparison.recipe.stem, **kept}), encoding="utf-8")
        return dataclasses.replace(self.comparison, config=config, hyperparameters=kept)

    def value_of(self, record: dict[str, Any]) -> float | None:
        """The validation of a finished run, see [`validation_of`]; none if it was no number."""
        value = validation_of(TASKS[self.comparison.recipe.stem], record, self.objective.metric)
        return value if isinstance(value, int | float) and math.isfinite(value) else None

    def _flaw_of(self, record: dict[str, Any]) -> str | None:
        """Why a run that has written its record is not to be compared with others, in words."""
        if record.get("stopped"):
            return stopped_early(record)
        if self.value_of(record) is None:
            return f"its validation {self.objective.metric} is no number: it may have diverged"
        return None

    def _watch(self, trial: "optuna.Trial", process: subprocess.Popen, log: Path) -> bool:
        """Report each validation as it comes, and end a run that is to be pruned; says whether one was."""
        reported, pruned = 0, False
        while process.poll() is None:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            before, reported = reported, self._report(trial, log, reported)
            if reported > before and not pruned and trial.should_prune():
                pruned = True
                send(process, signal.SIGTERM)  # the run ends well
        return pruned

    def _report(self, trial: "optuna.Trial", log: Path, reported: int) -> int:
        """Tell Optuna of the validations that it does not know; gives how many there are."""
        values = [entry.get(f"validation_{self.objective.metric}") for entry in validations(log)]
        for place, value in enumerate(values[reported:], reported + 1):
            if place not in self.study.trials[trial.number].intermediate_values:
                trial.report(float("nan") if value is None else value, place)
        return max(reported, len(values))


def validations(log: Path) -> Iterator[dict[str, Any]]:
    """The validations that a run has written."""
    try:
        lines = log.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:  # a line that is being written
            continue


def shown_values(values: dict[str, Any]) -> str:
    """Values of a trial in a line."""
    return ", ".join(f"{n} {v:.4g}" if isinstance(v, float) else f"{n} {v}" for n, v in values.items())
