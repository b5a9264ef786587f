"""Letters that the font of pictures lacks."""

import warnings
from io import BytesIO

import pytest
from matplotlib import rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font

from seqnlp.visualization import saving
from seqnlp.visualization.saving import font_with, save_figure


NOWHERE = "\U000f0000\U000f0001\U000f0002\U000f0003\U000f0004\U000f0005"  # for private use: no font names them


def figure_of(text):
    figure = Figure()
    FigureCanvasAgg(figure)
    figure.subplots().set_xticks([0], [text])
    return figure


@pytest.fixture
def told(monkeypatch):
    lines = []
    monkeypatch.setattr(saving.logger, "warning", lines.append)
    return lines


def test_letters_without_a_font_are_one_line(told, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_figure(figure_of(NOWHERE * 20), tmp_path / "p.png")
    assert told == [f"No font of this system has the letters {NOWHERE[:5]}...: they are empty boxes in a picture."]
    assert (tmp_path / "p.png").stat().st_size > 1000


def test_a_font_of_the_system_draws_what_the_usual_one_lacks(told):
    usual, other = (set(get_font(findfont(name)).get_charmap()) for name in ("DejaVu Sans", "STIXGeneral"))
    code = min(other - usual)
    before, drawn = dict(rcParams), []
    for text in ("a", chr(code)):
        figure, file = figure_of(text), BytesIO()
        save_figure(figure, file)
        assert file.getvalue().startswith(b"\x89PNG")
        assert file.getvalue().endswith(b"IEND\xaeB`\x82")
        drawn.append(figure.axes[0].get_xticklabels()[0].get_fontfamily())
    assert drawn == [["sans-serif"], ["sans-serif", font_with(code)]]
    assert code in get_font(findfont(font_with(code))).get_charmap()
    assert told == []
    assert dict(rcParams) == before
