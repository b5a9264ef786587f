"""The runs of a comparison: the recipe that a YAML names, started for one architecture and seed after the other."""

import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import typer
import yaml

from ..tasks import TASKS, Task
from ..tasks.arguments import TRANSFORMER
from ..training import write_json
from ..training.arguments import ONE_RUN_FLAGS, TrainingArguments
from ..training.errors import in_one_line
from ..training.flags import command_of, flags_with, settled_flags
from ..training.folder_lock import LOCK, OWNER, FolderLock, FolderTaken
from ..training.output_folder import RECORD
from ..training.started_runs import flags_to_go_on, read_json
from ..training.stopping import HandOnSignals
from ..training.yaml_files import FALSE, read_yaml, value_of, write_yaml
from .outputs import OutputError, make_folder
from .recipes import RecipesError, find_config, find_recipe, recipes_folder


OWN_FLAGS = ("architecture", "model_name_or_path")
"""Flags of a recipe that compare sets itself, beside those that every verb does."""
NOT_IN_YAML_FLAGS = (
    "resume_from_checkpoint",
    "max_train_minutes",
    "validation_log",
    *flags_with(TrainingArguments, role="upload"),
)
"""Flags of which a run has what its YAML says, and that make the runs of one YAML incomparable or publish each."""
VERBS_FLAGS = (*ONE_RUN_FLAGS, *NOT_IN_YAML_FLAGS, "config", "config_overrides")
"""Flags that every verb sets itself, or that its runs do not have."""
OUTPUT = "output.txt"
"""What a run prints, in its folder."""


class CompareError(ValueError):
    """A comparison that cannot be made; the message says why and what would do."""


class RunsStopped(Exception):
    """The verb was told to stop by a signal, and has stopped its run well."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


@dataclasses.dataclass
class Comparison:
    """
    What is compared.

    Attributes:
        config: The YAML.
        recipe: The recipe that it names.
        overrides: The YAML's fields of the model's configuration.
        flags: Further flags of the recipe.
        folder: Where runs and results go.
        hyperparameters: The YAML's other keys, with what is written there.
        verb: What starts the runs: `compare`, or another verb.
    """

    config: Path
    recipe: Path
    overrides: dict[str, Any]
    flags: list[str]
    folder: Path
    hyperparameters: dict[str, Any]
    verb: str = "compare"

    @property
    def settings(self) -> str:
        """The file that marks a folder that the verb made, and holds what it was made with."""
        return f"{self.verb}.json"


def read_comparison(
    config: Path, flags: str, folder: Path | None, verb: str = "compare", own_flags: Collection[str] = OWN_FLAGS
) -> Comparison:
    """
    Find the recipe that a YAML names, in `recipes/` of the working folder or among those of seqnlp: a YAML of a
    stranger's names no code of the stranger's.

    Raises:
        CompareError: If the YAML cannot be read, names no recipe that is there, or has flags that its runs may not
            have; and if the verb sets one of `flags` itself.
    """
    config = find_config(str(config))
    try:
        content = read_yaml(config.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise CompareError(f"{config} cannot be read: {in_one_line(error, 200)}.") from error
    name = content.pop("recipe", None) if isinstance(content, dict) else None
    if not name:
        raise CompareError(f"{config} names no recipe: add a line such as `recipe: sentiment_analysis`.")
    if not isinstance(name, str) or not re.fullmatch(r"\w+", name):
        raise CompareError(
            f"{config}: `recipe: {name!r}` is no name of a recipe. Give letters, digits and underscores alone, "
            "e.g. sentiment_analysis."
        )
    try:
        recipe = find_recipe(name)
    except RecipesError as error:
        raise CompareError(f"{config}: {error}") from error
    folder = folder or Path("outputs") / f"{verb}_{config.stem}"
    overrides = _read_overrides(config, content.pop("config_overrides", None))
    further = split_flags(flags, "--flags", verb, own_flags)
    comparison = Comparison(config, recipe, overrides, further, folder, content, verb)
    refuse_in_yaml(comparison, NOT_IN_YAML_FLAGS)
    return comparison


def _read_overrides(config: Path, overrides: Any) -> dict[str, Any]:
    """Fields of the model's configuration, which a YAML gives as a mapping or as the recipes' flag does."""
    overrides = value_of(overrides)
    if isinstance(overrides, str) and all("=" in part for part in overrides.split(",")):
        pairs = (part.split("=", 1) for part in overrides.split(","))
        return {name.strip(): value_of(read_yaml(value)) for name, value in pairs}
    if not isinstance(overrides, dict | None):
        raise CompareError(f"{config}: `config_overrides: {overrides!r}` is not of the form `{{hidden_size: 128}}`.")
    return overrides or {}


def split_flags(
    flags: str, option: str = "--flags", verb: str = "compare", own_flags: Collection[str] = OWN_FLAGS
) -> list[str]:
    """
    Further flags of the recipe, as an option of the verb gives them.

    Raises:
        CompareError: If they cannot be read, or the verb sets one of them itself.
    """
    try:
        parts = shlex.split(flags)
    except ValueError as error:
        raise CompareError(f"{option} {flags!r} cannot be read: {error}.") from error
    for part in parts:
        name = part.split("=")[0].removeprefix("--").replace("-", "_")
        if part.startswith("--") and name in (*VERBS_FLAGS, *own_flags):
            raise CompareError(f"{option} {flags!r}: {verb} decides on --{name} itself. Leave it out.")
    return parts


def refuse_in_yaml(comparison: Comparison, names: Collection[str]) -> None:
    """
    See that a YAML leaves flags alone that the verb has no use for; what means nothing, such as `false`, may stay.

    Raises:
        CompareError: For the first one that it sets.
    """
    for name in names:
        written = comparison.hyperparameters.get(name)
        if written is not None and str(written).lower() not in FALSE:
            raise CompareError(
                f"{comparison.config}: `{name}: {written}` is not for the runs of {comparison.verb}, which are all to "
                "be comparable. Leave it out of the YAML."
            )


def stopped_early(record: dict[str, Any]) -> str:
    """What is said of a run that was stopped by time, whose scores are not those of a whole one."""
    stopped = record["stopped"]
    return f"it was stopped at step {stopped['step']:,} of {stopped['planned_steps']:,} by {stopped['reason']}"


def public_flags(comparison: Comparison) -> str:
    """The further flags of the recipe as they may be published: without a path of the machine."""
    return command_of(comparison.flags, TASKS[comparison.recipe.stem].fields())


@contextmanager
def open_folder(comparison: Comparison) -> Iterator[None]:
    """
    Make the folder of a comparison, or take up one that an earlier comparison has made, and keep it, as a context,
    from a second command, which would take this one's runs for interrupted ones. Ends the command where its run was
    told to stop.

    Raises:
        OutputError: If it cannot be made or written to, is in use, or holds what the verb did not make.
    """
    folder = comparison.folder
    make_folder(folder, f"--output_dir {folder}")
    own_folder(folder, comparison)
    lock = FolderLock(folder)
    try:
        lock.acquire()
        lock.sign()
        write_json(folder / comparison.settings, {"config": comparison.config.name, "flags": comparison.flags})
    except FolderTaken as taken:
        raise OutputError(f"{taken}. Wait for its end or stop it, or give another --output_dir.") from None
    except OSError as error:
        lock.release()
        raise OutputError(f"--output_dir {folder} cannot be written to: {error.strerror}.") from error
    try:
        yield
    except RunsStopped as stopped:
        typer.echo("Stopped. The same command goes on with it.", err=True)
        raise typer.Exit(128 + stopped.number) from stopped
    finally:
        lock.release()


def own_folder(folder: Path, comparison: Comparison) -> None:
    """
    See that a folder is empty but for a lock, or made by the verb.

    Raises:
        OutputError: If it is not.
    """
    if not folder.is_dir() or (folder / comparison.settings).is_file():
        return
    if any(path.name not in (LOCK, OWNER) for path in folder.iterdir()):
        raise OutputError(f"{folder} holds files that {comparison.verb} did not make. Give another --output_dir.")


def overrides_for(architecture: str, overrides: dict[str, Any]) -> dict[str, Any]:
    """The fields that mean something to an architecture: a Transformer has no forget gate, an LSTM no heads."""

    def fields(kind: str) -> set[str]:
        classes = {task.model_classes[kind].config_class for task in TASKS.values() if kind in task.model_classes}
        return {field.name for config_class in classes for field in dataclasses.fields(config_class)}

    own, other = (TRANSFORMER, "recurrent") if architecture == TRANSFORMER else ("recurrent", TRANSFORMER)
    foreign = fields(other) - fields(own)
    return {name: value for name, value in overrides.items() if name not in foreign}


def name_models(text: str) -> dict[str, str]:
    """
    The models that `--models` lists, each by what a comparison calls it.

    Raises:
        CompareError: If two of them have the same name.
    """
    named: dict[str, str] = {}
    for place in filter(None, (part.strip() for part in text.split(","))):
        folder = Path(os.path.expanduser(place))
        place = str(folder.absolute()) if folder.is_dir() else place
        name = f"{re.sub(r'[^a-zA-Z0-9_.-]', '-', Path(place).name)} (fine-tuned)"
        if name in named:
            raise CompareError(f"--models {text!r}: two of them are called {Path(place).name}. Rename a folder.")
        named[name] = place
    return named


def launch_from(comparison: Comparison, name: str, model: str, seed: int, flags: list[str]) -> dict:
    """
    The same for a run that starts from a model that exists, without what the YAML says of models that are drawn anew.

    Args:
        comparison: What is compared.
        name: What the comparison calls the model.
        model: A folder, or a name on the Hub.
        seed: The run's seed.
        flags: Further flags of such runs.
    """
    folder = comparison.folder / f"from-{name.removesuffix(' (fine-tuned)')}-{seed}"
    task = TASKS.get(comparison.recipe.stem, Task)
    left_out = {"config_overrides", *settled_flags(task.model_arguments)} - {"max_length"}
    kept = {key: value for key, value in comparison.hyperparameters.items() if key not in left_out | {"requires"}}
    make_folder(folder, f"--output_dir {comparison.folder}")
    config = folder.parent / f"{folder.name}.yaml"
    config.write_text(write_yaml({"recipe": comparison.recipe.stem, **kept}), encoding="utf-8")
    given = dataclasses.replace(comparison, config=config, overrides={}, hyperparameters=kept)
    start = {"model_name_or_path": model, "seed": str(seed)}
    return launch_run(given, start, {}, folder, flags, name)


def launch(comparison: Comparison, architecture: str, overrides: dict[str, Any], folder: Path, *flags: str) -> dict:
    """
    Run the recipe through `accelerate launch`, unless its finished record with the same settings is there, and go on
    with it where it was interrupted. Returns its record.

    Raises:
        CompareError: If it fails; with its last line.
        OutputError: If its folder holds what compare did not make.
    """
    asked = {name.lstrip("-"): value for name, value in zip(flags[::2], flags[1::2], strict=True)}
    return launch_run(comparison, {"architecture": architecture, **asked}, overrides, folder, [], architecture)


def launch_run(
    comparison: Comparison, asked: dict[str, str], overrides: dict[str, Any], folder: Path, more: list[str], name: str
) -> dict:
    """
    Make a run, unless it is finished, and give its record.

    Args:
        comparison: Whose run it is.
        asked: Flags of the recipe by their names.
        overrides: Fields of the model's configuration.
        folder: Of the run.
        more: Further words of the command.
        name: What an error calls the run.

    Raises:
        CompareError: If it fails; with its last line.
        OutputError: If its folder holds what the verb did not make.
        RunsStopped: If a signal came.
    """
    command = prepare_launch(comparison, asked, overrides, folder, more)
    if command is None:
        return read_json(folder / RECORD)
    with started(command, folder) as process:
        code = process.wait()
    record = read_json(folder / RECORD)
    if code != 0 or record is None:
        raise CompareError(f"{comparison.recipe.stem}, {name}: {reason_of(folder)}")
    if record["task"] not in TASKS:
        raise CompareError(
            f"{comparison.recipe}: its runs are of the task {record['task']!r}, which is none of seqnlp's, so that "
            "nothing is known of its scores. A task is a file in seqnlp/tasks."
        )
    return record


def launch_one_step(comparison: Comparison, seed: int) -> dict[str, Any]:
    """
    The record of a run of one step, which tells what model, metric and data it has.

    Raises:
        CompareError: If it fails; with its last line.
    """
    words = ["--max_train_steps=1", f"--seed={seed}", "--evaluate_test=false"]
    return launch_run(comparison, {}, comparison.overrides, comparison.folder / "probe", words, "one step")


def prepare_launch(
    comparison: Comparison, asked: dict[str, str], overrides: dict[str, Any], folder: Path, more: list[str]
) -> list[str] | None:
    """
    The command that makes a run in a folder, or goes on with it; `None` if it is finished there, with these settings.

    Args:
        comparison: Whose run it is.
        asked: Flags of the recipe by their names.
        overrides: Fields of the model's configuration.
        folder: Of the run.
        more: Further words of the command.

    Raises:
        OutputError: If the folder holds what the verb did not make.
    """
    written = ",".join(f"{field}={json.dumps(value)}" for field, value in overrides.items())
    # An empty list of fields too, where the YAML has some and none of them is for this architecture.
    given = ["--config_overrides", written] if written or comparison.overrides else []
    flags = [word for flag, value in asked.items() for word in (f"--{flag}", value)]
    asked = {"config_overrides": written or None, **asked, **({"more": more} if more else {})}
    settings = {"asked": asked, "flags": comparison.flags, "yaml": str(comparison.hyperparameters)}
    is_same = read_json(folder / comparison.settings) == settings
    if is_same and read_json(folder / RECORD) is not None:
        return None
    make_folder(folder, f"--output_dir {comparison.folder}")
    own_folder(folder, comparison)
    (folder / RECORD).unlink(missing_ok=True)
    write_json(folder / comparison.settings, settings)
    command = [*_launcher(), str(comparison.recipe), "--config", str(comparison.config)]
    command += [*flags, *given, "--output_dir", str(folder), *comparison.flags, *more]
    return [*command, *flags_to_go_on(folder, is_same)]


@contextmanager
def started(command: list[str], folder: Path) -> Iterator[subprocess.Popen]:
    """
    Start a run, whose output goes to its folder, and wait for its end; signals are handed on to it, as a context.

    Raises:
        RunsStopped: If a signal came: the run has ended, with a checkpoint if it was training.
    """
    with open(folder / OUTPUT, "w", encoding="utf-8") as output:
        # Ctrl-C, which a terminal sends to a whole session, would end the launcher before the recipe has ended well.
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    with HandOnSignals(lambda number: send(process, number)) as signals:
        yield process
        process.wait()
    if signals.received is not None:
        raise RunsStopped(signals.received)


def send(process: subprocess.Popen, number: int) -> None:
    """Hand a signal to the recipe, which ends well and then ends the launcher."""
    try:
        for child in psutil.Process(process.pid).children() or [process]:
            child.send_signal(number)
    except psutil.Error:
        return  # it has ended in the meantime


def _launcher() -> list[str]:
    config_file = ["--config_file", str(recipes_folder() / "accelerate" / "one_process.yaml")]
    return [sys.executable, "-m", "accelerate.commands.launch", *config_file]


def reason_of(folder: Path) -> str:
    """The recipe's own line of what went wrong in a folder's run, or else the last that it wrote."""
    output = folder / OUTPUT
    lines = output.read_text(encoding="utf-8", errors="replace").splitlines()
    reason = next((line for line in reversed(lines) if line.startswith("error: ")), (lines or ["no output"])[-1])
    return f"{reason.removeprefix('error: ').strip()[:300]} (all its output: {output})"
