"""
What tunes are like in melody, rhythm and phrases, and how like two sets of tunes are in that: a listening test by
numbers (Yang & Lerch 2020, "On the evaluation of generative models in music", Neural Computing and Applications 32).

Each statistic is a histogram per tune. Two sets of tunes are alike where their mean histograms overlap. A set that
is itself alike throughout, unlike the other, is found by the distances between tunes.
"""

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist, pdist
from scipy.stats import gaussian_kde
from sklearn.feature_extraction import DictVectorizer
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from ..data.melody import Melody
from .score import Score


Histogram = dict[object, float]
"""The share of each value; they sum to 1."""


LARGEST_INTERVAL = 12


def _intervals(melody: Melody) -> Counter:
    pitches = [pitch for pitch, *_ in melody.line]
    steps = (after - before for before, after in pairwise(pitches))
    return Counter(max(-LARGEST_INTERVAL, min(LARGEST_INTERVAL, step)) for step in steps)


def pitch_classes(melody: Melody) -> Counter:
    """How long each pitch class above the tonic sounds, in quarters: 0 for the tonic, 7 for the fifth."""
    found: Counter = Counter()
    for pitch, _, length in melody.notes:
        found[(pitch - melody.tonic) % 12] += length
    return found


def _range(melody: Melody) -> Counter:
    pitches = [pitch for pitch, *_ in melody.notes]
    return Counter([(max(pitches) - min(pitches)) // 3 * 3]) if pitches else Counter()


def _lengths(melody: Melody) -> Counter:
    return Counter(round(length, 3) for *_, length in melody.line)


def _bar_rhythms(melody: Melody) -> Counter:
    return Counter(tuple(onset for _, onset, _ in bar) for bar in melody.full_bars() if bar)


def _bars(melody: Melody) -> Counter:
    bars = round(sum(length for _, length in melody.bars) / melody.bar_length) if melody.bar_length else 0
    return Counter([bars // 4 * 4]) if bars else Counter()


def _sections(melody: Melody) -> Counter:
    return Counter(round(length / melody.bar_length) for length in melody.sections if melody.bar_length)


def _repeats(melody: Melody) -> Counter:
    bars = [bar for bar in melody.full_bars() if bar]
    return Counter([min(9, int(10 * (1 - len(set(bars)) / len(bars)))) * 10]) if bars else Counter()


class Statistic(NamedTuple):
    """
    One histogram per tune.

    Attributes:
        key: Its key in `run.json`.
        kind: `melody`, `rhythm` or `phrases`.
        name: Its name for readers, with its unit.
        measure: How often, or how long, each value occurs in a tune; nothing where the tune has none.
        is_ordered: Whether its values are numbers along an axis; or else it has many, without an order.
    """

    key: str
    kind: str
    name: str
    measure: Callable[[Melody], Counter]
    is_ordered: bool = True

    def histogram(self, melody: Melody) -> Histogram:
        """The shares of a tune's values; empty where it has none."""
        counts = self.measure(melody)
        total = sum(counts.values())
        return {value: count / total for value, count in counts.items()} if total else {}


STATISTICS = (
    Statistic("intervals", "melody", "interval to the next note (semitones)", _intervals),
    Statistic("pitch_classes", "melody", "pitch above the tonic (semitones, share of time)", pitch_classes),
    Statistic("range", "melody", "range of a tune (semitones, by threes)", _range),
    Statistic("lengths", "rhythm", "length of a note (quarters)", _lengths),
    Statistic("bar_rhythms", "rhythm", "rhythms of a bar (most frequent first)", _bar_rhythms, is_ordered=False),
    Statistic("bars", "phrases", "length of a tune (bars, by fours)", _bars),
    Statistic("sections", "phrases", "length of a section (bars)", _sections),
    Statistic("repeats", "phrases", "bars heard before in the tune (%, by tens)", _repeats),
)
KINDS = ("melody", "rhythm", "phrases")


def _score(key: str, name: str, definition: str) -> Score:
    return Score(key, name, definition, greater_is_better=True, is_share=True, digits=1, is_sampled=True)


STATISTICS_SCORES = (
    _score(
        "melody",
        "Melody alike",
        "overlap of the tunes it writes ({sample}) with held-out tunes in mean histograms of intervals, of pitch "
        "classes above the tonic and of ranges, the mean of the three",
    ),
    _score("rhythm", "Rhythm alike", "the same for lengths of notes and rhythms of bars"),
    _score("phrases", "Phrases alike", "the same for lengths of tunes and of sections, and shares of repeated bars"),
    _score(
        "distances",
        "Distances alike",
        "overlapped area of the densities of distances between held-out tunes, and between those and the tunes it "
        "writes, the mean over these eight statistics (Yang & Lerch 2020)",
    ),
    _score("in_scale", "In scale", "share of the time in the tunes it writes ({sample}) in notes of the key's scale"),
    _score(
        "in_key",
        "In key",
        "share of the tunes it writes ({sample}) whose tonic and third are those that their notes are nearest to by "
        "the profiles of Krumhansl & Kessler (1982)",
    ),
    _score(
        "in_form",
        "In form",
        "share of the tunes it writes with a form (jig, reel) that naive Bayes, fitted to the metres and bar rhythms "
        "of the training tunes, finds in them",
    ),
)


def mean_histogram(histograms: Iterable[Histogram]) -> Histogram:
    """The mean of the histograms of tunes, each of which counts alike; without those that have no value."""
    found = [histogram for histogram in histograms if histogram]
    mean: Counter = Counter()
    for histogram in found:
        for value, share in histogram.items():
            mean[value] += share / len(found)
    return dict(mean)


def overlap(left: Histogram, right: Histogram) -> float:
    """The area under both of two histograms: 1 where they are the same, 0 where no value is in both."""
    return sum(min(share, right.get(value, 0.0)) for value, share in left.items())


def overlapped_area(left: np.ndarray, right: np.ndarray, points: int = 1000) -> float:
    """
    The area under both of two densities, as Gaussian kernels estimate them (Yang & Lerch 2020); over all numbers,
    where the authors stop at the largest and at the smallest one. Numbers that are all the same have none:
    they are alike if the two are the same number.

    Args:
        left: Numbers of shape `(n,)`.
        right: Numbers of shape `(m,)`.
        points: At how many places the densities are compared.
    """
    is_constant = [np.ptp(numbers) < 1e-9 for numbers in (left, right)]
    if any(is_constant):
        return float(all(is_constant) and abs(left[0] - right[0]) < 1e-9)
    densities = [gaussian_kde(numbers) for numbers in (left, right)]
    margin = 4 * max(float(np.sqrt(density.covariance[0, 0])) for density in densities)
    both = np.concatenate([left, right])
    places = np.linspace(both.min() - margin, both.max() + margin, points)
    return float(np.trapezoid(np.minimum(*(density(places) for density in densities)), places))


def _distances(reference: list[Histogram], others: list[Histogram]) -> float | None:
    """How alike distances among the references, and those of the others from them, are."""
    reference, others = [row for row in reference if row], [row for row in others if row]
    if len(reference) < 3 or not others:
        return None
    vectors = DictVectorizer(sparse=False).fit_transform(
        [{str(value): share for value, share in row.items()} for row in (*reference, *others)]
    )
    known, found = vectors[: len(reference)], vectors[len(reference) :]
    return overlapped_area(pdist(known), cdist(found, known).ravel())


def compare_tunes(tunes: Sequence[Melody], held_out: Sequence[Melody]) -> tuple[dict[str, float], dict[str, float]]:
    """
    How alike some tunes and held-out ones are.

    Args:
        tunes: The tunes in question.
        held_out: What they are held against.

    Returns:
        The scores of `STATISTICS_SCORES` that need no key, and the overlap by the key of each statistic. What cannot
        be said is left out: of no tunes at all, or of distances between two.
    """
    overlaps, distances = {}, []
    for statistic in STATISTICS:
        found, known = ([statistic.histogram(melody) for melody in part] for part in (tunes, held_out))
        if any(found) and any(known):
            overlaps[statistic.key] = overlap(mean_histogram(found), mean_histogram(known))
            distances.append(_distances(known, found))
    kinds = {
        kind: [overlaps[one.key] for one in STATISTICS if one.kind == kind and one.key in overlaps] for kind in KINDS
    }
    scores = {kind: statistics.fmean(values) for kind, values in kinds.items() if values}
    told = [one for one in distances if one is not None]
    return {**scores, **({"distances": statistics.fmean(told)} if told else {})}, overlaps


# Krumhansl & Kessler 1982, "Tracing the dynamic changes in perceived tonal organization", from the tonic upwards.
MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


def nearest_key(melody: Melody) -> tuple[int, bool] | None:
    """
    The pitch class of the tonic, and whether its third is minor, of the major or minor key whose profile correlates
    most with how long each pitch class sounds (Krumhansl 1990, "Cognitive foundations of musical pitch", chapter 4).
    `None` where nothing sounds, or all pitch classes alike.
    """
    found = pitch_classes(melody)
    time = np.array([found[(place - melody.tonic) % 12] for place in range(12)], dtype=float)
    if np.ptp(time) < 1e-9:
        return None
    correlations = {
        (tonic, is_minor): np.corrcoef(time, np.roll(profile, tonic))[0, 1]
        for tonic in range(12)
        for is_minor, profile in ((False, MAJOR), (True, MINOR))
    }
    return max(correlations, key=correlations.get)


def keep_to_key(melodies: Sequence[Melody]) -> dict[str, float]:
    """The share of time in notes of the scale, and of tunes in their key; a mode counts by its third."""
    sounding = [melody for melody in melodies if melody.notes]
    if not sounding:
        return {}
    in_scale, in_key = [], 0
    for melody in sounding:
        time = pitch_classes(melody)
        inside = sum(length for place, length in time.items() if (place + melody.tonic) % 12 in melody.scale)
        in_scale.append(inside / sum(time.values()))
        in_key += nearest_key(melody) == (melody.tonic, (melody.tonic + 3) % 12 in melody.scale)
    return {"in_scale": statistics.fmean(in_scale), "in_key": in_key / len(sounding)}


class FormFinder:
    """
    Which form a tune has, by its metre and the rhythms of its bars: multinomial naive Bayes.

    Args:
        rhythms: For each tune whose form is known, its metre and rhythms, as words.
        forms: Their forms.
    """

    def __init__(self, rhythms: Iterable[Iterable[str]], forms: Sequence[str]):
        self._model = make_pipeline(DictVectorizer(), MultinomialNB(alpha=0.1))
        self._model.fit([Counter(words) for words in rhythms], forms)

    def share_found(self, rhythms: Iterable[Iterable[str]], forms: Sequence[str]) -> float:
        """The share of some tunes whose form is found."""
        found = self._model.predict([Counter(words) for words in rhythms])
        return statistics.fmean(one == form for one, form in zip(found, forms, strict=True))
