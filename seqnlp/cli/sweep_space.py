"""The space of a sweep: which flags and fields of a model's configuration are searched, and among which values."""

import dataclasses
import difflib
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_args

import yaml

from ..models.requirements import Range
from ..tasks import Task
from ..training import ArgumentsError, parse_arguments
from ..training.arguments import ONE_RUN_FLAGS
from ..training.errors import in_one_line
from ..training.flags import role_of
from ..training.parsing import word_for
from ..training.yaml_files import Plain, read_yaml, value_of


OVERRIDES = "config_overrides"
SEARCHED = ("model source", "model", "training")
"""Roles of the flags that may be searched: with other data, or in another folder, validation says something else."""
FIXED_FLAGS = (*ONE_RUN_FLAGS, "metric_for_best_model", "greater_is_better")
"""Flags that a sweep gives to each trial, or by which trials are compared."""
KEYS = {"low", "high", "log", "step", "choices"}
OFF_GRID = 1e-8  # of a step, as for Optuna: 0.3 is no whole multiple of 0.1 in floating point


class SpaceError(ValueError):
    """A space that cannot be searched; the message names the flag and what would do."""


class Choice(NamedTuple):
    """One of several values."""

    values: list[Any]

    def __contains__(self, value: Any) -> bool:
        return value in self.values

    def described(self) -> str:
        """In words."""
        return "one of " + ", ".join(map(str, self.values))


class Interval(NamedTuple):
    """A number between two others, which count as well; a whole one where both are of the type `int`."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __contains__(self, value: Any) -> bool:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not self.low <= value <= self.high:
            return False
        step = self.step or (1 if self.is_whole else None)
        steps = 0.0 if step is None else (value - self.low) / step
        return abs(steps - round(steps)) < OFF_GRID

    @property
    def is_whole(self) -> bool:
        """Whether it is a whole number that is searched."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def described(self) -> str:
        """In words."""
        how = ", on a logarithmic scale" if self.log else f", in steps of {self.step:g}" if self.step else ""
        return f"{self.low:g} to {self.high:g}{how}"


Dimension = Choice | Interval
Space = dict[str, Dimension]
"""What is searched, by its name: that of a flag, or `config_overrides.FIELD`."""


def read_space(path: Path, task: type[Task]) -> Space:
    """
    Read a space: a YAML that maps flags of the recipe to a list of choices, or to `{low, high}` with `log: true` or a
    `step`. Under `config_overrides` stand fields of the model's configuration, written in the same way.

    Args:
        path: The YAML.
        task: Whose flags they are.

    Raises:
        SpaceError: For a flag that there is not, or that cannot be searched, and a value that it does not take.
    """
    try:
        content = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpaceError(f"--space {path} cannot be read: {in_one_line(error, 200)}.") from error
    if not isinstance(content, dict) or not content:
        raise SpaceError(f"--space {path} must map flags to values, e.g. `learning_rate: {{low: 1e-4, high: 1e-2}}`.")
    fields, space = task.fields(), {}
    for name, written in content.items():
        if name == OVERRIDES:
            space |= _read_overrides(path, written, task)
            continue
        if name not in fields:
            raise SpaceError(f"{path}: there is no flag {name!r}{_nearest(str(name), fields)}.")
        if role_of(fields[name]) not in SEARCHED or name in FIXED_FLAGS:
            raise SpaceError(f"{path}: --{name} is not searched: trials would not be comparable. Leave it out.")
        as_flag = partial(_as_flag, path, name, task=task)
        space[name] = _read_dimension(path, name, written, as_flag, number_type(fields[name]))
    if not space:
        raise SpaceError(f"--space {path}: {OVERRIDES} names no field, so there is nothing to search.")
    return space


def _read_overrides(path: Path, content: Any, task: type[Task]) -> Space:
    if not isinstance(content, dict):
        raise SpaceError(f"{path}: {OVERRIDES} must map fields to values, e.g. {{dropout: {{low: 0, high: 0.5}}}}.")
    fields = {
        field.name: field
        for model_class in task.model_classes.values()
        for field in dataclasses.fields(model_class.config_class)
    }
    space = {}
    for name, written in content.items():
        if name not in fields:
            raise SpaceError(f"{path}: no model of {task.name} has a field {name!r}{_nearest(str(name), fields)}.")
        dimension = _read_dimension(path, name, written, value_of, number_type(fields[name]))
        interval = fields[name].metadata.get("range")
        for value in _ends(dimension):
            if interval is not None and value is not None and value not in Range(interval):
                raise SpaceError(f"{path}: {OVERRIDES} {name}={value} must be {Range(interval)}.")
        space[f"{OVERRIDES}.{name}"] = dimension
    return space


def number_type(field: dataclasses.Field) -> type | None:
    """Of which type the numbers of a flag, or of a configuration's field, are; `None` where it takes no number."""
    parts = field.type.split(" | ") if isinstance(field.type, str) else get_args(field.type) or (field.type,)
    names = {getattr(part, "__name__", part) for part in parts}
    return float if "float" in names else int if "int" in names else None


def _read_dimension(
    path: Path, name: str, written: Any, read: Callable[[Any], Any], numbers: type | None
) -> Dimension:
    """A dimension of `numbers`, if of any; each value of it is read by `read`, which refuses what does not fit."""
    where = f"{path}: {name}"
    if isinstance(written, list):
        written = {"choices": written}
    if not isinstance(written, dict) or not written.keys() <= KEYS:
        raise SpaceError(f"{where}: give a list of choices, or {{low: NUMBER, high: NUMBER, log: true}}.")
    if "choices" in written:
        values = written["choices"]
        plain = isinstance(values, list) and all(isinstance(value, str | None) for value in values)
        values = [None if value is None else read(value) for value in values] if plain else []
        if len(values) < 2 or len(set(map(repr, values))) < len(values) or len(written) > 1:
            raise SpaceError(f"{where}: choices must be a list of two or more words or numbers, each once.")
        return Choice(values)
    if numbers is None:
        raise SpaceError(f"{where} is no number, so it has no low and high: give a list of choices.")
    low, high, step = (value_of(written.get(key)) for key in ("low", "high", "step"))
    log = value_of(written.get("log", False))
    if not _is_finite(low) or not _is_finite(high) or not low < high:
        raise SpaceError(f"{where}: low and high must be numbers, the one below the other, and are {low} and {high}.")
    if not isinstance(log, bool) or (log and low <= 0):
        raise SpaceError(f"{where}: log must be true or false, and is for numbers above 0.")
    if step is not None and (log or not _is_finite(step) or not 0 < step <= high - low):
        raise SpaceError(f"{where}: step {step} must be a number above 0 that fits in, and not beside log.")
    for key in ("low", "high"):
        read(written[key])
    is_whole = all(number == int(number) for number in (low, high, step or 1))
    if numbers is int and not is_whole:
        steps = "" if step is None else f", step {step:g}"
        raise SpaceError(f"{where}: low {low:g}, high {high:g}{steps} must be whole numbers, as {name} is one.")
    # A flag that takes fractions takes them between whole ends too, unless its steps are whole.
    if numbers is int or (is_whole and step is not None):
        return Interval(int(low), int(high), log, None if step is None else int(step))
    return Interval(float(low), float(high), log, None if step is None else float(step))


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _ends(dimension: Dimension) -> list[Any]:
    return dimension.values if isinstance(dimension, Choice) else [dimension.low, dimension.high]


def _as_flag(path: Path, name: str, value: str, task: type[Task]) -> Any:
    """What is written, as the flag reads it, which knows its range, its choices and its kind."""
    argv = [f"--{name}={word_for(task.fields()[name], value)}"]
    try:
        parsed = parse_arguments(*task.argument_types(), recipe=task.name, argv=argv)
    except ArgumentsError as error:
        raise SpaceError(f"{path}: {str(error).removesuffix(' --help lists every flag.')}") from error
    return next(vars(arguments)[name] for arguments in parsed if name in vars(arguments))


def _nearest(name: str, names: Mapping[str, Any]) -> str:
    matches = difflib.get_close_matches(name.replace("-", "_"), list(names), n=1, cutoff=0.5)
    return f" (did you mean {matches[0]}?)" if matches else ""


def values_now(
    space: Space, given: dict[str, Any], overrides: dict[str, Any], record: dict[str, Any]
) -> dict[str, Any]:
    """
    The values that a config has where it stands, as far as they lie in the space.

    Args:
        space: What is searched.
        given: The flags of its YAML, as they are written there.
        overrides: The YAML's fields of the model's configuration.
        record: Of a run of it, for what the YAML does not say.
    """
    flags, fields = divided(dict(space))
    found = {name: _now(space[name], given, record["hyperparameters"], name) for name in flags}
    config = record["model"]["config"]
    found |= {f"{OVERRIDES}.{name}": overrides.get(name, config.get(name)) for name in fields}
    return {name: value for name, value in found.items() if value in space[name]}


def _now(dimension: Dimension, given: dict[str, Any], recorded: dict[str, Any], name: str) -> Any:
    if name not in given:
        return recorded.get(name)
    written, choices = given[name], dimension.values if isinstance(dimension, Choice) else []
    meant = value_of(Plain(written)) if isinstance(written, str) else written  # a flag reads over quotes
    return next((choice for choice in choices if str(choice) == written), meant)


def divided(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Values of a trial as flags of the recipe and as fields of the model's configuration."""
    prefix = f"{OVERRIDES}."
    flags = {name: value for name, value in values.items() if not name.startswith(prefix)}
    return flags, {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
