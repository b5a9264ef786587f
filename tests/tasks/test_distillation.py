"""What a student learns from a teacher: the loss by hand, whose answers they are, and a run that listens to one."""

import json
import math
from types import SimpleNamespace

import pytest
import torch
from datasets.fingerprint import Hasher
from given_models import DATA, bert, run
from tokenizers import normalizers
from transformers import BertForSequenceClassification

from seqnlp.metrics import classification_scores
from seqnlp.models.losses import DistillationLoss
from seqnlp.publishing.card import build_card
from seqnlp.publishing.recomputation import agrees, evaluate_again
from seqnlp.tasks import TASKS, base
from seqnlp.tasks.starting.distillation import Answers, Teacher, tell_teacher, varied
from seqnlp.tasks.starting.starting_model import Source
from seqnlp.training import ArgumentsError


pytestmark = pytest.mark.usefixtures("sentiment")  # it lies in folder / "teacher"

LABELS = torch.tensor([0, 1])
STUDENT = torch.tensor([[1.0, 0.0], [0.5, 2.0]])
TEACHER = torch.tensor([[3.0, -1.0], [0.0, 0.0]])


def test_the_divergence_of_softened_distributions_by_hand():
    def share(first, second):  # of the first class, at temperature 2
        return math.exp(first / 2) / (math.exp(first / 2) + math.exp(second / 2))

    divergence = 0.0
    for ours, theirs in zip(STUDENT.tolist(), TEACHER.tolist(), strict=True):
        p, q = share(*theirs), share(*ours)
        divergence += p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    hard = math.log(1 + math.exp(-1.0)) + math.log(1 + math.exp(-1.5))
    loss = DistillationLoss("kl", 0.25, 2.0)(LABELS, STUDENT, teacher_logits=TEACHER)
    assert loss.item() == pytest.approx((0.75 * hard + 0.25 * 4 * divergence) / 2, rel=1e-5)


def test_the_distance_of_logits_by_hand_and_who_divides():
    loss = DistillationLoss("mse", 1.0, 2.0)
    assert loss(LABELS, STUDENT, teacher_logits=TEACHER).item() == pytest.approx((4 + 1 + 0.25 + 4) / 2)
    assert loss(LABELS, STUDENT, 10, teacher_logits=TEACHER).item() == pytest.approx(9.25 / 10)
    hard = torch.nn.functional.cross_entropy(STUDENT, LABELS)
    torch.testing.assert_close(loss(LABELS, STUDENT), hard)  # in an evaluation


def test_variants_are_pieces_of_their_texts_and_new():
    texts = ["one two three four five six seven eight", "a b", "a"]
    found = varied(texts, copies=40, seed=1)
    assert len(set(found)) == len(found)
    assert not set(found) & set(texts)
    assert varied(texts, copies=40, seed=1) == found
    for variant in found:
        words = iter(next(text for text in texts if set(variant.split()) <= set(text.split())).split())
        assert all(word in words for word in variant.split())  # in their order
    assert varied(texts, copies=40, seed=2) != found


def test_words_are_replaced_by_others_of_their_part_of_speech_as_often_as_those_occur():
    texts = [f"red cat old red {number}" for number in range(3000)]
    kinds = [["A", "N", "A", "A", None]] * 3000
    of = {"red": "A", "old": "A", "cat": "N"}
    whole = [variant.split() for variant in varied(texts, 4, 1, kinds) if len(variant.split()) == 5]
    assert all([of.get(word) for word in words] == ["A", "N", "A", "A", None] for words in whole)
    # Of the words that are kept 1 in 9 is drawn anew, and is red with a chance of 2/3. What equals a text is left out,
    # so that in each of these at least one of three words has changed.
    changed = 1 - (26 / 27) ** 2 * (25 / 27)
    for place, word, chance in ((0, "old", 1 / 27), (2, "red", 2 / 27), (3, "old", 1 / 27)):
        share = sum(words[place] == word for words in whole) / len(whole)
        assert share == pytest.approx(chance / changed, abs=0.07)  # 4 deviations
    unknown = [[None] * 5] * 3000
    assert varied(texts, 2, 3, unknown) == varied(texts, 2, 3)


def teacher_of(folder, classes=("awful", "good")):
    return Teacher.load(Source("teacher", str(folder)), "sentiment_analysis", classes)


def test_answers_are_in_the_order_of_the_data_s_classes_whatever_else_is_in_the_batch(folder):
    texts = ["good", "a good film with the cat that sat on the mat", "awful"]
    teacher, turned = teacher_of(folder / "teacher"), teacher_of(folder / "teacher", ("good", "awful"))
    alone = [teacher.model(**teacher.tokenizer(text, return_tensors="pt")).logits[0].detach() for text in texts]
    torch.testing.assert_close(teacher.logits_of(texts), torch.stack(alone), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(turned.logits_of(texts), teacher.logits_of(texts).flip(1))
    assert teacher.logits_of(texts).argmax(dim=-1).tolist() == [1, 1, 0]


def test_of_three_classes_each_has_its_own_answer_in_whatever_order_the_data_has_them(tmp_path):
    names = {0: "bad", 1: "fair", 2: "good"}
    fields = {"id2label": names, "label2id": {name: number for number, name in names.items()}}
    bert(tmp_path / "three", BertForSequenceClassification, initializer_range=0.5, **fields)
    teacher, texts = teacher_of(tmp_path / "three", ("good", "bad", "fair")), ["a good film", "awful"]
    alone = [teacher.model(**teacher.tokenizer(text, return_tensors="pt")).logits[0].detach() for text in texts]
    expected = torch.stack([torch.stack([row[2], row[0], row[1]]) for row in alone])
    torch.testing.assert_close(teacher.logits_of(texts), expected, rtol=1e-4, atol=1e-5)
    assert expected.std() > 0.1  # classes that are told apart


def test_answers_are_kept_for_what_a_teacher_computes_and_how_it_reads(folder):
    def key(teacher):
        return Hasher.hash(Answers(teacher))

    teacher = teacher_of(folder / "teacher")
    first = key(teacher)
    teacher.logits_of(["a good film", "awful"])
    assert key(teacher) == first == key(teacher_of(folder / "teacher"))  # whatever it has read meanwhile
    found = {first, key(teacher_of(folder / "teacher", ("good", "awful")))}
    other = teacher_of(folder / "teacher")
    other.tokenizer.backend_tokenizer.normalizer = normalizers.Replace("good", "awful")
    found.add(key(other))
    other = teacher_of(folder / "teacher")
    other.model.config.hidden_act = "relu"
    found.add(key(other))
    assert len(found) == 4


def test_what_is_no_teacher_is_refused(folder):
    with pytest.raises(ArgumentsError, match="it tells the classes awful, good apart, and the data has a, b"):
        teacher_of(folder / "teacher", ("a", "b"))
    with pytest.raises(ArgumentsError, match="no trained head \\(classifier are new\\)"):
        teacher_of(folder / "bert", ("LABEL_0", "LABEL_1"))
    with pytest.raises(ArgumentsError, match="--augment 3 does nothing without --teacher"):
        TASKS["sentiment_analysis"].from_command_line(argv=["--augment", "3"]).check_start()
    with pytest.raises(ArgumentsError, match=r"invalid choice: 'huber' \(choose from 'kl', 'mse'\)"):
        TASKS["sentiment_analysis"].from_command_line(argv=["--distillation_loss", "huber"])
    with pytest.raises(ArgumentsError, match="--augment_tagger x/y does nothing without --augment"):
        TASKS["sentiment_analysis"].from_command_line(argv=["--augment_tagger", "x/y"]).check_start()
    with pytest.raises(ArgumentsError, match="choose one of the two"):
        TASKS["sentiment_analysis"].from_command_line(
            argv=["--teacher", "x/y", "--class_weights", "balanced"]
        ).check_start()


def test_a_folder_that_is_named_as_seen_from_here_is_no_more_than_a_local_teacher(tmp_path, monkeypatch):
    (tmp_path / "clients" / "acme").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    run = SimpleNamespace(tell=lambda text: None, record=SimpleNamespace())
    for name, published in {"clients/acme": "<local:acme>", "org/model": "org/model"}.items():
        tell_teacher(run, Source(name, name), {"class": "A", "parameters": 1})
        assert run.record.teacher == {"name": published, "class": "A", "parameters": 1}


@pytest.mark.parametrize(
    ("loss", "weight", "told"),
    [
        ("kl", "0.5", ("data and teacher", "nats per example")),
        ("kl", "1", ("the teacher", "nats per example")),
        ("mse", "1", ("the teacher", "squared logits")),
        ("mse", "0.5", ("data and teacher", "nats per example, squared logits")),
    ],
)
def test_of_what_the_loss_of_a_student_is(loss, weight, told):
    argv = ["--teacher", "x/y", "--distillation_loss", loss, "--distillation_weight", weight]
    task = TASKS["sentiment_analysis"].from_command_line(argv=argv)
    assert task.training_args.taught_by(task.loss_unit) == told


@pytest.mark.parametrize("task", ["sentiment_analysis", "tagging", "language_modeling", "music_generation"])
def test_a_teacher_that_is_not_listened_to_is_none(task):
    with pytest.raises(ArgumentsError, match=r"--distillation_weight 0.* must be above 0 and at most 1"):
        TASKS[task].from_command_line(argv=["--teacher", "x/y", "--distillation_weight", "0"])


def test_a_student_learns_what_its_teacher_says_and_not_what_the_labels_say(folder, tmp_path, capsys, monkeypatch):
    """Its labels are turned over: what it gets right by them it has not learned from its teacher."""
    drawn = []
    monkeypatch.setattr(base, "plot_learning_curves", lambda *given: drawn.append(given))
    turned = tmp_path / "turned.jsonl"
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    other = {"good": "awful", "awful": "good"}
    turned.write_text("".join(json.dumps({**row, "label": other[row["label"]]}) + "\n" for row in rows))
    unlabelled = tmp_path / "more.txt"
    unlabelled.write_text("the cat is good\nthe mat is awful\n\n")
    flags = [
        word if str(word) != str(folder / "train.jsonl") else turned for word in DATA["sentiment_analysis"](folder)
    ]
    flags += ["--teacher", folder / "teacher", "--distillation_weight", 1, "--unlabelled_file", unlabelled]
    flags += ["--augment", 2, "--architecture", "gru", "--config_overrides", "hidden_size=16", "--learning_rate", 0.02]
    flags += ["--per_device_train_batch_size", 8, "--num_train_epochs", 8, "--metric_for_best_model", "loss"]
    record = run("sentiment_analysis", tmp_path / "student", *flags)
    printed = capsys.readouterr()
    assert "2 texts without labels from" in printed.out + printed.err
    assert "its teacher (BertForSequenceClassification)" in printed.out + printed.err
    assert record["metrics"]["test"]["accuracy"] == 1.0
    assert (("the teacher", "nats per example"), ("the data", "nats per example")) in drawn[0]  # not on one axis
    teacher = record["teacher"]
    assert teacher["name"] == "<local:teacher>"
    assert teacher["rows_judged"] > len(rows) + 2
    splits = ["test"]
    assert list(record["baselines"]["teacher"]) == splits
    assert record["baselines"]["teacher"]["test"]["accuracy"] == 1.0
    turned.rename(folder / "turned.jsonl")
    scores = evaluate_again(record, tmp_path / "student", str(folder))["test"]
    assert all(agrees(record, "test", key, record["metrics"]["test"][key], score) for key, score in scores.items())
    card = build_card(record, "alice/student")
    assert "## Distilled from" in card
    assert f"`{teacher['sha256'][:12]}`..." in card
    assert str(folder) not in card


def test_the_scores_of_a_teacher_are_those_of_its_own_answers(folder):
    from datasets import Dataset

    from seqnlp.tasks.starting.distillation import agreement

    texts = Dataset.from_dict({"text": ["good film", "awful film", "good awful"]})
    teacher = teacher_of(folder / "teacher")
    scores = classification_scores(agreement(teacher, texts).numpy(), torch.tensor([1, 0, 0]).numpy())
    logits = teacher.logits_of(texts["text"])
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([1, 0, 0]))
    assert scores["loss"] == pytest.approx(expected.item(), rel=1e-4)


def test_a_teacher_reads_texts_of_similar_length_together_up_to_so_many_tokens(folder, monkeypatch):
    """Not row by row, and no batch larger than is allowed, padding included."""
    monkeypatch.setattr("seqnlp.tasks.starting.distillation.TOKENS_AT_ONCE", 60)
    teacher, shapes = teacher_of(folder / "teacher"), []
    teacher.model.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    texts = [" ".join(["good"] * (1 + number % 7)) for number in range(70)]  # each with [CLS] and [SEP]
    teacher.logits_of(texts)
    assert sum(rows for rows, _ in shapes) == 70
    assert max(rows * length for rows, length in shapes) <= 60
    assert len(shapes) <= 10 * 7 * 6 / 60 + 7  # at most one batch of each length is not full
