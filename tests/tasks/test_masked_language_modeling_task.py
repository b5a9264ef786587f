"""A text of few words, a model that knows nothing, and the frequencies of its words counted by hand."""

import math
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from transformers import pipeline
from uniform_models import begin, outcome_of, uniform

from seqnlp.metrics import masked_language_modeling_scores, nats_and_hits
from seqnlp.tasks.masked_language_modeling import BASELINE, MaskedLanguageModeling
from seqnlp.tokenization import train_tokenizer
from seqnlp.training import ArgumentsError


@pytest.fixture
def prepared(tmp_path):
    for split, text in (("train", "a b a c\n"), ("validation", "a b <mask> a"), ("test", "a b c d a b " * 3)):
        (tmp_path / f"{split}.txt").write_text(text)
    files = [
        part for split in ("train", "validation", "test") for part in (f"--{split}_file", tmp_path / f"{split}.txt")
    ]
    size = ["--tokenizer_type", "word", "--min_frequency", 1, "--max_length", 8]
    task, run = begin(MaskedLanguageModeling, tmp_path, *files, *size, "--mask_share", 0.5)
    loaded = task.load_data(run)
    tokenizer = train_tokenizer(loaded.splits["train"]["text"], **task.tokenizer_settings())
    return task, run, task.prepare_data(run, loaded, tokenizer)


def test_frequencies_and_a_model_that_knows_nothing(prepared):
    task, run, data = prepared
    tokenizer = data.processor
    assert [tokenizer.convert_ids_to_tokens(number) for number in range(5, 8)] == ["a", "b", "c"]
    # 18 words and <s> in blocks of 8, 8 and 3; d is unknown and never hidden.
    assert [len(example["labels"]) for example in data.examples["test"]] == [8, 8, 3]
    assert run.record.dataset["unknown_share"]["test"] == pytest.approx(3 / 19)
    hidden = [int(label) for example in data.examples["test"] for label in example["labels"] if label != -100]
    assert len(hidden) == run.record.dataset["hidden_tokens"]["test"] == data.counts["test"]["hidden"]
    assert MaskedLanguageModeling.examples_of({"dataset": run.record.dataset}, "test") == len(hidden)
    assert 1 not in hidden
    # In validation the <mask> of the text is no mask: `<`, `mask` and `>` are unknown.
    assert run.record.dataset["unknown_share"]["validation"] == pytest.approx(3 / 7)

    loop = SimpleNamespace(train_dataset=range(5))
    assert task.count_tokens(loop, data) == {"train": 5, "validation": 7, "test": 19}

    # In training a occurs twice, b and c once; each once more: 3, 2 and 2 of 7.
    nats = {5: math.log(7 / 3), 6: math.log(7 / 2), 7: math.log(7 / 2)}
    baseline = task.baselines(data, "test")[BASELINE]["test"]
    assert baseline["loss"] == pytest.approx(sum(nats[token] for token in hidden) / len(hidden))
    assert baseline["accuracy"] == hidden.count(5) / len(hidden)
    data.loaded.splits["train"] = Dataset.from_dict({"text": ["a b a", "c"]})  # not every token in every text
    assert task.baselines(data, "test")[BASELINE]["test"] == baseline
    # Where c does not occur in training it counts once: 3, 2 and 1 of 6.
    data.loaded.splits["train"] = Dataset.from_dict({"text": ["a b a"]})
    nats = {5: math.log(6 / 3), 6: math.log(6 / 2), 7: math.log(6 / 1)}
    unseen = task.baselines(data, "test")[BASELINE]["test"]
    assert unseen["loss"] == pytest.approx(sum(nats[token] for token in hidden) / len(hidden))

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    evaluator = uniform(task, vocab_size=len(tokenizer), **sizes)
    found = task.predict(evaluator, data, "test")
    scores = task.score(found, data, "test")
    assert scores["loss"] == pytest.approx(math.log(8))
    assert scores["perplexity"] == pytest.approx(8)
    run.record.metrics["test"], run.record.baselines = scores, {BASELINE: {"test": baseline}}
    report = task.report(outcome_of(run, data, "test", test=found))
    assert report.startswith(f"Test: {len(hidden)} of 19 tokens hidden")
    head, _, *rows = (line.split() for line in report.split("\n\n")[1].splitlines())
    assert head[0] == "model"
    assert head[-1] == MaskedLanguageModeling.scores[-1].name.split()[-1]
    assert [row[0] for row in rows] == ["transformer", "frequencies"]


def test_scores_of_rows_by_hand():
    class Model:
        def __call__(self, input_ids, attention_mask):
            logits = torch.zeros(2, 3, 4)
            logits[0, 0, 2], logits[1, 1, 3] = math.log(3), math.log(5)
            return type("Outputs", (), {"logits": logits})

    labels = torch.tensor([[2, -100, -100], [-100, 3, 1]])
    batch = {"input_ids": labels, "attention_mask": labels, "labels": labels}
    # 3 of 6; 5 of 8 and, with all alike, 1 of 4, where the first is taken.
    assert nats_and_hits(Model(), batch) == [
        (pytest.approx(math.log(2)), 1),
        (pytest.approx(math.log(8 / 5) + math.log(4)), 1),
    ]
    assert masked_language_modeling_scores(2 * math.log(3), 1, 2) == {
        "loss": pytest.approx(math.log(3)),
        "perplexity": pytest.approx(3),
        "accuracy": 0.5,
    }


def test_a_pipeline_fills_the_mask(prepared):
    task, _, data = prepared
    config = task.build_config(
        vocab_size=len(data.processor), hidden_size=8, num_hidden_layers=1, num_attention_heads=2
    )
    fill = pipeline(task.pipeline_tag, model=task.model_class(config).eval(), tokenizer=data.processor)
    found = fill("a <mask> c", top_k=2)
    assert len(found) == 2
    assert all(answer["sequence"].startswith("a") for answer in found)


def test_a_given_tokenizer_needs_a_mask_and_cuts_texts_to_a_block(prepared):
    task, _, _ = prepared
    known = train_tokenizer(["a b c"], "word", 20, add_mask_token=True)
    task.fit_tokenizer(known, "--tokenizer_name known")
    assert known.model_max_length == 8
    with pytest.raises(ArgumentsError, match="--tokenizer_name plain: its tokenizer has no mask token"):
        task.fit_tokenizer(train_tokenizer(["a b c"], "word", 20), "--tokenizer_name plain")


def test_a_row_of_the_readme():
    record = {
        "metrics": {split: {"perplexity": 20.0, "accuracy": 0.5} for split in ("validation", "test")},
        "baselines": {BASELINE: {"test": {"perplexity": 500.0}}},
    }
    row = MaskedLanguageModeling.results_row([record], "test")
    assert list(row.values()) == ["20.000", "20.000 (test)", "50.0", "500.000"]
    assert MaskedLanguageModeling.results_row([{**record, "baselines": {}}], "test")["frequencies alone"] == ""
