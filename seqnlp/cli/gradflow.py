"""`seqnlp gradflow`: how far back the gradient of a loss reaches, layer by layer, in one model or in several."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from tabulate import tabulate

from ..diagnostics import (
    DiagnosticsError,
    GradientFlow,
    TrainingCurve,
    Window,
    clipped_steps,
    compare_clipping,
    cut_windows,
    loss_kind,
    measure_gradient_flow,
)
from ..diagnostics.gradient_flow import LOSSES
from ..training import write_json
from ..training.bar import counted
from ..visualization import plot_clipping, plot_gradient_flow
from ..visualization.page import html_row, html_table, list_of, page_of, picture_of
from .models import NamedModel, TrustRemoteCode, load_model
from .outputs import Overwrite, check_ending, check_outputs, make_folder
from .texts import read_texts


def gradflow(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL", help="A recipe's output folder or a Hub id; one or several.")
    ],
    text: Annotated[
        list[str] | None, typer.Option("--text", metavar="TEXT", help="A text to measure on; may be repeated.")
    ] = None,
    text_file: Annotated[Path | None, typer.Option("--text_file", help="A file that is one text.")] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target", metavar="TEXT", help="For an encoder-decoder: what each --text becomes, e.g. its translation."
        ),
    ] = None,
    distance: Annotated[int, typer.Option("--distance", min=1, help="How many tokens to look back at most.")] = 100,
    windows: Annotated[
        int, typer.Option("--windows", min=1, help="Average over at most this many pieces of the texts.")
    ] = 16,
    max_grad_norm: Annotated[
        float | None,
        typer.Option(
            "--max_grad_norm", help="Norm to which training clips gradients; by default that of run.json, or 1."
        ),
    ] = None,
    training_rate: Annotated[
        float | None,
        typer.Option(
            "--training_rate",
            help="Learning rate at which each language model is also trained anew on the texts, by plain gradient "
            "descent, once with and once without gradient clipping; OUTPUT-clipping.png shows both.",
        ),
    ] = None,
    training_steps: Annotated[
        int,
        typer.Option(
            "--training_steps",
            min=1,
            help="Steps of each of these two trainings, with 16 pieces of 128 tokens per step.",
        ),
    ] = 120,
    output: Annotated[
        Path, typer.Option("--output", help="The picture; the numbers go to a .json of the same name.")
    ] = Path("gradflow.png"),
    overwrite: Overwrite = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """
    Follow the gradient of a loss back through time: does it vanish, explode, or arrive?

    The norm of d loss / d h(t) by distance in tokens and by layer, the spectral radius of each recurrent matrix, the
    share of saturated gates, and the share of training steps whose gradient was clipped. Several models share one
    picture.

    Example:

        seqnlp gradflow outputs/language_modeling-elman outputs/language_modeling-lstm --text_file LICENSE
    """
    check_ending(output, ".png", "the picture is a PNG")
    numbers, page = output.with_suffix(".json"), output.with_suffix(".html")
    clipping = output.with_name(f"{output.stem}-clipping.png")
    curves_file = clipping.with_suffix(".json")
    written = [output, numbers, page, *([] if training_rate is None else [clipping, curves_file])]
    check_outputs(written, f"--output {output}", [text_file] if text_file else [], overwrite)
    if training_rate is not None and not 0 < training_rate < math.inf:
        raise DiagnosticsError(f"--training_rate {training_rate:g}: give a number above 0, e.g. 1.")
    if max_grad_norm is not None and not 0 <= max_grad_norm < math.inf:
        raise DiagnosticsError(f"--max_grad_norm {max_grad_norm:g}: give a number from 0 on, e.g. 1; 0 clips nothing.")
    texts = read_texts(text, text_file)
    curves: dict[str, tuple[TrainingCurve, TrainingCurve]] = {}
    flows: dict[str, GradientFlow] = {}
    architectures: dict[str, str] = {}
    for source in models:
        named = load_model(source, trust_remote_code)
        name = named.name if named.name not in flows else source
        architectures[name] = named.architecture
        flows[name] = _measure(named, texts, target, distance, windows, max_grad_norm)
        if training_rate is not None:
            curves[name] = _train_anew(named, texts, training_rate, training_steps, flows[name].max_grad_norm)
    if target and not any(flow.loss == LOSSES["seq2seq"] for flow in flows.values()):
        raise DiagnosticsError(f"--target is for encoder-decoders, and there is none among {', '.join(models)}.")
    make_folder(output.parent, f"--output {output}")
    plot_gradient_flow(flows, output, architectures, finding(flows))
    write_json(numbers, {name: flow.as_dict() for name, flow in flows.items()})
    typer.echo(summary(flows))
    page.write_text(_page(flows, output.read_bytes()), encoding="utf-8")
    typer.echo(f"\n{finding(flows)}.\nPage: {page}. Picture: {output}. Numbers: {numbers}.")
    if curves:
        plot_clipping(curves, clipping, f"Training at a learning rate of {training_rate:g}")
        write_json(curves_file, {name: [asdict(curve) for curve in pair] for name, pair in curves.items()})
        for name, pair in curves.items():
            typer.echo(f"{name} trained anew at {training_rate:g}: {'; '.join(map(_told, pair))}.")
        typer.echo(f"Picture: {clipping}. Numbers: {curves_file}.")


def _train_anew(
    named: NamedModel, texts: list[str], learning_rate: float, steps: int, max_grad_norm: float | None
) -> tuple[TrainingCurve, TrainingCurve]:
    """Both trainings of a model of the same kind with new weights, on the texts one after the other."""
    ids = named.tokenizer()("\n".join(texts), verbose=False, add_special_tokens=False).input_ids
    torch.manual_seed(0)
    model = type(named.model)(named.model.config)
    try:
        return compare_clipping(model, torch.tensor(ids), learning_rate, steps, max_grad_norm or 1.0)
    except DiagnosticsError as error:
        raise DiagnosticsError(f"{named.source}: {error}") from error


def _told(curve: TrainingCurve) -> str:
    how = "gradients as they are" if curve.max_grad_norm is None else f"clipped to {curve.max_grad_norm:g}"
    end = f"no number after {len(curve.losses)} steps" if curve.ended else f"{curve.losses[-1]:.2f} in the end"
    longest = max((norm for norm in curve.norms if math.isfinite(norm)), default=math.nan)
    return f"{how}, loss {curve.losses[0]:.2f} at first and {end}, longest gradient {longest:,.4g}"


EXPLANATIONS = (
    "Factor per token (or word, where a model reads words): of the gradient's norm in the lowest layer, with each one "
    "farther back.",
    "Reach: the farthest token back that still gets 1 % of the gradient at the last one.",
    "Spectral radius, saturated: smallest to largest over layers and gates. Saturated: near an end of its range.",
    "Steps clipped: of its training, as run.json has it. Windows clipped: those measured here whose gradient, taken "
    "alone and with the weights as they are now, is longer than max_grad_norm.",
)


def finding(flows: dict[str, GradientFlow]) -> str:
    """What was found, in a sentence without its full stop: how far back the gradient reaches."""
    first, *others = sorted(flows, key=lambda name: -flows[name].lowest.reach())
    step = flows[first].step
    compared = (_reach(flows[name]) + f" {flows[name].step}s" * (flows[name].step != step) for name in others)
    found = [f"{_reach(flows[first])} {step}s", *compared]
    told = ", ".join(f"{reach} in {name}" for reach, name in zip(found, (first, *others), strict=True))
    return f"1 % of the gradient reaches back {told}"


def _table(flows: dict[str, GradientFlow]) -> list[dict[str, str]]:
    """A row per model, its cells as they are shown."""
    steps = dict.fromkeys(flow.step for flow in flows.values())
    return [
        {
            "model": name,
            f"factor per {' or '.join(steps)}": _factor(flow),
            f"reach, {' or '.join(f'{step}s' for step in steps)}": _reach(flow),
            "spectral radius": _span(flow.spectral_radii.values()),
            "saturated, %": _span((100 * (share.low + share.high) for share in flow.saturation.values()), ".0f"),
            "steps clipped": "-" if flow.clipped_steps is None else f"{flow.clipped_steps:.0%}",
            "windows clipped": (
                "-" if flow.clipped_share is None else f"{flow.clipped_share:.0%} of {flow.num_windows}"
            ),
        }
        for name, flow in flows.items()
    ]


def _losses(flows: dict[str, GradientFlow]) -> list[str]:
    return sorted({f"Loss: {flow.loss}, mean of the windows." for flow in flows.values()})


def summary(flows: dict[str, GradientFlow]) -> str:
    """A table with a row per model, and what its columns mean."""
    lines = [tabulate(_table(flows), headers="keys", disable_numparse=True), "", *_losses(flows), *EXPLANATIONS]
    return "\n".join(lines)


def _page(flows: dict[str, GradientFlow], picture: bytes) -> str:
    """The same with the picture, on a page that opens offline."""
    rows = _table(flows)
    parts = [
        html_table(
            list(rows[0]), [html_row(list(row.values())) for row in rows], "How far back each gradient reaches"
        ),
        picture_of(picture, "The norm of the gradient by its distance from the loss"),
        f"<h2>How to read this</h2>{list_of((*_losses(flows), *EXPLANATIONS))}",
    ]
    return page_of(finding(flows), parts)


def _factor(flow: GradientFlow) -> str:
    factor = flow.lowest.factor_per_step
    return "-" if math.isnan(factor) else f"{factor:.3f}"


def _reach(flow: GradientFlow) -> str:
    reach = flow.lowest.reach()
    return f"{reach} or more" if reach == len(flow.lowest.norms) - 1 else str(reach)


def _span(values: Iterable[float], spelling: str = ".2f") -> str:
    values = [format(value, spelling) for value in sorted(values)]
    if not values:
        return "-"
    return values[0] if values[0] == values[-1] else f"{values[0]} to {values[-1]}"


def _measure(
    named: NamedModel,
    texts: list[str],
    targets: list[str] | None,
    distance: int,
    count: int,
    max_grad_norm: float | None,
) -> GradientFlow:
    try:
        kind = loss_kind(named.model)
        tokenizer = named.tokenizer()
        if max_grad_norm is None:
            max_grad_norm = named.run.get("hyperparameters", {}).get("max_grad_norm", 1.0)
        flow = measure_gradient_flow(
            named.model,
            list(_windows(named, tokenizer, kind, texts, targets, distance, count)),
            mask_token_id=tokenizer.mask_token_id,
            special_token_ids=tuple(tokenizer.all_special_ids),
            max_grad_norm=max_grad_norm,
        )
        return replace(flow, clipped_steps=clipped_steps(named.run.get("history", ())))
    except DiagnosticsError as error:
        raise DiagnosticsError(f"{named.source}: {error}") from error


def _windows(
    named: NamedModel, tokenizer, kind: str, texts: list[str], targets: list[str] | None, distance: int, count: int
) -> Iterator[Window]:
    """Pieces of the texts in which some token is `distance` tokens from the loss, or the whole of a short text."""
    length = min(distance + 1, named.num_positions or math.inf)
    if kind == "seq2seq":
        if len(targets or ()) != len(texts):
            raise DiagnosticsError(
                f"an encoder-decoder needs a --target for each text; there are {counted(len(texts), 'text')} and "
                f"{counted(len(targets or ()), 'target')}."
            )
        writer = named.target_tokenizer()
        for text, target in list(zip(texts, targets, strict=True))[:count]:
            ids = writer(text_target=target, truncation=True, max_length=length).input_ids
            source = tokenizer(text, truncation=True, max_length=length).input_ids
            yield Window(torch.tensor(ids), torch.tensor(source))
        return
    texts = texts[:count]
    share = math.ceil(count / len(texts))
    for text in texts:
        if kind == "causal":
            ids = tokenizer(text, verbose=False).input_ids
            pieces = cut_windows(torch.tensor(ids), length + 1, share)
        else:  # each piece with the special tokens around it that the model knows
            found = tokenizer(text, truncation=True, max_length=length, return_overflowing_tokens=True)
            pieces = [torch.tensor(ids) for ids in found.input_ids]
            pieces = [piece for piece in pieces if len(piece) == len(pieces[0])][:share]
        yield from map(Window, pieces)
