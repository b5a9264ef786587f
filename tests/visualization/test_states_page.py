"""The page of states: what it holds, and what a browser makes of it."""

import base64
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from seqnlp.diagnostics import Reading, Trace, find_responses
from seqnlp.visualization import ShownUnit, plot_states, states, write_states_page


EVIL = "</script><img src=x onerror=document.body.dataset.ran=1>"
TEXT = f'a (b) "c" {EVIL}\n$x$ (d\te)'
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def measured():
    torch.manual_seed(0)
    spans = [(i, i + 1) for i in range(len(TEXT))]
    traces = [
        Trace("layer 1", 1, "cell", True, False, 3 * torch.randn(len(TEXT), 4)),
        Trace("layer 1, backward", 1, "update_gate", False, True, torch.rand(len(TEXT), 4)),
    ]
    reading = Reading(TEXT, spans, traces)
    return reading, *find_responses(reading, traces)


@pytest.fixture
def page(measured, tmp_path):
    reading, responses, remarks = measured
    path = tmp_path / "page.html"
    write_states_page(reading, reading.traces, responses, [*remarks, "<b>"], path, f"States of {EVIL}")
    return path


def test_the_page_holds_the_values_and_nothing_of_the_text_is_markup(measured, page):
    source = page.read_text()
    assert EVIL not in source
    assert "<img" not in source
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", source)  # opens offline
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', source, re.S).group(1))
    assert data["text"] == TEXT
    for packed, trace in zip(data["traces"], measured[0].traces, strict=True):
        levels = np.frombuffer(base64.b64decode(packed["levels"]), dtype="i1").reshape(4, -1)
        largest = np.array(packed["largest"])[:, None]
        np.testing.assert_allclose(levels * largest / 127, trace.values.numpy().T, atol=0.005 * largest.max())


def test_a_picture_is_drawn_with_and_without_a_property(measured, tmp_path):
    reading, responses, _ = measured
    found = [ShownUnit(*one.best()[0][:2], one) for one in responses]
    for name, shown in (("found", found), ("asked", [ShownUnit(reading.traces[1], 2)])):
        plot_states(reading, shown, tmp_path / f"{name}.png", "States of $x$")
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 50


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_browser_shows_the_text_in_colors_and_reads_out_a_value(measured, page, tmp_path):
    script = """
      const press = (id, key) => at(id).dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
      at("trace").value = 0; at("trace").dispatchEvent(new Event("change"));
      at("unit").value = 2; at("unit").dispatchEvent(new Event("change"));
      press("text", "ArrowRight"); press("text", "ArrowRight");
      document.body.dataset.shown = at("text").textContent;
      document.body.dataset.readout = at("readout").textContent;
      document.body.dataset.colored = new Set(spans.map((span) => span.style.backgroundColor)).size;
      document.body.dataset.map = `${at("map").width} x ${at("map").height}`;
      document.body.dataset.broad = document.documentElement.scrollWidth - document.documentElement.clientWidth;
    """
    scripted = tmp_path / "scripted.html"
    scripted.write_text(page.read_text().replace("</body>", f"<script>{script}</script></body>"))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=500,900", "--virtual-time-budget=3000"]
    command = [CHROMIUM, *options, "--dump-dom", scripted.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    assert 'data-ready="true"' in dom
    assert "data-ran" not in dom
    assert f'data-map="{len(TEXT)} x 4"' in dom
    assert 'data-broad="0"' in dom  # nothing runs off a narrow window
    assert int(re.search(r'data-colored="(\d+)"', dom).group(1)) > 20
    value = float(measured[0].traces[0].values[2, 1])
    said = re.search(r'data-readout="layer 1, cell state, unit 2 of 4: (-?[\d.]+) at “\(” \(3 of', dom)
    assert float(said.group(1)) == pytest.approx(value, abs=0.06)


def test_each_letter_stands_over_its_cell():
    """The picture counts on the width of a letter: what it says of one must not lie beneath another."""
    figure = Figure(dpi=100)
    line = figure.text(0, 0, "x" * 96, family="DejaVu Sans Mono", fontsize=states._FONT_SIZE)
    with rc_context({"text.hinting": "none"}):
        width = line.get_window_extent(FigureCanvasAgg(figure).get_renderer()).width
    assert width == pytest.approx(96 * states._ADVANCE * 100, rel=0.005)
