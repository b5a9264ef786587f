"""`seqnlp translate`: a file, line by line."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from tqdm import tqdm

from ..data.tables import lines_of, read_text
from ..export.ctranslate2 import CTranslate2Export
from ..tasks.file_translation import JOURNAL, Engine, TorchEngine, TranslationError, translate_lines
from ..tasks.translation import Tokenizers
from .exported_translator import CTranslate2Engine, exported_target
from .models import CompileGeneration, ModelError, TrustRemoteCode, compile_writing, load_model
from .outputs import OutputError, check_outputs, make_folder
from .texts import piped_lines


def translate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A recipe's output folder, a Hub id, or an export for CTranslate2.")
    ],
    file: Annotated[
        Path | None, typer.Option("--file", help="Text, a sentence on each line; the standard input if not given.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Where the translations go; the standard output if not given.")
    ] = None,
    num_beams: Annotated[
        int | None,
        typer.Option(
            "--num_beams", min=1, help="Number of beams in beam search; as saved with the model if not given."
        ),
    ] = None,
    length_penalty: Annotated[
        float | None,
        typer.Option(
            "--length_penalty",
            help="Exponent of the length by which a beam's log-probability is divided; as saved with the model "
            "if not given.",
        ),
    ] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(
            "--max_new_tokens",
            min=1,
            help="Largest number of tokens per translation; twice those of the source plus 20 by default.",
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch_size", min=1, help="Largest number of lines per batch.")] = 32,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")] = False,
    compile_generation: CompileGeneration = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """
    Translate a file: one line in, one line out, in its order; empty lines stay empty.

    Lines of similar length are translated together. After a kill the same command goes on where it was.

    Examples:

        seqnlp translate outputs/translation-gru --file in.txt --output out.txt --num_beams 5

        seqnlp export outputs/translation-transformer --to ctranslate2 --output outputs/fast

        seqnlp translate outputs/fast --file in.txt --output out.txt --num_beams 5

        head -100 in.txt | seqnlp translate outputs/translation-gru > out.txt
    """
    if output is not None:
        check_outputs([output], f"--output {output}", [file] if file else [], overwrite)
        make_folder(output.parent, f"--output {output}")
    lines = lines_of(read_text(str(file))) if file else list(piped_lines())
    beams = {"num_beams": num_beams, "length_penalty": length_penalty, "max_new_tokens": max_new_tokens}
    given = {name: value for name, value in beams.items() if value is not None}
    engine = _engine(model, trust_remote_code, given, compile_generation)
    journal = output.with_name(f"{output.name}{JOURNAL}") if output else None
    try:
        with tqdm(total=len(lines), unit=" lines", disable=not sys.stderr.isatty(), dynamic_ncols=True) as bar:
            found = translate_lines(lines, engine, batch_size, journal, bar.update)
        text = "".join(f"{line}\n" for line in found.lines)
        if output is None:
            sys.stdout.write(text)
            sys.stdout.flush()
        else:
            _write(output, text)
            journal.unlink()
    except KeyboardInterrupt:
        kept = f"What is done is in {journal}; the same command goes on." if journal else "Nothing was kept."
        sys.stderr.write(f"\nStopped. {kept}\n")
        raise typer.Exit(130) from None
    except BrokenPipeError:  # whoever read the translations has seen enough
        sys.stderr.close()
        raise typer.Exit(0) from None
    except OSError as error:
        place = "The standard output" if output is None else f"--output {output}: it"
        raise OutputError(f"{place} cannot be written: {error.strerror}.") from error
    are = "is" if found.empty == 1 else "are"
    told = f"{len(lines):,} line{'s' * (len(lines) != 1)}" + (
        f", of which {found.empty:,} {are} empty" if found.empty else ""
    )
    told += f"; {found.cut:,} the model did not end, and they are cut off" if found.cut else ""
    told += f"; {found.resumed:,} of them were done before" if found.resumed else ""
    sys.stderr.write(f"{told}{f': {output}' if output else ''}\n")


def _engine(model: str, trust_remote_code: bool, beams: dict[str, Any], is_compiled: bool) -> Engine:
    target = exported_target(Path(model))
    if target is not None and is_compiled:
        raise ModelError(f"--compile_generation is for a model; {model!r} is an export for {target}.")
    if target == CTranslate2Export.name:
        _refuse_lone_penalty(beams, usual=1)
        return CTranslate2Engine(Path(model), **beams)
    if target is not None:
        raise ModelError(
            f"{model!r} is an export for {target}: files are translated by a model, or by an export for "
            f"{CTranslate2Export.name}."
        )
    named = load_model(model, trust_remote_code)
    if not named.model.config.is_encoder_decoder:
        raise ModelError(
            f"{named.source!r} is a {type(named.model).__name__}, which translates nothing: name an encoder-decoder."
        )
    _refuse_lone_penalty(beams, usual=named.model.generation_config.num_beams or 1)
    if is_compiled:
        compile_writing(named.model, named.source, beams.get("num_beams"))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return TorchEngine(named.model.to(device), Tokenizers(named.tokenizer(), named.target_tokenizer()), **beams)


def _refuse_lone_penalty(beams: dict[str, Any], usual: int) -> None:
    penalty = beams.get("length_penalty")
    if penalty is not None and beams.get("num_beams", usual) == 1:
        raise TranslationError(f"--length_penalty {penalty}: it compares beams, so give --num_beams 2 or more.")


def _write(path: Path, text: str) -> None:
    """All of it or nothing."""
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
