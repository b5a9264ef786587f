"""`seqnlp publish`: put a finished run on the Hub."""

from typing import Annotated

import typer
from tabulate import tabulate

from ..publishing import publish as publish_run


def publish(
    output_dir: Annotated[str, typer.Argument(help="The folder of a finished run, its --output_dir.")],
    name: Annotated[
        str | None, typer.Argument(help="NAME or ORGANISATION/NAME on the Hub; the folder's name if not given.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make the repository private if it is created.")] = False,
    branch: Annotated[str | None, typer.Option(help="Branch it goes to, made if need be; main if not given.")] = None,
    create_pr: Annotated[bool, typer.Option("--create_pr", help="Open a pull request instead of committing.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take over a repository that holds something else.")
    ] = False,
    license: Annotated[
        str | None, typer.Option(help="License that the card gives the model, e.g. apache-2.0; none if not given.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry_run", help="List what would go up and its size; upload nothing.")
    ] = False,
) -> None:
    """Put a finished run on the Hub: model, tokenizer, code, card, run.json and learning curves."""
    done = publish_run(
        output_dir,
        name,
        private=private,
        branch=branch,
        create_pr=create_pr,
        replace=replace,
        license=license,
        dry_run=dry_run,
    )
    if dry_run:
        rows = [[file.name, f"{file.size:,}"] for file in done.files]
        rows.append(["in all", f"{sum(file.size for file in done.files):,}"])
        table = tabulate(rows, headers=["file", "bytes"], colalign=("left", "right"), disable_numparse=True)
        typer.echo(f"{done.repo_id} would get{f', with the tag {done.tag}' if done.tag else ''}:\n\n{table}")
    else:
        typer.echo(f"Published: {done.url}" + (f" (tag {done.tag})" if done.tag else ""))
