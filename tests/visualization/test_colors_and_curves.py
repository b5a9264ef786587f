"""One color per architecture, and learning curves that say what they show."""

import re

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from seqnlp.diagnostics.gradient_flow import GradientFlow, GradientSeries
from seqnlp.diagnostics.scaling import PowerLaw
from seqnlp.tasks import ARCHITECTURES
from seqnlp.visualization import plot_examples, plot_learning_curves
from seqnlp.visualization.colors import GRAY, HUES, LOOKS, OTHER, looks_of
from seqnlp.visualization.comparison import plot_comparison
from seqnlp.visualization.gradient_flow import plot_gradient_flow
from seqnlp.visualization.page import STYLE
from seqnlp.visualization.scaling import Curve, plot_scaling


HISTORY = [
    {"epoch": 0.5, "train_loss": 2.0},
    {"epoch": 1.0, "validation_loss": 1.5, "validation_accuracy": 0.5},
    {"epoch": 2.0, "validation_loss": 1.0, "validation_accuracy": 0.75},
]


def test_every_architecture_has_a_look_of_its_own_and_there_are_five_colors():
    assert set(LOOKS) <= set(ARCHITECTURES)  # one without a look of its own is drawn as others are
    looks = [*LOOKS.values(), OTHER]
    assert len({look.color for look in looks}) == 5
    assert len({(look.marker, look.linestyle) for look in looks}) == len(looks)  # told apart in gray


def test_an_architecture_keeps_its_color_whatever_else_is_drawn():
    assert looks_of(["gru", "lstm"])[1] == looks_of(["lstm"])[0] == LOOKS["lstm"]
    first, second, third = looks_of(["lstm", "bert", "lstm"])
    assert first.color == third.color != second.color
    assert (first.marker, first.linestyle) != (third.marker, third.linestyle)
    assert len(set(looks_of(["lstm"] * 12))) == 12


@pytest.fixture
def axes_of(monkeypatch, tmp_path):
    def draw(**settings):
        drawn = []
        monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.extend(figure.axes))
        plot_learning_curves(HISTORY, tmp_path / "curves.png", **settings)
        return drawn

    return draw


def test_shares_are_percent_and_the_kept_epoch_is_marked(axes_of):
    losses, scores = axes_of(shares=["accuracy"], kept_epoch=2.0)
    assert losses.get_ylabel() == "loss (nats per example)"
    assert scores.get_ylabel() == "validation score (%)"
    assert list(scores.lines[0].get_ydata()) == [50.0, 75.0]
    for axis in (losses, scores):
        assert axis.lines[-1].get_label() == "kept: epoch 2"
        assert list(axis.lines[-1].get_xdata()) == [2.0, 2.0]


def test_losses_of_two_kinds_have_axes_of_their_own(axes_of):
    training, validation, _ = axes_of(losses_of=(("single steps", "nats"), ("whole forecasts", "squared error")))
    assert training.get_ylabel() == "training loss of single steps\n(nats)"
    assert validation.get_ylabel() == "validation loss of whole forecasts\n(squared error)"
    assert [list(axis.lines[0].get_ydata()) for axis in (training, validation)] == [[2.0], [1.5, 1.0]]


@pytest.mark.parametrize("is_steep", [False, True])
def test_many_names_are_turned_and_steep_curves_are_drawn_on_a_log_scale(monkeypatch, is_steep):
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.extend(figure.axes))
    names = ["elman", "lstm", "gru", "mingru", "minlstm", "transformer"] if is_steep else ["elman", "lstm"]
    curve = [(1, 30.0 if is_steep else 2.0), (2, 1.0)]
    rows = [
        {"architecture": name, "values": [1.0], "mean": 1.0, "interval": None, "curves": [curve]} for name in names
    ]
    plot_comparison([{**row, "targets_per_second": 1234.5} for row in rows], "test MAE, m", "loss")
    quality, learning, _ = drawn
    assert learning.get_yscale() == ("log" if is_steep else "linear")
    assert ("log scale" in learning.get_ylabel()) == is_steep
    assert {label.get_rotation() for label in quality.get_xticklabels()} == {30.0 if is_steep else 0.0}


def luminance(color):
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(color))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_color_is_seen_on_white_and_on_a_dark_page():
    dark = re.search(r"prefers-color-scheme: dark.*?--back: (#\w+)", STYLE, re.DOTALL)[1]
    for color in (*HUES, GRAY):
        on_white, on_dark = 1.05 / (luminance(color) + 0.05), (luminance(color) + 0.05) / (luminance(dark) + 0.05)
        assert min(on_white, on_dark) >= 3, color  # WCAG 2.1, 1.4.11


def test_lines_are_as_dark_as_their_colors(monkeypatch):
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.extend(figure.axes))
    law = PowerLaw(exponent=0.1, scale=1.0, reference=10.0, offset=0.0, interval=None, has_offset=False)
    curves = [Curve(str(place), place, 10.0**place, 1.0, [(1.0, 2.0), (2.0, 1.0)]) for place in range(4)]
    plot_scaling("transformer", curves, law, None, [], "loss")
    flow = GradientFlow("the loss", 1, [GradientSeries(f"layer {n}", [1.0, 0.5, 0.2]) for n in range(6)])
    plot_gradient_flow({"lstm": flow}, "unused.png")
    lines = [line for axis in drawn for line in axis.lines if len(line.get_xdata()) > 0]
    assert len(lines) > 10
    for line in lines:
        assert line.get_alpha() is None
        assert 1.05 / (luminance(line.get_color()) + 0.05) >= 3, line.get_color()


def test_each_forecast_is_drawn_once_with_its_last_observed_value(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.extend(figure.axes))
    past = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])[..., None]
    observed = np.array([[True, True, False], [False, False, False]])[..., None]
    future = np.ones((2, 2, 1))
    found = {"past_values": past, "past_observed_mask": observed, "future_values": future, "predictions": future}
    plot_examples({**found, "future_observed_mask": future > 0}, tmp_path / "a.png", "", ["x"], "m", 1.0, "steps")
    panels = [axis for axis in drawn if axis.lines]
    lines = [next(line for line in axis.lines if line.get_label() == "last value") for axis in panels]
    assert [line.get_ydata()[0] for line in lines] == [2.0, 0.0]
