"""`seqnlp publish`: upload a finished run to the Hub."""

from pathlib import Path
from typing import Annotated

import typer
from tabulate import tabulate

from ..demo import answerer_for
from ..publishing import Publication, PublishingError, publish_space
from ..publishing import publish as publish_run
from ..tasks import TASKS
from .examples import examples_of
from .models import load_model


def publish(
    output_dir: Annotated[Path, typer.Argument(metavar="FOLDER", help="The output folder of a finished run.")],
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="NAME or ORGANIZATION/NAME on the Hub; the name of the folder if it is not given."
        ),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="If the repository is created, create it as private.")
    ] = False,
    branch: Annotated[
        str | None,
        typer.Option(help="Branch to commit to; it is created if it does not exist. main if it is not given."),
    ] = None,
    create_pr: Annotated[
        bool, typer.Option("--create_pr", help="Open a pull request instead of committing directly.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite a repository that contains something else.")
    ] = False,
    license: Annotated[
        str | None,
        typer.Option(help="License of the model for its card, e.g. apache-2.0; none if it is not given."),
    ] = None,
    exports: Annotated[
        str,
        typer.Option(
            "--with",
            help=(
                "Targets of `seqnlp export`, with commas between them: the exports go up too, each in a folder of "
                "its target's name. None if it is not given."
            ),
        ),
    ] = "",
    space: Annotated[
        bool,
        typer.Option("--space", help="Also put its page on the Hub, as a Space of the same name; see `seqnlp demo`."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry_run", help="List the files that would be uploaded and their sizes; upload nothing.")
    ] = False,
) -> None:
    """
    Upload a finished run to the Hub: model, tokenizer, code, card, run.json and learning curves.

    With --space also the page that `seqnlp demo` opens: examples from the run's validation data if that is public.

    Example:

        seqnlp publish outputs/sentiment_analysis-lstm alice/tweets --space
    """
    if space and create_pr:
        raise PublishingError("--space with --create_pr: a page needs a model that is there. Publish it first.")
    done = publish_run(
        output_dir,
        name,
        private=private,
        branch=branch,
        create_pr=create_pr,
        replace=replace,
        license=license,
        exports=[target.strip() for target in exports.split(",") if target.strip()],
        dry_run=dry_run,
    )
    _tell(done, dry_run)
    if space:
        named = load_model(str(output_dir))
        answerer = answerer_for(named)
        examples, remark = examples_of(named, answerer, of_public_data=True)
        if remark:
            typer.echo(remark)
        task = TASKS.get(named.run.get("task", ""))
        use = task.use if task else answerer.explanation
        page = publish_space(done, answerer.title, use, examples, answerer.extras, private, dry_run)
        _tell(page, dry_run, "The Space ")


def _tell(done: Publication, dry_run: bool, what: str = "") -> None:
    if dry_run:
        rows = [[file.name, f"{file.size:,}"] for file in done.files]
        rows.append(["in all", f"{sum(file.size for file in done.files):,}"])
        table = tabulate(rows, headers=["file", "bytes"], colalign=("left", "right"), disable_numparse=True)
        typer.echo(f"{what}{done.repo_id} would get{f', with the tag {done.tag}' if done.tag else ''}:\n\n{table}")
    else:
        typer.echo(f"{what or 'Published: '}{done.url}" + (f" (tag {done.tag})" if done.tag else ""))
