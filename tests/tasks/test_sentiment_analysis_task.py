"""Texts whose words tell their class, and a model that knows nothing of them."""

import math

import pytest
import torch
from uniform_models import begin, outcome_of, uniform

from seqnlp.tasks.sentiment_analysis import SentimentAnalysis, balanced_weights
from seqnlp.tasks.starting.distillation import varied
from seqnlp.tasks.text_problems import BASELINE
from seqnlp.tokenization import train_tokenizer
from seqnlp.training import ArgumentsError


GOOD, BAD = "fine day and fine", "poor day and poor"


@pytest.fixture
def prepared(tmp_path):
    files = []
    for split, count in (("train", 8), ("validation", 2), ("test", 2)):
        rows = [f"{GOOD} {number},good\n{BAD} {number},bad\n" for number in range(count)]
        (tmp_path / f"{split}.csv").write_text("text,label\n" + "".join(rows))
        files += [f"--{split}_file", tmp_path / f"{split}.csv"]
    task, run = begin(SentimentAnalysis, tmp_path, *files, "--max_length", 5)
    loaded = task.load_data(run)
    tokenizer = train_tokenizer([GOOD, BAD], "word", 20, model_max_length=5)
    return task, run, task.prepare_data(run, loaded, tokenizer)


def test_what_words_tell_and_what_a_model_says_that_knows_nothing(prepared):
    task, run, data = prepared
    assert run.record.dataset["unknown_share"] == {"validation": 0.2, "test": 0.2}  # the number, of five words
    baselines = task.baselines(data, "test")
    assert baselines[BASELINE]["test"]["accuracy"] == 1.0
    evaluator = uniform(task, vocab_size=len(data.processor), hidden_size=4, id2label={0: "bad", 1: "good"})
    found = task.predict(evaluator, data, "test")
    scores = task.score(found, data, "test")
    assert (scores["accuracy"], scores["f1"], scores["loss"]) == (0.5, 0.0, pytest.approx(math.log(2)))
    run.record.metrics["test"], run.record.baselines = scores, baselines
    report = task.report(outcome_of(run, data, "test", test=found))
    assert report.startswith("Test: 4 examples")
    assert (f"{GOOD} 1" in report, f"{BAD} 1" in report) == (True, False)  # all are bad
    assert report.endswith("Unknown tokens: 20.0% of those of test.")


def test_a_teacher_judges_texts_of_a_file_and_variants_of_the_training_texts(prepared, tmp_path, monkeypatch):
    task, run, data = prepared
    splits, arguments, told = data.loaded.splits, task.training_args, []
    train = splits["train"]
    monkeypatch.setattr(run, "tell", told.append)
    assert task._texts_to_judge(run, splits) == (None, {})
    arguments.augment, arguments.unlabelled_file = 3, str(tmp_path / "more.txt")
    known = splits["test"]["text"][0]
    (tmp_path / "more.txt").write_text(f"a day\n{known}\n")
    texts, tagger = task._texts_to_judge(run, splits)
    variants = varied(train["text"], 3, arguments.seed)
    assert texts["text"] == ["a day", known, *variants]
    held_out = [text in texts["text"] for text in splits["test"]["text"]]
    assert told[-1] == f"{sum(held_out)} of the {len(held_out)} texts of 'test' are among these, and learned from."
    assert len(variants) > 20
    assert tagger == {}


def test_characters_tell_where_no_spaces_part_the_words(tmp_path):
    """Of reviews in Chinese words tell nothing: each is one, and no two are alike."""
    files = []
    for split, count in (("train", 12), ("validation", 3), ("test", 3)):
        rows = [
            f"这部{number}电影很好看,好\n这部{number}电影不好看,坏\n" for number in "天地玄黄宇宙洪荒日月盈昃"[:count]
        ]
        (tmp_path / f"{split}.csv").write_text("text,label\n" + "".join(rows), encoding="utf-8")
        files += [f"--{split}_file", tmp_path / f"{split}.csv"]
    task, run = begin(SentimentAnalysis, tmp_path, *files)
    data = task.prepare_data(run, task.load_data(run), train_tokenizer(["好看"], "word", 20))
    assert task.baselines(data, "test")[BASELINE]["test"]["accuracy"] == 1.0


def test_balanced_classes_count_alike_in_training_and_nowhere_else(tmp_path):
    """Three of one class and one of the other: 4 / (2 * 3) and 4 / (2 * 1)."""
    rows = "".join(f"{text},{label}\n" for text, label in [(GOOD, "good")] * 3 + [(BAD, "bad")])
    files = []
    for split in ("train", "validation"):
        (tmp_path / f"{split}.csv").write_text("text,label\n" + rows)
        files += [f"--{split}_file", tmp_path / f"{split}.csv"]
    task, run = begin(SentimentAnalysis, tmp_path, *files, "--class_weights", "balanced")
    loaded = task.load_data(run)
    data = task.prepare_data(run, loaded, train_tokenizer([GOOD, BAD], "word", 20))
    assert run.record.dataset["class_weights"] == pytest.approx([2, 2 / 3])  # bad, good
    assert "In training each text counts by its class: bad 2, good 0.667." in data.remarks
    model = task.model_class(task.build_config(vocab_size=len(data.processor), hidden_size=4, num_labels=2))
    task.weigh_classes(model, data)
    with torch.no_grad():
        model.score.weight.zero_()
        model.score.bias.copy_(torch.tensor([0.0, math.log(3)]))  # p(good) = 3/4 for any text
    batch = data.collator([data.examples["train"][row] for row in range(4)])
    expected = (3 * 2 / 3 * -math.log(3 / 4) + 2 * -math.log(1 / 4)) / 4
    assert model(**batch).loss.item() == pytest.approx(expected)
    assert model(**batch, num_items_in_batch=8).loss.item() == pytest.approx(expected / 2)
    with pytest.raises(ArgumentsError, match="a Linear computes its loss by itself"):
        task.weigh_classes(torch.nn.Linear(1, 1), data)
    assert balanced_weights([0, 0, 2, 2, 2, 2], 3) == [6 / 4, 0.0, 6 / 8]


def test_a_row_of_the_readme():
    def record(accuracy):
        return {
            "metrics": {"validation": {"accuracy": 0.9}, "test": {"accuracy": accuracy}},
            "baselines": {BASELINE: {"test": {"accuracy": 0.75}}},
        }

    row = SentimentAnalysis.results_row([record(0.8), record(0.9)], "test")
    assert list(row.values()) == ["90.0 ± 0.0", "85.0 ± 7.1 (test)", "75.0"]
