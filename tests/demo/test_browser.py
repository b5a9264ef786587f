"""The page in a browser: typing, clicking, drawing, the keyboard alone, a narrow window."""

import shutil
import socket
import time

import pytest
from PIL import Image, ImageDraw

from seqnlp.demo import TextWriter, read_series


pytest.importorskip("gradio", reason="the page needs gradio: pip install 'seqnlp[demo]'")
playwright = pytest.importorskip(
    "playwright.sync_api", reason="a browser is driven by playwright: pip install playwright"
)
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine: apt-get install chromium"),
]

WIDE, NARROW = {"width": 1100, "height": 800}, {"width": 390, "height": 800}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, ask):
    """Open the page of a model; at the end nothing may have been asked of anyone else."""
    from seqnlp.cli.demo import launch
    from seqnlp.demo.page import build_page

    pages, asked = [], []

    def open_page(name, examples=(), size=WIDE):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        pages.append(build_page(ask(name), examples))
        launch(pages[-1], server_name="127.0.0.1", server_port=port, prevent_thread_lock=True)
        tab = browser.new_page(viewport=size)
        tab.set_default_timeout(60_000)
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(f"http://127.0.0.1:{port}")
        tab.wait_for_selector("h1")
        pages.append(tab)
        return tab

    yield open_page
    for page in reversed(pages):
        page.close()
    elsewhere = [
        url for url in asked if not url.startswith(("http://127.0.0.1:", "data:", "blob:", "ws://127.0.0.1:"))
    ]
    assert elsewhere == []


def shown(answer):
    """Label and percentage as the page writes them."""
    best = answer.scores[0]
    return best.text, f"{best.probability:.0%}"


def wait_for(tab, selector, text):
    tab.locator(selector).filter(has_text=text).first.wait_for()


def test_type_and_see(visit, ask):
    tab = visit("last")
    tab.fill("#given textarea", "the cat sat on the dog")
    tab.keyboard.press("Enter")
    for part in shown(ask("last").answer("the cat sat on the dog")):
        wait_for(tab, "#classes", part)
    assert "the cat sat" in " ".join(tab.inner_text("body").split())


def test_click_an_example(visit, ask):
    tab = visit("last", ["the mat", "the dog looked at the mat"])
    tab.get_by_role("button", name="the dog looked at the mat").click()
    for part in shown(ask("last").answer("the dog looked at the mat")):
        wait_for(tab, "#classes", part)
    assert tab.input_value("#given textarea") == "the dog looked at the mat"


def test_with_the_keyboard_alone(visit, ask):
    tab = visit("last")
    tab.wait_for_function("document.activeElement.tagName == 'TEXTAREA'")  # where typing goes without a click
    tab.get_by_role("button", name="Classify").and_(tab.locator(":enabled")).wait_for()
    tab.keyboard.type("the dog")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.innerText") == "Classify"
    tab.keyboard.press("Enter")
    for part in shown(ask("last").answer("the dog")):
        wait_for(tab, "#classes", part)


@pytest.mark.parametrize("name", ["last", "translator", "series", "images", "lm"])
def test_a_narrow_window_needs_no_scrolling_sideways(visit, name):
    tab = visit(name, size=NARROW)
    assert tab.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    given = tab.locator("#given").bounding_box()
    assert given["x"] >= 0
    assert given["x"] + given["width"] <= NARROW["width"]


def test_a_text_appears_piece_by_piece(visit, monkeypatch):
    respond = TextWriter.respond

    def slowly(self, given, options):
        """So that a busy machine draws the page between two pieces."""
        for answer in respond(self, given, options):
            yield answer
            time.sleep(0.3)

    monkeypatch.setattr(TextWriter, "respond", slowly)
    tab = visit("lm")
    tab.get_by_role("button", name="How to answer").click()
    tab.get_by_label("number input for Length at most").fill("60")
    tab.fill("#given textarea", "the cat")
    tab.get_by_role("button", name="Go on").click()
    seen = set()
    deadline = time.monotonic() + 60
    while len(seen) < 4 and time.monotonic() < deadline:
        seen.add(tab.input_value("#written textarea"))
        time.sleep(0.01)
    lengths = sorted(map(len, seen))
    assert len(lengths) >= 4
    assert max(seen, key=len).startswith("the cat")


def test_a_translation_and_its_picture(visit, ask):
    tab = visit("translator")
    tab.fill("#given textarea", "the cat sat")
    tab.get_by_role("button", name="Translate").click()
    wanted = ask("translator").answer("the cat sat").translation
    tab.wait_for_function("wanted => document.querySelector('#translation textarea').value == wanted", arg=wanted)
    tab.locator("img[src*='alignment.png']").wait_for()


def test_labels_of_words(visit, ask):
    tab = visit("bert_tagger")
    tab.fill("#given textarea", "the cat")
    tab.keyboard.press("Enter")
    for tag in ask("bert_tagger").answer("the cat").tags:
        wait_for(tab, "body", tag.label)


def test_a_digit_is_drawn_and_one_is_uploaded(visit, ask, tmp_path):
    digit = Image.new("L", (8, 8))
    ImageDraw.Draw(digit).line([(3, 1), (3, 6)], fill=255)
    tab = visit("images", [digit])
    tab.wait_for_selector("#canvas canvas")
    time.sleep(2)  # the canvas finds its place
    box = tab.locator("#canvas canvas").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + 80
    tab.mouse.move(x, y)
    tab.mouse.down()
    for step in range(12):
        tab.mouse.move(x, y + 12 * step)
    tab.mouse.up()
    time.sleep(1)
    tab.get_by_role("button", name="Classify").first.click()
    wait_for(tab, "#classes", "LABEL_")
    file = tmp_path / "other.png"
    Image.effect_noise((8, 8), 90).save(file)
    tab.get_by_role("tab", name="Upload").click()
    tab.set_input_files("#given input[type=file]", file)
    for part in shown(ask("images").answer(Image.open(file))):
        wait_for(tab, "#classes", part)


def test_a_file_of_numbers(visit, ask, tmp_path):
    file = tmp_path / "walk.csv"
    file.write_text("height,width\n" + "".join(f"{n},{n * n}\n" for n in range(6)))
    tab = visit("series")
    tab.set_input_files("[data-testid='Read a csv file-upload-button']", file)
    wanted = ask("series").answer(read_series(file, ["height", "width"]))
    wait_for(tab, "body", f"{round(wanted.forecast[0][0], 5):g}"[:6])
    wait_for(tab, "body", "Of 6 steps the last 4 are read")
    assert tab.locator("canvas, svg").count() > 0


def test_a_tune_has_a_player_notes_and_a_piano_roll(visit, monkeypatch):
    abc = "X:1\nM:6/8\nL:1/8\nK:Gmaj\nABc def|gab gfe|\n"
    monkeypatch.setattr("seqnlp.demo.writers.to_abc", lambda _: abc)
    tab = visit("music")
    tab.fill("#given textarea", "6/8 G")
    tab.keyboard.press("Enter")
    tab.locator("img[src*='tune.png']").wait_for()
    notes = tab.get_by_alt_text("Sheet music of the tune")
    assert notes.evaluate("image => image.complete && image.naturalHeight") > 30
    assert tab.locator("#waveform, audio").count() > 0
    tab.wait_for_function("wanted => document.querySelector('#written textarea').value == wanted", arg=abc)


def test_what_cannot_be_answered_is_a_line_on_the_page(visit):
    tab = visit("masked")
    tab.fill("#given textarea", "no gap")
    tab.keyboard.press("Enter")
    wait_for(tab, "body", "There is no gap in 'no gap': write ___ for one.")
