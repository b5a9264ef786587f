"""The page of attention weights: what it holds, and what a browser makes of it."""

import base64
import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image

from seqnlp.diagnostics import AttentionMap
from seqnlp.visualization import plot_attention, write_attention_page


EVIL = "</script><img src=x onerror=document.body.dataset.ran=1>"
ARROW = "new KeyboardEvent('keydown', {key: 'Arrow%s', bubbles: true})"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


def weights(heads, queries, keys):
    return torch.randn(heads, queries, keys).softmax(dim=-1)


def text_map(tokens, layers=2, heads=3):
    found = [weights(heads, len(tokens), len(tokens)) for _ in range(layers)]
    return AttentionMap("self-attention", found, tokens, tokens)


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S).group(1))


def browse(path, tmp_path, script=""):
    """The page's DOM after its scripts ran, and then `script`."""
    if script:
        page = path.read_text().replace("</body>", f"<script>{script}</script></body>")
        path = path.with_name("scripted.html")
        path.write_text(page)
    finished = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--no-first-run",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=3000",
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    return finished.stdout


def test_the_page_holds_the_weights_and_nothing_of_a_token_is_markup(tmp_path):
    found = text_map(["a", EVIL, "\u2028 & <b>", "ü\n"])
    path = tmp_path / "page.html"
    write_attention_page([found], path, f"Attention of {EVIL}")
    page = path.read_text()
    assert EVIL not in page
    assert "<img" not in page
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page)  # opens offline
    data = data_of(page)
    assert data["maps"][0]["keys"] == found.keys
    numbers = np.frombuffer(base64.b64decode(data["maps"][0]["weights"]), dtype="<u2") / 65535
    np.testing.assert_allclose(numbers.reshape(2, 3, 4, 4), torch.stack(found.layers), atol=1e-5)


@needs_browser
def test_a_browser_shows_tokens_as_text_and_reads_out_the_weight(tmp_path):
    found = text_map(["a", EVIL, "c"])
    cross = AttentionMap("cross-attention", [weights(2, 2, 3)], ["x", "y"], ["a", "b", "c"])
    path = tmp_path / "page.html"
    write_attention_page([found, cross], path, "A <i>title</i>", answer="It says 1 < 2")
    choose = "const c = document.getElementById('%s'); c.value = %d; c.dispatchEvent(new Event('change'));"
    script = (
        f"{{ {choose % ('layer', 1)} }} {{ {choose % ('head', 2)} }}"
        f"document.getElementById('cells').dispatchEvent({ARROW % 'Right'});"
        "document.body.dataset.first = document.getElementById('readout').textContent;"
        # Hover over the cell in the first row and column, and then over the second token among the keys.
        "const cells = document.getElementById('cells'), box = cells.getBoundingClientRect();"
        "cells.dispatchEvent(new MouseEvent('mousemove', {clientX: box.left + 3, clientY: box.top + 3}));"
        "document.body.dataset.cell = document.getElementById('readout').textContent;"
        "document.getElementById('keys').children[1].dispatchEvent(new MouseEvent('mouseenter'));"
        "document.body.dataset.token = document.getElementById('readout').textContent;"
        f"{{ {choose % ('map', 1)} }}"
    )
    shown = browse(path, tmp_path, script)
    assert 'data-ready="true"' in shown
    assert "data-ran=" not in shown
    assert "A &lt;i&gt;title&lt;/i&gt;</h1>" in shown
    first = re.search(r'data-first="([^"]*)"', shown).group(1)
    assert first.startswith("self-attention, layer 2, head 3: “c” (3 of 3) looks at")
    key = min(int(found.layers[0][0, 2].argmax()) + 1, 2)  # one to the right of where the page starts
    assert first.endswith(f"({key + 1} of 3) with a weight of {found.layers[1][2, 2, key]:.2%}.".replace("%", " %"))
    for name, key, token in (("cell", 0, "a"), ("token", 1, html.escape(EVIL, quote=False))):
        read = re.search(f'data-{name}="([^"]*)"', shown).group(1)
        assert read.startswith("self-attention, layer 2, head 3: “a” (1 of 3) looks at")
        assert token in read or html.escape(token) in read
        assert read.endswith(f"({key + 1} of 3) with a weight of {found.layers[1][2, 0, key]:.2%}.".replace("%", " %"))
    second = re.search(r'id="readout"[^>]*>([^<]*)<', shown).group(1)
    assert second.startswith("cross-attention, layer 1, head 1: “y” (2 of 2) looks at")
    assert second.endswith(f"{100 * cross.layers[0][0, 1].max():.2f} %.")
    assert '<p id="answer" class="">It says 1 &lt; 2</p>' in shown
    assert shown.count("<canvas") >= 2 + 2


def contrast(one, other):
    """The ratio of WCAG 2.1 between two colors of 0 to 255."""
    linear = [np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) for c in np.array([one, other]) / 255]
    dark, light = sorted(float(c @ [0.2126, 0.7152, 0.0722]) for c in linear)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_letters_can_be_read_on_every_color(tmp_path):
    path = tmp_path / "page.html"
    write_attention_page([text_map(["a", "b"])], path, "A title")
    page = path.read_text()
    assert page.count("function ink(") == 1
    assert "style.color = ink(" in page
    ramps = data_of(page)["ramps"]
    colors = [*ramps["light"], *ramps["dark"], *([level] * 3 for level in range(256))]
    script = page[page.index("function ink(") :].split("\n}\n")[0] + "\n}\n"
    script += f"console.log(JSON.stringify({json.dumps(colors)}.map(ink)))"
    inks = json.loads(subprocess.run(["node", "-e", script], capture_output=True, text=True, check=True).stdout)
    for color, chosen in zip(colors, inks, strict=True):
        assert contrast(color, {"#000": [0] * 3, "#fff": [255] * 3}[chosen]) >= 4.5


@needs_browser
def test_a_browser_lays_the_weights_over_an_image(tmp_path):
    names = ["class token", *(f"row {r}, column {c}" for r in (1, 2) for c in (1, 2))]
    found = AttentionMap("self-attention", [weights(2, 5, 5)], names, names, grid=(2, 2))
    path = tmp_path / "page.html"
    write_attention_page([found], path, "An image", Image.new("RGB", (8, 8), "green"))
    script = f"document.getElementById('source').dispatchEvent({ARROW % 'Down'})"
    shown = browse(path, tmp_path, script)
    assert 'id="imagePart" class=""' in shown
    assert re.search(r'id="textPart"[^>]*hidden', shown)
    key = int(found.layers[0][0, 0].argmax())  # where the class token, with which it starts, looks most
    weight = found.layers[0][0, 3, key]
    assert (
        f"“row 2, column 1” (4 of 5) looks at “{names[key]}” ({key + 1} of 5) with a weight of {100 * weight:.2f} %"
        in shown
    )


def test_colors_are_linear_in_the_weight_and_letters_are_labels(tmp_path, monkeypatch):
    found = AttentionMap("self-attention", [torch.tensor([[[0.25, 0.75], [0.5, 0.5]]])], ["a", "b"], ["a", "b"])
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    plot_attention(found, tmp_path / "one.png")
    axis, bar = drawn[0].axes
    panel = axis.images[0].get_array()
    blues = colormaps["Blues"]
    for (row, column), share in {(0, 0): 1 / 3, (0, 1): 1.0, (1, 0): 2 / 3}.items():  # of the largest, 75 %
        assert panel[row, column].tolist() == pytest.approx(blues(share))
    assert bar.get_ylim() == (0, 75)
    letters = list("abcdefghijklmnopqrstuvwxyzäöü.")
    weights_of_letters = torch.full((2, 30, 30), 1 / 30)
    plot_attention(AttentionMap("self-attention", [weights_of_letters], letters, letters), tmp_path / "two.png")
    assert [label.get_text() for label in drawn[1].axes[0].get_xticklabels()] == letters * 2


def test_a_long_token_leaves_room_for_the_picture(tmp_path, monkeypatch):
    drawn = []
    savefig = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *given, **how: drawn.append((figure, savefig(figure, *given, **how)))
    )
    address = "https://example.org/" + "a" * 180
    plot_attention(
        AttentionMap("alignment", [weights(1, 3, 3)], ["<s>", "\n", address], ["a", "b", address]),
        tmp_path / "one.png",
    )
    figure = drawn[0][0]
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["<s>", "⏎", "https://example.org/aaa…"]
    assert axis.get_window_extent().height > 0.25 * figure.bbox.height
    assert axis.get_window_extent().width > 0.25 * figure.bbox.width


def test_a_title_that_looks_like_a_place_of_the_page_is_a_title(tmp_path):
    write_attention_page([text_map(["a", "b"])], tmp_path / "page.html", "__DATA__ and __TITLE__")
    page = (tmp_path / "page.html").read_text()
    assert "<title>__DATA__ and __TITLE__</title>" in page
    assert data_of(page)["title"] == "__DATA__ and __TITLE__"


@pytest.mark.parametrize("kind", ["few tokens", "many tokens", "one head", "image"])
def test_pictures_of_every_kind_are_drawn(tmp_path, kind):
    image = None
    if kind == "image":
        names = [f"row {r}, column {c}" for r in (1, 2) for c in (1, 2)]
        found = AttentionMap("self-attention", [weights(2, 4, 4)], names, names, grid=(2, 2))
        image = Image.new("L", (8, 8), 90)
    elif kind == "one head":
        found = AttentionMap("alignment", [weights(1, 3, 4)], ["$x", "\x00", "_y^"], list("abcd"))
    else:
        found = text_map([f"$t_{i}$" for i in range(5 if kind == "few tokens" else 40)])
    path = tmp_path / "picture.png"
    plot_attention(found, path, "A $title", image)
    with Image.open(path) as picture:
        assert picture.width > 300
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20
