"""Answers on a terminal: in color where it has colors, in plain letters elsewhere."""

import math
from collections.abc import Sequence
from functools import singledispatch
from typing import Any

from rich.console import Console
from rich.text import Text

from ..data.loading import printable
from ..demo import (
    Answer,
    ClassAnswer,
    ImageAnswer,
    MaskAnswer,
    SeriesAnswer,
    TagAnswer,
    TextAnswer,
    TranslationAnswer,
    TuneAnswer,
)
from ..demo.answers import Scored, pieces_of, visible
from ..digits import significant
from ..inert import inert


BAR = 24
TALLEST_PLOT = 10
MOST_CLASSES = 5
SHADES = " ░▒▓█"
_LABEL_COLORS = ("cyan", "magenta", "yellow", "green", "blue", "red", "bright_cyan", "bright_magenta")


class Terminal(Console):
    """A console for what people and models wrote, which is seen there and does nothing else."""

    def __init__(self):
        super().__init__(markup=False, highlight=False, emoji=False, soft_wrap=True)

    def print(self, *texts: Text, **how: Any) -> None:
        """As any console does."""
        for text in texts:
            text.plain = inert(text.plain)  # as many characters, so that styles stay where they are
        super().print(*texts, **how)


def show(answer: Answer, console: Console) -> None:
    """Print an answer that is whole; of a text that was streamed, what comes after it."""
    show_kind(answer, console)
    for remark in answer.remarks:
        console.print(Text(remark, style="dim"))


def show_candidates(answer: TextAnswer, console: Console) -> None:
    """What may come next, before anything of it is written."""
    console.print(Text("next: ", style="dim"), end="")
    parts = [f"{visible(one.text)} {one.probability:.1%}" for one in answer.next]
    console.print(Text("   ".join(parts), style="dim"))


@singledispatch
def show_kind(answer: Answer, console: Console) -> None:
    """What is shown of one kind of answer, its remarks apart."""
    raise NotImplementedError(type(answer).__name__)


@show_kind.register
def _show_class(answer: ClassAnswer, console: Console) -> None:
    if answer.value is not None:
        console.print(Text(significant(answer.value), style="bold"))
    else:
        _bars(answer.scores, console)
    measured = [word for word in answer.words if word.weight is not None]
    if not measured:
        return
    largest = max(abs(word.weight) for word in measured) or 1.0
    if console.color_system:
        line = Text()
        for text, word in pieces_of(answer.text, answer.words):
            line.append(text, style="" if word is None else heat((word.weight or 0.0) / largest))
        console.print(line)
    most = sorted(measured, key=lambda word: -abs(word.weight))[:MOST_CLASSES]
    sign = "" if answer.weights == "attention pooling" else "+"
    shown = "   ".join(f"{printable(word.text)} {word.weight:{sign}.2f}" for word in most)
    console.print(Text(f"{answer.weights}: {shown}", style="dim"))


def heat(share: float) -> str:
    """A background between none and orange, or blue for what speaks against: -1 to 1."""
    strength = min(1.0, abs(share))
    if strength < 0.08:
        return ""
    red, green, blue = (213, 94, 0) if share > 0 else (0, 114, 178)
    mixed = (round(30 + (part - 30) * strength) for part in (red, green, blue))
    return "white on #{:02x}{:02x}{:02x}".format(*mixed)


@show_kind.register
def _show_tags(answer: TagAnswer, console: Console) -> None:
    labels = sorted({tag.label.partition("-")[2] or tag.label for tag in answer.tags if tag.label != "O"})
    colors = {label: _LABEL_COLORS[index % len(_LABEL_COLORS)] for index, label in enumerate(labels)}
    line = Text()
    for text, part in pieces_of(answer.text, answer.labeled):
        color = "" if part is None else colors.get(part.label, "")
        line.append(text, style="" if part is None else f"bold {color}".strip())
        if part is not None:
            line.append(f"[{part.label}]", style=f"dim {color}".strip())
    console.print(line)


@show_kind.register
def _show_gaps(answer: MaskAnswer, console: Console) -> None:
    console.print(Text(answer.filled, style="bold"))
    for number, gap in enumerate(answer.gaps, start=1):
        if len(answer.gaps) > 1:
            console.print(Text(f"gap {number}", style="dim"))
        _bars(gap, console)


@show_kind.register
def _show_text(answer: TextAnswer, console: Console) -> None:
    if not answer.tokens:
        console.print(Text("The model ends the text at once.", style="dim"))
        return
    mean = sum(math.log(max(token.probability, 1e-30)) for token in answer.tokens) / len(answer.tokens)
    why = "the model ended it" if answer.end == "end" else "the length was reached"
    told = f"{len(answer.tokens)} tokens, {why}; on average each was given {math.exp(mean):.1%}"
    console.print(Text(told, style="dim"))


@show_kind.register
def _show_tune(answer: TuneAnswer, console: Console) -> None:
    _show_text(answer, console)
    console.print(Text(f"\n{answer.abc}"))
    if answer.problem:
        console.print(Text(f"It cannot be played: {answer.problem}.", style="yellow"))
    else:
        is_valid = "its bars fill the metre" if answer.is_valid else "some bars do not fill the metre"
        console.print(Text(f"It can be played; {is_valid}. Files: {', '.join(answer.files)}."))


@show_kind.register
def _show_translation(answer: TranslationAnswer, console: Console) -> None:
    console.print(Text(answer.translation, style="bold"))
    for token, shares in zip(answer.target_tokens, answer.alignment or [], strict=False):
        best = sorted(range(len(shares)), key=lambda place: -shares[place])[:2]
        looked = ", ".join(f"{visible(answer.source_tokens[place])} {shares[place]:.0%}" for place in best)
        console.print(Text(f"  {visible(token):>14}  <-  {looked}", style="dim"))
    if answer.translation:
        probability = math.exp(answer.score)
        console.print(Text(f"each token was given {probability:.1%} on average", style="dim"))


@show_kind.register
def _show_image(answer: ImageAnswer, console: Console) -> None:
    _bars(answer.scores, console)
    if answer.attention is None:
        return
    largest = max(map(max, answer.attention))
    console.print(Text("where it looks:", style="dim"))
    for row in answer.attention:
        shades = (SHADES[math.ceil((len(SHADES) - 1) * value / largest)] * 2 for value in row)
        console.print(Text("  " + "".join(shades)))


@show_kind.register
def _show_series(answer: SeriesAnswer, console: Console) -> None:
    unit = f" ({answer.unit})" if answer.unit else ""
    for place, channel in enumerate(answer.channels[:3]):
        past, future = ([row[place] for row in rows] for rows in (answer.past, answer.forecast))
        ends = [[row[place] for row in rows or ()] for rows in (answer.lower, answer.upper)]
        console.print(Text(f"{channel}{unit}", style="bold"))
        for line in plot(past, future, max(20, min(console.width - 12, 100)), *ends):
            console.print(line)
    between = "" if answer.lower is None else ", : to : its central 80 %"
    console.print(Text(f"  o past, x forecast{between}; a step is {answer.step:g} {answer.step_unit}", style="dim"))
    for number, row in enumerate(answer.forecast):
        ends = [""] * len(row)
        if answer.lower is not None and answer.upper is not None:
            pairs = zip(answer.lower[number], answer.upper[number], strict=True)
            ends = [f" ({significant(low)} to {significant(high)})" for low, high in pairs]
        values = "  ".join(f"{significant(value):>10}{end}" for value, end in zip(row, ends, strict=True))
        console.print(Text(f"  {number + 1:>4}  {values}"))


def plot(
    past: list[float | None],
    future: list[float],
    width: int,
    lower: Sequence[float] = (),
    upper: Sequence[float] = (),
) -> list[Text]:
    """
    Lines of a plot: `o` for the past, `x` for the forecast, `:` for the ends of its interval, if it has one, and the
    lowest and the highest value at the left. Where there are more steps than columns, only the last steps of the past
    are drawn.
    """
    past = past[-max(1, width - len(future)) :] if width > len(future) else past[-1:]
    first, shown = len(past), width - len(past)
    points = [(column, value, "o") for column, value in enumerate(past) if value is not None]
    for values, mark in ((lower, ":"), (upper, ":"), (future, "x")):
        points += [(first + step, value, mark) for step, value in enumerate(values[:shown])]
    low, high = min(value for _, value, _ in points), max(value for _, value, _ in points)
    scale = (TALLEST_PLOT - 1) / (high - low) if high > low else 0.0
    rows = [[" "] * (first + len(future[:shown])) for _ in range(TALLEST_PLOT)]
    for column, value, mark in points:
        rows[TALLEST_PLOT - 1 - round((value - low) * scale)][column] = mark
    lines = []
    for number, row in enumerate(rows):
        edge = significant(high) if number == 0 else significant(low) if number == TALLEST_PLOT - 1 else ""
        line = Text(f"{edge:>9} |", style="dim")
        for mark in row:
            line.append(mark, style="bold cyan" if mark == "x" else "not dim")
        lines.append(line)
    return lines


def _bars(scores: list[Scored], console: Console) -> None:
    shown = scores[:MOST_CLASSES]
    width = max(len(visible(score.text)) for score in shown)
    for place, score in enumerate(shown):
        style = "bold" if place == 0 else ""
        bar = "█" * round(BAR * score.probability)
        console.print(Text(f"{visible(score.text):<{width}}  {score.probability:>6.1%}  {bar}", style=style))
