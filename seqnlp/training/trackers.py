"""Trackers of experiments, such as TensorBoard and Weights & Biases: what `--report_to` names, through Accelerate."""

import importlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker, get_available_trackers
from accelerate.utils import LoggerType
from transformers.utils import logging

from .errors import ArgumentsError
from .integrity import named
from .output_folder import LOGS


logger = logging.get_logger(__name__)

RUN_NAMES: dict[str, Callable[[str], dict[str, Any]]] = {
    "wandb": lambda name: {"name": name},
    "trackio": lambda name: {"name": name},
    "mlflow": lambda name: {"run_name": name},
    "swanlab": lambda name: {"experiment_name": name},
    "clearml": lambda name: {"task_name": name},
    "dvclive": lambda name: {"exp_name": name},
    "comet_ml": lambda name: {"experiment_config": importlib.import_module("comet_ml").ExperimentConfig(name=name)},
}
"""How a tracker is told the name of a run, by the arguments of its class; TensorBoard's is the folder."""


def trackers_of(report_to: str) -> list[str]:
    """
    The trackers that `--report_to` names; `all` are those that are installed.

    Raises:
        ArgumentsError: For one that Accelerate does not know, or that is not installed.
    """
    named = list(dict.fromkeys(word.strip() for word in report_to.split(",")))
    named = [name for name in named if name and name != "none"]
    installed = [str(tracker) for tracker in get_available_trackers()]
    for name in named:
        if name != "all" and name not in LOGGER_TYPE_TO_CLASS:
            known = ", ".join(sorted(LOGGER_TYPE_TO_CLASS))
            raise ArgumentsError(f"--report_to {report_to}: {name} is no tracker. There are {known}, all and none.")
        # One that was registered by hand is there.
        if name != "all" and name in LoggerType and name not in installed:
            raise ArgumentsError(
                f"--report_to {report_to}: {name} is not installed. Install it by pip install {name}, or leave it out."
            )
    return list(dict.fromkeys(one for name in named for one in (installed if name == "all" else [name])))


def make_tracker(name: str, project: str, output_dir: Path, step: int) -> GeneralTracker:
    """
    A tracker, not started yet.

    Args:
        name: As `--report_to` names it.
        project: The recipe.
        output_dir: The output folder of the run, whose name is that of the run.
        step: The last step that is over: what a run that was interrupted has logged of later ones will come again.
    """
    tracker, run = LOGGER_TYPE_TO_CLASS[name], output_dir.absolute().name
    if name == "tensorboard":
        return tracker(LOGS, str(output_dir), purge_step=step + 1 if step else None)
    if name == "aim":  # one place for all runs, where `aim up` looks for it
        return tracker(run, ".", experiment=project)
    folder = [str(output_dir)] if tracker.requires_logging_directory else []
    return tracker(project, *folder, **RUN_NAMES.get(name, lambda _: {})(run))


class Trackers:
    """
    The trackers of a run, in the main process. One that fails is told of and left out; the run goes on.

    Args:
        made: Those that Accelerate holds; [`Trackers.start`] adds to it.
    """

    def __init__(self, made: list[GeneralTracker]):
        self.made = made

    def start(self, names: list[str], project: str, output_dir: Path, config: dict[str, Any], step: int) -> None:
        """Begin a run of the project, with the values of its flags, or go on with it after a step."""
        flat = {name: value if isinstance(value, int | float | str) else str(value) for name, value in config.items()}

        def start(name: str) -> None:
            tracker = make_tracker(name, project, output_dir, step)
            tracker.start()
            tracker.store_init_configuration(flat)
            self.made.append(tracker)

        for name in names:
            self._attempt(name, "start", lambda name=name: start(name))

    def log(self, values: dict[str, float | str], step: int, only: str | None = None) -> None:
        """Tell numbers of a step, or to one tracker `only` what it alone has a place for, such as texts."""
        for tracker in [one for one in self.made if only in (None, one.name)]:
            if not self._attempt(tracker.name, "be written", lambda tracker=tracker: tracker.log(values, step=step)):
                self.made.remove(tracker)

    def on_tensorboard(self, write: Callable[[Any], None]) -> None:
        """Let `write` put into TensorBoard's own writer what is neither number nor text: pictures, embeddings."""
        for tracker in [one for one in self.made if one.name == "tensorboard"]:
            if not self._attempt(tracker.name, "be written", lambda tracker=tracker: write(tracker.writer)):
                self.made.remove(tracker)

    def close(self) -> None:
        """Finish each."""
        for tracker in self.made:
            self._attempt(tracker.name, "be closed", tracker.finish)
        self.made.clear()

    @staticmethod
    def _attempt(name: str, what: str, function: Callable[[], None]) -> bool:
        try:
            function()
        except Exception as error:
            logger.warning(f"--report_to {name}: the logs cannot {what}: {named(error)}")
            return False
        return True


def final_values(metrics: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The final scores of `run.json` as trackers take them: numbers, each by a name such as `final/test_accuracy`."""
    return {
        f"final/{split}_{key}": value
        for split, scores in metrics.items()
        for key, value in scores.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
