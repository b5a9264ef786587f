"""`seqnlp demo`: where it listens, what a visitor may click, and what it says where it cannot open."""

import json
import socket
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from seqnlp.cli import demo as verb
from seqnlp.cli.examples import examples_of
from seqnlp.cli.models import NamedModel
from seqnlp.demo import (
    Forecaster,
    GapFiller,
    ImageClassifier,
    TextClassifier,
    TextWriter,
    TokenClassifier,
    Translator,
    TuneWriter,
)
from seqnlp.extras import install


@pytest.fixture
def seqnlp(seqnlp):
    """Run `seqnlp demo`; gives its exit status, what it printed and its error."""
    return lambda *arguments: seqnlp("demo", *arguments)


def test_a_busy_port_is_told_in_one_line_and_passed_over_where_none_is_asked_for(seqnlp, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, out, error = seqnlp("nowhere", "--port", port)
        assert (status, out) == (2, "")
        assert error.startswith(f"error: --port {port}: Address already in use. Give another")
        assert error.count("\n") == 1
        monkeypatch.setattr(verb, "FIRST_PORT", port)
        assert port < verb._free_port(None) < port + verb.PORTS_TRIED


def test_without_gradio_the_line_says_what_to_install(seqnlp, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "seqnlp.demo.page", raising=False)
    monkeypatch.delitem(sys.modules, "seqnlp.demo.panels", raising=False)
    status, _, error = seqnlp(tmp_path)
    assert status == 2
    assert error == f"error: The page needs gradio: {install('demo')}.\n"


class Page:
    """Notes how it was launched."""

    def launch(self, **options):
        self.options = options

    def block_thread(self):
        raise KeyboardInterrupt

    def close(self, verbose):
        self.is_closed = True


def test_a_page_is_for_this_machine_alone_and_ends_quietly(seqnlp, monkeypatch):
    pytest.importorskip("gradio", reason="the page needs gradio: pip install 'seqnlp[demo]'")
    page = Page()
    monkeypatch.setattr(verb, "open_page", lambda *_, **__: page)
    status, out, _ = seqnlp("somewhere")
    assert status == 130
    assert page.options["server_name"] == "127.0.0.1"
    assert page.options["share"] is False
    assert out == f"Open http://127.0.0.1:{page.options['server_port']} in a browser. Ctrl-C ends it.\n"
    assert page.is_closed


def asked(kind, task, dataset=None, public=False, **settings):
    run = {"task": task, "hyperparameters": settings, "dataset": {"name": dataset}}
    named = NamedModel("m", "m", SimpleNamespace(), object, run)
    answerer = kind.__new__(kind)
    answerer.tokenizer, answerer.settings = SimpleNamespace(mask_token="<mask>"), settings
    return examples_of(named, answerer, public)


def test_examples_are_rows_of_the_validation_data(tmp_path):
    for split in ("train", "validation", "test"):
        rows = [{"text": f"{split} {number}", "label": number % 2} for number in range(9)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = {"dataset_name": str(tmp_path)}
    found, remark = asked(TextClassifier, "sentiment_analysis", **data)
    assert (found, remark) == ([f"validation {number}" for number in (0, 2, 4, 6, 8)], "")
    found, remark = asked(ImageClassifier, "image_classification", "sklearn:digits", dataset_name="sklearn:digits")
    assert [image.size for image in found] == [(8, 8)] * 10
    assert remark == ""
    simulated = {"dataset_name": "simulated:ball", "num_trajectories": 30}
    found, remark = asked(Forecaster, "trajectory", **simulated, context_length=6, prediction_length=3)
    assert np.array(found).shape == (5, 6, 2)
    assert remark == ""


def test_examples_of_taggers_are_sentences_and_of_translators_sources(tmp_path):
    rows = {
        "tags": [{"tokens": ["Ada", "wrote", number], "tags": ["B-PER", "O", "O"]} for number in "123456789"],
        "pairs": [{"source": f"a {number}", "target": f"ein {number}"} for number in "123456789"],
    }
    for name, lines in rows.items():
        (tmp_path / name).mkdir()
        for split in ("train", "validation", "test"):
            (tmp_path / name / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found, remark = asked(TokenClassifier, "tagging", dataset_name=str(tmp_path / "tags"))
    assert (found, remark) == ([f"Ada wrote {number}" for number in "13579"], "")
    found, remark = asked(Translator, "translation", dataset_name=str(tmp_path / "pairs"))
    assert (found, remark) == ([f"a {number}" for number in "13579"], "")


def test_examples_of_data_that_is_gone_or_private_are_those_of_the_task():
    widget = ["What a wonderful evening, thank you all!", "Two hours late and nobody told us why."]
    found, remark = asked(TextClassifier, "sentiment_analysis", dataset_name="/nowhere/reviews")
    assert found == widget
    assert remark.startswith("Examples: those of the task, since the run's data cannot be read")
    assert "\n" not in remark
    found, remark = asked(TextClassifier, "sentiment_analysis", "<local:reviews>", public=True)
    assert (found, remark) == (widget, "Examples: those of the task, since the run's data is not public.")
    assert asked(TextWriter, "language_modeling", prompt="And|So") == (["And", "So"], "")
    assert asked(TuneWriter, "music_generation") == (["6/8 Gmaj", "4/4 Dmaj"], "")
    assert asked(GapFiller, "masked_language_modeling")[0][0] == "In the beginning God ___ the heaven and the earth."
    assert asked(TextClassifier, "no such task") == ([], "")


def test_a_page_takes_the_examples_of_a_file(monkeypatch, tmp_path):
    pytest.importorskip("gradio", reason="the page needs gradio: pip install 'seqnlp[demo]'")
    from seqnlp.demo import page

    monkeypatch.setattr(page, "build_page", lambda _, examples: examples)
    monkeypatch.setattr(verb, "load_model", lambda *_: None)
    file = tmp_path / "examples.json"

    def read(reads, content):
        file.write_text(json.dumps(content))
        monkeypatch.setattr(verb, "answerer_for", lambda _: SimpleNamespace(reads=reads))
        return verb.open_page("somewhere", examples=file)

    assert read("text", ["a", "b"]) == ["a", "b"]
    Image.new("L", (3, 2)).save(tmp_path / "one.png")
    assert [image.size for image in read("image", ["one.png"])] == [(3, 2)]
    assert np.isnan(read("series", [[[1.0, None]]])[0]).tolist() == [[False, True]]
