"""Tunes as music21 reads them."""

import pytest
from music21 import converter

from seqnlp.data import ReadTune
from seqnlp.data.melody import Bar, spell_out


HEAD = "X:1\nM:6/8\nL:1/8\nK:G\n"


def test_sections_are_as_long_as_their_bars_and_a_second_ending_is_of_none():
    found = ReadTune("X:1\nM:6/8\nL:1/8\nK:G\nG|=F2B F3|1 d3 e2:|2 d3 e3||A3 B3|]\n").melody
    assert found.notes[:5] == [(67, 0.0, 0.5), (65, 0.5, 1.0), (71, 1.5, 0.5), (65, 2.0, 1.5), (74, 3.5, 1.5)]
    assert found.bars == [(0.0, 0.5), (0.5, 3.0), (3.5, 2.5), (6.0, 3.0), (9.0, 3.0)]
    assert (found.sections, found.bar_length) == ([6.0, 3.0], 3.0)
    assert ReadTune("X:1\nM:6/8\nL:1/8\nK:G\n[[[\n").melody is None


def test_bars_are_those_that_are_written_with_what_stands_at_their_ends():
    found = ReadTune(HEAD + "G|B3 F3|1 d3 e2:|2 d3 e3||A3 B3|]\n")
    assert (found.problem, found.bar_length) == ("", 3.0)
    assert found.bars == [
        Bar(0.0, 0.5, False, False, False, False),
        Bar(0.5, 3.0, False, False, False, False),
        Bar(3.5, 2.5, False, True, True, False),
        Bar(6.0, 3.0, False, True, True, True),
        Bar(9.0, 3.0, True, True, False, False),
    ]


@pytest.mark.parametrize(
    ("notes", "times"),
    [
        ("BGG ADD|BdB BAG::cAF G3|", 1),  # music21 would lose what stands around the short sign
        ("BGG ADD|BdB ^BAG|", 1),  # an accidental that holds for one note alone
        ("BGG ADD|Bd^B BAG|", 2),  # and for the next B too, which music21 has to be told
        ("BGG ADD|Z|BGG ADD|", 2),  # a bar of rest, unknown to it
    ],
)
def test_a_tune_is_read_again_only_where_it_sounds_otherwise_than_music21_reads_it(monkeypatch, notes, times):
    read, parse = [], converter.parseData
    monkeypatch.setattr(converter, "parseData", lambda text, **options: read.append(text) or parse(text, **options))
    tune = ReadTune(HEAD + notes)
    assert tune.problem == ""
    assert tune.melody is tune.melody is not None
    assert len(read) == times
    assert read[-1] == spell_out(HEAD + notes)


def test_what_is_no_note_stays_as_it_is():
    tune = 'X:1\nT:C D ^E::F\nM:4/4\nK:C\n"^C"C {^D}D !f!E [P:^F]F|% ^G::x\nw:^a b\n^c [c^e] z4|\n'
    assert spell_out(tune) == tune.replace("[c^e]", "[^c^e]")


@pytest.mark.parametrize(
    ("notes", "is_refused"),
    [
        ("A9999|B|", True),
        ("AB|z400 A|", True),
        (f"{'ABc' * 101}|B|", True),
        ("A302//|B|", False),  # 75.5 units
        ("A99/|B|", False),
    ],
)
def test_a_bar_for_which_music21_would_seek_a_metre_for_minutes_is_refused_at_once(notes, is_refused):
    tune = ReadTune(f"X:1\nT:{'a' * 400}\nM:4/4\nL:1/8\nK:C\n{notes}\n")
    assert tune.problem == ("a bar is longer than 300 of its units of length" if is_refused else "")
    assert (tune.melody is None) == is_refused  # and nothing that sounds is sought either


@pytest.mark.parametrize(
    ("unit", "notes", "is_refused"),
    [
        ("L:1/8", "A150|B|", False),  # 75 quarters
        ("L: 2/1", "A150|B|", True),  # 1,200 quarters
        ("L:1/1", "A74|B|", False),  # 296
        ("L:1/1", "A76|B|", True),
        ("L:1/8", "A150|[L:4/1]B|", True),
        ("L:1/8\nT:L:400/1", "A150|B|", False),  # a title
        ("L:1/0", "A76|B|", True),
    ],
)
def test_a_bar_of_long_units_counts_in_quarters(unit, notes, is_refused):
    tune = ReadTune(f"X:1\nM:4/4\n{unit}\nK:C\n{notes}\n")
    told = "a bar is longer than 300 of its units of length or quarters"
    assert (tune.problem == told, tune.melody is None) == (is_refused, is_refused)


def test_a_tune_of_more_bars_than_music21_reads_in_seconds_is_refused_at_once():
    assert ReadTune(f"X:1\nM:4/4\nL:1/8\nK:D\n{'ABcd|' * 500}\n").problem == "it has more than 500 bars"
    assert not ReadTune(f"X:1\nM:4/4\nL:1/8\nK:D\n{'ABcd ABcd|' * 20}\n").problem


def test_a_metre_that_music21_cannot_be_given_is_refused_at_once():
    assert ReadTune("X:1\nM:9999/8\nL:1/8\nK:G\nAB|\n").problem == "the metre 9999/8 has too many beats"
    assert ReadTune("X:1\nM:6/8\nL:1/8\nK:G\nABA ABA|[M:500/4]A|\n").problem == "the metre 500/4 has too many beats"
    assert not ReadTune("X:1\nM:99/8\nL:1/8\nK:G\nABA ABA ABA ABA|ABA ABA ABA ABA|\n").problem
