"""A page to try a model on: what is given at the left, the answer at the right, examples below. Needs gradio."""

import html
import os
from collections.abc import Iterator, Sequence
from typing import Any

from ..extras import install
from .answerers import Answerer
from .answers import Options
from .errors import DemoError


os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported; nothing is told to anyone

try:
    import gradio as gr
except ImportError as error:
    raise DemoError(f"The page needs gradio: {install('demo')}.") from error

from .panels import panel_for


STYLE = """
.remarks { opacity: 0.8; font-size: 0.9em; min-height: 0 }
.pixels img { image-rendering: pixelated; object-fit: contain; width: 100%; height: 100% }
h1 { margin-bottom: 0 !important }
"""
LOOK: dict[str, Any] = {
    "theme": gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
    "css": STYLE,
    "footer_links": ["gradio"],
    "ssr_mode": False,
}
"""How every page is launched. The fonts are those of the machine: gradio's own would be fetched from elsewhere."""


def build_page(answerer: Answerer, examples: Sequence[Any] = ()) -> gr.Blocks:
    """
    The page of one model.

    Args:
        answerer: Answers for it.
        examples: What a visitor may click: texts, images, or `(steps, channels)` arrays, as the model reads.
    """
    panel = panel_for(answerer, examples)
    with gr.Blocks(title=f"{answerer.title}: {answerer.name}", analytics_enabled=False) as page:
        gr.HTML(f"<h1>{html.escape(answerer.title)}</h1><p>{html.escape(answerer.explanation)}</p>")
        with gr.Row(equal_height=False):
            with gr.Column(min_width=280):
                panel.add_inputs()
                sliders = _add_sliders(answerer)
                start = gr.Button(panel.button, variant="primary", visible=panel.has_button)
            with gr.Column(min_width=280):
                panel.add_outputs()
                remarks = gr.HTML(elem_classes="remarks")
        outputs = [*panel.outputs, remarks]

        def respond(given: Any, *values: float) -> Iterator[list[Any]]:
            options = _options(dict(zip(sliders, values, strict=True)))
            try:
                for answer in answerer.stream(panel.read(given), options):
                    shown = panel.show(answer)  # which may remark on what it shows
                    yield [*shown, "<br>".join(html.escape(remark) for remark in answer.remarks)]
            except ValueError as error:
                if not type(error).__module__.startswith("seqnlp."):
                    raise
                yield [*(gr.skip() for _ in panel.outputs), f"<b>{html.escape(str(error))}</b>"]

        # One at a time: seeds, and which attention computes, belong to the whole process.
        how = {"outputs": outputs, "concurrency_id": "model", "concurrency_limit": 1, "show_progress": "minimal"}
        controls, names = list(sliders.values()), iter(["answer"])
        for trigger, source in panel.triggers(start):
            name = next(names, False) if source is panel.main else False  # once: others would be answer_1, answer_2
            trigger(respond, inputs=[source, *controls], api_name=name, **how)
        if (clicked := panel.add_examples()) is not None:
            clicked.then(respond, inputs=[panel.main, *controls], api_name=False, **how)
        gr.HTML(f"<p class='remarks'>{html.escape(_about(answerer))}</p>")
    return page


def _add_sliders(answerer: Answerer) -> dict[str, gr.Slider]:
    """Sliders for what the model follows, by the names of the options."""
    made = {}
    usual = answerer.usual_options()
    labels = {
        "temperature": ("Temperature: 0 takes what is likeliest", 0, 2, 0.05),
        "num_beams": ("Beams: with more than one nothing is drawn", 1, 10, 1),
        "max_new_tokens": ("Length at most", 1, 10 * usual.max_new_tokens if usual.max_new_tokens else 500, 1),
    }
    shown = [name for name in labels if name in answerer.options and getattr(usual, name) is not None]
    if shown:
        with gr.Accordion("How to answer", open=False):
            for name in shown:
                label, low, high, step = labels[name]
                made[name] = gr.Slider(low, high, getattr(usual, name), step=step, label=label)
    return made


def _options(values: dict[str, float]) -> Options:
    options = Options(**{name: value if name == "temperature" else int(value) for name, value in values.items()})
    if (options.num_beams or 1) > 1:
        options.temperature = None
    return options


def _about(answerer: Answerer) -> str:
    parameters = sum(parameter.numel() for parameter in answerer.model.parameters())
    return f"{answerer.name}: {answerer.model_name}, {parameters:,} parameters."
