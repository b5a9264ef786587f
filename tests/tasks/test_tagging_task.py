"""Words whose labels were put down by hand, and a model that knows nothing of them."""

import json
import math

import pytest
import torch
from given_models import bert
from transformers import BertForTokenClassification, pipeline
from uniform_models import begin, outcome_of, uniform

from seqnlp.tasks.starting.starting_model import Source
from seqnlp.tasks.starting.tagging_teacher import TaggingTeacher
from seqnlp.tasks.tagging import BASELINE, Tagging, align_labels, most_frequent_labels
from seqnlp.training import ArgumentsError


TRAIN = [("Ann saw Bob .", "N V N P"), ("a saw is .", "D N V P"), ("saw a dog .", "V D N P"), ("Cy !", "N P")]
TEST = [("Ann saw Zoë .", "N V N P"), ("Yes Bob saw .", "X N V P")]


def write(folder, split, rows):
    content = [json.dumps({"tokens": words.split(), "tags": tags.split()}) for words, tags in rows]
    (folder / f"{split}.jsonl").write_text("\n".join(content))


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, "train", TRAIN)
    write(tmp_path, "validation", TEST)
    write(tmp_path, "test", TEST)
    return tmp_path


def prepared(folder, *flags):
    task, run = begin(Tagging, folder, "--dataset_name", folder, *flags)
    loaded = task.load_data(run)
    tokenizer = task.train_tokenizer(loaded.splits["train"])
    return task, run, task.prepare_data(run, loaded, tokenizer)


def test_the_first_token_of_a_word_carries_its_label():
    #                     <s>  New York-ers    saw            of no word
    word_ids = [None, 0, 1, 1, 1, 2, None]
    assert align_labels(word_ids, [5, 6, 7]) == ([-100, 5, 6, -100, -100, 7, -100], [0, 1, 2])
    assert align_labels(word_ids, [5, None, 7]) == ([-100, 5, -100, -100, -100, 7, -100], [0, 2])
    assert align_labels([0, 2], [5, 6, 7]) == ([5, 7], [0, 2])  # a word without a token


def test_the_most_frequent_label_of_each_word():
    rows = {"tokens": [words.split() for words, _ in TRAIN], "tags": [tags.split() for _, tags in TRAIN]}
    rows["tags"] = [["NVPD".index(tag) for tag in tags] for tags in rows["tags"]]
    # saw: V twice, N once. Of the unseen words of validation two are V and one, and all of a seen one, something else.
    validation = {"tokens": [["go", "saw", "saw", "saw"], ["run", "Zed", "no"]], "tags": [[1, 0, 0, 0], [1, 2, None]]}
    assert most_frequent_labels(rows, validation, [["saw", "a", "."], ["Zoë"]]) == [[1, 3, 2], [1]]
    twice = {"tokens": [["b", "b"], ["a", "a"]], "tags": [[1, 0], [1, 1]]}
    none = {"tokens": [["a"]], "tags": [[0]]}
    assert most_frequent_labels(twice, none, [["b", "c"]]) == [[0, 1]]  # the first of two as frequent; most of all


@pytest.mark.parametrize("kind", ["spelling", "word", "bpe", "wordpiece", "unigram", "char"])
def test_labels_are_where_their_words_are_whatever_the_tokens(folder, kind):
    size = ["--tokenizer_type", kind, "--vocab_size", 300, "--min_frequency", 1]
    _, _, data = prepared(folder, *size)
    names = data.loaded.splits["train"].features["tags"].feature.names
    for row, (words, tags) in zip(data.examples["train"], TRAIN, strict=True):
        encoded = data.processor(words.split(), is_split_into_words=True)
        assert row["input_ids"] == encoded["input_ids"]
        firsts = [encoded.word_ids().index(place) for place in range(len(words.split()))]
        assert [names[row["labels"][place]] for place in firsts] == tags.split()
        assert sum(label != -100 for label in row["labels"]) == len(tags.split())
        # Alone or in a text, a word has the same tokens, so that a pipeline reads what training read.
        assert data.processor(words)["input_ids"] == row["input_ids"] or kind == "char"


def test_what_words_tell_and_what_a_model_says_that_knows_nothing(folder):
    task, run, data = prepared(folder, "--min_frequency", 2)
    assert run.record.dataset["unseen_words"] == {"validation": 0.25, "test": 0.25}  # Zoë and Yes
    assert run.record.dataset["unknown_share"]["test"] > 0  # of ë
    assert any("'test': words with labels that no training word has (X): 1." in line for line in data.loaded.remarks)
    baseline = task.baselines(data, "test")[BASELINE]["test"]
    assert baseline == {"accuracy": 7 / 8, "unseen_accuracy": 1 / 2}  # Zoë and Yes are N and X: the first is taken
    reading = task.reading_of(data.processor, data)
    assert reading["word_vocab_size"] == 3  # saw, a and the full stop
    labels = dict(enumerate(["D", "N", "P", "V", "X"]))
    evaluator = uniform(task, **reading, hidden_size=4, id2label=labels)
    found = task.predict(evaluator, data, "test")
    assert [labels for labels, _ in found] == [[0] * 4, [0] * 4]
    scores = task.score(found, data, "test")
    assert scores == {"accuracy": 0.0, "unseen_accuracy": 0.0, "loss": pytest.approx(math.log(5))}
    run.record.metrics["test"], run.record.baselines = scores, {BASELINE: {"test": baseline}}
    report = task.report(outcome_of(run, data, "test", test=found))
    assert report.startswith("Test: 8 words in 2 sentences")
    assert "Words that are not in training: 25.0% of those of test." in report


def test_words_that_are_cut_off_count_as_wrong_and_are_told(folder):
    task, _, data = prepared(folder, "--max_length", 3, "--tokenizer_type", "word", "--min_frequency", 1)
    said = "The split 'test': words behind the first 3 tokens of their sentence (--max_length), or without a token: 2"
    assert said + "; they count as wrong." in " ".join(data.remarks)
    names = ["D", "N", "P", "V", "X"]
    right = [([names.index(tag) for tag in tags.split()[:3]], 0.0) for _, tags in TEST]
    assert task.predicted_names(right, data, "test") == [["N", "V", "N", ""], ["X", "N", "V", ""]]
    assert task.score(right, data, "test")["accuracy"] == 6 / 8


def test_a_student_is_told_what_its_teacher_says_of_the_words_that_both_read(folder, tmp_path_factory, capsys):
    names = dict(enumerate(["D", "N", "P", "V", "X"]))
    labels = {"id2label": names, "label2id": {name: number for number, name in names.items()}}
    place = bert(tmp_path_factory.mktemp("teacher"), BertForTokenClassification, max_position_embeddings=3, **labels)
    task, run, data = prepared(folder, "--teacher", place)
    model = task.model_class(task.build_config(**task.reading_of(data.processor, data), hidden_size=4, **labels))
    task.learn_from_teacher(run, model, data)
    sentences = [words.split() for words, _ in TRAIN]
    expected = TaggingTeacher.load(Source("teacher", str(place)), "tagging", None).logits_of_words(sentences)
    for row, logits in zip(data.examples["train"], expected, strict=True):
        torch.testing.assert_close(torch.tensor(row["teacher_logits"], dtype=torch.float32), logits, equal_nan=True)
    # It reads three words of a sentence, and three sentences have four.
    assert "says nothing of 3 of the 14 training words" in capsys.readouterr().out
    assert run.record.teacher["words_judged"] == 11


def test_f1_is_of_entities_alone(folder):
    task, run = begin(Tagging, folder, "--dataset_name", folder, "--metric_for_best_model", "f1")
    with pytest.raises(ArgumentsError, match=r"f1: the labels \(D, N, P, V, X, \.\.\.\) mark no entities"):
        task.load_data(run)


def test_a_label_that_keeps_entities_from_being_counted_is_named(folder):
    write(folder, "train", [("Ann saw Bob", "B-PER O X"), ("Cy Doe", "B-PER I-PER")])
    task, run = begin(Tagging, folder, "--dataset_name", folder)
    assert "Labels that mark no entity, where others do: X, N, P, V. So entities" in "".join(
        task.load_data(run).remarks
    )


def test_a_pipeline_groups_the_words_that_a_text_holds(folder):
    """A model that was made to know each word, by its own vector alone."""
    task, _, data = prepared(folder, "--min_frequency", 1, "--architecture", "elman")
    names = ["D", "N", "P", "V", "X"]
    config = task.build_config(
        **task.reading_of(data.processor, data), hidden_size=8, embedding_size=8, id2label=dict(enumerate(names))
    )
    model = task.model_class(config).eval()
    task.teach_words(model, data)
    tag = pipeline(task.pipeline_tag, model=model, tokenizer=data.processor, aggregation_strategy="first")
    text = "Ann saw a dog."
    found = tag(text)
    assert "".join(text[group["start"] : group["end"]] for group in found).replace(" ", "") == text.replace(" ", "")
    assert {group["entity_group"] for group in found} <= set(names)
    single = pipeline(task.pipeline_tag, model=model, tokenizer=data.processor)(text)
    by_word = {
        word: {part["entity"] for part in single if text.index(word) <= part["start"] < text.index(word) + len(word)}
        for word in ("Ann", "saw", "dog")
    }
    assert all(len(labels) == 1 for labels in by_word.values())  # each character has the label of its word


def test_a_card_takes_the_label_of_the_first_piece_of_a_word():
    def strategy(**record):
        example = Tagging.example({"hyperparameters": record, "dataset": {}, **record}, "")
        return example.split('aggregation_strategy="')[1].split('"')[0]

    assert [strategy(tokenizer_type=kind) for kind in ("spelling", "word", "bpe", "char")] == ["simple"] * 2 + [
        "first"
    ] * 2
    assert strategy(tokenizer_type="spelling", base_model={"name": "a/bert"}) == "first"


def test_a_row_of_the_readme():
    def record(accuracy, **more):
        scores = {"accuracy": accuracy, "unseen_accuracy": 0.5, **more}
        return {
            "metrics": {"validation": scores, "test": scores},
            "baselines": {BASELINE: {"test": {"accuracy": 0.75, "f1": 0.25}}},
        }

    row = Tagging.results_row([record(0.8), record(0.9)], "test")
    assert list(row.values()) == ["85.0 ± 7.1", "85.0 ± 7.1 (test)", "50.0 ± 0.0", "75.0"]
    without = Tagging.results_row([{**record(0.8), "baselines": {}}], "test")
    assert list(without.values()) == ["80.0", "80.0 (test)", "50.0", ""]
    assert list(Tagging.results_row([record(0.8, f1=0.5)], "test").items())[1] == ("entity F1, %", "50.0 (test)")
