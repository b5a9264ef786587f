import pytest

from seqnlp.data import ReadTune
from seqnlp.metrics.tune_validity import TUNE_SCORES, check_tune, copied_share, valid_share


HEAD = "X:1\nT:A Tune\nM:6/8\nL:1/8\nK:Gmaj\n"


@pytest.mark.parametrize(
    ("notes", "parses", "valid", "strictly"),
    [
        ("A|BGG ADD|BdB BAG|BGG ADD|GAG GED|BGG ADD|BAG ABc|dge fed|cAF G2:|", True, True, True),
        # An upbeat in the middle, shared with the first section's last bar.
        ("A|BGG ADD|BdB BAG|cAF G2:|\nA|GBd g3|fed cAF|cAF G2:|", True, True, False),
        ("A|BGG ADD|BdB BAG|BGG ADD|GAG GED|BGG AD|BAG ABc|dge fed|cAF G2:|", True, False, False),
        ("A|BGG ADD|BdB BAG|BGG ADDG|cAF cAF|BGG ADD|", True, False, False),  # music21 makes two bars of a long one
        ("A|BGG ADD|BdB BAG|BGG ADDGG EGG GA||cAF cAF|BGG ADD|", True, False, False),
        ("BGG ADD|BdB BAG|", True, False, False),  # a first and a last bar, and none between that could be full
        ("[[[BGG|", False, False, False),
        ("A|BGq ADD|BdB BAG|BGG ADD|", False, False, False),  # music21 reads q as C, with a warning
        ("", False, False, False),
    ],
)
def test_what_is_a_valid_tune(notes, parses, valid, strictly):
    check = check_tune(ReadTune(HEAD + notes))
    assert (check.parses, check.is_valid, check.is_strictly_valid) == (parses, valid, strictly)
    assert bool(check.reason) == (not parses)


def test_an_ending_may_begin_within_a_bar():
    tune = "BGG ADD|BdB BAG|BGG ADD|GAG A\n[1 GG|BGG ADD|BAG ABc|dge fed:|\n[2 GG|BGG ADD|BAG ABc|dge fed|]"
    assert check_tune(ReadTune(HEAD + tune)).is_valid


def test_text_that_is_no_tune():
    assert not check_tune(ReadTune("once upon a time")).parses
    reason = check_tune(ReadTune("X:1\nK:G\nABc")).reason
    assert "Error" in reason or "Exception" in reason


def test_shares():
    checks = [check_tune(ReadTune(HEAD + "BGG ADD|BdB BAG|BGG ADD|")), check_tune(ReadTune(""))]
    assert valid_share(checks) == {"tunes": 2, "parsed": 0.5, "valid": 0.5, "strictly_valid": 0.5}
    assert {score.key for score in TUNE_SCORES} == {"parsed", "valid", "strictly_valid"}


def test_copied_runs():
    assert copied_share(["abcdef"], ["xxabcdxx"], 4) == pytest.approx(1 / 3)
    assert copied_share(["abcdef", "abcd"], ["abcdef"], 4) == 1.0
    assert copied_share(["abc"], ["abc"], 12) == 0.0
