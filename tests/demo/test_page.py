"""The page's fields for every kind of model, without a browser."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from seqnlp.demo import Options


pytest.importorskip("gradio", reason="the page needs gradio: pip install 'seqnlp[demo]'")

from seqnlp.demo.page import LOOK, build_page
from seqnlp.demo.panels import PANELS, cut_to_ink, is_white_on_black, panel_for


DIGIT = Image.new("L", (8, 8))
ImageDraw.Draw(DIGIT).line([(3, 1), (3, 6)], fill=255)
BLACK = Image.new("RGB", (280, 280))
GIVEN = {
    "pooling": "the cat <b>sat</b>",
    "last": "the cat",
    "several": "the cat",
    "number": "the cat",
    "tagger": "the cat",
    "bert_tagger": "the cat",
    "masked": "the ___ sat",
    "lm": "the cat",
    "gpt2": "the",
    "music": "6/8 G",
    "translator": "the cat",
    "blind": "the cat",
    "images": DIGIT,
    "series": [["1", 2.0], [None, ""], [3.0, 4.0]],
}


def asked(page):
    """The page's answer: a function of what is given and the sliders, with their first values."""
    found = next(function for function in page.fns.values() if function.api_name == "answer")
    sliders = [field.value for field in found.inputs[1:]]
    return lambda given: list(found.fn(given, *sliders))


@pytest.mark.parametrize("name", GIVEN)
def test_a_page_shows_the_answer_of_its_model(name, ask, tmp_path):
    answerer, given = ask(name), GIVEN[name]
    page = build_page(answerer, [[[1.0, 2.0], [3.0, 4.0]] if name == "series" else given])
    DIGIT.save(tmp_path / "digit.png")
    shown = asked(page)(str(tmp_path / "digit.png") if name == "images" else given)[-1]
    assert len(shown) == len(next(f for f in page.fns.values() if f.api_name == "answer").outputs)
    assert [f.api_name for f in page.fns.values() if str(f.api_name).startswith("answer")] == ["answer"]
    if name in ("pooling", "last", "several"):
        assert shown[0] == {one.text: one.probability for one in answerer.answer(given).scores}
        assert "".join(part["token"] for part in shown[1].value) == given
    elif name == "number":
        assert float(shown[0]) == pytest.approx(answerer.answer(given).value, rel=1e-3)
    elif name in ("translator", "blind"):
        assert shown[0] == answerer.answer(given).translation
        assert (shown[1] is None) == (name == "blind")
        assert name != "blind" or "no attention" in shown[-1]
    elif name == "series":
        wanted = answerer.answer(panel_for(answerer).read(given))
        assert shown[1].to_numpy() == pytest.approx(np.array(wanted.forecast), abs=1e-5)
        assert wanted.past == [[1.0, 2.0], [3.0, 4.0]]
    elif name == "images":
        assert shown[0] == {one.text: one.probability for one in answerer.answer(given).scores}
        assert shown[1].size == (288, 288)


def test_a_text_streams_onto_the_page(ask):
    answerer = ask("lm")
    shown = asked(build_page(answerer))("the cat")
    texts = [row[0] for row in shown]
    assert texts[0] == "the cat"
    assert len(texts) >= 3
    assert texts == sorted(texts, key=len)
    assert shown[0][2] == []
    assert "".join(token for token, _ in shown[-1][2]) == texts[-1].removeprefix("the cat")


def test_beams_of_the_slider_draw_nothing(ask):
    answerer = ask("lm")
    found = next(one for one in build_page(answerer).fns.values() if one.api_name == "answer")
    wanted = answerer.answer("the", Options(num_beams=3, max_new_tokens=4))
    assert list(found.fn("the", 0.9, 3, 4))[-1][0] == f"the{wanted.text}"


def test_a_click_on_an_example_is_answered_as_what_is_typed_is(ask):
    """By the sliders as they stand, and not beside another answer of the same model."""
    page = build_page(ask("lm"), ["the cat"])
    answer = next(one for one in page.fns.values() if one.api_name == "answer")
    asking = [one for one in page.fns.values() if one.outputs == answer.outputs]
    assert len(asking) == 3  # the button, Enter, an example
    for one in asking:
        assert (one.fn, one.inputs, one.concurrency_id) == (answer.fn, answer.inputs, "model")
        assert len(one.inputs) == 4


def test_small_and_large_numbers_of_a_series_are_shown_as_they_are(ask):
    page = build_page(ask("series"), [np.array([[1.25e-7, 123456.789], [np.nan, 1 / 3]])])
    shown = next(block for block in page.blocks.values() if type(block).__name__ == "Dataset").samples
    assert str(shown[0][0]) == "[[1.25e-07, 123456.8], [nan, 0.3333333]]"
    panel = panel_for(ask("series"))
    answer = ask("series").answer(panel.read([[1.0, 2.0], [3.0, 4.0]]))
    answer.forecast = [[2.5e-7, 65432.125]]
    assert panel.show(answer)[1].to_numpy().tolist() == [[2.5e-7, 65432.12]]


def test_an_error_is_a_line_of_the_page_and_text_is_never_markup(ask):
    shown = asked(build_page(ask("masked")))("<script>alert(1)</script>")[-1]
    assert shown[-1].startswith("<b>There is no gap in")
    assert "<script>" not in shown[-1]
    assert "&lt;script&gt;" in shown[-1]


def test_every_answerer_has_a_panel():
    from seqnlp.demo.answerers import ANSWERERS

    assert set(PANELS) == set(ANSWERERS)


def test_a_drawing_is_cut_to_its_ink():
    drawing = BLACK.copy()
    ImageDraw.Draw(drawing).rectangle([200, 100, 219, 179], fill="white")
    cut = cut_to_ink(drawing)
    assert cut.size == (100, 100)  # 80 high, an eighth of that at each side
    assert np.asarray(cut.convert("L")).sum() == np.asarray(drawing.convert("L")).sum()
    assert np.asarray(cut.convert("L"))[10:90, 40:60].min() == 255
    assert cut_to_ink(BLACK) is None


def test_only_what_looks_like_the_examples_is_drawn(ask):
    assert is_white_on_black(DIGIT)
    assert not is_white_on_black(Image.effect_noise((8, 8), 90).point(lambda value: 255 - value // 2))
    assert not is_white_on_black(Image.new("RGB", (8, 8), "blue"))
    labels = {
        name: [block.label for block in build_page(ask("images"), rows).blocks.values() if hasattr(block, "label")]
        for name, rows in (("digits", [DIGIT]), ("photos", [Image.new("RGB", (8, 8), "blue")]), ("none", []))
    }
    assert "Draw" in labels["digits"]
    assert "Draw" not in labels["photos"]
    assert "Draw" not in labels["none"]


def test_nothing_is_told_to_anyone():
    assert not build_page_of_nothing().analytics_enabled
    assert all(isinstance(font, str) or "google" not in type(font).__name__.lower() for font in LOOK["theme"]._font)


def build_page_of_nothing():
    import gradio as gr

    with gr.Blocks() as page:
        pass
    return page


def test_a_row_of_another_width_and_a_word_among_numbers_are_told(ask):
    answer = asked(build_page(ask("series")))
    for rows in ([[1.0], [2.0]], [[1.0, 2.0, 3.0]], [[1.0, 2.0], [3.0]]):
        assert "cells: give one for each of" in answer(rows)[-1][-1]
    assert "Cells without a number, e.g. 1,5, read as gaps: 1." in answer([["1,5", 2.0], [3.0, 4.0]])[-1][-1]


def test_a_file_of_an_image_is_read_as_the_terminal_reads_it(ask, tmp_path):
    gray = (np.arange(64, dtype=np.uint16) * 1040).reshape(8, 8)
    Image.fromarray(gray).save(tmp_path / "deep.png")
    answerer, answer = ask("images"), asked(build_page(ask("images")))
    shown = answer(str(tmp_path / "deep.png"))[-1]
    wanted = answerer.answer(answerer.read(tmp_path / "deep.png"))
    assert shown[0] == {one.text: one.probability for one in wanted.scores}
    assert "white at 65535" in shown[-1]
    (tmp_path / "text.png").write_text("text")
    assert "cannot be read" in answer(str(tmp_path / "text.png"))[-1][-1]


def test_a_tune_that_cannot_be_played_is_told_on_the_page(ask, monkeypatch):
    answerer = ask("music")
    monkeypatch.setattr(answerer, "finish", lambda answer: setattr(answer, "problem", "music21 cannot read it"))
    remark = asked(build_page(answerer))("6/8 G")[-1][-1]
    assert "This tune cannot be played: music21 cannot read it. Try again." in remark
