"""`seqnlp export`: a model for another runtime, verified while it is exported."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from tabulate import tabulate

from ..export import EXPORTS, create_export
from ..export.base import check_folder, files_of
from .models import ModelName, NamedModel, TrustRemoteCode, load_model


_TARGETS = "; ".join(f"{name} for {target.title}" for name, target in sorted(EXPORTS.items()))
_QUANTIZATIONS = "; ".join(
    f"{name}: {', '.join(target.quantizations)}" for name, target in sorted(EXPORTS.items()) if target.quantizations
)


def export(
    model: ModelName,
    to: Annotated[str, typer.Option("--to", metavar="TARGET", help=f"{_TARGETS}.")],
    output: Annotated[Path | None, typer.Option("--output", help="Where it goes; MODEL-TARGET if not given.")] = None,
    quantization: Annotated[
        str | None,
        typer.Option("--quantization", help=f"Format of smaller weights; unchanged if not given. {_QUANTIZATIONS}."),
    ] = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """
    Write a model for another runtime, run it there and compare: what differs is not written.

    The exit code is 0 if all checks passed and 1 if one failed. A folder that an export made is replaced, no other.

    Example:

        seqnlp export outputs/translation-transformer --to ctranslate2 --output translator-ct2
    """
    path = Path(os.path.expanduser(model)).absolute()
    target = output or (path.with_name(f"{path.name}-{to}") if path.is_dir() else Path(f"{path.name}-{to}"))
    check_folder(target)
    named = load_model(model, trust_remote_code)
    exporter = create_export(named.model, to, quantization=quantization, **_processors(named))
    checks = exporter.save(target)
    rows = [[check.name, "passed" if check.passed else "failed", check.found, check.limit] for check in checks]
    typer.echo(tabulate(rows, headers=["check", "outcome", "found", "limit"], disable_numparse=True))
    if not all(check.passed for check in checks):
        typer.echo(f"\nNothing was written: what {to} computes is not what the model computes.")
        raise typer.Exit(1)
    typer.echo()
    for file in files_of(target):
        typer.echo(f"{file.stat().st_size:>12,}  {file.relative_to(target).as_posix()}")
    typer.echo(f"\nWrote {target}, for {exporter.title}. To run it:\n\n{exporter.usage(str(target))}")


def _processors(named: NamedModel) -> dict[str, Any]:
    """What makes the model's inputs, or says how, and what reads its outputs where that is something else."""
    if named.model.main_input_name == "pixel_values":
        return {"processor": named.image_processor()}
    if named.model.main_input_name != "input_ids":
        return {"settings": named.run.get("hyperparameters")}
    has_two = getattr(named.model.config, "target_tokenizer", None) is not None
    return {"processor": named.tokenizer()} | ({"target_processor": named.target_tokenizer()} if has_two else {})
