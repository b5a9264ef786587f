"""`seqnlp try`: type, and see what a model says."""

import json
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ..data import DataError
from ..data.tables import lines_of, read_text
from ..demo import (
    Answer,
    Answerer,
    DemoError,
    Options,
    TextAnswer,
    TuneAnswer,
    answerer_for,
)
from .models import CompileGeneration, ModelName, TrustRemoteCode, compile_writing, load_model
from .outputs import make_folder
from .terminal import Terminal, show, show_candidates
from .texts import piped_lines


def try_model(
    model: ModelName,
    text: Annotated[
        list[str] | None,
        typer.Option("--text", metavar="TEXT", help="A text, or numbers for a series; may be repeated."),
    ] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option(
            "--file", metavar="FILE", help="Lines of text, an image, or a table of numbers; may be repeated."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per answer, each on its own line.")
    ] = False,
    temperature: Annotated[
        float | None,
        typer.Option(
            "--temperature",
            help="Sampling temperature; below 1, likely tokens become more likely; 0 takes the most likely one.",
        ),
    ] = None,
    num_beams: Annotated[
        int | None, typer.Option("--num_beams", help="Number of beams in beam search; 1 for none.")
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option("--max_new_tokens", help="Tokens to write at most; steps, for a forecast.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of sampling; the same seed gives the same text.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", help="Folder for the files of tunes.")] = Path("tunes"),
    compile_generation: CompileGeneration = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """
    Try a model: type and see. Without --text, --file or a pipe it asks, until Ctrl-D.

    A classifier tells the class and what each word counts for; a language model what may come next, and goes on; a
    translator shows where it looked; a tagger colors words; a model of music writes a tune to hear; a predictor
    draws what comes next.

    Examples:

        seqnlp try outputs/sentiment_analysis-lstm

        seqnlp try outputs/translation-gru --text "Open the file." --num_beams 5

        head -3 reviews.txt | seqnlp try outputs/sentiment_analysis-lstm --json
    """
    named = load_model(model, trust_remote_code)
    if compile_generation:
        compile_writing(named.model, named.source, num_beams)
    answerer = answerer_for(named)
    options = Options(temperature, num_beams, max_new_tokens, seed)
    answerer.check(options)
    is_asked = not text and not file and sys.stdin.isatty() and not as_json
    tries = _Tries(answerer, options, None if as_json else Terminal(), output)
    try:
        if is_asked:
            _converse(tries, named.name)
            return
        for number, (given, origin) in enumerate(_given(answerer, text or [], file or []), start=1):
            if number > 1 and not as_json:
                tries.console.print()
            try:
                tries.answer(given)
            except (DemoError, DataError) as error:
                raise DemoError(f"{origin}: {error}") from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except BrokenPipeError:  # whoever read the answers has seen enough
        sys.stderr.close()
        raise typer.Exit(0) from None


class _Tries:
    """Answers one thing after another: to the console, or as lines of JSON where there is none."""

    def __init__(self, answerer: Answerer, options: Options, console: Terminal | None, output: Path):
        self.answerer, self.options, self.console, self.output = answerer, options, console, output
        self.num_tunes = 0

    def answer(self, given: str | Path) -> None:
        """Answer and show it."""
        printed: str | None = None
        answer: Answer | None = None
        with closing(self.answerer.stream(self.answerer.read(given), self.options)) as stream:
            for answer in stream:
                if self.console is not None and isinstance(answer, TextAnswer):
                    printed = self._stream(answer, printed)
        if isinstance(answer, TuneAnswer) and not answer.problem:
            self._play(answer)
        if self.console is not None:
            show(answer, self.console)
        else:
            sys.stdout.write(json.dumps(answer.as_dict(), ensure_ascii=False, allow_nan=False) + "\n")
            sys.stdout.flush()

    def _stream(self, answer: TextAnswer, printed: str | None) -> str:
        """Print what is new of a text; gives what is printed of it."""
        if printed is None:
            show_candidates(answer, self.console)
            self.console.print(Text(answer.prompt, style="dim"), end="")
            printed = ""
        if answer.text.startswith(printed):  # which it does but for tokenizers that mend what is behind them
            self.console.print(Text(answer.text[len(printed) :]), end="")
            printed = answer.text
        if answer.end:
            self.console.print()
        return printed

    def _play(self, answer: TuneAnswer) -> None:
        make_folder(self.output, f"--output {self.output}")
        self.num_tunes += 1
        while any(self.output.glob(f"tune-{self.num_tunes}.*")):  # nobody's tune is written over
            self.num_tunes += 1
        self.answerer.play(answer, self.output / f"tune-{self.num_tunes}")


def _given(answerer: Answerer, texts: list[str], files: list[Path]) -> Iterator[tuple[str | Path, str]]:
    """What is to be answered, with where it came from: texts, then files, or else the lines of a pipe."""
    if texts and answerer.reads == "image":
        raise DemoError(f"--text: {answerer.model_name} reads images: give --file.")
    for text in texts:
        yield text, f"--text {text[:40]!r}"
    for file in files:
        if answerer.reads == "text":
            lines = enumerate(lines_of(read_text(str(file))), start=1)
            yield from ((line, f"--file {file}, line {number}") for number, line in lines)
        else:
            yield file, f"--file {file}"
    if not texts and not files:
        for number, line in enumerate(piped_lines(), start=1):
            yield line, f"standard input, line {number}"


def _converse(tries: _Tries, name: str) -> None:
    with suppress(ImportError):  # where it is there, arrows go back to what was typed before
        import readline  # noqa: F401
    console, answerer = tries.console, tries.answerer
    console.print(Text(f"{name}: {answerer.explanation}", style="bold"))
    console.print(Text(f"Type {answerer.typed} and press Enter; Ctrl-D ends.", style="dim"))
    while True:
        try:
            given = input("\n> ")
        except EOFError:
            console.print()
            return
        if not given.strip() and not answerer.takes_nothing:
            continue
        try:
            tries.answer(given)
        except (DemoError, DataError) as error:
            console.print(Text(str(error), style="yellow"))
