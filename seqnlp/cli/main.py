"""The command `seqnlp` and its verbs."""

import sys
from typing import Annotated

import typer

from .. import __version__
from ..inert import inert, no_text_in
from .flags import FlagError
from .verbs import Verbs


def _underscores(name: str) -> str:
    """Flags are spelled as those of the recipes are, `--text_file`; `--text-file` is the same flag."""
    return name.replace("-", "_")


app = typer.Typer(
    name="seqnlp",
    cls=Verbs,
    help="Train sequence models, look inside them, compare them, publish them and check what is published.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": _underscores,
        "max_content_width": 119,
    },
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


def main() -> None:
    """
    Run a verb; an error that seqnlp raises for the user is printed as one line, without a traceback, and exits with 2.
    """
    try:
        if problem := no_text_in(sys.argv[1:]):
            raise FlagError(problem)
        app(prog_name="seqnlp")  # else that of whatever module runs it, which no shell completes
    except Exception as error:
        if not type(error).__module__.startswith("seqnlp."):
            raise  # a bug or the machine's trouble: the traceback tells
        sys.stderr.write(f"error: {inert(str(error))}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
