"""Every command that a page shows is one that its program takes: names, flags and values, by its own parser."""

import re
import tomllib
from pathlib import Path

import pytest
import typer
from commands import commands_of
from typer.core import TyperGroup
from typer.main import get_command

from benchmarks.__main__ import app as benchmarks_app
from docs.parts import defaults_of, part
from seqnlp.cli.main import app
from seqnlp.cli.recipes import find_config, find_recipe
from seqnlp.cli.verbs import Verb
from seqnlp.tasks import TASKS
from seqnlp.training import parse_arguments
from seqnlp.training.parsing import read_overrides


ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "labs").glob("*.md")]
ELSEWHERE = {"cp", "mkdir", "export", "head", "hf", "jupyter", "optimum-cli", "pre-commit", "twine"}
"""Programs of others."""
MODULES = {"benchmarks", "build", "docs", "labs", "mutation", "pytest"}


def check_recipe(recipe, flags):
    task = TASKS[Path(find_recipe(recipe)).stem]
    pairs = zip(["", *flags], flags, strict=False)
    flags = [str(find_config(word)) if before == "--config" else word for before, word in pairs]
    parsed = parse_arguments(*task.argument_types(), recipe=task.name, defaults=defaults_of(task.name), argv=flags)
    architecture = getattr(parsed[1], "architecture", "transformer")
    kind = "transformer" if architecture == "transformer" else "recurrent"
    read_overrides(task.model_classes[kind].config_class, parsed[1].config_overrides)


def check_verb(program, words):
    """Parsed, not run; a group's verb too."""
    name, *rest = words
    context = typer.Context(program, info_name="program", **program.context_settings)
    command = program.get_command(
        context, context.token_normalize_func(name) if context.token_normalize_func else name
    )
    assert command, f"{name} is no verb"
    command = command.load() if isinstance(command, Verb) else command
    if isinstance(command, TyperGroup) and rest:
        return check_verb(command, rest)
    parsed = command.make_context(name, list(rest), parent=context)
    if parsed.params.get("flags"):
        given = parsed.params
        recipe = re.search(r"^recipe: (\w+)", find_config(given["config"]).read_text(), re.MULTILINE)[1]
        for flags in filter(None, (given["flags"], given.get("model_flags"))):
            check_recipe(recipe, flags.split())
    return None


def check(words):
    match words:
        case ["accelerate", "launch", *rest]:
            start = next(index for index, word in enumerate(rest) if word.endswith(".py"))
            for word in rest[:start]:
                assert not word.endswith(".yaml") or (ROOT / word).is_file(), word
            assert (ROOT / rest[start]).is_file(), rest[start]
            check_recipe(Path(rest[start]).stem, rest[start + 1 :])
        case ["seqnlp", "train", recipe, *flags]:
            if "--num_processes" in flags:
                place = flags.index("--num_processes")
                assert int(flags[place + 1]) > 0
                del flags[place : place + 2]
            check_recipe(recipe, flags)
        case ["seqnlp", *rest]:
            check_verb(get_command(app), rest)
        case ["sbatch", script, recipe, *flags]:
            assert (ROOT / script).is_file(), script
            check_recipe(Path(recipe).stem, flags)
        case ["sky", "jobs", "launch", file, *_]:
            assert (ROOT / file).is_file(), file
        case ["python", "-m", "benchmarks", *rest]:
            check_verb(get_command(benchmarks_app), rest)
        case ["python", "-m", module, *_]:
            assert module in MODULES
        case ["python" | "pytest", file, *_]:
            # Some are of an exported model's folder.
            assert file.startswith("-") or (ROOT / file).is_file() or re.match(r"\w+-onnx/", file), file
        case ["pip", "install", *rest]:
            extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
            named = re.findall(r"[\w-]+", "".join(re.findall(r"(?:^|\s)(?:seqnlp|\.)\[(.*?)\]", " ".join(rest))))
            assert set(named) <= set(extras)
        case ["make", *targets]:
            known = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert set(targets) <= set(known)
        case [program, *_]:
            assert program in ELSEWHERE, f"{program}: nobody has looked at it"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_is_taken_by_its_program(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    for words in commands_of(page.read_text(encoding="utf-8")):
        try:
            check(words)
        except Exception as error:
            raise AssertionError(f"{' '.join(words)}: {error or repr(error)}") from error


@pytest.mark.parametrize("recipe", TASKS)
def test_the_commands_of_a_recipes_docstring_are_taken(recipe, monkeypatch):
    monkeypatch.chdir(ROOT)
    shown = list(commands_of(part("recipe", recipe)))
    assert [words[:2] for words in shown] == [["seqnlp", "train"], ["accelerate", "launch"]]
    for words in shown:
        check(words)


def test_commands_are_read_as_a_shell_reads_them():
    page = """
```bash tab="CLI"
one --a "b # c" \\
  --d  # it's a remark
two | three && four 'x;y'
for n in 5 6; do
  five $n
done
six - <<'END'
not a command
END
```
```python
seven
```
"""
    assert list(commands_of(page)) == [
        ["one", "--a", "b # c", "--d"],
        ["two"],
        ["three"],
        ["four", "x;y"],
        ["five", "5"],
        ["five", "6"],
        ["six", "-"],
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("seqnlp train sentiment_analysis --no_such_flag 1", "no flag --no_such_flag"),
        ("seqnlp train no_such_recipe", "no_such_recipe"),
        ("seqnlp train translation --config_overrides no_such_field=1", "no field 'no_such_field'"),
        ("seqnlp train translation --learning_rate fast", "invalid float value: 'fast'"),
        ("seqnlp train translation --num_beams 0", "--num_beams 0 must be"),
        ("seqnlp gradflow outputs/a --no_such_flag", "No such option"),
        ("seqnlp no_such_verb", "no_such_verb is no verb"),
        ("seqnlp recipes no_such_verb", "no_such_verb is no verb"),
        ("seqnlp compare trajectory_small --flags '--no_such_flag 1'", "no flag --no_such_flag"),
        ("accelerate launch recipes/no_such_recipe.py", "no_such_recipe.py"),
        ("python -m benchmarks no_such_verb", "no_such_verb is no verb"),
        ("pip install 'seqnlp[no_such_extra]'", "no_such_extra"),
        ("make no_such_target", "no_such_target"),
        ("no_such_program", "nobody has looked at it"),
    ],
)
def test_a_wrong_command_is_noticed(line, reason, monkeypatch):
    monkeypatch.chdir(ROOT)
    (words,) = commands_of(f"```bash\n{line}\n```\n")
    with pytest.raises(Exception) as raised:  # noqa: PT011 - of whatever kind its program raises
        check(words)
    assert reason in str(raised.value) + getattr(raised.value, "message", "")
