"""What is timed writes what `generate` writes, and the tables say what was found."""

import pytest
import torch

from benchmarks import runtimes
from benchmarks import speed_tables as tables
from benchmarks.peers import Sizes


@pytest.mark.parametrize("name", ["decoder", pytest.param("translator", marks=pytest.mark.long)])
def test_every_runtime_that_is_timed_writes_the_same_tokens(name, monkeypatch):
    monkeypatch.setattr(runtimes, "Sizes", lambda: Sizes(vocab_size=300, width=32, layers=1))
    monkeypatch.setattr(runtimes, "MODELS", {name: runtimes.MODELS[name]})
    monkeypatch.setattr(runtimes, "NEW_TOKENS", 6)
    monkeypatch.setattr(runtimes, "BATCHES", (1, 3))
    torch.manual_seed(0)
    written = {}

    def keep(model, prompt, new_tokens):
        ids = model.generate(prompt, max_new_tokens=new_tokens, do_sample=False)
        start = 1 if model.config.is_encoder_decoder else prompt.shape[1]
        written[len(prompt)] = ids[:, start:].tolist()

    monkeypatch.setattr(runtimes, "generating", keep)
    tokenizer = runtimes.train_tokenizer(["any text"], "bpe", 280)
    words = {f"<no token {row}>": row for row in range(280, 300)} | tokenizer.get_vocab()
    found = {}
    for _, rows, contest in runtimes.contests():
        result = contest.ours()
        if contest.name == "ONNX":
            found[contest.name, rows] = result.tolist()
        elif name == "decoder":
            found[contest.name, rows] = [row.sequences_ids[0] for row in result]
        else:
            found[contest.name, rows] = [[words[word] for word in row.hypotheses[0]] for row in result]
    for rows in (1, 3):
        assert found["ONNX", rows] == found["CTranslate2", rows] == written[rows]
        assert [len(row) for row in found["CTranslate2 int8", rows]] == [6] * rows


def test_the_tables():
    speed = {"model": "decoder", "batch": 1, "generate_tokens_per_second": [10.0, 20.0, 30.0]}
    results = [
        {**speed, "runtime": "ONNX", "tokens_per_second": [40.0, 50.0, 1000.0], "ratio": 2.5},
        {**speed, "runtime": "CTranslate2", "tokens_per_second": [60.0, 60.0, 60.0], "ratio": 3.0},
    ]
    headers = ["model", "batch", "`generate`", "ONNX", "CTranslate2"]
    table = tables.runtimes_table([{"results": results}])
    assert [name.strip() for name in table.splitlines()[0].split("|")[1:-1]] == headers
    assert "| decoder | 1       | 20           | 50 (2.5 times) | 60 (3.0 times) |" in table
    runs = [{"runtime": "CTranslate2", "beams": 5, "alike": 990, "ratio": 2.46}]
    runs[0]["bleu_lowercase"] = {"generate": 30.0, "exported": 30.04}
    assert "| CTranslate2 | 5       | 990 of 1,000" in tables.exported_table([{"rows": 1000, "runs": runs}])
