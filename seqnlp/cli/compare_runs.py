"""The runs of a comparison: the recipe that a YAML names, started for one architecture and seed after the other."""

import dataclasses
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from .. import models
from ..tasks import TASKS, Task
from ..training import write_json
from ..training.errors import in_one_line
from ..training.flags import settled_flags
from .outputs import OutputError, make_folder
from .recipes import RecipesError, find_config, find_recipe, recipes_folder


RECURRENT = (models.RecurrentConfig, models.RecurrentSeq2SeqConfig)
TRANSFORMERS = (models.TransformerConfig, models.TransformerDecoderConfig, models.TransformerEncoderConfig)
# Flags of a recipe that compare sets itself.
OWN_FLAGS = (
    "architecture",
    "model_name_or_path",
    "config",
    "config_overrides",
    "output_dir",
    "overwrite_output_dir",
    "seed",
)
SETTINGS = "compare.json"  # marks a folder that compare made, and holds what it was made with


class CompareError(ValueError):
    """A comparison that cannot be made; the message says why and what would do."""


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
        hyperparameters: The YAML's other keys.
    """

    config: Path
    recipe: Path
    overrides: dict[str, Any]
    flags: list[str]
    folder: Path
    hyperparameters: dict[str, Any]


def read_comparison(config: Path, flags: str, folder: Path | None) -> Comparison:
    """
    Find the recipe that a YAML names, in `recipes/` of the working folder or among those of seqnlp: a YAML of a
    stranger's names no code of the stranger's.

    Raises:
        CompareError: If the YAML cannot be read, names no recipe that is there, or the flags are not the recipe's.
    """
    config = find_config(str(config))
    try:
        content = yaml.safe_load(config.read_text(encoding="utf-8"))
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
    folder = folder or Path("outputs") / f"compare_{config.stem}"
    overrides = _read_overrides(config, content.pop("config_overrides", None))
    return Comparison(config, recipe, overrides, split_flags(flags), folder, content)


def _read_overrides(config: Path, overrides: Any) -> dict[str, Any]:
    """Fields of the model's configuration, which a YAML gives as a mapping or as the recipes' flag does."""
    if isinstance(overrides, str) and all("=" in part for part in overrides.split(",")):
        pairs = (part.split("=", 1) for part in overrides.split(","))
        return {name.strip(): yaml.safe_load(value) for name, value in pairs}
    if not isinstance(overrides, dict | None):
        raise CompareError(f"{config}: `config_overrides: {overrides!r}` is not of the form `{{hidden_size: 128}}`.")
    return overrides or {}


def split_flags(flags: str, option: str = "--flags") -> list[str]:
    """
    Further flags of the recipe, as an option of the verb gives them.

    Raises:
        CompareError: If they cannot be read, or compare sets one of them itself.
    """
    try:
        parts = shlex.split(flags)
    except ValueError as error:
        raise CompareError(f"{option} {flags!r} cannot be read: {error}.") from error
    for part in parts:
        name = part.split("=")[0].removeprefix("--").replace("-", "_")
        if part.startswith("--") and name in OWN_FLAGS:
            raise CompareError(f"{option} {flags!r}: compare sets --{name} itself. Leave it out.")
    return parts


def open_folder(comparison: Comparison) -> None:
    """
    Make the folder of a comparison, or take up one that an earlier comparison has made.

    Raises:
        OutputError: If it cannot be made, or holds what compare did not make.
    """
    folder = comparison.folder
    make_folder(folder, f"--output_dir {folder}")
    _own_folder(folder)
    write_json(folder / SETTINGS, {"config": comparison.config.name, "flags": comparison.flags})


def _own_folder(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()) and not (folder / SETTINGS).is_file():
        raise OutputError(f"{folder} holds files that compare did not make. Give another --output_dir.")


def overrides_for(architecture: str, overrides: dict[str, Any]) -> dict[str, Any]:
    """The fields that mean something to an architecture: a Transformer has no forget gate, an LSTM no heads."""

    def fields(classes) -> set[str]:
        return {field.name for config_class in classes for field in dataclasses.fields(config_class)}

    own, other = (RECURRENT, TRANSFORMERS) if architecture != "transformer" else (TRANSFORMERS, RECURRENT)
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
        folder = Path(place).expanduser()
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
    config.write_text(yaml.safe_dump({"recipe": comparison.recipe.stem, **kept}), encoding="utf-8")
    given = dataclasses.replace(comparison, config=config, overrides={}, hyperparameters=kept)
    start = {"model_name_or_path": model, "seed": str(seed)}
    return _launch(given, start, {}, folder, flags, name)


def launch(comparison: Comparison, architecture: str, overrides: dict[str, Any], folder: Path, *flags: str) -> dict:
    """
    Run the recipe through `accelerate launch`, unless its finished record with the same settings is there, and go on
    with it where it was interrupted. Returns its record.

    Raises:
        CompareError: If it fails; with its last line.
        OutputError: If its folder holds what compare did not make.
    """
    asked = {name.lstrip("-"): value for name, value in zip(flags[::2], flags[1::2], strict=True)}
    return _launch(comparison, {"architecture": architecture, **asked}, overrides, folder, [], architecture)


def _launch(
    comparison: Comparison, asked: dict[str, str], overrides: dict[str, Any], folder: Path, more: list[str], name: str
) -> dict:
    written = ",".join(f"{field}={json.dumps(value)}" for field, value in overrides.items())
    # An empty list of fields too, where the YAML has some and none of them is for this architecture.
    given = ["--config_overrides", written] if written or comparison.overrides else []
    flags = [word for flag, value in asked.items() for word in (f"--{flag}", value)]
    asked = {"config_overrides": written or None, **asked, **({"more": more} if more else {})}
    settings = {"asked": asked, "flags": comparison.flags, "yaml": str(comparison.hyperparameters)}
    is_same = _read_json(folder / SETTINGS) == settings
    record = _read_json(folder / "run.json")
    if record is not None and is_same:
        return record
    make_folder(folder, f"--output_dir {comparison.folder}")
    _own_folder(folder)
    (folder / "run.json").unlink(missing_ok=True)
    write_json(folder / SETTINGS, settings)
    unfinished = (folder / "checkpoints" / "unfinished").is_file() and any(folder.glob("checkpoints/step-*"))
    again = ["--resume_from_checkpoint", "latest"] if is_same and unfinished else ["--overwrite_output_dir", "true"]
    command = [*_launcher(), str(comparison.recipe), "--config", str(comparison.config)]
    command += [*flags, *given, "--output_dir", str(folder), *comparison.flags, *more, *again]
    with open(folder / "output.txt", "w", encoding="utf-8") as output:
        code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT).returncode
    record = _read_json(folder / "run.json")
    if code != 0 or record is None:
        raise CompareError(f"{comparison.recipe.stem}, {name}: {_reason(folder / 'output.txt')}")
    return record


def _launcher() -> list[str]:
    config_file = ["--config_file", str(recipes_folder() / "accelerate" / "one_process.yaml")]
    return [sys.executable, "-m", "accelerate.commands.launch", *config_file]


def _reason(output: Path) -> str:
    """The recipe's own line of what went wrong, or else the last that it wrote."""
    lines = output.read_text(encoding="utf-8", errors="replace").splitlines()
    reason = next((line for line in reversed(lines) if line.startswith("error: ")), (lines or ["no output"])[-1])
    return f"{reason.removeprefix('error: ').strip()[:300]} (all its output: {output})"


def _read_json(path: Path) -> dict | None:
    """The content of a file, if it is there and whole."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
