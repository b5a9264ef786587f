"""`seqnlp verify`: does a model keep what its files and its card promise?"""

from typing import Annotated

import datasets
import typer
from tabulate import tabulate

from ..publishing import NOT_HELD, Limits
from ..publishing import verify as verify_model


def verify(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="A folder, or the name of a model on the Hub.")],
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit on the Hub; main if it is not given.")
    ] = None,
    trust_remote_code: Annotated[
        bool,
        typer.Option(
            "--trust_remote_code",
            help="Run the code that comes with the model, at the commit that is shown. Read it first.",
        ),
    ] = False,
    no_isolation: Annotated[
        bool,
        typer.Option(
            "--no_isolation",
            help=(
                "Run the model's code with your own rights: it can use the network, read your files and tokens, and "
                "write anywhere. If this is not given, bubblewrap isolates the code."
            ),
        ),
    ] = False,
    dataset_name: Annotated[
        str | None,
        typer.Option(
            "--dataset_name",
            help=(
                "A local folder or file with the data that the model was evaluated on, if that data is not on the "
                "Hub. For a run on local files: a folder that contains them."
            ),
        ),
    ] = None,
    max_minutes: Annotated[
        int, typer.Option("--max_minutes", min=1, max=10**6, help="Time limit for each step: loading, evaluating.")
    ] = 30,
    max_memory_gib: Annotated[
        int | None,
        typer.Option(
            "--max_memory_gib",
            min=1,
            max=10**6,
            help="Memory limit for each step, all its processes together; all free memory if it is not given.",
        ),
    ] = None,
) -> None:
    """Load a model as someone else would, check it, and compute the numbers on its card again.

    The exit code is 0 if all checks passed, 1 if a check failed, 2 if the model could not be loaded, and 3 if
    something could not be checked.

    Example:

        seqnlp verify alice/tweets --trust_remote_code
    """
    datasets.disable_progress_bars()
    if trust_remote_code and no_isolation:
        typer.echo(NOT_HELD, err=True)
    limits = Limits(60 * max_minutes, None if max_memory_gib is None else max_memory_gib * 2**30)
    result = verify_model(name, revision, trust_remote_code, dataset_name, not no_isolation, limits)
    where = f"{result.name} at commit {result.commit}" if result.commit else f"the folder {result.name}"
    typer.echo(where[0].upper() + where[1:] if not result.commit else where)
    if result.is_run:
        typer.echo("It is checked as it would be published, with the code of this seqnlp.")
    elif result.code:
        ran = "its code was run" if trust_remote_code else "its code was not run"
        typer.echo(f"{ran[0].upper() + ran[1:]}: {', '.join(result.code)}")
    headers = ["check", "outcome", ""]
    table = tabulate(result.checks, headers=headers, maxcolwidths=[None, None, 80], disable_numparse=True)
    typer.echo(f"\n{table}")
    open_questions = [check for check in result.checks if check.outcome == "not checked"]
    if open_questions:
        typer.echo(f"\nNot checked: {'; '.join(f'{check.name} ({check.detail})' for check in open_questions)}")
    raise typer.Exit(result.exit_code)
