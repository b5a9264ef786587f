"""What tunes are like, computed by hand, and by other programs where there are some."""

import math
import re

import numpy as np
import pytest
from music21 import analysis, note, stream
from scipy import integrate, stats

from seqnlp.data import Melody
from seqnlp.metrics.tune_statistics import (
    KINDS,
    MAJOR,
    MINOR,
    STATISTICS,
    STATISTICS_SCORES,
    FormFinder,
    compare_tunes,
    keep_to_key,
    mean_histogram,
    nearest_key,
    overlap,
    overlapped_area,
)


D_MAJOR = (2, frozenset({2, 4, 6, 7, 9, 11, 1}))


def melody(pitches, lengths, bars=3, sections=(12.0,), key=D_MAJOR):
    """Bars of four quarters."""
    onsets = [sum(lengths[:place]) for place in range(len(lengths))]
    notes = list(zip(pitches, onsets, lengths, strict=True))
    return Melody(notes, [(4.0 * bar, 4.0) for bar in range(bars)], list(sections), 4.0, *key)


# D E F#2 | D E F#2 | D A A2
TUNE = melody([62, 64, 66, 62, 64, 66, 62, 69, 69], [1.0, 1.0, 2.0] * 3)


@pytest.mark.parametrize(
    ("key", "histogram"),
    [
        ("intervals", {2: 4 / 8, -4: 2 / 8, 7: 1 / 8, 0: 1 / 8}),
        ("pitch_classes", {0: 3 / 12, 2: 2 / 12, 4: 4 / 12, 7: 3 / 12}),
        ("range", {6: 1.0}),  # 7 semitones
        ("lengths", {1.0: 6 / 9, 2.0: 3 / 9}),
        ("bar_rhythms", {(0.0, 1.0, 2.0): 1.0}),
        ("bars", {0: 1.0}),  # 3 bars
        ("sections", {3: 1.0}),
        ("repeats", {30: 1.0}),  # one bar of three
    ],
)
def test_histograms_of_a_tune(key, histogram):
    (statistic,) = (one for one in STATISTICS if one.key == key)
    assert statistic.histogram(TUNE) == pytest.approx(histogram)


def test_large_intervals_chords_and_short_bars():
    leap = melody([50, 70, 50], [1.0, 1.0, 2.0], bars=1)
    assert STATISTICS[0].histogram(leap) == {12: 0.5, -12: 0.5}
    chord = Melody([(60, 0.0, 1.0), (64, 0.0, 1.0), (65, 1.0, 3.0)], [(0.0, 4.0), (4.0, 1.0)], [4.0], 4.0, *D_MAJOR)
    assert chord.line == [(64, 0.0, 1.0), (65, 1.0, 3.0)]  # its highest note
    assert chord.full_bars() == [((64, 0.0, 1.0), (65, 1.0, 3.0))]  # the second bar does not fill the metre
    empty = Melody([], [], [], 0.0, *D_MAJOR)
    assert all(statistic.histogram(empty) == {} for statistic in STATISTICS)


def test_overlap_of_mean_histograms():
    assert mean_histogram([{1: 1.0}, {1: 0.5, 2: 0.5}, {}]) == {
        1: 0.75,
        2: 0.25,
    }  # each tune with a value counts alike
    assert overlap({1: 0.75, 2: 0.25}, {2: 0.5, 3: 0.5}) == 0.25
    assert overlap({1: 1.0}, {2: 1.0}) == 0.0


def test_overlapped_area():
    rng = np.random.default_rng(0)
    left, right = rng.normal(0, 1, 60), rng.normal(1, 2, 80)
    places = np.linspace(-15, 15, 4001)

    def density(numbers):  # kernels as wide as Scott's rule says
        width = numbers.std(ddof=1) * len(numbers) ** -0.2
        return stats.norm.pdf(places, numbers[:, None], width).mean(axis=0)

    area = integrate.simpson(np.minimum(density(left), density(right)), x=places)
    assert overlapped_area(left, right) == pytest.approx(area, abs=1e-3)
    assert overlapped_area(left, left) == pytest.approx(1, abs=1e-3)
    assert overlapped_area(left, left + 100) == pytest.approx(0, abs=1e-6)
    # Nothing to smooth.
    assert overlapped_area(np.zeros(3), np.zeros(2)) == 1.0
    assert overlapped_area(np.zeros(3), np.ones(2)) == 0.0
    assert overlapped_area(np.zeros(3), left) == 0.0


def test_sets_of_tunes_are_compared():
    others = [melody([62, 64, 66, 67], [1.0] * 4, 1, [4.0]), melody([62, 69], [2.0, 2.0], 1, [4.0])]
    held_out = [TUNE, *others]
    scores, overlaps = compare_tunes(held_out, held_out)
    assert set(overlaps) == {statistic.key for statistic in STATISTICS}
    assert list(overlaps.values()) == pytest.approx([1.0] * 8)
    assert {key: scores[key] for key in ("melody", "rhythm", "phrases")} == pytest.approx(
        {"melody": 1, "rhythm": 1, "phrases": 1}
    )
    scores, overlaps = compare_tunes([TUNE], others)
    # Of the intervals of TUNE 4/8 are a step of two semitones and 1/8 a fifth; of the others (2/3 + 0) / 2 and 1/2.
    assert overlaps["intervals"] == pytest.approx(1 / 3 + 1 / 8)
    assert overlaps["sections"] == 0.0  # three bars against one
    assert scores["rhythm"] == pytest.approx((overlaps["lengths"] + overlaps["bar_rhythms"]) / 2)
    assert "distances" not in scores  # between two tunes there is one
    assert compare_tunes([], held_out) == ({}, {})


def test_distances_are_between_histograms_of_single_tunes():
    tunes = [
        melody([62, 62 + step, 62 + other], [1.0, 1.0, 2.0], 1, [4.0]) for step, other in ((1, 3), (2, 4), (2, 9))
    ]
    written = [melody([62, 63, 64], [1.0, 1.0, 2.0], 1, [4.0]), tunes[1]]

    def apart(one, other, statistic):
        left, right = statistic.histogram(one), statistic.histogram(other)
        return math.sqrt(sum((left.get(value, 0) - right.get(value, 0)) ** 2 for value in {*left, *right}))

    areas = []
    for statistic in STATISTICS:
        among = [apart(tunes[i], tunes[j], statistic) for i, j in ((0, 1), (0, 2), (1, 2))]
        between = [apart(one, tune, statistic) for one in written for tune in tunes]
        areas.append(overlapped_area(np.array(among), np.array(between)))
    assert compare_tunes(written, tunes)[0]["distances"] == pytest.approx(sum(areas) / 8)


def test_keys_are_found_as_music21_finds_them():
    profiles = analysis.discrete.KrumhanslSchmuckler()  # which is of Kessler's profiles, too
    assert (tuple(profiles.getWeights("major")), tuple(profiles.getWeights("minor"))) == (MAJOR, MINOR)
    rng = np.random.default_rng(1)
    for _ in range(6):
        pitches, lengths = rng.integers(55, 80, 12).tolist(), rng.choice([0.5, 1.0, 2.0], 12).tolist()
        part = stream.Part()
        for pitch, length in zip(pitches, lengths, strict=True):
            part.append(note.Note(pitch, quarterLength=length))
        tonic, mode, _ = profiles.process(part)[0]
        assert nearest_key(melody(pitches, lengths)) == (tonic.pitchClass, mode == "minor")
    assert nearest_key(Melody([], [], [], 4.0, *D_MAJOR)) is None


def test_how_tunes_keep_to_their_key():
    # D F# A D, in D; and the same with an F, which is in D minor.
    major, minor = melody([62, 66, 69, 74], [1.0] * 4), melody([62, 65, 69, 74], [1.0] * 4)
    assert keep_to_key([major]) == {"in_scale": 1.0, "in_key": 1.0}
    assert keep_to_key([major, minor]) == {"in_scale": (1 + 3 / 4) / 2, "in_key": 0.5}
    assert keep_to_key([]) == {}


def test_forms_are_found_by_metre_and_rhythm():
    jigs, reels = [["M:6/8", "nnn nnn", "n2n nnn"]] * 3, [["M:4/4", "nnnn nnnn", "n2nn nnnn"]] * 3
    finder = FormFinder([*jigs, *reels], ["jig"] * 3 + ["reel"] * 3)
    asked = [["M:6/8", "n2n n2n"], ["M:4/4", "nnnn nnnn"], ["M:4/4", "n2nn nnnn"]]
    assert finder.share_found(asked, ["jig", "reel", "reel"]) == 1.0
    assert finder.share_found(asked, ["jig", "reel", "jig"]) == pytest.approx(2 / 3)


def test_every_statistic_says_what_it_is_and_counts_for_a_score():
    assert len({one.key for one in STATISTICS}) == len(STATISTICS)
    assert {one.kind for one in STATISTICS} == set(KINDS)
    for one in STATISTICS:
        assert re.fullmatch(r"[a-z ]+ \([a-z ,%]+\)", one.name)  # with what is counted


def test_all_scores_are_shares():
    assert [score.key for score in STATISTICS_SCORES] == [
        "melody",
        "rhythm",
        "phrases",
        "distances",
        "in_scale",
        "in_key",
        "in_form",
    ]
    assert all(score.is_share and score.is_sampled and score.greater_is_better for score in STATISTICS_SCORES)
