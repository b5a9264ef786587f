"""`seqnlp verify`: does a model keep what its files and its card promise?"""

from typing import Annotated

import datasets
import typer
from tabulate import tabulate

from ..publishing import verify as verify_model


def verify(
    name: Annotated[str, typer.Argument(help="A folder, or a name on the Hub.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the Hub; main if not given.")] = None,
    trust_remote_code: Annotated[
        bool,
        typer.Option(
            "--trust_remote_code",
            help="Run the code that the model brings, as of the commit that is shown. Read it first.",
        ),
    ] = False,
    dataset_name: Annotated[
        str | None,
        typer.Option(
            "--dataset_name",
            help=(
                "A local folder or file with the data that the model was measured on, if it is on no Hub; of a run "
                "on files a folder that holds them."
            ),
        ),
    ] = None,
) -> None:
    """Load a model as a stranger does, check it, and compute again what its card claims.

    Exits with 0 if all passed, 1 if a check failed, 2 if it could not load, 3 if something could not be checked.
    """
    datasets.disable_progress_bars()
    result = verify_model(name, revision, trust_remote_code, dataset_name)
    where = f"{result.name} at commit {result.commit}" if result.commit else f"the folder {result.name}"
    typer.echo(where[0].upper() + where[1:] if not result.commit else where)
    if result.is_run:
        typer.echo("It is checked as it would be published, with the code of this seqnlp.")
    elif result.code:
        ran = "its code was run" if trust_remote_code else "its code was not run"
        typer.echo(f"{ran[0].upper() + ran[1:]}: {', '.join(result.code)}")
    typer.echo("\n" + tabulate(result.checks, headers=["check", "outcome", ""], maxcolwidths=[None, None, 80]))
    open_questions = [check for check in result.checks if check.outcome == "not checked"]
    if open_questions:
        typer.echo(f"\nNot checked: {'; '.join(f'{check.name} ({check.detail})' for check in open_questions)}")
    raise typer.Exit(result.exit_code)
