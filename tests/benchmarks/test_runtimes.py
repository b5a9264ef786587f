"""What is timed writes what `generate` writes, and the tables say what was found."""

import json
import random

import pytest
import torch
from sacrebleu.metrics import BLEU as SacreBLEU
from sacrebleu.significance import PairedTest

from benchmarks import runtimes
from benchmarks import speed_tables as tables
from benchmarks.peers import Sizes
from seqnlp import TransformerConfig, TransformerForConditionalGeneration


@pytest.mark.long
@pytest.mark.parametrize("name", runtimes.MODELS)
def test_every_runtime_that_is_timed_writes_the_same_tokens(name, monkeypatch):
    monkeypatch.setattr(runtimes, "Sizes", lambda: Sizes(vocab_size=300, width=32, layers=1))
    monkeypatch.setattr(runtimes, "MODELS", {name: runtimes.MODELS[name]})
    monkeypatch.setattr(runtimes, "NEW_TOKENS", 6)
    monkeypatch.setattr(runtimes, "BATCHES", (1, 3))
    torch.manual_seed(0)
    written, peers = {}, {}

    def keep(model, prompt, new_tokens):
        if not type(model).__module__.startswith("seqnlp"):
            return lambda: model
        ids = model.generate(prompt, max_new_tokens=new_tokens, do_sample=False)
        start = 1 if model.config.is_encoder_decoder else prompt.shape[1]
        written[len(prompt)] = ids[:, start:].tolist()

    monkeypatch.setattr(runtimes, "generating", keep)
    tokenizer = runtimes.train_tokenizer(["any text"], "bpe", 280)
    words = {f"<no token {row}>": row for row in range(280, 300)} | tokenizer.get_vocab()
    found = {}
    for _, rows, contest in runtimes.contests():
        result = contest.ours()
        if contest.name == runtimes.PEER:
            peers[rows] = type(result).__name__
        elif contest.name == "ONNX":
            found[contest.name, rows] = result.tolist()
        elif name == "decoder":
            found[contest.name, rows] = [row.sequences_ids[0] for row in result]
        else:
            found[contest.name, rows] = [[words[word] for word in row.hypotheses[0]] for row in result]
    assert set(peers.values()) == {{"decoder": "LlamaForCausalLM", "translator": "MarianMTModel"}[name]}
    for rows in (1, 3):
        assert found["ONNX", rows] == found["CTranslate2", rows] == written[rows]
        assert [len(row) for row in found["CTranslate2 int8", rows]] == [6] * rows


def test_a_translator_is_compared_row_by_row(tmp_path):
    tokenizer = runtimes.train_tokenizer(["a cat sleeps", "eine Katze"], "bpe", 280)
    torch.manual_seed(0)
    words = {"vocab_size": 280, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "initializer_range": 0.3}
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 200}
    model = TransformerForConditionalGeneration(TransformerConfig(**words, **sizes))
    model.save_pretrained(tmp_path / "run")
    tokenizer.save_pretrained(tmp_path / "run")
    (tmp_path / "data").mkdir()
    rows = [{"en": "a cat " * (1 + row % 7), "de": "eine Katze " * (1 + row % 7)} for row in range(1, 41)]
    for split in ("train", "validation", "test"):
        (tmp_path / "data" / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    flags = {"dataset_name": "<local:data>", "source_column": "en", "target_column": "de"}
    record = {"task": "translation", "hyperparameters": flags, "dataset": {"name": "<local:data>"}}
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    found = runtimes.measure_translator(str(tmp_path / "run"), "test", 1, str(tmp_path / "data"), keep=False)
    assert (found["rows"], found["parameters"]) == (40, model.num_parameters())
    exact, rounded = found["runs"]
    assert (exact["runtime"], rounded["runtime"]) == ("CTranslate2", "CTranslate2 int8")
    assert exact["alike"] == 40
    assert exact["bleu_lowercase"]["generate"] == exact["bleu_lowercase"]["exported"]
    assert exact["bleu_difference_interval"] == (0, 0)
    assert len(exact["seconds"]["generate"]) == 2  # batches of 32 and 8


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
    runs[0]["bleu_difference_interval"] = [-0.2, 0.26]
    table = tables.exported_table([{"rows": 1000, "runs": runs}])
    assert "| CTranslate2 | 5       | 990 of 1,000" in table
    assert "| +0.04 (-0.20 to +0.26) |" in table


def test_the_interval_of_a_difference_is_of_the_same_sentences():
    """Against sacrebleu's own paired resampling, and by hand where one side is right and the other says nothing."""
    draw = random.Random(0)
    words = ["a", "the", "cat", "dog", "sees", "sleeps", "runs", "and", "on", "in"]
    references = [" ".join(draw.choices(words, k=12)) for _ in range(150)]
    worse, better = (
        [" ".join(word if draw.random() < share else "it" for word in text.split()) for text in references]
        for share in (0.7, 0.8)
    )
    low, high = runtimes.difference_interval(better, worse, references)
    test = PairedTest(
        [("worse", worse), ("better", better)],
        {"BLEU": SacreBLEU(lowercase=True, references=[references])},
        None,
        test_type="bs",
        n_samples=1000,
    )
    _, found = test()
    (_, (first, second)) = list(found.items())[1]
    assert low < second.score - first.score < high
    assert second.ci / 2 < high - low < 2 * (first.ci + second.ci)  # of two sides that go up and down together
    assert runtimes.difference_interval(references, references, references) == (0, 0)
    assert runtimes.difference_interval(references, ["x y z v"] * 150, references) == pytest.approx((100, 100))
    assert runtimes.difference_interval(["x y z v"] * 150, references, references) == pytest.approx((-100, -100))
