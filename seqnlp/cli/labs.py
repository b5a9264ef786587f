"""`seqnlp labs`: the notebooks of the labs that travel with seqnlp, to list and to copy."""

import json
import re
import shutil
from pathlib import Path
from typing import Annotated

import typer
from tabulate import tabulate

from ..labs import LabsError
from .recipes import shipped_folder


app = typer.Typer(invoke_without_command=True)


def exercises_folder() -> Path:
    """Where the exercises lie; in an installed package the checks are beside them."""
    return shipped_folder("labs/exercises")


@app.callback()
def labs(context: typer.Context) -> None:
    """
    List the labs, notebooks with exercises that check themselves; or copy them to work in.

    Examples:

        seqnlp labs

        seqnlp labs copy my_labs
    """
    if context.invoked_subcommand is not None:
        return
    rows = []
    for path in sorted(exercises_folder().glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        minutes = re.search(r"\d+ to \d+ minutes", "".join(notebook["cells"][0]["source"]))
        rows.append([path.stem, notebook["metadata"]["seqnlp"]["title"], minutes.group() if minutes else ""])
    typer.echo(tabulate(rows, headers=["lab", "title", "time"], tablefmt="grid"))
    typer.echo("\nCopy them by `seqnlp labs copy [DIR]`, and open one with `jupyter lab`.")


@app.command()
def copy(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the notebooks go.")] = Path("labs"),
) -> None:
    """Copy the exercises into a folder; what is there already is never replaced."""
    notebooks = sorted(exercises_folder().glob("*.ipynb"))
    there = next((path.name for path in notebooks if (folder / path.name).exists()), None)
    if there is not None:
        raise LabsError(f"{folder / there} is there already: give another folder, or move it away.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in notebooks:
            typer.echo(shutil.copyfile(path, folder / path.name))
    except OSError as error:
        raise LabsError(f"The labs cannot be copied to {folder}: {error.strerror}.") from error
    typer.echo(f"\nOpen one by `jupyter lab {folder}`.")
