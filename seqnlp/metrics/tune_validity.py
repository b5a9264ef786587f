"""Is a tune in ABC notation well formed, and how much of it was copied?"""

from collections.abc import Iterable
from typing import NamedTuple

from ..data.melody import Bar, ReadTune
from .score import Score


VALID_SHARE = 0.95


def _share(key: str, name: str, definition: str) -> Score:
    """A share of the tunes that a model writes."""
    return Score(key, name, definition, greater_is_better=True, is_share=True, digits=1, is_sampled=True)


TUNE_SCORES = (
    _share("parsed", "Parsed", "share of the tunes it writes ({sample}) that music21 reads"),
    _share(
        "valid",
        "Valid",
        "share of the tunes it writes ({sample}) that music21 reads and of whose inner bars 95 % fill the metre",
    ),
    _share("strictly_valid", "Strictly valid", "the same over all bars but the first and the last of the tune"),
)
"""What [`valid_share`] gives of the tunes that a model writes."""


class TuneCheck(NamedTuple):
    """
    What [`check_tune`] found.

    Attributes:
        parses: Whether music21 reads it as one melody with bars.
        inner_bars: Bars that have to fill the metre.
        full_bars: Those of them that do.
        strict_inner_bars: All bars but the first and the last.
        strict_full_bars: Those of them that fill the metre.
        reason: Why it does not parse.
    """

    parses: bool
    inner_bars: int = 0
    full_bars: int = 0
    strict_inner_bars: int = 0
    strict_full_bars: int = 0
    reason: str = ""

    @property
    def is_valid(self) -> bool:
        """It parses, has inner bars, and 95 % of them fill the metre."""
        return self.parses and self.inner_bars > 0 and self.full_bars >= VALID_SHARE * self.inner_bars

    @property
    def is_strictly_valid(self) -> bool:
        """The same over all bars but the first and the last of the whole tune."""
        return self.parses and 0 < self.strict_inner_bars * VALID_SHARE <= self.strict_full_bars


def check_tune(tune: ReadTune) -> TuneCheck:
    """
    Measure the bars of a tune.

    A bar at an end of a section (an end of the tune, a repeat sign, a double bar, the bracket of an ending) may be
    shorter than the metre: an upbeat and the section's last bar share one. It is no inner bar then; one too long
    counts as an inner bar that does not fill the metre. The strict numbers make no such exception within the tune.
    Where music21 reads on over a note that it cannot make out, the tune does not parse.

    Args:
        tune: One tune that was read.
    """
    if tune.problem:
        return TuneCheck(False, reason=tune.problem)
    bars, metre = tune.bars, tune.bar_length
    fills = [abs(bar.length - metre) < 1e-3 for bar in bars]
    inner = full = 0
    for index, bar in enumerate(bars):
        is_end = index == len(bars) - 1 or bar.ends_section or _begins(bars[index + 1])
        is_start = index == 0 or _begins(bar) or bars[index - 1].ends_section
        if (is_end or is_start) and bar.length < metre - 1e-3:
            continue
        if not (is_end or is_start) or bar.length > metre + 1e-3:
            inner += 1
            full += fills[index]
    return TuneCheck(True, inner, full, len(bars) - 2 if len(bars) > 2 else 0, sum(fills[1:-1]))


def _begins(bar: Bar) -> bool:
    return bar.begins_section or bar.begins_ending


def valid_share(checks: Iterable[TuneCheck]) -> dict[str, float]:
    """Shares of tunes that music21 parses, that are valid, and that are valid strictly; and their number."""
    checks = list(checks)
    return {
        "tunes": len(checks),
        "parsed": sum(check.parses for check in checks) / len(checks),
        "valid": sum(check.is_valid for check in checks) / len(checks),
        "strictly_valid": sum(check.is_strictly_valid for check in checks) / len(checks),
    }


def copied_share(texts: Iterable[str], training: Iterable[str], length: int = 12) -> float:
    """
    The share of runs of `length` characters that occur in the training texts.

    Args:
        texts: What is examined; each run within one of them.
        training: The training texts.
        length: Characters of a run.
    """
    known = {text[start : start + length] for text in training for start in range(len(text) - length + 1)}
    runs = [text[start : start + length] for text in texts for start in range(len(text) - length + 1)]
    return sum(run in known for run in runs) / len(runs) if runs else 0.0
