"""`seqnlp states` on models as recipes leave them in a folder: what it prints, writes and refuses."""

import json
import re

import pytest
import torch
from PIL import Image

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentForSequenceClassification,
    RecurrentForTimeSeriesPrediction,
    TransformerDecoderConfig,
    TransformerDecoderForCausalLM,
)
from seqnlp.tokenization import train_tokenizer


TEXT = 'def f(a, b=(1, 2)):\n    return g(a[0], "x (y)")\n'
SAID = 'He said "come here (now)" and left'


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    characters = train_tokenizer([TEXT, SAID], "char", 90, min_frequency=1)
    words = train_tokenizer([SAID] * 3, "word", 40, min_frequency=1)
    sizes = {"hidden_size": 6}
    made = {
        "writer": (RecurrentForCausalLM, RecurrentConfig(**sizes, vocab_size=len(characters)), characters),
        "classifier": (
            RecurrentForSequenceClassification,
            RecurrentConfig(**sizes, vocab_size=len(words), cell_type="gru", bidirectional=True, num_hidden_layers=2),
            words,
        ),
        "transformer": (
            TransformerDecoderForCausalLM,
            TransformerDecoderConfig(vocab_size=len(words), hidden_size=8, num_hidden_layers=1, num_attention_heads=2),
            words,
        ),
        "series": (RecurrentForTimeSeriesPrediction, RecurrentConfig(input_size=1, hidden_size=4), words),
    }
    for name, (model_class, config, tokenizer) in made.items():
        model_class(config).save_pretrained(root / name)
        tokenizer.save_pretrained(root / name)
    return root


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S).group(1))


def test_a_language_model_of_characters(models, seqnlp, tmp_path):
    page = tmp_path / "new" / "page.html"
    status, out, _ = seqnlp("states", models / "writer", "--text", TEXT, "--output", page)
    assert status == 0
    assert "1 states or gates, 6 units: layer 1, cell state." in out
    rows = [line for line in out.splitlines() if line.endswith(("beyond chance", "no more than chance"))]
    assert [re.split(r"\s{2,}", row)[0] for row in rows] == [
        "inside quotes",
        "inside brackets",
        "bracket depth",
        "position in line",
        "line length",
    ]
    data = data_of(page.read_text())
    assert data["text"] == TEXT
    assert "".join(data["text"][start:end] for start, end in data["spans"]) == TEXT
    with Image.open(page.with_suffix(".png")) as picture:
        assert picture.width > 800
    assert "is there already" in seqnlp("states", models / "writer", "--text", TEXT, "--output", page)[2]


def test_a_classifier_of_words_and_what_the_flags_choose(models, seqnlp, tmp_path):
    given = ["states", models / "classifier", "--text", SAID, "--output", tmp_path / "page.html", "--overwrite"]
    status, out, _ = seqnlp(*given)
    assert status == 0
    assert "layer 1, hidden state; layer 1, backward, hidden state; layer 2, hidden state; layer 2, back" in out
    assert "No search for what units respond to: it takes 20 steps, and the text has 10" in out
    chosen = ["--part", "update_gate,reset_gate", "--layer", 2, "--direction", "backward", "--units", "2,5"]
    status, out, _ = seqnlp(*given, *chosen)
    assert status == 0
    assert "2 states or gates, 12 units: layer 2, backward, reset gate; layer 2, backward, update gate." in out
    assert len(data_of((tmp_path / "page.html").read_text())["traces"]) == 2
    status, out, _ = seqnlp(*given, "--part", "all", "--units", "1,2,3")
    assert "16 states or gates" in out
    assert "The picture shows 8 units; the other 40 are on the page." in out
    status, out, _ = seqnlp("states", models / "classifier", "--text", f"{SAID} zzz", "--max_tokens", 4, *given[4:])
    assert "tokens are cut off (--max_tokens 4)." in out


def test_what_a_model_does_not_know_is_said(models, seqnlp, tmp_path):
    status, out, _ = seqnlp("states", models / "classifier", "--text", "He zzz left", "--output", tmp_path / "p.html")
    assert status == 0
    assert "1 of 3 tokens are unknown to the tokenizer." in out


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram"])
def test_steps_stand_in_the_text_in_order_whatever_the_tokenizer(kind, seqnlp, tmp_path):
    """Pieces of bytes share a character's place; those of a word follow one another."""
    text = "Zürich (in  Switzerland), 日本 🙂\n"
    tokenizer = train_tokenizer([text] * 5, kind, 300, min_frequency=1)
    RecurrentForCausalLM(RecurrentConfig(vocab_size=len(tokenizer), hidden_size=4)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    status, _, _ = seqnlp("states", tmp_path, "--text", text, "--output", tmp_path / "page.html")
    assert status == 0
    spans = data_of((tmp_path / "page.html").read_text())["spans"]
    assert spans == sorted(spans)
    covered = {place for start, end in spans for place in range(start, end)}
    assert {text[place] for place in range(len(text)) if place not in covered} <= set(" \n")


REFUSED = {
    "states {transformer} --text a+b": "has no recurrent state",
    "states {series} --text a+b": "reads no text",
    "states {writer}": "There is no text",
    "states {writer} --text d": "1 token to this model",
    "states {writer} --text def --text_file {writer}/config.json": "Give either --text or --text_file",
    "states {writer} --text def --output page.pdf": "let its name end in .html",
    "states {writer} --text def --part update_gate": "choose among hidden, cell, input_gate, forget_gate",
    "states {writer} --text def --layer 2": "--layer 2: there is 1",
    "states {writer} --text def --direction up": "it is forward or backward",
    "states {writer} --text def --direction backward": "reads forward alone",
    "states {writer} --text def --units 7": "--units 7: there are 6",
    "states {writer} --text def --units x": "give whole numbers above 0",
    "states {writer}/none --text def": "There is no folder",
}


@pytest.mark.parametrize("line", REFUSED, ids=range(len(REFUSED)))
def test_refusals_take_one_line(line, models, seqnlp, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = {folder.name: folder for folder in models.iterdir()}
    status, _, error = seqnlp(*(word.replace("+", " ") for word in line.format_map(folders).split()))
    assert status == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert REFUSED[line] in error
    assert list(tmp_path.iterdir()) == []
