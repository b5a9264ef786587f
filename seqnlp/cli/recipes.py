"""`seqnlp recipes` and `seqnlp train`: the recipes that travel with seqnlp, to list, to copy and to start."""

import ast
import re
import shutil
from pathlib import Path
from typing import Annotated

import typer
import yaml
from tabulate import tabulate


app = typer.Typer(invoke_without_command=True)


class RecipesError(ValueError):
    """A recipe or a config that is not there, or cannot be copied; the message says what would do."""


def recipes_folder() -> Path:
    """Where the recipes lie."""
    return shipped_folder("recipes")


def shipped_folder(place: str) -> Path:
    """A folder that travels with seqnlp: in an installed package beside its modules, in a clone at its root."""
    package = Path(__file__).parents[1]
    installed = package / place
    return installed if installed.is_dir() else package.parent / place


def find_recipe(name: str) -> Path:
    """
    The script of a recipe; one in `recipes/` of the working folder goes before that of seqnlp.

    Args:
        name: Its name, `sentiment_analysis`; never a path.

    Raises:
        RecipesError: If there is none of that name.
    """
    scripts = recipe_scripts()
    if name not in scripts:
        raise RecipesError(f"There is no recipe {name!r}; there is {', '.join(scripts)}.")
    return scripts[name]


def recipe_scripts() -> dict[str, Path]:
    """The script of each recipe by its name; of those in `recipes/` of the working folder before that of seqnlp."""
    paths = (path for place in (recipes_folder(), Path("recipes")) for path in place.glob("*.py"))
    return dict(sorted((path.stem, path) for path in paths if re.fullmatch(r"\w+", path.stem)))


def find_config(name: str) -> Path:
    """
    A YAML file: the one that is named, or else the one of that name, with or without `.yaml`, that comes with seqnlp.

    Raises:
        RecipesError: If there is none.
    """
    folder = recipes_folder() / "configs"
    for path in (Path(name), folder / Path(name).name, folder / f"{Path(name).name}.yaml"):
        if path.is_file():
            return path
    known = ", ".join(path.stem for path in sorted(folder.glob("*.yaml")))
    raise RecipesError(f"There is no config {name!r}, neither as a file nor among those of seqnlp: {known}.")


@app.callback()
def recipes(context: typer.Context) -> None:
    """
    List the recipes, what each does and what to expect of its default run; or copy one to edit it. Those in `recipes/`
    of the working folder are among them.

    Examples:

        seqnlp recipes

        seqnlp recipes copy translation
    """
    if context.invoked_subcommand is not None:
        return
    rows = []
    for name, script in recipe_scripts().items():
        text = _told_by(script)
        expected = re.search(r"Expect (.*?)\.(?:\s|$)(?!\d)", text)
        rows.append([name, re.split(r"(?<=[.?])\s", text)[0], expected.group(1) if expected else ""])
    typer.echo(tabulate(rows, headers=["recipe", "what", "expect"], maxcolwidths=[None, 50, 50], tablefmt="grid"))
    typer.echo("\nStart one by `seqnlp train RECIPE`, read its flags by `seqnlp train RECIPE --help`.")


def _told_by(script: Path) -> str:
    """What a script says of itself."""
    try:
        return " ".join((ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or "").split())
    except (OSError, ValueError, SyntaxError):
        return f"{script} cannot be read as Python."


@app.command()
def copy(
    name: Annotated[str, typer.Argument(metavar="RECIPE", help="Its name, e.g. translation.")],
    folder: Annotated[Path, typer.Option("--folder", help="Where the copy goes.")] = Path("recipes"),
) -> None:
    """Copy a recipe and its configs into the working folder, to read and to edit; `seqnlp train` takes the copy."""
    source = recipes_folder()
    found = find_recipe(name)
    script = source / found.name
    if not script.is_file():
        raise RecipesError(f"{name} is no recipe of seqnlp's: it lies in {found}, to be edited there.")
    configs = [
        path
        for path in sorted((source / "configs").glob("*.yaml"))
        if yaml.safe_load(path.read_text(encoding="utf-8")).get("recipe") == name
    ]
    copies = {script: folder / script.name, **{path: folder / "configs" / path.name for path in configs}}
    there = next((path for path in copies.values() if path.exists()), None)
    if there is not None:
        raise RecipesError(f"{there} is there already: give another --folder, or move it away.")
    for path, target in copies.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        typer.echo(target)


def recipe_names() -> list[str]:
    """The names of the recipes, as a shell completes them."""
    return list(recipe_scripts())


def train(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="RECIPE", help="Its name, see `seqnlp recipes`.", autocompletion=recipe_names)
    ],
    num_processes: Annotated[
        int | None,
        typer.Option("--num_processes", min=1, help="Number of processes that train together, for accelerate."),
    ] = None,
    config_file: Annotated[
        Path | None,
        typer.Option("--config_file", help="Configuration of accelerate launch; one process if not given."),
    ] = None,
) -> None:
    """
    Train by a recipe, through accelerate launch: all further flags are the recipe's. What is wrong is said in the last
    line, and the exit code is the recipe's.

    `--config` names a YAML file, or one of the configs that come with seqnlp. `seqnlp train RECIPE --help` lists the
    recipe's flags.

    Example:

        seqnlp train sentiment_analysis --architecture gru --seed 7
    """
    if name in ("-h", "--help"):
        typer.echo(context.get_help())
        return
    script, flags = find_recipe(name), list(context.args)
    for index, flag in enumerate(flags):
        if flag == "--config" and index + 1 < len(flags):
            flags[index + 1] = str(find_config(flags[index + 1]))
        elif flag.startswith("--config="):
            flags[index] = f"--config={find_config(flag.removeprefix('--config='))}"
    launcher = ["--config_file", str(config_file or recipes_folder() / "accelerate" / "one_process.yaml")]
    launcher += ["--num_processes", str(num_processes)] if num_processes else []
    if num_processes and num_processes > 1 and not config_file:
        launcher += ["--multi_gpu", "--main_process_port", "0"]  # any port that is free
    from .launching import launch  # torch's launcher takes a while to import

    raise typer.Exit(launch([*launcher, str(script), *flags]))
