"""The parts of the site's pages that are made of the code: tables of flags, scores, options, verbs, and the API."""

import ast
import dataclasses
import importlib
import inspect
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml
from transformers import PreTrainedConfig
from typer.core import TyperCommand
from typer.main import get_command

import seqnlp
from seqnlp.cli.main import app
from seqnlp.data import SAMPLES
from seqnlp.diagnostics import DEPENDENCY_TASKS
from seqnlp.models.cells import CELLS, LinearCell
from seqnlp.models.requirements import Range
from seqnlp.tasks import TASKS
from seqnlp.training.flags import ROLES


ROOT = Path(__file__).parents[1]
API = {
    "models": "the architectures, with their heads and configurations",
    "tokenization": "tokenizers trained on one's own text",
    "data": "loading, checking, batching",
    "metrics": "numbers, and what is known of each",
    "training": "flags, the one loop, checkpoints, the record of a run",
    "tasks": "one class per task",
    "diagnostics": "what goes on inside a model",
    "visualization": "pictures of it",
    "demo": "what a model answers",
    "export": "the same model in another runtime",
    "publishing": "from a run to the Hub, and back",
}
"""The folders of seqnlp whose public names have a page."""

LATEX = {
    r"\bsigmoid\b": r"\\sigma",
    r"\btanh\b": r"\\tanh",
    r"(?<!\\)\b([a-z]{2,})(?=\()": r"\\operatorname{\1}",
    r"\^\(([^()]*)\)": r"^{\1}",
    r" \* ": r" \\odot ",
    r">=": r"\\ge",
    r" if ": r"\\ \\text{ if }\\ ",
    r" else ": r"\\text{, else }\\ ",
}
"""What the plain text in which a cell states its equations is in LaTeX."""

MADE: dict[str, Callable[..., str]] = {}
"""What makes each kind of part, by its name in `<!-- fill: NAME ... -->`."""


def makes(function: Callable[..., str]) -> Callable[..., str]:
    """Enter a function in [`MADE`]."""
    MADE[function.__name__] = function
    return function


def part(kind: str, *arguments: str) -> str:
    """The text of a part, e.g. `part("flags", "translation")`."""
    return MADE[kind](*arguments)


def table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table of Markdown; a bar within a cell is escaped."""
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    columns = list(columns)
    lines = [columns, ["---"] * len(columns), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code(value: Any) -> str:
    """A value as a cell shows it."""
    return "" if value is None or value == "" else f"`{value}`"


def script(recipe: str) -> ast.Module:
    """A recipe as Python reads it."""
    return ast.parse((ROOT / "recipes" / f"{recipe}.py").read_text(encoding="utf-8"))


def defaults_of(recipe: str) -> dict[str, Any]:
    """The defaults that a recipe sets for itself, as its `from_command_line` names them."""
    tree = script(recipe)
    constants = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    (call,) = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "from_command_line"
    )
    found: dict[str, Any] = {}
    for keyword in call.keywords:
        value = constants[keyword.value.id] if isinstance(keyword.value, ast.Name) else keyword.value
        found |= ast.literal_eval(value) if keyword.arg is None else {keyword.arg: ast.literal_eval(value)}
    return found


def origin(name: str) -> str:
    """Where a sample comes from; the page that is named is a link."""
    return re.sub(r"^(.*): (https?://\S+)$", r"[\1](\2)", SAMPLES[name].origin)


@makes
def recipes() -> str:
    """Every recipe with the question it answers and its default data."""
    rows = []
    for name, task in TASKS.items():
        summary = ast.get_docstring(script(name))
        rows.append((f"[`{name}`]({name}.md)", summary.split("\n")[0], origin(task.default_dataset)))
    return table(("recipe", "what", "default data"), rows)


@makes
def recipe(name: str) -> str:
    """What a recipe says of itself: its command, its data, its model, and what to expect."""
    text = ast.get_docstring(script(name))
    _, command, about = text.split("\n\n", 2)
    about = re.sub(r"(?<=[.:]) ?\n?(?=(?:Data|Model|Expect)\b)", "\n\n", about)
    about = re.sub(r"^(Data|Model|Expect)\b:?", r"**\1:**", about, flags=re.MULTILINE)
    about = re.sub(r"(?<![`\w])(--\w+)", r"`\1`", about).replace("docs/data.md", "[data](../data.md)")
    start = f"seqnlp train {name}"
    return f'```bash tab="Anywhere"\n{start}\n```\n```bash tab="In a clone"\n{command.strip()}\n```\n\n{about}'


@makes
def flags(name: str) -> str:
    """Every flag of a recipe: by role, with the recipe's own default, range and help."""
    task, own = TASKS[name], defaults_of(name)
    parts = []
    for role, meaning in ROLES.items():
        rows = []
        for flag, field in task.fields().items():
            if field.metadata["role"] != role:
                continue
            default = own.get(flag, None if field.default is dataclasses.MISSING else field.default)
            allowed = field.metadata.get("choices") or ()
            interval = field.metadata.get("range")
            values = ", ".join(map(code, allowed)) or (str(Range(interval)) if interval else "")
            rows.append((f"`--{flag}`", code(default), values, field.metadata["help"].replace("%%", "%")))
        if rows:
            parts.append(
                f'??? note "{role.capitalize()}: {meaning}"\n\n'
                + _indented(table(("flag", "default", "values", "what"), rows))
            )
    return "\n\n".join(parts)


@makes
def scores(name: str) -> str:
    """Every number that a task reports."""
    rows = [(f"`{score.key}`", score.name, score.definition, score.better) for score in TASKS[name].scores]
    return table(("in `run.json`", "name", "what", "better is"), rows)


@makes
def limits(name: str) -> str:
    """What a task's models are for and what they are not for, as on their cards."""
    task = TASKS[name]
    return "\n".join([task.use, "", *(f"- {limit}" for limit in task.limits)])


@makes
def configs(name: str) -> str:
    """The ready configurations of a recipe, with what the comment at their top says first, and what they ask for."""
    rows = []
    for path in sorted((ROOT / "recipes" / "configs").glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
        if content["recipe"] != name:
            continue
        comment = " ".join(re.findall(r"^# ?(.*)", text.split("recipe:")[0], re.MULTILINE))
        first = re.split(r"(?<=[a-z)])[.:] (?=[A-Z]|give)", comment)[0].rstrip(".:")
        needed = ", ".join(f"`--{flag}`" for flag in content.get("requires", {}))
        place = f"../../recipes/configs/{path.name}"
        rows.append((f"[{path.name}]({place})", first, needed.replace(" or ", "` or `--")))
    if not rows:
        return "There is none."
    if not any(asked for _, _, asked in rows):
        return table(("file", "what"), [row[:2] for row in rows])
    return table(("file", "what", "asks for"), rows)


@makes
def cards() -> str:
    """Links to the cards of the repository."""
    names = sorted(path.stem for path in (ROOT / "model_cards").glob("*.md") if path.stem != "README")
    return "\n".join(f"- [{name}]({name}.md)" for name in names)


@makes
def samples() -> str:
    """Every packaged or simulated sample."""
    rows = [
        (f"`{name}`", origin(name), sample.language or "", sample.license or "", code(sample.extra))
        for name, sample in SAMPLES.items()
    ]
    return table(("`--dataset_name`", "what", "language", "license", "extra"), rows)


def to_latex(equation: str) -> str:
    """
    A cell's equation in LaTeX, from the plain text in which it states it.

    Args:
        equation: One line, such as `c_t = f_t * c_{t-1} + i_t * g_t`, with a remark behind three spaces or none.
    """
    equation, _, remark = equation.partition("   ")
    for plain, latex in LATEX.items():
        equation = re.sub(plain, latex, equation)
    return equation + (rf"\qquad\text{{{remark.strip()}}}" if remark.strip() else "")


@makes
def cells() -> str:
    """Every cell: its equations, what it keeps, how it starts."""
    parts = []
    for name, cell in CELLS.items():
        equations = " \\\\\n".join(map(to_latex, cell.equations.split("\n")))
        facts = {
            "`--architecture`": code(name),
            "gates": ", ".join(gate.replace("_", " ") for gate in cell.gates),
            "state": ", ".join(cell.states),
            "`hidden_act`": ", ".join(map(code, cell.hidden_acts)) if cell.candidate_act == "tanh" else "none",
            "`recurrent_initializer`": ", ".join(map(code, cell.initializers)),
            "memory gates, for `gate_initializer`": ", ".join(
                gate.replace("_", " ") for gate in (*cell.keeping_gates, *cell.admitting_gates)
            )
            or "none",
            "parity": f"`torch.nn.{cell.torch_class.__name__}`: `from_torch` and `to_torch`"
            if cell.torch_class
            else "with the step-by-step loop, `eager`",
            "all steps at once": "yes, by a scan" if issubclass(cell, LinearCell) else "no",
        }
        parts.append(
            f"## {cell.title}\n\n```math\n{equations}\n```\n\n{table(('source', cell.citation), facts.items())}"
        )
    return "\n\n".join(parts)


@makes
def options(name: str) -> str:
    """Every field of a configuration, with its default, its values and its docstring."""
    config_class: type[PreTrainedConfig] = getattr(seqnlp, name)
    told = _arguments_told(config_class.__doc__)
    own = [field for field in dataclasses.fields(config_class) if field.name in told]
    rows = []
    for field in own:
        interval = field.metadata.get("range")
        words = "" if not interval else str(Range(interval))
        rows.append((f"`{field.name}`", f"`{field.default!r}`", words, told[field.name]))
    return table(("option", "default", "range", "what"), rows)


def _arguments_told(docstring: str) -> dict[str, str]:
    """The part `Args` of a docstring, by name."""
    block = re.search(r"Args:\n(.*?)(?:\n\s*\n|\Z)", inspect.cleandoc(docstring), re.DOTALL).group(1)
    names = r"^ {4}(\w+(?:, \w+)*): "
    _, *found = re.split(names, block, flags=re.MULTILINE)
    entries = zip(found[::2], found[1::2], strict=True)
    return {name: plain_references(" ".join(text.split())) for joint, text in entries for name in joint.split(", ")}


def plain_references(text: str) -> str:
    """Without the brackets around names: [`X`] and [`X`][y] become `X`."""
    return re.sub(r"\[(`[^`\]]+`)\](?:\[[^\]]*\])?", r"\1", text)


@makes
def heads(prefix: str) -> str:
    """The classes of a family, with the first line of what each says of itself."""
    rows = []
    for name in sorted(seqnlp.models.__all__):
        if re.fullmatch(rf"{prefix}(?:Model|For\w+)", name):
            text = plain_references(getattr(seqnlp, name).__doc__).strip().split("\n\n")[0]
            rows.append((f"`{name}`", " ".join(text.split())))
    return table(("class", "what"), rows)


@makes
def verbs() -> str:
    """Every verb of `seqnlp`, with what it says of itself first."""
    rows = [(f"`seqnlp {name}`", _first_line(verb)) for name, verb in get_command(app).commands.items()]
    return table(("verb", "what"), rows)


@makes
def verb(name: str) -> str:
    """The arguments of one verb."""
    rows = []
    for parameter in get_command(app).commands[name].load().params:
        is_number = isinstance(parameter.default, int | float) and not isinstance(parameter.default, bool)
        default = parameter.default if is_number or isinstance(parameter.default, str) else None
        rows.append((f"`{parameter.opts[0]}`", code(default), " ".join((parameter.help or "").split())))
    return f'??? note "The flags of `seqnlp {name}`"\n\n' + _indented(table(("flag", "default", "what"), rows))


@makes
def dependencies() -> str:
    """The tasks of `seqnlp dependency`."""
    return f"The tasks, for `--tasks`: {', '.join(map(code, DEPENDENCY_TASKS))}."


@makes
def extras() -> str:
    """What each extra of the package is for: the comment above it."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = text.split("[project.optional-dependencies]")[1].split("\n[")[0]
    rows = []
    for comment, name in re.findall(r"((?:^# .*\n)+)^(\w+) = ", block, re.MULTILINE):
        words = " ".join(re.findall(r"^# (.*)", comment, re.MULTILINE))
        rows.append((f"`seqnlp[{name}]`", re.split(r"(?<=[a-z`])[.;] ", words)[0].rstrip(".")))
    return table(("install", "for"), rows)


def _first_line(command: TyperCommand) -> str:
    return " ".join((command.help or "").split("\n\n")[0].split())


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" if line else "" for line in text.split("\n"))


def api_pages() -> dict[str, str]:
    """One page per folder of seqnlp, with every public name, and one that lists them; by place on the site."""
    pages = {
        "api/index.md": "# API\n\nMade of the docstrings.\n\n"
        + table(("module", "what"), [(f"[`seqnlp.{name}`]({name}.md)", what) for name, what in API.items()])
    }
    for name, what in API.items():
        module = importlib.import_module(f"seqnlp.{name}")
        names = "\n\n".join(f"::: seqnlp.{name}.{public}" for public in module.__all__)
        pages[f"api/{name}.md"] = f"# seqnlp.{name}\n\n{what[0].upper()}{what[1:]}.\n\n{names}\n"
    return pages
