"""`seqnlp states`: what each unit, or gate, of a recurrent model holds over a text, and what it responds to."""

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.text import Text
from tabulate import tabulate

from ..diagnostics import DiagnosticsError, Reading, Response, Trace, find_responses, read_states
from ..training.bar import counted
from ..visualization import ShownUnit, plot_states, write_states_page
from .flags import parse_list, parse_numbers
from .models import ModelName, NamedModel, TrustRemoteCode, load_model
from .outputs import Overwrite, check_ending, check_outputs, make_folder
from .terminal import heat
from .texts import MaxTokens, OneText, read_texts


MOST_SHOWN = 8
"""Units of a picture; more would not be looked at."""
_MOST_VALUES = 20_000_000
_COLORED = 400  # characters that a terminal shows of a text


def states(
    model: ModelName,
    text: OneText = None,
    text_file: Annotated[Path | None, typer.Option("--text_file", help="A file that is the text.")] = None,
    part: Annotated[
        str | None,
        typer.Option(
            "--part",
            help="States and gates to look at, by the cell's names, with commas: hidden, cell, forget_gate, "
            "update_gate, ...; 'all' for each of them. By default what the cell remembers: the last of its states.",
        ),
    ] = None,
    layer: Annotated[
        int | None, typer.Option("--layer", min=1, help="One layer, from 1 for the lowest; by default all.")
    ] = None,
    direction: Annotated[
        str | None,
        typer.Option("--direction", help="Direction of a bidirectional net: forward or backward; by default both."),
    ] = None,
    units: Annotated[
        str | None,
        typer.Option(
            "--units", help="Units for the picture by their number, e.g. 3,17; by default those that respond."
        ),
    ] = None,
    max_tokens: MaxTokens = 3000,
    output: Annotated[
        Path, typer.Option("--output", help="The page; the picture gets its name, ending in .png.")
    ] = Path("states.html"),
    overwrite: Overwrite = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """
    Show what the units of a recurrent model hold over a text: colored text and heat map, as a page and as PNG.

    It finds the units that are on inside quotes or brackets, count brackets, or follow the position in the line or
    its length, by their correlation over the text, beside the strongest correlation that chance gives among all
    units.

    Examples:

        seqnlp states outputs/language_modeling-lstm --text_file README.md

        seqnlp states outputs/sentiment_analysis-gru --text "Not bad at all." --part update_gate --units 3,17
    """
    check_ending(output, ".html", "the page is HTML")
    if direction not in (None, "forward", "backward"):
        raise DiagnosticsError(f"--direction {direction}: it is forward or backward.")
    numbers = None if units is None else parse_numbers(units, "--units")
    picture = output.with_suffix(".png")
    check_outputs([output, picture], f"--output {output}", [text_file] if text_file else [], overwrite)
    given = read_texts([text] if text is not None else None, text_file)
    if len(given) > 1:
        raise DiagnosticsError("Give either --text or --text_file: one text is read.")
    named = load_model(model, trust_remote_code)
    try:
        reading, remarks = _read(named, given[0], max_tokens)
        traces = _choose(reading, part, layer, direction)
        _check_size(traces)
        responses, found_remarks = find_responses(reading, traces)
        shown, shown_remarks = _shown(traces, responses, numbers)
    except DiagnosticsError as error:
        raise DiagnosticsError(f"{model}: {error}") from error
    make_folder(output.parent, f"--output {output}")
    title = f"States of {named.name}{f', {reading.part_read}' if reading.part_read else ''}"
    remarks += found_remarks
    write_states_page(reading, traces, responses, remarks, output, title)
    plot_states(reading, shown, picture, title)
    typer.echo(summary(reading, traces, responses))
    for remark in remarks + shown_remarks:
        typer.echo(remark)
    _show_colored(reading, shown[0])
    typer.echo(f"\nPage: {output}. Picture: {picture}.")


def summary(reading: Reading, traces: list[Trace], responses: list[Response]) -> str:
    """What was read, and a table with the unit that follows each property, and whether that is more than chance."""
    num_units = sum(trace.values.shape[1] for trace in traces)
    lines = [
        f"{len(reading.spans)} steps, {len(traces)} states or gates, {num_units} units: "
        f"{'; '.join(trace.name for trace in traces)}."
    ]
    rows = []
    for response in responses:
        trace, unit, correlation = response.best()[0]
        rows.append(
            {
                "property": response.property.name,
                "unit that follows it": f"{trace.name}, unit {unit + 1}",
                "correlation": f"{correlation:+.2f}",
                "chance": f"{response.chance:.2f}",
                "verdict": "beyond chance" if response.is_beyond_chance else "no more than chance",
            }
        )
    if rows:
        aligned = ("left", "left", "right", "right", "left")
        lines += ["", tabulate(rows, headers="keys", colalign=aligned, disable_numparse=True), ""]
        lines.append(
            "Correlation: Pearson's, over the text, of the best unit. Chance: what the best of all units stays"
        )
        lines.append("below in 95 % of the ways to shift the property around the text.")
    return "\n".join(lines)


def _read(named: NamedModel, text: str, max_tokens: int) -> tuple[Reading, list[str]]:
    tokenizer = named.tokenizer()
    if not tokenizer.is_fast:
        raise DiagnosticsError(
            "its tokenizer is not one of the package tokenizers, which alone tell where a token stands."
        )
    encoded = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False)
    ids, remarks = encoded.input_ids[:max_tokens], []
    if len(ids) < len(encoded.input_ids):
        cut = len(encoded.input_ids) - len(ids)
        remarks.append(f"The last {cut} of {len(encoded.input_ids)} tokens are cut off (--max_tokens {max_tokens}).")
    unknown = 0 if tokenizer.unk_token_id is None else ids.count(tokenizer.unk_token_id)
    if unknown:
        remarks.append(f"{unknown} of {len(ids)} tokens are unknown to the tokenizer.")
    if len(ids) < 2:
        raise DiagnosticsError(f"the text is {counted(len(ids), 'token')} to this model: give at least two.")
    special = encoded.special_tokens_mask
    spans = [(0, 0) if special[i] else tuple(encoded.offset_mapping[i]) for i in range(len(ids))]
    text = text[: max(end for _, end in spans)]
    return read_states(named.model, torch.tensor([ids]), text, spans), remarks


def _choose(reading: Reading, part: str | None, layer: int | None, direction: str | None) -> list[Trace]:
    traces = reading.traces
    known = list(dict.fromkeys(trace.part for trace in traces))
    if part is None:
        wanted = [trace.part for trace in traces if trace.is_state][-1:]
    elif part == "all":
        wanted = known
    else:
        wanted = parse_list(part, known, "--part")
    layers = max(trace.layer for trace in traces)
    if layer is not None and layer > layers:
        raise DiagnosticsError(f"--layer {layer}: there {'is' if layers == 1 else 'are'} {layers}.")
    if direction == "backward" and not any(trace.is_backward for trace in traces):
        raise DiagnosticsError("--direction backward: it reads forward alone.")
    return [
        trace
        for trace in traces
        if trace.part in wanted
        and layer in (None, trace.layer)
        and direction in (None, "backward" if trace.is_backward else "forward")
    ]


def _shown(
    traces: list[Trace], responses: list[Response], numbers: list[int] | None
) -> tuple[list[ShownUnit], list[str]]:
    """The units of the picture: those asked for, else the one that follows each property, else the first ones."""
    if numbers is None and responses:
        best = [(response, *response.best()[0][:2]) for response in responses]
        return [ShownUnit(trace, unit, response) for response, trace, unit in best][:MOST_SHOWN], []
    num_units = traces[0].values.shape[1]
    if numbers and max(numbers) > num_units:
        raise DiagnosticsError(f"--units {max(numbers)}: there are {num_units}.")
    numbers = numbers or range(1, min(num_units, 3) + 1)
    shown = [ShownUnit(trace, number - 1) for trace in traces for number in numbers]
    left_out = len(shown) - MOST_SHOWN
    remarks = [f"The picture shows {MOST_SHOWN} units; the other {left_out} are on the page."] if left_out > 0 else []
    return shown[:MOST_SHOWN], remarks


def _check_size(traces: list[Trace]) -> None:
    size = sum(trace.values.numel() for trace in traces)
    if size > _MOST_VALUES:
        raise DiagnosticsError(
            f"{size:,} values are too many for a page, which holds {_MOST_VALUES:,}: choose by --layer, --direction "
            "or --part, or read less by --max_tokens."
        )


def _show_colored(reading: Reading, unit: ShownUnit) -> None:
    """The beginning of the text in the colors of a unit, where the terminal has colors."""
    console = Console(markup=False, highlight=False, emoji=False, soft_wrap=True)
    if not console.color_system:
        return
    values = unit.values()
    largest, end, line = max(abs(values)) or 1.0, 0, Text()
    for (start, stop), value in zip(reading.spans, values, strict=True):
        if start > _COLORED:
            break
        line.append(reading.text[end:start])
        line.append(reading.text[max(start, end) : stop], style=heat(-value / largest))
        end = max(end, stop)
    console.print(Text(f"\n{unit.name}; blue above 0, orange below:", style="dim"))
    console.print(line)
