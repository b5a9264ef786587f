"""`seqnlp convert`: a model that another program has trained as one of ours."""

from pathlib import Path
from typing import Annotated

import typer

from ..conversion import read_marian
from ..export.base import TARGET_TOKENIZER
from .outputs import OutputError, make_folder


def convert(
    file: Annotated[Path, typer.Argument(metavar="NPZ", help="model.npz of a translator that Marian has trained.")],
    vocabularies: Annotated[
        list[Path],
        typer.Option(
            "--vocabulary", metavar="SPM", help="vocab.spm; given twice, that of the source and of the target."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", help="Where the model goes.")],
    max_position_embeddings: Annotated[
        int,
        typer.Option(
            "--max_position_embeddings", min=2, max=2**16, help="Tokens of the longest text that it can read."
        ),
    ] = 1024,
) -> None:
    """
    Read a translator of Marian's, a Transformer or a student with an SSRU in its decoder, as a model of seqnlp.

    It is then translated with, fine-tuned, exported and published as any other.

    Example:

        seqnlp convert model.npz --vocabulary vocab.spm --output student
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise OutputError(f"--output {output}: it is there already. Give another name.")
    read = read_marian(file, vocabularies, max_position_embeddings)
    make_folder(output, f"--output {output}")
    if read.target_tokenizer is not read.tokenizer:
        read.model.config.target_tokenizer = TARGET_TOKENIZER
        read.target_tokenizer.save_pretrained(output / TARGET_TOKENIZER)
    read.tokenizer.save_pretrained(output)
    read.model.save_pretrained(output)
    typer.echo(f"Read {file}: {read.summary}.")
    typer.echo(f"Wrote {output}. Try it: seqnlp try {output} --text 'Hello!'")
