"""Pictures of many entries with long names: no two of the words in them overlap, and none leaves the picture."""

import itertools

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Affine2D

from seqnlp.diagnostics.clipping import TrainingCurve
from seqnlp.visualization import plot_bleu_by_length, plot_clipping
from seqnlp.visualization.comparison import plot_comparison
from seqnlp.visualization.room import fit_beside_each_other, room_for_legend
from seqnlp.visualization.sweep import Point, plot_sweep


def overlapping(figure):
    """Pairs of texts of which a corner of one lies in the other, each as a box turned as it is; and those cut off."""
    shown, draw = [], Text.draw
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", lambda text, renderer: shown.append(text) or draw(text, renderer))
        figure.draw_without_rendering()
    shown = [text for text in dict.fromkeys(shown) if text.get_visible() and text.get_text().strip()]
    boxes = [corners(figure, text) for text in shown]
    found = [
        (one.get_text(), other.get_text())
        for (one, box), (other, other_box) in itertools.combinations(zip(shown, boxes, strict=True), 2)
        if meet(box, other_box)
    ]
    size = figure.bbox
    cut = [
        one.get_text()
        for one, box in zip(shown, boxes, strict=True)
        if any(not (-1 <= x <= size.width + 1 and -1 <= y <= size.height + 1) for x, y in box)
    ]
    return found, cut


def corners(figure, text):
    """Of the box of a text, turned about the point it is anchored to."""
    angle = text.get_rotation()
    if text.get_rotation_mode() != "anchor":
        box = Text.get_window_extent(text)  # of an annotation without its line
        return box.corners()[[0, 1, 3, 2]]
    x, y = text.get_transform().transform(text.get_position())
    text.set_rotation(0)
    box = Text.get_window_extent(text)  # of an annotation without its line
    text.set_rotation(angle)
    return Affine2D().rotate_deg_around(x, y, angle).transform(box.corners()[[0, 1, 3, 2]])


def meet(box, other):
    """Whether two rectangles overlap: no side of either parts them."""
    for shape in (box, other):
        for start, end in itertools.pairwise([*shape, shape[0]]):
            normal = (start[1] - end[1], end[0] - start[0])
            spans = [[point[0] * normal[0] + point[1] * normal[1] for point in one] for one in (box, other)]
            if max(spans[0]) <= min(spans[1]) + 1e-6 or max(spans[1]) <= min(spans[0]) + 1e-6:
                return False
    return True


@pytest.fixture
def drawn(monkeypatch):
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    return figures


def compare(count, name):
    rows = [
        {
            "architecture": name.format(number),
            "values": [50.0 + number % 7, 52.0 + number % 5],
            "mean": 51.0 + number % 6,
            "interval": 1.0,
            "curves": [[(1, 50.0), (2, 51.0 + number)]] * 2,
            "targets_per_second": 10_000 + 30.0 * number,
        }
        for number in range(count)
    ]
    plot_comparison(rows, "accuracy (%)", "accuracy", "A title")


def bleu(count, tmp_path):
    bins = [{"from": k, "to": k + 9, "bleu": 20.0 + k, "sentences": 1000} for k in (1, 11, 21, 31, 41)]
    name = "Helsinki-NLP/opus-mt-en-de-model-of-a-long-name-{}".format
    plot_bleu_by_length({name(number): bins for number in range(count)}, tmp_path / "bleu.png", "BLEU", "of test")


def sweep(count):
    names = [f"model.some_long_configuration_field_number_{number}" for number in range(count)]
    words = ["adamw", "muon", "a_long_name_of_an_optimizer", "another_long_name_of_an_optimizer", "sgd"]
    points = [
        Point(
            number,
            number / 30,
            {"optimizer": words[number % 5]} | dict.fromkeys(names, 10 ** (-3 * number / 29)),
            number % 5 == 0,
        )
        for number in range(30)
    ]
    plot_sweep(points, dict.fromkeys(["optimizer", *names], 1 / (count + 1)), frozenset(names), "accuracy (%)", True)


def clip(count, tmp_path):
    curve = TrainingCurve([3.0, 2.0, 1.0], [1.0, 2.0, 1.5], 1.0, False)
    name = "outputs/a-very-long-folder/language_modeling-of-a-long-name/and-more-{}".format
    plot_clipping({name(number): (curve, curve) for number in range(count)}, tmp_path / "clipping.png", "Clipping")


@pytest.mark.parametrize("count", [1, 2, 4, 8, 9, 30])
@pytest.mark.parametrize("name", ["net{}", "a_rather_long_name_of_an_architecture_{}"])
def test_architectures(drawn, count, name):
    compare(count, name)
    assert overlapping(drawn[-1]) == ([], [])


@pytest.mark.parametrize("count", [1, 3, 12])
def test_models_by_length_flags_of_a_sweep_and_clipped_trainings(drawn, tmp_path, count):
    bleu(count, tmp_path)
    sweep(count + 3)
    clip(count, tmp_path)
    assert [overlapping(figure) for figure in drawn] == [([], [])] * 3


def test_a_figure_of_few_short_names_keeps_its_size(drawn):
    compare(4, "net{}")
    assert tuple(drawn[-1].get_size_inches()) == (13, 4.2)
    compare(30, "net{}")
    assert len({axis.get_position().x0 < 0.5 for axis in drawn[-1].axes}) == 1  # below each other


def test_names_fit_by_what_stands_beside_each_of_them():
    wide, narrow = "m" * 10, "i"
    assert not fit_beside_each_other([wide, wide, narrow], 3.0)
    assert fit_beside_each_other([wide, narrow, wide], 3.0)  # of which no two wide ones are neighbors
    assert room_for_legend(["a", "b"], 4.0, 3.0) == (0.0, 0.0)
    assert room_for_legend(["a"] * 20, 4.0, 3.0)[1] > 20 * 10 / 72
