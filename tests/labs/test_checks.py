"""Each check knows a right answer, and says of common mistakes which they are."""

import answers_1_to_4
import answers_5_8_and_9
import answers_6_and_7
import pytest
import torch

from seqnlp.labs import CHECKS, LabsError, check


LABS = (answers_1_to_4, answers_5_8_and_9, answers_6_and_7)
RIGHT = {name: answer for answers in LABS for name, answer in answers.RIGHT.items()}
WRONG = [wrong for answers in LABS for wrong in answers.WRONG]


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_is_right(name):
    verdict = check(name, RIGHT[name])
    assert verdict, verdict
    assert repr(verdict).startswith(f"✓ {name}: right")


@pytest.mark.parametrize(("name", "answer", "sentence"), WRONG)
def test_a_wrong_answer_is_told_what_is_wrong(name, answer, sentence):
    verdict = check(name, answer)
    assert not verdict
    assert sentence in verdict.sentence, verdict
    assert "\n" not in repr(verdict)


def test_each_check_is_tested_with_a_right_answer_and_three_wrong_ones():
    assert sorted(RIGHT) == sorted(CHECKS)
    for name in RIGHT:
        assert sum(name == wrong for wrong, _, _ in WRONG) >= 3, name


def blank(*arguments):
    raise NotImplementedError("This blank is yours to fill.")


@pytest.mark.parametrize("name", CHECKS)
def test_a_blank_is_not_written_yet_and_a_number_is_no_function(name):
    assert check(name, blank).sentence == "it is not written yet: it comes to the line `raise NotImplementedError`."
    assert "a function or class is asked for" in check(name, 3).sentence
    assert "returns nothing" in check(name, lambda *arguments: None).sentence
    assert "raises ZeroDivisionError" in check(name, lambda *arguments: 1 / 0).sentence


ODD = [
    {},
    "text",
    float("nan"),
    torch.zeros(0),
    [torch.zeros(2)],
    (None, None),
    (1, "two", object()),
    1 + 2j,
    [[1], [1, 2]],
]


@pytest.mark.parametrize("name", CHECKS)
def test_whatever_an_answer_returns_the_verdict_is_a_sentence(name):
    for odd in ODD:
        verdict = check(name, lambda *arguments, odd=odd: odd)
        assert not verdict
        assert "\n" not in verdict.sentence


def test_a_check_of_another_name_is_refused_with_the_nearest():
    with pytest.raises(LabsError, match=r"There is no check 'lstm'; there is"):
        check("lstm", blank)
    with pytest.raises(LabsError, match="there is 'elman_step'"):
        check("elman_stepp", blank)


def test_a_check_leaves_the_random_numbers_as_they_were():
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    check("lstm_cell", RIGHT["lstm_cell"])
    assert torch.rand(1) == before
