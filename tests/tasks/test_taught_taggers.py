"""A tagger that learns from another one, whose tokens are others: the loss by hand, the alignment, and a run."""

import json
import math

import pytest
import torch
from datasets import Dataset
from given_models import bert, run
from transformers import BertForTokenClassification

from seqnlp.models.losses import NextTokenDistillationLoss, TokenDistillationLoss
from seqnlp.publishing.card import build_card
from seqnlp.publishing.recomputation import agrees, evaluate_again
from seqnlp.tasks.starting.starting_model import Source
from seqnlp.tasks.starting.tagging_teacher import TaggingTeacher, TaughtCollator, parts_of_speech
from seqnlp.training import ArgumentsError


NAN = float("nan")
# One row of three tokens and two labels; the second has no label, the teacher says nothing of the third.
LOGITS = torch.tensor([[[1.0, 0.0], [5.0, 5.0], [0.5, 2.0]]])
LABELS = torch.tensor([[0, -100, 1]])
TEACHER = torch.tensor([[[3.0, -1.0], [9.0, -9.0], [NAN, NAN]]])


def share(first, second, temperature=1.0):
    return 1 / (1 + math.exp((second - first) / temperature))


def test_the_loss_of_each_labeled_token_by_hand():
    p, q = share(3, -1, 2), share(1, 0, 2)
    divergence = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    hard = [-math.log(share(1, 0)), -math.log(share(2, 0.5))]
    loss = TokenDistillationLoss("kl", 0.25, 2.0)
    expected = 0.75 * hard[0] + 0.25 * 4 * divergence + hard[1]
    assert loss(LOGITS, LABELS, teacher_logits=TEACHER).item() == pytest.approx(expected / 2, rel=1e-5)
    assert loss(LOGITS, LABELS, 8, teacher_logits=TEACHER).item() == pytest.approx(expected / 8, rel=1e-5)
    assert loss(LOGITS, LABELS).item() == pytest.approx(sum(hard) / 2, rel=1e-5)  # in an evaluation
    distance = TokenDistillationLoss("mse", 1.0, 1.0)(LOGITS, LABELS, teacher_logits=TEACHER).item()
    assert distance == pytest.approx((4 + 1 + hard[1]) / 2, rel=1e-5)


def test_where_the_teacher_says_nothing_gradients_are_those_of_the_label():
    logits = LOGITS.clone().requires_grad_()
    TokenDistillationLoss("kl", 1.0, 2.0)(logits, LABELS, teacher_logits=TEACHER).backward()
    gradient = logits.grad[0]
    temperature = 2.0  # of T^2 KL(p || q) by the student's logits: T (q - p)
    first = temperature * (share(1, 0, 2) - share(3, -1, 2)) / 2
    right = (share(2, 0.5) - 1) / 2
    expected = torch.tensor([[first, -first], [0.0, 0.0], [-right, right]])
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)


def test_the_next_token_is_the_label_unless_labels_are_shifted_already():
    loss, labels = NextTokenDistillationLoss("kl", 0.25, 2.0), torch.tensor([[7, 0, 1]])
    shifted = torch.tensor([[0, 1, -100]])
    expected = TokenDistillationLoss("kl", 0.25, 2.0)(LOGITS, shifted, teacher_logits=TEACHER)
    torch.testing.assert_close(loss(logits=LOGITS, labels=labels, teacher_logits=TEACHER), expected)
    again = loss(logits=LOGITS, labels=labels, shift_labels=shifted, teacher_logits=TEACHER)
    torch.testing.assert_close(again, expected)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """Words and their kinds; `wrong` has the same sentences with the kinds turned over."""
    folder = tmp_path_factory.mktemp("kinds")
    sentences = [("a good film", "D A N"), ("an awful number", "D A N"), ("film the good cat", "N D A N")]
    other = {"D": "N", "N": "A", "A": "D"}
    for split, count in (("train", 36), ("validation", 9), ("test", 9)):
        rows = [{"tokens": a.split(), "tags": b.split()} for a, b in (sentences[n % 3] for n in range(count))]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        turned = [{**row, "tags": [other[tag] for tag in row["tags"]]} for row in rows]
        (folder / f"{split}_turned.jsonl").write_text("\n".join(map(json.dumps, turned)))
    return folder


def flags(folder, train="train", *more):
    files = [("train", train), ("validation", "validation"), ("test", "test")]
    given = [word for split, name in files for word in (f"--{split}_file", folder / f"{name}.jsonl")]
    return [*given, "--per_device_train_batch_size", 6, "--learning_rate", 0.02, *more]


@pytest.fixture(scope="module")
def teacher(kinds):
    """It reads pieces of words, at most 24 of a sentence."""
    size = ["--architecture", "transformer", "--config_overrides", "hidden_size=16,num_hidden_layers=1"]
    kind = ["--tokenizer_type", "bpe", "--vocab_size", 262, "--max_length", 24, "--num_train_epochs", 12]
    record = run("tagging", kinds / "teacher", *flags(kinds, "train", *size, *kind))
    assert record["metrics"]["test"]["accuracy"] == 1.0
    return kinds / "teacher"


def load(place, classes=("A", "D", "N")):
    return TaggingTeacher.load(Source("teacher", str(place)), "tagging", classes)


def test_a_word_has_the_logits_of_its_first_token_whatever_else_is_read(teacher):
    known, turned = load(teacher), load(teacher, ("N", "D", "A"))
    sentences = [["an", "awful", "number"], ["film"], ["good"] * 9]
    found = known.logits_of_words(sentences)
    for words, logits in zip(sentences, found, strict=True):
        encoded = known.tokenizer(words, is_split_into_words=True, truncation=True, return_tensors="pt")
        expected = known.model(**encoded).logits[0].detach()
        firsts = [encoded.word_ids().index(word) for word in range(len(words)) if word in encoded.word_ids()]
        torch.testing.assert_close(logits[: len(firsts)], expected[firsts], rtol=1e-4, atol=1e-5)
        assert logits[len(firsts) :].isnan().all()
    assert found[2].isnan().any()  # nine words are more than 24 pieces
    torch.testing.assert_close(turned.logits_of_words(sentences)[0], found[0].flip(1), rtol=1e-4, atol=1e-5)
    with pytest.raises(ArgumentsError, match="it tells the classes A, D, N apart, and the data has X"):
        load(teacher, ("X",))


def test_logits_stand_where_the_labels_do():
    class Padding:
        tokenizer = None

        def __call__(self, rows):
            assert all(set(row) == {"labels"} for row in rows)
            return {"labels": torch.tensor([row["labels"] + [-100] * (3 - len(row["labels"])) for row in rows])}

    rows = [
        {"labels": [-100, 1, 0], "teacher_logits": [[1.0, 2.0], [3.0, None]]},
        {"labels": [-100], "teacher_logits": []},
    ]
    rows[0]["teacher_logits"][1] = [3.0, 4.0]
    found = TaughtCollator(Padding(), 2)(rows)["teacher_logits"]
    nothing = [NAN, NAN]
    expected = torch.tensor([[nothing, [1.0, 2.0], [3.0, 4.0]], [nothing] * 3])
    torch.testing.assert_close(found, expected, equal_nan=True)
    assert "teacher_logits" not in TaughtCollator(Padding(), 2)([{"labels": [1]}])  # of an evaluation


def test_a_student_learns_what_its_teacher_says_and_not_what_the_labels_say(kinds, teacher, tmp_path, capsys):
    """The labels that it is trained on are turned over; its words are read by their spelling, not by pieces."""
    size = ["--architecture", "gru", "--config_overrides", "hidden_size=16,embedding_size=16,embedding_dropout=0.1"]
    given = flags(kinds, "train_turned", *size, "--num_train_epochs", 10, "--distillation_weight", 1)
    record = run("tagging", tmp_path / "student", *given, "--teacher", teacher)
    printed = capsys.readouterr().out
    assert "its teacher (TransformerEncoderForTokenClassification)" in printed
    assert f"Learning from {teacher}: TransformerEncoderForTokenClassification, " in printed
    assert record["metrics"]["test"]["accuracy"] == 1.0
    assert record["baselines"]["teacher"]["test"]["accuracy"] == 1.0
    assert record["baselines"]["most_frequent_tag"]["test"]["accuracy"] == 0.0
    assert (record["teacher"]["name"], record["teacher"]["words_judged"]) == ("<local:teacher>", 120)
    for split in ("train", "validation", "test"):
        name = "train_turned" if split == "train" else split
        (tmp_path / f"{name}.jsonl").write_text((kinds / f"{name}.jsonl").read_text())
    scores = evaluate_again(record, tmp_path / "student", str(tmp_path))["test"]
    assert all(agrees(record, "test", key, record["metrics"]["test"][key], value) for key, value in scores.items())
    assert "said of 120 words" in build_card(record, "alice/student")


def test_a_tagger_finds_the_parts_of_speech_of_texts_to_vary(teacher, tmp_path):
    source = Source("augment_tagger", str(teacher))
    texts = Dataset.from_dict({"text": ["an  awful number", "film the good cat", " ".join(["good"] * 9)]})
    found, described = parts_of_speech(source, texts, "sentiment_analysis", torch.device("cpu"))
    found = list(found)
    assert found[:2] == [["D", "A", "N"], ["N", "D", "A", "N"]]
    assert len(found[2]) == 9
    assert found[2][-1] is None  # it does not read that far
    assert described["class"] == "TransformerEncoderForTokenClassification"
    names = {0: "O", 1: "B-PER", 2: "I-PER"}
    bert(tmp_path / "names", BertForTokenClassification, id2label=names, label2id={v: k for k, v in names.items()})
    with pytest.raises(ArgumentsError, match=r"its labels \(O, B-PER, I-PER, ...\) mark entities and not parts"):
        parts_of_speech(Source("augment_tagger", str(tmp_path / "names")), texts, "x", torch.device("cpu"))


def test_a_run_with_words_replaced_tells_by_whom(sentiment, teacher, tmp_path):
    """Its words are those that the tagger knows."""
    given = []
    for split in ("train", "validation"):
        rows = [{"text": f"{word} film", "label": label} for word, label in (("good", "good"), ("awful", "awful"))] * 6
        rows += [{"text": f"{word} number", "label": label} for word, label in (("good", "good"), ("awful", "awful"))]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        given += [f"--{split}_file", tmp_path / f"{split}.jsonl"]
    given += ["--teacher", sentiment[0], "--augment", 20, "--augment_tagger", teacher, "--architecture", "gru"]
    record = run("sentiment_analysis", tmp_path / "out", *given, "--max_train_steps", 2)
    assert record["teacher"]["augment_tagger"]["name"] == "<local:teacher>"
    card = build_card(record, "alice/student")
    assert "variants with words replaced by others of the part of speech that `teacher` finds" in card


def test_flags_that_do_nothing_without_a_teacher_are_refused(kinds, tmp_path):
    with pytest.raises(ArgumentsError, match="--teacher_revision main does nothing without --teacher"):
        run("tagging", tmp_path, *flags(kinds), "--teacher_revision", "main")
