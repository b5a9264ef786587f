"""The command `seqnlp` and its verbs."""

import sys
from typing import Annotated

import typer
from transformers.utils import logging

from .. import __version__
from .attention import attention
from .bundle import bundle
from .compare import compare
from .demo import demo
from .dependency import dependency
from .export import export
from .gradflow import gradflow
from .labs import app as labs_app
from .list_runs import list_runs
from .publish import publish
from .recipes import app as recipes_app
from .recipes import train
from .scale import scale
from .serve import serve
from .states import states
from .sweep import sweep
from .translate import translate
from .try_model import try_model
from .verify import verify


def _underscores(name: str) -> str:
    """Flags are spelled as those of the recipes are, `--text_file`; `--text-file` is the same flag."""
    return name.replace("-", "_")


app = typer.Typer(
    name="seqnlp",
    help="Train sequence models, look inside them, compare them, publish them and check what is published.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": _underscores},
)


def _tell_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"seqnlp {__version__}")
        raise typer.Exit


@app.callback()
def seqnlp(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Train sequence models, look inside them, compare them, publish them and check what is published."""


FORWARDED = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

app.command(context_settings=FORWARDED)(train)
app.add_typer(recipes_app, name="recipes")
app.command("list")(list_runs)
app.command("try")(try_model)
app.command()(translate)
app.command()(demo)
app.add_typer(labs_app, name="labs")
app.command()(gradflow)
app.command()(attention)
app.command()(states)
app.command()(dependency)
app.command()(compare)
app.command()(sweep)
app.command()(scale)
app.command()(serve)
app.command()(bundle)
app.command()(export)
app.command()(publish)
app.command()(verify)


def main() -> None:
    """
    Run a verb; an error that seqnlp raises for the user is printed as one line, without a traceback, and exits with 2.
    """
    logging.disable_progress_bar()
    try:
        app(prog_name="seqnlp")  # else that of whatever module runs it, which no shell completes
    except Exception as error:
        if not type(error).__module__.startswith("seqnlp."):
            raise  # a bug or the machine's trouble: the traceback tells
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
