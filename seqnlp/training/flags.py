"""
What is known of a flag stands in its dataclass field: default, help, role and range. All else follows from it.

A field's `metadata` holds `help`, `role` (see [`ROLES`]) and, for a number, `range` as an interval in the usual
notation, such as `[0, 1)`. From the role follow what a resumed run is compared by, what a record hides and what
`verify` asks again. `fixed_by` names what settles the flag where it is not trained anew: an existing `model` or
`tokenizer`. A flag that `may_be_empty` means something where an empty word is given. One that is `of_one_run` is given
to each of several runs that are alike by whoever starts them. One that `is_path` names a file or folder, whose `~` is
the home folder.

A constant of any module that lists flags by their names ends in `_FLAGS`.
"""

import dataclasses
import os
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..models.requirements import Range
from .errors import ArgumentsError


ROLES = {
    "data source": "where the data comes from; what it holds counts, and its hash tells that",
    "data": "what is read of the data, and in which form",
    "model source": "the model or tokenizer that a run starts from; what it holds counts, and its hash tells that",
    "model": "what is trained",
    "training": "how it is trained",
    "after training": "what is done with the trained model",
    "upload": "where it is published",
    "harmless": "where results go, how long a run takes and what it tells; nothing that is trained depends on it",
}
"""Every role that a flag may have, with what it means."""

GROUPS = {
    "data": ("data source", "data"),
    "model": ("model source", "model"),
    "training": ("training",),
    "after training": ("after training",),
    "the run: folder, time, checkpoints, logs": ("harmless",),
    "upload": ("upload",),
}
"""How `--help` groups the flags: by their roles, in this order."""

COMPARED = ("data", "model", "training")
"""Roles of the flags that a resumed run must have in common with the run before."""
SOURCES = ("data source", "model source")
"""Roles of the flags that may name a place of the machine."""


def flag(
    default: Any,
    help: str,
    role: str,
    range: str | None = None,
    replaces: str | None = None,
    excludes: str | None = None,
    **metadata: Any,
) -> Any:
    """
    A dataclass field that is a flag.

    Args:
        default: Its value where nothing is said.
        help: What `--help` says of it.
        role: One of [`ROLES`].
        range: The numbers that it may be, as an interval.
        replaces: The flag whose place it takes where it is given.
        excludes: The flag that cannot be given beside it; of two that a YAML and the command line give, the latter's
            counts.
        **metadata: Its `choices`, and what else is known of it, see above.
    """
    known = {"help": help, "role": role, "range": range, "replaces": replaces, "excludes": excludes, **metadata}
    return dataclasses.field(default=default, metadata={key: fact for key, fact in known.items() if fact is not None})


def flag_as_in(dataclass_type: type, name: str, **changes: Any) -> Any:
    """
    A flag of a dataclass once more in another one; what is not changed is as it is there.

    Args:
        dataclass_type: Where it is declared.
        name: Its name.
        **changes: Arguments of [`flag`].
    """
    field = fields_of(dataclass_type)[name]
    return flag(**{"default": field.default, **field.metadata, **changes})


def fields_of(*dataclass_types: type) -> dict[str, dataclasses.Field]:
    """The field of each flag of these dataclasses, by its name."""
    return {f.name: f for dataclass_type in dataclass_types for f in dataclasses.fields(dataclass_type) if f.init}


def flags_with(dataclass_type: type, **facts: Any) -> tuple[str, ...]:
    """The flags of a dataclass of which these facts are known, e.g. `role="upload"`."""
    return tuple(name for name, field in fields_of(dataclass_type).items() if facts.items() <= field.metadata.items())


def settled_flags(dataclass_type: type) -> dict[str, str]:
    """Flags that an existing model or tokenizer settles, each with which of the two."""
    metadata = {name: field.metadata for name, field in fields_of(dataclass_type).items()}
    return {name: known["fixed_by"] for name, known in metadata.items() if "fixed_by" in known}


def role_of(field: dataclasses.Field) -> str:
    """
    The role of a flag.

    Raises:
        ValueError: If its field names none, or one that does not exist.
    """
    role = field.metadata.get("role")
    if role not in ROLES:
        raise ValueError(f"The flag --{field.name} has the role {role!r}; the roles are {', '.join(ROLES)}.")
    return role


def check_values(arguments: Any) -> None:
    """
    Refuse numbers out of the range of their flag, and an empty word where nothing given means something, such as of a
    variable of a shell that is not set.

    Args:
        arguments: An instance of a dataclass of flags.

    Raises:
        ArgumentsError: For the first one, by name.
    """
    for name, field in fields_of(type(arguments)).items():
        value, interval = getattr(arguments, name), field.metadata.get("range")
        if value == "" and field.default is None and not field.metadata.get("may_be_empty"):
            raise ArgumentsError(f"--{name} is empty: give it a value, or leave it out.")
        if interval is None or value is None:
            continue
        if not isinstance(value, int | float) or value not in Range(interval):
            raise ArgumentsError(f"--{name} {value} must be {Range(interval)}.")


def open_home(arguments: Any) -> None:
    """
    Put the home folder in the place of a `~` with which a path begins: no shell does so in a YAML, nor in
    `--output_dir=~/x`, and a folder of the name `~` is a trap.

    Args:
        arguments: An instance of a dataclass of flags; those that are paths are changed.
    """
    for name, field in fields_of(type(arguments)).items():
        value = getattr(arguments, name)
        if field.metadata.get("is_path") and value:
            setattr(arguments, name, os.path.expanduser(value))


def public_value(value: Any, field: dataclasses.Field | None = None) -> Any:
    """
    The value of a flag as it may be published: without a path of the machine.

    Local data and models, and whatever lies outside of the working folder, become `<local:LAST_PART>`; other paths
    below the working folder (`recipes/configs/x.yaml`) say nothing about the machine and stay.

    Args:
        value: The value; anything but a string is given back.
        field: The flag's field, whose role tells data from the rest.
    """
    if not isinstance(value, str):
        return value
    path = Path(os.path.expanduser(value))  # that of `Path` raises where there is no such user, as in "~ once upon"
    if field is not None and role_of(field) in SOURCES and _exists(path):
        return f"<local:{Path(os.path.realpath(path)).name}>"
    if path.is_absolute() and path != Path.cwd() and path.is_relative_to(Path.cwd()):
        return str(path.relative_to(Path.cwd()))
    if path.is_absolute() or ".." in path.parts:
        return f"<local:{Path(os.path.realpath(path)).name}>"
    return value


def command_of(argv: list[str], fields: Mapping[str, dataclasses.Field]) -> str:
    """
    The command that ran, as it may be published: no path of the machine.

    Args:
        argv: Its words.
        fields: The field of each flag, by its name.
    """
    words, flag = [], ""
    for word in argv:
        name, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        if name and not equals:
            flag = name
            words.append(word)
        else:
            field = fields.get((name or flag).lstrip("-").replace("-", "_"))
            words.append(name + equals + public_value(value, field))
    return shlex.join(words)


def without_flags(words: Sequence[str], names: Collection[str]) -> list[str]:
    """
    The words of a command without some of its flags and their values.

    Args:
        words: Its words, spelled in any way that a recipe takes.
        names: The flags, by name.
    """
    kept, name = [], ""
    for word in words:
        if word.startswith("--"):
            name = word.lstrip("-").split("=")[0].replace("-", "_")
        if name not in names:
            kept.append(word)
    return kept


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # no name that a file may have
        return False
