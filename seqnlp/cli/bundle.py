"""`seqnlp bundle`: a run's model with its code beside it, for every program that loads models of transformers."""

from pathlib import Path
from typing import Annotated

import typer

from ..publishing import build_bundle
from .outputs import OutputError, make_folder


def bundle(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The output folder of a finished run.")],
    output: Annotated[Path | None, typer.Option("--output", help="Where it goes; FOLDER-bundle if not given.")] = None,
) -> None:
    """
    Write what `publish` would upload to a folder: model, tokenizer, card, and the model's code.

    Any program that loads a model with `trust_remote_code=True` then takes that folder, also where seqnlp is not
    installed.

    Example:

        seqnlp bundle outputs/language_modeling-lstm
    """
    target = output or folder.with_name(f"{folder.absolute().name}-bundle")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OutputError(f"--output {target}: it is there already. Give another name.")
    make_folder(target, f"--output {target}")
    found = build_bundle(folder, target, folder.absolute().name, pinned=False)
    for file in found.files:
        typer.echo(f"{file.size:>12,}  {file.name}")
    typer.echo(f"\n{target} loads by from_pretrained({str(target)!r}, trust_remote_code=True).")
