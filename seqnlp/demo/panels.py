"""What a page has for each kind of model: how it is given something, and how an answer is shown."""

import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import gradio as gr
import numpy as np
import pandas as pd
from PIL import Image, ImageChops

from ..data.image_files import in_8_bits
from ..data.loading import listed, printable
from ..digits import significant
from ..visualization import heat_over_image, plot_attention
from ..visualization.colors import HUES
from ..visualization.page import drawing_of
from .answerers import Answerer
from .answers import (
    ClassAnswer,
    ImageAnswer,
    MaskAnswer,
    Scored,
    SeriesAnswer,
    TagAnswer,
    TextAnswer,
    TranslationAnswer,
    TuneAnswer,
    pieces_of,
    visible,
)
from .classifiers import GAP, GapFiller, ImageClassifier, TextClassifier, TokenClassifier
from .errors import DemoError
from .forecasters import Forecaster
from .inputs import Series, read_image, read_series
from .writers import TextWriter, Translator, TuneWriter, alignment_map


warnings.filterwarnings("ignore", message="The `col_count` parameter")  # gradio's own use of its old name

PANELS: dict[type[Answerer], type["Panel"]] = {}
"""By what answers."""
Trigger = tuple[Callable[..., Any], Any]


class Panel:
    """
    The fields of a page.

    Attributes:
        button: What starts an answer.
        has_button: Whether the page puts that button below the inputs.
        main: The field that a person fills.
        outputs: The fields that an answer fills, in the order of what [`show`] gives.
    """

    answers: ClassVar[type[Answerer]]
    button: ClassVar[str] = "Answer"
    has_button: ClassVar[bool] = True
    placeholder: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "answers" in vars(cls):
            PANELS[cls.answers] = cls

    def __init__(self, answerer: Answerer, examples: Sequence[Any] = ()):
        self.answerer, self.examples = answerer, examples
        self.main: Any = None
        self.outputs: list[Any] = []

    def add_inputs(self) -> None:
        """A field for a text; Enter answers."""
        self.main = gr.Textbox(
            label="Text",
            lines=1,  # with more, Enter would begin another
            max_lines=12,
            placeholder=self.placeholder,
            autofocus=True,
            submit_btn=False,
            elem_id="given",
        )

    def add_outputs(self) -> None:
        """The fields of the answer."""
        raise NotImplementedError

    def triggers(self, start: gr.Button) -> Iterator[Trigger]:
        """What asks for an answer, and the field that it is about."""
        yield start.click, self.main
        yield self.main.submit, self.main

    def read(self, given: Any) -> Any:
        """What the model is given, of what the field holds."""
        return given or ""

    def show(self, answer: Any) -> list[Any]:
        """What the output fields hold."""
        raise NotImplementedError

    def add_examples(self) -> Any:
        """Rows that fill the field when clicked; gives the event of that, `None` without examples."""
        if not len(self.examples):
            return None
        rows = [[example] for example in self.examples]
        made = gr.Examples(rows, inputs=[self.main], cache_examples=False, label="Try one of these", api_name=False)
        return made.load_input_event


class ClassPanel(Panel):
    """Classes with their probabilities, and the words that count."""

    answers = TextClassifier
    button = "Classify"
    placeholder = "Type a text, then Enter"

    def add_outputs(self) -> None:
        """A bar for each class, and the text with its words colored."""
        self.scores = gr.Label(label="Class", num_top_classes=5, elem_id="classes")
        self.words = gr.HighlightedText(
            label="Words: the more color, the more they count", combine_adjacent=False, show_legend=False
        )
        self.outputs = [self.scores, self.words]

    def show(self, answer: ClassAnswer) -> list[Any]:
        """Weights are relative to the largest."""
        value = significant(answer.value) if answer.value is not None else as_label(answer.scores)
        largest = max((abs(word.weight or 0.0) for word in answer.words), default=0.0) or 1.0
        parts = [
            (text, None if word is None or word.weight is None else round(word.weight / largest, 3))
            for text, word in pieces_of(answer.text, answer.words)
        ]
        how = {
            "attention pooling": "The more color, the more a word counts",
            "occlusion": "Red words speak for the class, violet ones against it",
        }
        return [value, gr.HighlightedText(parts, label=how[answer.weights])]


class TagPanel(Panel):
    """The text with its labels."""

    answers = TokenClassifier
    button = "Label"
    placeholder = "Type a sentence, then Enter"

    def add_outputs(self) -> None:
        """The text in the colors of its labels."""
        self.outputs = [
            gr.HighlightedText(label="Labels", combine_adjacent=False, show_legend=True, show_inline_category=True)
        ]

    def show(self, answer: TagAnswer) -> list[Any]:
        """Spans where the labels make some, else each word."""
        pieces = pieces_of(answer.text, answer.labeled)
        return [[(text, None if part is None else part.label) for text, part in pieces]]


class GapPanel(Panel):
    """What stands in the gaps."""

    answers = GapFiller
    button = "Fill"
    placeholder = f"Type a sentence with {GAP} for a gap"

    def add_outputs(self) -> None:
        """The filled text, and the candidates of each gap."""
        self.outputs = [
            gr.Textbox(label="Filled", interactive=False),
            gr.Dataframe(headers=["gap", "token", "probability"], label="Candidates", interactive=False),
        ]

    def show(self, answer: MaskAnswer) -> list[Any]:
        """A row for each candidate."""
        gaps = enumerate(answer.gaps, start=1)
        rows = [[number, visible(one.text), f"{one.probability:.1%}"] for number, gap in gaps for one in gap]
        return [answer.filled, rows]


class TextPanel(Panel):
    """A text as it is written, what could have come first, and how likely each token was."""

    answers = TextWriter
    button = "Go on"
    placeholder = "Type how a text begins, then Enter"

    def add_outputs(self) -> None:
        """The text first."""
        self.outputs = [
            gr.Textbox(label="Written", lines=6, max_lines=20, interactive=False, elem_id="written"),
            gr.Label(label="What may come next", num_top_classes=5, show_heading=False),
            gr.HighlightedText(label="The paler, the less likely", combine_adjacent=False, show_legend=False),
        ]

    def show(self, answer: TextAnswer) -> list[Any]:
        """While it is written there are no probabilities of its tokens yet."""
        tokens = [(token.text, round(token.probability, 3)) for token in answer.tokens]
        return [f"{answer.prompt}{answer.text}", as_label(answer.next), tokens]


class TunePanel(Panel):
    """A tune to read, to hear and to see."""

    answers = TuneWriter
    button = "Write a tune"
    placeholder = "6/8 Gmaj, 6/8 Gmaj jig, or nothing; then Enter"

    def add_outputs(self) -> None:
        """Sound first."""
        self.outputs = [
            gr.Audio(label="Listen", interactive=False),
            gr.HTML(padding=False),
            picture("The tune as a piano roll"),
            gr.Textbox(label="ABC notation", lines=8, interactive=False, elem_id="written"),
        ]

    def show(self, answer: TuneAnswer) -> list[Any]:
        """Sound and picture of a tune that can be played, once it is whole."""
        if not answer.end:
            return [None, "", None, f"{answer.prompt}{answer.text}"]
        if answer.problem:
            answer.remarks.append(f"This tune cannot be played: {answer.problem}. Try again.")
            return [None, "", None, answer.abc]
        files = {file.suffix: file for file in self.answerer.play(answer)}
        notes = drawing_of(files[".svg"].read_bytes(), "Sheet music of the tune") if ".svg" in files else ""
        return [str(files[".wav"]), notes, str(files[".png"]), answer.abc]


class TranslationPanel(Panel):
    """A translation and where the model looked."""

    answers = Translator
    button = "Translate"
    placeholder = "Type a sentence, then Enter"

    def add_outputs(self) -> None:
        """The translation, and its alignment as a picture."""
        self.outputs = [
            gr.Textbox(label="Translation", lines=2, interactive=False, elem_id="translation"),
            picture("Where it looked for each token, if the model tells"),
        ]

    def show(self, answer: TranslationAnswer) -> list[Any]:
        """No picture of nothing."""
        file = None
        if answer.alignment and answer.source_tokens:
            file = str(Path(tempfile.mkdtemp()) / "alignment.png")
            plot_attention(alignment_map(answer), file)
        return [answer.translation, file]


class ImagePanel(Panel):
    """An image, given or, where the examples are white on black, drawn; its class, and where the model looks."""

    answers = ImageClassifier
    button = "Classify"
    has_button = False
    canvas = 280
    """Its side in pixels."""

    def add_inputs(self) -> None:
        """A canvas where drawings look like the examples, and an upload."""
        self.drawn = None
        is_drawn = len(self.examples) > 0 and all(map(is_white_on_black, self.examples))
        with gr.Tabs(selected="draw" if is_drawn else "upload") as self.tabs:
            if is_drawn:
                with gr.Tab("Draw", id="draw"):
                    self._add_canvas()
                    self.sort = gr.Button(self.button, variant="primary")
            with gr.Tab("Upload", id="upload"):
                # Its file as it is: gradio would cut deep grays off.
                how = {"type": "filepath", "image_mode": None}
                self.main = gr.Image(**how, label="Image", height=300, elem_classes="pixels", elem_id="given")

    def _add_canvas(self) -> None:
        black = Image.new("RGB", (self.canvas, self.canvas))
        white = "#ffffff"
        self.drawn = gr.Sketchpad(
            value={"background": black, "layers": [], "composite": black},
            type="pil",
            image_mode="RGB",
            canvas_size=(self.canvas, self.canvas),
            fixed_canvas=True,
            layers=False,
            transforms=(),
            brush=gr.Brush(default_size=22, colors=[white], default_color=white, color_mode="fixed"),
            label="Draw in white on black",
            buttons=[],
            elem_id="canvas",
        )

    def add_outputs(self) -> None:
        """Classes, and the image under the model's attention."""
        self.outputs = [
            gr.Label(label="Class", num_top_classes=5, elem_id="classes"),
            picture("Where it looks: the bluer, the more"),
            self.tabs,
        ]

    def triggers(self, start: gr.Button) -> Iterator[Trigger]:
        """An image as soon as it is given, a drawing when its button is pressed."""
        yield self.main.input, self.main
        if self.drawn is not None:
            yield self.sort.click, self.drawn

    def read(self, given: Any) -> Image.Image:
        """A drawing is cut to its ink, as the digits of data sets are, with a rim of one eighth."""
        self.is_drawing = isinstance(given, dict)
        image = cut_to_ink(given["composite"]) if self.is_drawing else given and read_image(given)
        if image is None:
            raise DemoError("There is nothing to look at: draw something, or upload an image.")
        self.seen = in_8_bits(image, "The image")[0].convert("RGB")
        return image

    def show(self, answer: ImageAnswer) -> list[Any]:
        """The picture lies under the weights, and the tab is that of what was given."""
        heat = None
        if answer.attention is not None:
            colors = heat_over_image(np.array(answer.attention), self.seen)
            heat = Image.fromarray((255 * colors[..., :3]).round().astype(np.uint8))
            heat = heat.resize((288, 288), Image.Resampling.NEAREST)
        return [as_label(answer.scores), heat, gr.Tabs(selected="draw" if self.is_drawing else "upload")]


class SeriesPanel(Panel):
    """A table of numbers, and a plot of what comes next."""

    answers = Forecaster
    button = "Predict"

    def add_inputs(self) -> None:
        """A table to type into or to paste into, and a file to fill it from."""
        channels = self.answerer.channels
        self.main = gr.Dataframe(
            headers=channels,
            datatype="number",
            column_count=len(channels),
            row_count=8,
            type="array",
            interactive=True,
            label="The last steps, oldest first",
            elem_id="given",
        )
        kinds = [".csv", ".tsv", ".json", ".jsonl", ".parquet"]
        self.file = gr.UploadButton("Read a csv file", file_types=kinds, elem_id="file")

    def add_outputs(self) -> None:
        """A plot to zoom in, and the numbers."""
        self.outputs = [
            gr.LinePlot(x="step", y="value", color="series", label="Past and, right of 0, forecast"),
            gr.Dataframe(headers=self.answerer.channels, label="Forecast", interactive=False),
        ]

    def triggers(self, start: gr.Button) -> Iterator[Trigger]:
        """The button, or a file."""
        yield start.click, self.main
        yield self.file.upload, self.file

    def read(self, given: Any) -> Series:
        """A file, or the rows that hold a number."""
        if isinstance(given, str):
            return read_series(given, self.answerer.channels)
        channels = self.answerer.channels
        for row in given:
            if len(row) != len(channels):
                raise DemoError(f"A row has {len(row)} cells: give one for each of {listed(channels)}.")
        rows = np.array([[_number(cell) for cell in row] for row in given], dtype=np.float64)
        rows = rows.reshape(-1, len(channels))
        words = [cell for row in given for cell in row if isinstance(cell, str) and cell.strip()]
        words = [word for word in words if np.isnan(_number(word))]
        told = []
        if words:
            told.append(f"Cells without a number, e.g. {printable(words[0], 20)}, read as gaps: {len(words):,}.")
        return Series(rows[~np.isnan(rows).all(axis=1)], channels, told)

    def show(self, answer: SeriesAnswer) -> list[Any]:
        """Times count from the last step that was given. A channel has one color, and is named once."""
        many, colors = len(answer.channels) > 1, {}
        times = np.arange(-len(answer.past) + 1, len(answer.forecast) + 1) * answer.step
        rows = []
        for place, channel in enumerate(answer.channels):
            for kind, part, when in (
                ("past", answer.past, times[: len(answer.past)]),
                ("forecast", answer.forecast, times[len(answer.past) :]),
                ("80 % from", answer.lower or [], times[len(answer.past) :]),
                ("80 % to", answer.upper or [], times[len(answer.past) :]),
            ):
                name = f"{channel}: {kind}" if many and kind == "forecast" else channel if many else kind
                colors[name] = HUES[(place if many else len(colors)) % len(HUES)]
                values = (row[place] for row in part)
                rows += [(t, v, name) for t, v in zip(when, values, strict=False) if v is not None]
        unit = f" ({answer.unit})" if answer.unit else ""
        plot = gr.LinePlot(
            pd.DataFrame(rows, columns=["step", "value", "series"]),
            x_title=f"time from now ({answer.step_unit})",
            color_map=colors,
            colors_in_legend=answer.channels if many else None,
            y_title=f"{answer.channels[0] if len(answer.channels) == 1 else 'value'}{unit}",
        )
        return [plot, pd.DataFrame(in_single_precision(np.array(answer.forecast)), columns=answer.channels)]

    def add_examples(self) -> Any:
        """Each row of examples is a whole table."""
        self.examples = [in_single_precision(np.asarray(example)).tolist() for example in self.examples]
        return super().add_examples()


def panel_for(answerer: Answerer, examples: Sequence[Any] = ()) -> Panel:
    """The panel of what answers, with what a visitor may click."""
    return PANELS[type(answerer)](answerer, examples)


def picture(caption: str) -> gr.Image:
    """A field for a picture, its caption above it, where it hides nothing."""
    gr.HTML(f"<span class='remarks'>{caption}</span>", padding=False)
    return gr.Image(label=caption, show_label=False, interactive=False, buttons=[])


def as_label(scores: list[Scored]) -> dict[str, float]:
    """Names with their probabilities; of two tokens that read alike both count."""
    found: dict[str, float] = {}
    for one in scores:
        name = visible(one.text)
        found[name] = found.get(name, 0.0) + one.probability
    return found


def is_white_on_black(image: Image.Image) -> bool:
    """Whether an image has no colors, and is darker at its rim than in all."""
    pixels = np.asarray(image.convert("RGB"), dtype=float)
    rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return bool((pixels == pixels[..., :1]).all()) and rim.mean() < min(128, pixels.mean())


def cut_to_ink(image: Image.Image) -> Image.Image | None:
    """
    What is drawn on one color, cut out as a square with a rim of an eighth of its side; `None` of a blank image.
    """
    image = image.convert("RGB")
    ground = Image.new("RGB", image.size, image.getpixel((0, 0)))
    box = ImageChops.difference(image, ground).getbbox()
    if box is None:
        return None
    side = max(box[2] - box[0], box[3] - box[1])
    side += 2 * max(1, side // 8)
    square = Image.new("RGB", (side, side), image.getpixel((0, 0)))
    cut = image.crop(box)
    square.paste(cut, ((side - cut.width) // 2, (side - cut.height) // 2))
    return square


def in_single_precision(values: np.ndarray) -> np.ndarray:
    """Numbers of any size, with the 7 digits that a model reads and writes of each."""
    return np.vectorize(lambda value: float(f"{value:.7g}"), otypes=[np.float64])(values)


def _number(cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return float("nan")
