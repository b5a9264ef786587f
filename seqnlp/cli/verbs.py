"""The verbs of `seqnlp`, each imported when it is used: to list them, what they say of themselves is read alone."""

import ast
import functools
import inspect
import os
import re
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


FORWARDED = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

GROUPS: dict[str, dict[str, str | tuple[str, dict[str, Any]]]] = {
    "Train": {
        "train": ("recipes.train", FORWARDED),
        "list": "list_runs.list_runs",
        "recipes": "recipes.recipes",
        "labs": "labs.labs",
    },
    "Use": {
        "try": "try_model.try_model",
        "demo": "demo.demo",
        "translate": "translate.translate",
        "serve": "serve.serve",
    },
    "Look inside": {
        "gradflow": "gradflow.gradflow",
        "attention": "attention.attention",
        "states": "states.states",
        "dependency": "dependency.dependency",
    },
    "Compare": {
        "compare": "compare.compare",
        "sweep": "sweep.sweep",
        "scale": "scale.scale",
    },
    "Hand on": {
        "publish": "publish.publish",
        "verify": "verify.verify",
        "bundle": "bundle.bundle",
        "export": "export.export",
        "convert": "convert.convert",
    },
}
"""The verbs as the help groups them. The function of each by its file of this folder, with the settings of its context
where it has some. One that is the callback of an `app` in its file has verbs of its own."""
VERBS = {name: place for group in GROUPS.values() for name, place in group.items()}


class GroupedCommand(TyperCommand):
    """A verb whose help shows the options of one `rich_help_panel` together, and the others last."""

    def format_options(self, ctx, formatter) -> None:
        """Writes the sections of arguments and options."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        others = []
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                panel = "Arguments" if parameter.param_type_name == "argument" else parameter.rich_help_panel
                (sections.setdefault(panel, []) if panel else others).append(record)
        for title, records in {**sections, "Further options" if len(sections) > 1 else "Options": others}.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def home_opened(function: Callable) -> Callable:
    """The function of a verb, for which a path's `~` is the home folder: no shell opens that of `--output=~/x`."""

    def opened(value: Any) -> Any:
        if isinstance(value, list):
            return [opened(item) for item in value]
        return Path(os.path.expanduser(value)) if isinstance(value, Path) else value

    @functools.wraps(function)
    def verb(**values):
        return function(**{name: opened(value) for name, value in values.items()})

    return verb


def _first_sentence(documentation: str) -> str:
    """What a list says of a verb; click cuts it off at the width of the terminal where no one gives it."""
    first = " ".join(documentation.split("\n\n")[0].split())
    return re.match(r".*?[.?](?= |$)|.*", first).group()


class Verb(TyperCommand):
    """
    A verb whose help is known and whose flags are not, until it is loaded.

    Args:
        name: What is typed.
        place: File and function.
        settings: Of its context.
    """

    def __init__(self, name: str, place: str, settings: dict[str, Any]):
        self.file, self.function = place.split(".")
        self.settings = settings
        documentation = self._documentation()
        # Examples are shown as they are written, to be copied.
        help_text = re.sub(r"\n\n(?= {4})", "\n\n\b\n", documentation)
        super().__init__(name=name, help=help_text, short_help=_first_sentence(documentation))

    def load(self) -> TyperCommand | TyperGroup:
        """The verb itself, with its flags, or a group of verbs."""
        module = import_module(f".{self.file}", __package__)
        if (transformers := sys.modules.get("transformers")) is not None:
            transformers.utils.logging.disable_progress_bar()
        function, own = getattr(module, self.function), vars(module).get("app")
        program = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        program.callback()(lambda: None)
        if own is not None and own.registered_callback.callback is function:
            for part in own.registered_commands:
                part.callback = home_opened(inspect.unwrap(part.callback))  # once, however often it is loaded
            program.add_typer(own, name=self.name, help=self.help)
        else:
            settings = {"cls": GroupedCommand, "context_settings": self.settings, "help": self.help}
            program.command(self.name, **settings)(home_opened(function))
        verb = typer.main.get_command(program).commands[self.name]
        for part in getattr(verb, "commands", {}).values():
            part.short_help = _first_sentence(part.help)
        return verb

    def make_context(self, *args, **kwargs) -> typer.Context:
        """Of the verb itself: so it is loaded when it is called, asked for help, or completed."""
        return self.load().make_context(*args, **kwargs)

    def _documentation(self) -> str:
        source = ast.parse((Path(__file__).parent / f"{self.file}.py").read_text(encoding="utf-8"))
        functions = (part for part in source.body if isinstance(part, ast.FunctionDef))
        function = next(part for part in functions if part.name == self.function)
        return inspect.cleandoc(ast.get_docstring(function) or "")


class Verbs(TyperGroup):
    """The group of all verbs."""

    def __init__(self, **options):
        super().__init__(**options)
        for name, place in VERBS.items():
            place, settings = (place, {}) if isinstance(place, str) else place
            self.add_command(Verb(name, place, settings))

    def format_commands(self, ctx, formatter) -> None:
        """Writes a section per group, with the first sentence of each verb."""
        for title, group in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name, self.commands[name].get_short_help_str()) for name in group])
