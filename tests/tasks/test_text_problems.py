"""Several labels per text, and numbers: the loss by hand, what is told of baselines, and whole runs."""

import json
import logging
import math

import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value
from given_models import bert, run
from transformers import AutoModelForSequenceClassification, pipeline
from uniform_models import begin, outcome_of, uniform

import seqnlp  # noqa: F401
from seqnlp.data import DataError
from seqnlp.publishing.card import build_card
from seqnlp.publishing.recomputation import agrees, evaluate_again
from seqnlp.tasks import text_problems
from seqnlp.tasks.sentiment_analysis import SentimentAnalysis
from seqnlp.tasks.text_problems import BASELINE, COMMON_LABELS, MEAN, PROBLEMS, RIDGE, _tfidf
from seqnlp.tokenization import train_tokenizer
from seqnlp.training import ArgumentsError


SEVERAL, NUMBERS = ("--problem_type", "multi_label_classification"), ("--problem_type", "regression")
WORDS = {"fine": "joy", "poor": "grief", "loud": "rage"}
SMALL = ("--config_overrides", "hidden_size=16", "--learning_rate", 0.02, "--per_device_train_batch_size", 8)


def text_of(*words, number):
    return " ".join(["day", *words, f"and {number}"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Texts whose words tell their labels, and their number: the sum of the labels' places, from 1 on."""
    folder = tmp_path_factory.mktemp("labels")
    every = [(), ("fine",), ("poor",), ("loud",), ("fine", "loud"), ("poor", "loud"), ("fine",)]
    for split, count in (("train", 56), ("validation", 14), ("test", 14)):
        rows = [every[number % 7] for number in range(count)]
        several = [
            {"text": text_of(*words, number=number % 5), "label": [WORDS[word] for word in words]}
            for number, words in enumerate(rows)
        ]
        stars = [{**row, "label": 3.0 + ("joy" in row["label"]) - ("grief" in row["label"])} for row in several]
        for kind, found in (("several", several), ("stars", stars)):
            path = folder / f"{kind}_{split}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return folder


def files(folder, kind):
    parts = ("train", "validation", "test")
    return [word for split in parts for word in (f"--{split}_file", folder / f"{kind}_{split}.jsonl")]


def prepared(folder, tmp_path, kind, flags):
    task, started = begin(SentimentAnalysis, tmp_path, *files(folder, kind), *flags)
    loaded = task.load_data(started)
    tokenizer = train_tokenizer([text_of(*WORDS, number=number) for number in range(5)], "word", 30, min_frequency=1)
    return task, started, task.prepare_data(started, loaded, tokenizer)


def test_the_loss_of_several_labels_by_hand_and_the_most_frequent_set(folder, tmp_path):
    task, started, data = prepared(folder, tmp_path, "several", SEVERAL)
    fields = task.labels_of(data.loaded)
    assert fields["id2label"] == {0: "grief", 1: "joy", 2: "rage"}
    assert (task.validated[0], task.training_args.metric_for_best_model) == ("micro_f1", "micro_f1")
    evaluator = uniform(task, vocab_size=len(data.processor), hidden_size=4, **fields)
    model = evaluator.unwrapped_model
    with torch.no_grad():
        model.score.bias.copy_(torch.tensor([0.0, math.log(3), 0.0]))  # joy 3/4, the others 1/2, whatever the text
    batch = data.collator([data.examples["train"][row] for row in (0, 1)])  # without a label, and joy
    assert batch["labels"].tolist() == [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    expected = (4 * math.log(2) + math.log(4) + math.log(4 / 3)) / 6
    assert model(**batch).loss.item() == pytest.approx(expected)
    assert model(**batch, num_items_in_batch=12).loss.item() == pytest.approx(expected / 2)
    assert task.count_labels(batch) == 6
    scores = task.score(task.predict(evaluator, data, "test"), data, "test")
    # All have joy and nothing else; of 14 texts 4 are of joy alone and 2 of joy and rage, and there are 16 labels.
    assert scores["subset_accuracy"] == pytest.approx(4 / 14)
    assert scores["micro_f1"] == pytest.approx(2 * 6 / (14 + 16))
    found = task.baselines(data, "test")
    assert found[COMMON_LABELS]["test"] == {key: scores[key] for key in ("micro_f1", "macro_f1", "subset_accuracy")}
    assert found[BASELINE]["test"]["micro_f1"] == 1.0
    started.record.metrics["test"], started.record.baselines = scores, found
    report = task.report(outcome_of(started, data, "test", test=task.predict(evaluator, data, "test")))
    assert "the most frequent set of labels" in report


def test_the_loss_of_numbers_by_hand_from_their_mean_on(folder, tmp_path):
    task, started, data = prepared(folder, tmp_path, "stars", NUMBERS)
    fields = task.labels_of(data.loaded)
    evaluator = uniform(task, vocab_size=len(data.processor), hidden_size=4, **fields)
    model = evaluator.unwrapped_model
    task.start_at_mean(started, model, data)
    mean = (3 + 4 + 2 + 3 + 4 + 2 + 4) / 7
    assert model.score.bias.item() == pytest.approx(mean)
    variance = sum((number - mean) ** 2 for number in (3, 4, 2, 3, 4, 2, 4)) / 7
    batch = data.collator([data.examples["train"][row] for row in range(7)])
    assert model(**batch).loss.item() == pytest.approx(variance, rel=1e-5)
    assert model(**batch, num_items_in_batch=14).loss.item() == pytest.approx(variance / 2, rel=1e-5)
    assert task.count_labels({"labels": torch.tensor([-100.0, 1.0])}) == 2  # -100 is a number like any other
    scores = task.score(task.predict(evaluator, data, "test"), data, "test")
    assert scores["mse"] == pytest.approx(variance, rel=1e-5)
    assert (scores["pearson"], scores["spearman"]) == (0.0, 0.0)
    found = task.baselines(data, "test")
    assert found[MEAN]["test"]["mse"] == pytest.approx(variance)
    assert found[RIDGE]["test"]["pearson"] > 0.9
    assert task.training_args.greater_is_better is False


@pytest.mark.parametrize("flags", [SEVERAL, NUMBERS], ids=["several", "numbers"])
def test_what_is_for_one_class_alone_is_refused(flags):
    for asked in (["--class_weights", "balanced"], ["--teacher", "x/y"]):
        with pytest.raises(ArgumentsError, match=f"{asked[0]} {asked[1]} is for texts with one class"):
            SentimentAnalysis.from_command_line(argv=[*flags, *asked]).check_start()
    with pytest.raises(ArgumentsError, match=r"each validation of sentiment_analysis gives (micro_f1|mse), "):
        SentimentAnalysis.from_command_line(argv=[*flags, "--metric_for_best_model", "accuracy"])


def test_a_run_with_several_labels(folder, tmp_path, capsys):
    place = tmp_path / "several"
    flags = [*files(folder, "several"), *SEVERAL, *SMALL, "--architecture", "gru", "--num_train_epochs", 10]
    record = run("sentiment_analysis", place, *flags)
    printed = capsys.readouterr().out
    assert "TF-IDF + logistic regression" in printed
    assert record["metrics"]["test"]["micro_f1"] > 0.9
    assert record["model"]["config"]["problem_type"] == "multi_label_classification"
    scores = evaluate_again(record, place, str(folder))["test"]
    assert all(agrees(record, "test", key, record["metrics"]["test"][key], value) for key, value in scores.items())
    card = build_card(record, "alice/several")
    assert "Texts with several labels by a bidirectional GRU" in card
    assert "mean binary cross-entropy of a label of a text" in card
    assert "Accuracy" not in card.split("## Training")[0].replace("Subset accuracy", "")
    tag = pipeline("text-classification", model=str(place), top_k=None)
    found = {one["label"]: one["score"] for one in tag([text_of("fine", "loud", number=1)])[0]}
    assert {name for name, score in found.items() if score > 0.5} == {"joy", "rage"}
    assert sum(found.values()) > 1.5  # each by itself: no softmax


def test_a_run_with_numbers(folder, tmp_path, capsys):
    place = tmp_path / "stars"
    flags = [*files(folder, "stars"), *NUMBERS, *SMALL, "--architecture", "gru", "--num_train_epochs", 8]
    record = run("sentiment_analysis", place, *flags)
    printed = capsys.readouterr().out
    assert "the mean of the training texts" in printed
    page = (place / "report.html").read_text()
    assert "<title>Numbers for texts, gru: MSE " in page
    assert "nats" not in page.split("In detail")[0]
    assert record["metrics"]["test"]["pearson"] > 0.9
    scores = evaluate_again(record, place, str(folder))["test"]
    assert all(agrees(record, "test", key, record["metrics"]["test"][key], value) for key, value in scores.items())
    card = build_card(record, "alice/stars")
    assert "Numbers for texts by a bidirectional GRU" in card
    assert "MSE: mean squared error" in card
    tell = pipeline("text-classification", model=str(place))
    model = AutoModelForSequenceClassification.from_pretrained(place)
    text = text_of("poor", number=1)
    logit = model(**tell.tokenizer(text, return_tensors="pt")).logits.item()
    assert tell(text)[0] == {"label": "number", "score": pytest.approx(logit, rel=1e-4)}
    assert logit < 2.7


def test_a_model_of_others_learns_numbers(folder, tmp_path):
    """Its loss is a mean over the batch, and its head one that transformers draws."""
    record = run(
        "sentiment_analysis",
        tmp_path / "out",
        "--model_name_or_path",
        bert(tmp_path / "bert"),
        *files(folder, "stars"),
        *NUMBERS,
        "--max_train_steps",
        2,
    )
    assert record["model"]["config"]["problem_type"] == "regression"
    assert record["metrics"]["test"]["mse"] > 0


def test_the_baseline_reads_words_and_their_pairs_and_without_spaces_up_to_three_characters():
    def features_of(text):
        rows = Dataset.from_dict({"text": [text, text]})
        return _tfidf({"train": rows, "validation": rows, "test": rows}, "test")["train"].shape[1]

    assert features_of("one two three") == 3 + 2
    assert features_of("\u4e00\u4e8c\u4e09\u56db") == 4 + 3 + 2


@pytest.mark.parametrize("texts", [["a good film"], ["good film", "bad book"]])
@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_where_training_texts_share_no_word_that_is_why_there_is_no_baseline(texts, problem):
    several = problem.name == "multi_label_classification"
    kind = Value("float32") if problem.name == "regression" else ClassLabel(names=["bad", "good"])
    features = Features({"text": Value("string"), "label": [kind] if several else kind})
    labels = [[1] if several else 1 for _ in texts]
    rows = Dataset.from_dict({"text": texts, "label": labels}, features=features)
    with pytest.raises(DataError, match=f"two training texts have; there is none in {len(texts)} training texts?"):
        next(iter(problem.baselines({"train": rows, "validation": rows, "test": rows}, "test").values()))()


def test_each_kind_of_label_is_complete():
    for name, problem in PROBLEMS.items():
        assert problem.name == name
        keys = {score.key for score in problem.scores}
        assert set(problem.validated) <= keys
        assert problem.loss_name in problem.validated  # or its curve is not drawn


def test_a_card_asks_for_all_labels_where_a_text_may_have_several():
    examples = [
        SentimentAnalysis.example({"hyperparameters": {"problem_type": name}, "dataset": {}}, "") for name in PROBLEMS
    ]
    assert [example.endswith(", top_k=None))") for example in examples] == [False, True, False]
    assert all(example.count("(") == example.count(")") for example in examples)


def texts_of(names, *rows):
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    return Dataset.from_dict({"text": [text for text, _ in rows], "label": [label for _, label in rows]}, features)


def test_the_baseline_of_classes_of_which_training_lacks_one_by_hand():
    rows = ("good day", 0), ("bad day", 2), ("good night", 0), ("bad night", 2)
    train, held_out = texts_of(["good", "odd", "bad"], *rows), texts_of(["good", "odd", "bad"], rows[1], ("odd", 1))
    splits = {"train": train, "validation": held_out}
    found = PROBLEMS["single_label_classification"].baselines(splits, "validation")[BASELINE]()
    assert found["accuracy"] == 0.5  # the third class is called the third, not the second


def test_there_is_no_logistic_regression_of_more_weights_than_memory_holds(monkeypatch):
    rows = ("good day", 0), ("bad day", 1), ("good night", 0), ("odd night", 2)
    splits = dict.fromkeys(("train", "validation"), texts_of(["good", "bad", "odd"], *rows))
    for weights, is_made in ((9, True), (8, False)):  # of 3 classes and of good, day and night
        monkeypatch.setattr(text_problems, "MOST_WEIGHTS", weights)
        found = PROBLEMS["single_label_classification"].baselines(splits, "validation")[BASELINE]()
        assert bool(found) is is_made


@pytest.mark.goes_on_without(f"The baseline {BASELINE}", f"The baseline {RIDGE}")
@pytest.mark.parametrize(
    ("kind", "flags", "lost", "kept"),
    [("several", SEVERAL, BASELINE, COMMON_LABELS), ("stars", NUMBERS, RIDGE, MEAN)],
)
def test_where_one_baseline_cannot_be_made_the_others_are(
    folder, tmp_path, monkeypatch, caplog, kind, flags, lost, kept
):
    task, _, data = prepared(folder, tmp_path, kind, flags)
    whole = task.baselines(data, "test")

    def fails(*_):
        raise DataError("no word is there")

    monkeypatch.setattr(text_problems, "_tfidf", fails)
    monkeypatch.setattr(logging.getLogger("seqnlp"), "propagate", True)
    assert task.baselines(data, "test") == {kept: whole[kept]}
    assert [record.getMessage() for record in caplog.records] == [
        f"The baseline {lost} could not be made: no word is there"
    ]


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_row_of_results_without_a_baseline(name):
    problem = PROBLEMS[name]
    metrics = dict.fromkeys((score.key for score in problem.scores), 0.5)
    record = {"metrics": {"validation": metrics}, "baselines": {}}
    *_, (column, cell) = problem.results_row([record], "validation").items()
    assert column.startswith("TF-IDF")
    assert cell == ""
