"""The verbs that look inside, on a model of the Hub as on a folder."""

import json
import sys

import pytest
from finished_run import write_run
from local_hub import Blob, Repo
from transformers import BertConfig, BertForMaskedLM

from seqnlp import RecurrentConfig, RecurrentForSequenceClassification
from seqnlp.cli import main as command
from seqnlp.publishing import publish
from seqnlp.tokenization import train_tokenizer


TEXT = "an awful film"


@pytest.fixture
def seqnlp(monkeypatch, capsys):
    """Run the command; gives its exit status, what it printed and its error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["seqnlp", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            command.main()
        captured = capsys.readouterr()
        return stopped.value.code or 0, captured.out, captured.err

    return run


def test_a_published_run(hub, seqnlp, tmp_path):
    tokenizer = train_tokenizer(["a good film", TEXT], "word", 30, model_max_length=16)
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 8, "pad_token_id": tokenizer.pad_token_id}
    model = RecurrentForSequenceClassification(RecurrentConfig(**sizes, pooling="attention"))
    history = [{"step": 4, "clipped_share": 0.75, "epoch": 1.0, "train_loss": 1.0}]
    publish(write_run(tmp_path / "films", model=model, processor=tokenizer, history=history))
    picture, page = tmp_path / "flow.png", tmp_path / "page.html"
    status, out, error = seqnlp("gradflow", "alice/films", "--text", TEXT, "--output", picture)
    assert (status, error) == (0, "")
    assert "75%" in out
    assert len(json.loads(picture.with_suffix(".json").read_text())["alice/films"]["series"][0]["norms"]) == 3
    status, out, _ = seqnlp("attention", "alice/films", "--text", TEXT, "--output", page)
    assert status == 0
    assert "1 x 3 weights" in out
    status, _, error = seqnlp("attention", "alice/nothing", "--text", TEXT, "--output", page, "--overwrite")
    assert status == 2
    assert "neither as a folder nor on the Hub" in error


def test_somebody_elses_model_without_a_record(hub, seqnlp, tmp_path):
    tokenizer = train_tokenizer([TEXT], "word", 30, model_max_length=16)
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}
    BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    hub.repos["bob/bert"] = repo = Repo("bob/bert", private=False)
    files = {
        path.name: Blob(path.read_bytes(), path.suffix == ".safetensors") for path in (tmp_path / "bert").iterdir()
    }
    repo.add_commit("refs/heads/main", files, repo.resolve("main"))
    status, out, _ = seqnlp("attention", "bob/bert", "--text", TEXT, "--output", tmp_path / "page.html")
    assert status == 0
    assert "2 layers of 2 heads, 3 x 3 weights" in out
