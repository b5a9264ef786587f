"""Flags and YAML files become dataclasses, and a model's configuration, by one `HfArgumentParser`."""

import argparse
import copy
import dataclasses
import difflib
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import yaml
from transformers import HfArgumentParser, PreTrainedConfig
from transformers.hf_argparser import string_to_bool

from ..inert import no_text_in
from .errors import ArgumentsError, in_one_line
from .flags import GROUPS, check_values, fields_of, open_home, role_of, without_flags
from .yaml_files import read_yaml, value_of, write_yaml


ConfigType = TypeVar("ConfigType", bound=PreTrainedConfig)
OF_ARGPARSE = ("help", "choices")
"""What argparse is to know of a field's metadata."""


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """
    Keeps the lines of a recipe's docstring, says the default of each flag that has one, and names a flag once: with
    dashes it is the same.
    """

    def __init__(self, prog):
        super().__init__(prog, max_help_position=34)

    def _get_help_string(self, action):
        is_told = action.default in (None, argparse.SUPPRESS) or isinstance(action, argparse._StoreFalseAction)
        return action.help if is_told else super()._get_help_string(action)

    def _format_action_invocation(self, action):
        names = action.option_strings if len(action.option_strings[0]) == 2 else action.option_strings[:1]
        if action.nargs == 0:
            return ", ".join(names)
        return f"{', '.join(names)} {self._format_args(action, action.metavar)}"


METAVARS = {int: "N", float: "NUMBER", string_to_bool: "true|false"}
"""What stands for a value in `--help`; for all others a text."""


class _Parser(HfArgumentParser):
    """Says what is wrong in one line instead of printing every flag there is."""

    source_of = staticmethod(lambda flag: "")

    def __init__(self, dataclass_types, recipes_own: Mapping[str, Any], **kwargs):
        self.recipes_own = recipes_own
        self.groups: dict[str, argparse._ArgumentGroup] = {}
        super().__init__((), **kwargs)
        for heading, roles in GROUPS.items():
            group = self.add_argument_group(heading)
            self.groups |= dict.fromkeys(roles, group)
        self.dataclass_types = list(dataclass_types)
        for dataclass_type in dataclass_types:
            self._add_dataclass_arguments(dataclass_type)

    @staticmethod
    def _parse_dataclass_field(parser, field):
        known = copy.copy(field)
        metadata = {key: value for key, value in field.metadata.items() if key in OF_ARGPARSE}
        if settled_by := field.metadata.get("fixed_by"):  # its default depends on what a run starts from
            own = parser.recipes_own.get(field.name)
            own = field.default if own is None else own
            default = "" if own is None else f"{own}, or "
            metadata["help"] += f" (default: {default}as a given {settled_by} has it)"
        known.metadata = MappingProxyType(metadata)
        group = parser.groups[role_of(field)]
        HfArgumentParser._parse_dataclass_field(group, known)
        for action in group._group_actions:
            if action.dest == field.name and action.metavar is None and action.choices is None:
                action.metavar = METAVARS.get(action.type, "TEXT")
            if action.dest == field.name and isinstance(action, argparse._StoreFalseAction):
                action.help = f"The same as --{field.name} false."

    def error(self, message):
        flag = re.match(r"argument (--\w+)", message)
        raise ArgumentsError(
            message.rstrip(".") + (self.source_of(flag.group(1)) if flag else "") + ". --help lists every flag."
        )


def parse_arguments(
    *dataclass_types: type,
    recipe: str,
    description: str | None = None,
    defaults: dict[str, Any] | None = None,
    argv: list[str] | None = None,
    example: str | None = None,
    recipes_own: Mapping[str, Any] = MappingProxyType({}),
):
    """
    Read the arguments of a recipe from flags and, under them, from the file that `--config FILE.yaml` names.

    The YAML's keys are the flags' names; they are put in front of the user's flags, so that one parser converts and
    checks both and the user's win. `config_overrides` may be a mapping. Two keys are no flags: `recipe` names the
    recipe that the file is for, and `requires` maps the flags that it leaves to the user, such as
    `dataset_name or train_file`, to what each asks for.

    Args:
        *dataclass_types: The dataclasses to fill, whose fields become flags.
        recipe: Name of the recipe, as `recipe:` in a YAML gives it.
        description: The text above the flags in `--help`.
        defaults: Values of flags, by name, that take the place of their fields' defaults.
        argv: The flags; those of the process by default.
        example: Flags of a run, for the end of `--help`.
        recipes_own: What the recipe sets where nothing else settles it, for `--help`.

    Returns:
        An instance of each dataclass.

    Raises:
        ArgumentsError: For a flag, key or value that does not fit, in one line.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if problem := no_text_in(argv):
        raise ArgumentsError(problem)
    path, argv = _take_config_flag(argv)
    given = typed_flags(argv)
    fields = fields_of(*dataclass_types)
    from_yaml = _yaml_to_arguments(path, fields, recipe, given) if path else []
    from_yaml = _without_excluded(from_yaml, fields, given, path)

    parser = _Parser(
        dataclass_types,
        recipes_own,
        description=description,
        usage="%(prog)s [--config FILE.yaml] [--FLAG VALUE ...]",
        epilog=f"Example:\n\n    seqnlp train {recipe} {example}" if example else None,
        allow_abbrev=False,
        formatter_class=_HelpFormatter,
    )
    parser.set_defaults(**(defaults or {}))
    parser.add_argument("--config", metavar="FILE.yaml", help="A YAML file that sets any of these flags; flags win.")
    parser.source_of = lambda flag: f" (in {path})" if path and flag not in given else ""
    try:
        for word in from_yaml + argv:
            if word.startswith("--") and word.endswith("=--"):  # argparse would make an empty list of it
                raise ArgumentsError(f"{word[:-3]} --: two dashes are no value of a flag.")
        *parsed, _, unknown = parser.parse_args_into_dataclasses(from_yaml + argv, return_remaining_strings=True)
        for arguments in parsed:
            check_values(arguments)
            open_home(arguments)
    except ArgumentsError as error:
        flag = re.match(r"--\w+", str(error))
        source = parser.source_of(flag.group()) if flag else ""
        if source and any(flag.group() == word.split("=")[0] for word in from_yaml):
            raise ArgumentsError(f"{path}: {error}") from error
        raise
    if unknown:
        flag = unknown[0].split("=")[0]
        if not flag.startswith("--"):
            raise ArgumentsError(f"{unknown[0]!r} belongs to no flag. --help lists every flag.")
        raise ArgumentsError(f"There is no flag {flag}{_nearest(flag[2:], fields, '--')}. --help lists every flag.")
    return tuple(parsed)


def typed_flags(argv: list[str]) -> set[str]:
    """The flags of a command, as `--name`, however their names are spelled."""
    return {word.split("=")[0].replace("-", "_").replace("__", "--", 1) for word in argv if word[:2] == "--"}


def _take_config_flag(argv: list[str]) -> tuple[str | None, list[str]]:
    path, rest = None, []
    arguments = iter(argv)
    for argument in arguments:
        if argument == "--config":
            path = next(arguments, None)
        elif argument.startswith("--config="):
            path = argument.removeprefix("--config=")
        else:
            rest.append(argument)
            continue
        if not path or path.startswith("--"):
            raise ArgumentsError("--config needs the name of a YAML file.")
    return os.path.expanduser(path) if path else None, rest


def _yaml_to_arguments(path: str, fields: Mapping[str, dataclasses.Field], recipe: str, given: set[str]) -> list[str]:
    try:
        content = read_yaml(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ArgumentsError(f"--config {path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ArgumentsError(f"--config {path} is not YAML: {in_one_line(error)}.") from error
    if not isinstance(content, dict):
        held = "a list" if isinstance(content, list) else "one word" if content else "nothing"
        raise ArgumentsError(f"--config {path} must be a list of `key: value` lines, and holds {held}.")
    meant_for = content.pop("recipe", recipe)
    if meant_for != recipe:
        raise ArgumentsError(f"--config {path} is for recipes/{meant_for}.py; this is {recipe}.")
    for name, wanted in _required(content.pop("requires", None), path):
        alternatives = name.split(" or ")
        if not any(f"--{flag}" in given for flag in alternatives):
            raise ArgumentsError(f"--config {path} leaves a flag to you: add --{alternatives[0]} {wanted}.")
    arguments = []
    for key, value in content.items():
        if key not in fields:
            raise ArgumentsError(f"{path}: there is no argument {key!r}{_nearest(str(key), fields)}.")
        if isinstance(value, str):
            value = word_for(fields[key], value)
        if isinstance(value, dict):
            value = ",".join(f"{name}={write_yaml(item, in_a_line=True)}" for name, item in value.items())
        if isinstance(value, list) and not all(isinstance(item, str) for item in value):
            raise ArgumentsError(f"{path}: the list {key} holds something else than words.")
        if isinstance(value, list) and "list" in str(fields[key].type):
            arguments += [f"--{key}", *value]
            continue
        if isinstance(value, list):
            value = ",".join(value)
        if value is not None:
            # One word: a value that begins with a dash would else be taken for a flag.
            arguments.append(f"--{key}={value}")
    return arguments


def word_for(field: dataclasses.Field, written: str) -> str:
    """A value of a YAML as the command line takes it: YAML has two more words for the truth."""
    return {"on": "true", "off": "false"}.get(written, written) if "bool" in str(field.type) else written


def _without_excluded(
    from_yaml: list[str], fields: Mapping[str, dataclasses.Field], given: set[str], path: str | None
) -> list[str]:
    """What a YAML gives without the flags that those of the command line exclude."""
    for name, field in fields.items():
        other = field.metadata.get("excludes")
        if other is None:
            continue
        pair = {f"--{name}", f"--{other}"}
        in_yaml = pair & {word.split("=")[0] for word in from_yaml}
        for found, where in ((pair & given, ""), (in_yaml, f" (in {path})")):
            if found == pair:
                raise ArgumentsError(f"--{name} and --{other} exclude each other{where}: give one of them.")
        if pair & given:
            from_yaml = without_flags(from_yaml, {flag.lstrip("-") for flag in pair - given})
    return from_yaml


def _required(value: Any, path: str) -> list[tuple[str, str]]:
    """The flags of the key `requires`, each with what it asks for."""
    if value is None:
        return []
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ArgumentsError(f"{path}: requires must map flags to what each asks for, e.g. dataset_name: DIR.")
    return list(value.items())


def _nearest(name: str, names, prefix: str = "") -> str:
    matches = difflib.get_close_matches(name.replace("-", "_"), list(names), n=1, cutoff=0.5)
    return f" (did you mean {prefix}{matches[0]}?)" if matches else ""


def build_config(config_class: type[ConfigType], overrides: str | None = None, **fields: Any) -> ConfigType:
    """
    A model configuration from a recipe's fields and what `--config_overrides` says, which wins.

    Args:
        config_class: The configuration's class.
        overrides: `name=value` pairs joined by commas, values written as in YAML.
        **fields: What the recipe sets.

    Raises:
        ArgumentsError: For a pair without `=`, a field that does not exist and a value that does not fit.
    """
    # Some are made from others, such as num_labels from id2label.
    if unknown := [name for name in fields.keys() - known_fields(config_class) if not hasattr(config_class, name)]:
        names = ", ".join(sorted(unknown))
        raise ArgumentsError(f"The recipe sets {names}, and {config_class.__name__} has no such field.")
    fields |= read_overrides(config_class, overrides)
    try:
        return config_class(**fields)
    except Exception as error:
        raise misfit(error, overrides) from error


def misfit(error: Exception, overrides: str | None) -> ArgumentsError:
    """What a configuration says of a value that does not fit, which strict dataclasses do in several lines."""
    return ArgumentsError(f"--config_overrides {overrides or ''}: {in_one_line(error.__cause__ or error)}")


def read_overrides(config_class: type[PreTrainedConfig], overrides: str | None) -> dict[str, Any]:
    """
    The fields that `--config_overrides` sets.

    Args:
        config_class: The configuration's class.
        overrides: As for [`build_config`].

    Raises:
        ArgumentsError: For a pair without `=` and a field that does not exist.
    """
    known = known_fields(config_class)
    return read_fields("config_overrides", overrides, known, config_class.__name__, "hidden_size=256")


def known_fields(config_class: type[PreTrainedConfig]) -> set[str]:
    """The names that a configuration is made by."""
    return {field.name for field in dataclasses.fields(config_class)} | set(config_class.attribute_map)


def read_fields(flag: str, text: str | None, known: set[str], owner: str, example: str) -> dict[str, Any]:
    """
    The fields that a flag such as `--config_overrides` sets.

    Args:
        flag: Its name, for the error's line.
        text: `name=value` pairs joined by commas, values written as in YAML.
        known: The fields that there are.
        owner: What has them.
        example: A pair, for the error's line.

    Raises:
        ArgumentsError: For a pair without `=`, a field that does not exist and a value that is no YAML.
    """
    fields = {}
    for pair in re.split(r",(?=\s*\w+\s*=)", text) if text else []:
        name, equals, written = (part.strip() for part in pair.partition("="))
        if not equals or not written:
            raise ArgumentsError(f"--{flag} {pair.strip()!r} must be name=value, e.g. {example}.")
        if name not in known:
            raise ArgumentsError(f"--{flag} {pair.strip()}: {owner} has no field {name!r}{_nearest(name, known)}.")
        if name in fields:
            raise ArgumentsError(f"--{flag} {text}: {name} stands there twice.")
        try:
            fields[name] = value_of(read_yaml(written))
        except yaml.YAMLError as error:
            raise ArgumentsError(f"--{flag} {pair.strip()}: no value of YAML: {in_one_line(error, 200)}.") from error
    return fields
