"""Tunes in other keys: every note by the same interval, every rhythm as it was."""

import pytest
from datasets import Dataset
from music21 import converter, key

from seqnlp.data import scale_of, to_abc, transpose_tune, with_transpositions


TUNE = "M:6/8\nL:1/8\nK:Ador\nA2A c2d|=f2e ^g3|_B,D^c (3dcA z|[Ace]3 c'|]\nT:A Maid's Fancy"
STEPS = [step for step in range(-7, 8) if step]


def notes(text):
    melody = converter.parseData(to_abc(text), format="abc").parts[0].flatten().notes
    return [(pitch.midi, float(note.quarterLength)) for note in melody for pitch in note.pitches]


@pytest.mark.parametrize("key", ["Ador", "Gmaj", "F#min", "Ebmix", "Bphr", "Clyd", "Dmix"])
@pytest.mark.parametrize("steps", [-3, -2, -1, 1, 2, 3])
def test_every_note_moves_by_the_same_interval(key, steps):
    tune = TUNE.replace("Ador", key).replace("_B,", "_B")
    moved = transpose_tune(tune, steps)
    before, after = notes(tune), notes(moved)
    assert [length for _, length in before] == [length for _, length in after]
    intervals = {b - a for (a, _), (b, _) in zip(before, after, strict=True)}
    assert len(intervals) == 1
    # A step of a scale is one semitone or two, as the tonics are apart.
    assert abs(steps) <= abs(intervals.pop()) <= 2 * abs(steps)


def test_letters_and_header():
    assert transpose_tune(TUNE, 1) == (
        "M:6/8\nL:1/8\nK:Bdor\nB2B d2e|=g2f ^a3|=CE^d (3edB z|[Bdf]3 d'|]\nT:A Maid's Fancy"
    )


def test_the_key_with_the_fewest_accidentals_is_taken():
    header = "M:4/4\nL:1/8\nK:{}\nABc|\nT:A"
    keys = [transpose_tune(header.format("Gmaj"), steps).split("\n")[2] for steps in (-3, -2, -1, 1, 2, 3)]
    assert keys == ["K:Dmaj", "K:Ebmaj", "K:Fmaj", "K:Amaj", "K:Bbmaj", "K:Cmaj"]
    for steps in STEPS:
        moved = transpose_tune(header.format("Gmaj"), steps)
        assert transpose_tune(moved, -steps) == header.format("Gmaj")


def test_a_tune_that_leaves_the_fiddle_is_left_out():
    low = "M:4/4\nL:1/8\nK:Gmaj\nG,ABc|\nT:Low"
    assert transpose_tune(low, -1) is None
    assert transpose_tune(low, 1).endswith("A,Bcd|\nT:Low")
    tunes = Dataset.from_dict({"text": [low, TUNE]})
    assert with_transpositions(tunes, 0) == [low, TUNE]
    texts = with_transpositions(tunes, 1)
    assert texts[:2] == [low, TUNE]
    assert len(texts) == 5
    assert len(set(texts)) == 5


def test_the_form_is_no_note():
    assert transpose_tune("M:6/8\nL:1/8\nK:Gmaj\nR:double jig\nBcd|\nT:A", 1) == (
        "M:6/8\nL:1/8\nK:Amaj\nR:double jig\ncde|\nT:A"
    )


@pytest.mark.parametrize("name", ["Cmaj", "Ador", "F#min", "Bbmaj", "Ebmix", "Bphr", "Clyd", "G#loc"])
def test_scales_are_those_of_music21(name):
    modes = {"maj": "major", "min": "minor", "dor": "dorian", "mix": "mixolydian", "phr": "phrygian"}
    modes |= {"lyd": "lydian", "loc": "locrian"}
    known = key.Key(name[:-3].replace("b", "-"), modes[name[-3:]])
    tonic, scale = scale_of(name)
    assert tonic == known.tonic.pitchClass
    assert scale == {pitch.pitchClass for pitch in known.pitches}
    assert scale_of("Hmaj") is None
    assert scale_of("Gjig") is None
