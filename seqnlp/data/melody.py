"""Tunes in ABC notation, as music21 (extra `music`) reads them: bars as they are written, the melody that sounds."""

import contextlib
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple


_FRACTION = r"[1-9]\d?/[1-9]\d?"
MOST_BARS_OF_REST = 100
_LINE_FIELD = re.compile(r"[A-Za-z]:(?![|:])")
_TOKEN = re.compile(
    r'(?P<skipped>^[A-Za-z+]:(?![|:]).*$|"[^"\n]*"|![^!\n]*!|\{[^}]*\}|\[[A-Za-z]:[^\]\n]*\]|%.*$)'
    r"|(?P<bar>:*\|+[\]:]*|::)"
    r"|(?P<rest>[ZX]\d*|x)"
    r"|(?P<space>y\d*)"
    r"|(?P<open>\[)(?=[\^_=A-Ga-g])|(?P<close>\])"
    r"|(?P<sign>\^\^?|__?|=)?(?P<letter>[A-Ga-g])(?P<octave>[,']*)(?P<length>[\d/]*)(?P<tie> *\.?-)?",
    re.MULTILINE,
)
_TIED_CHORD = re.compile(r"\[([\^_=A-Ga-g,'\d/ -]+)\]([\d/]*) *\.?-")
_OLD_CHORD = re.compile(r"\+((?:(?:\^\^?|__?|=)?[A-Ga-g][,']*[\d/]*){2,})\+")  # as the standard had them until 2003
_LATE_TIE = re.compile(r"([<>]+)-")  # behind the sign of a broken rhythm, where music21 would lose that
_NOTE_OF_A_CHORD = re.compile(r"[A-Ga-g][,']*[\d/]*+(?!-)")


class Bar(NamedTuple):
    """
    A bar as it is written; times are in quarters.

    Attributes:
        onset: When it begins, each section played once.
        length: How long its notes and rests are.
        begins_section: Whether a repeat sign or a double bar is at its beginning; music21 puts what stands between two
            bars at the end of one, at the beginning of the other, or at both.
        ends_section: Whether one is at its end.
        begins_ending: Whether the bracket of an ending begins with it.
        begins_later_ending: Whether that is another ending than the first.
    """

    onset: float
    length: float
    begins_section: bool
    ends_section: bool
    begins_ending: bool
    begins_later_ending: bool


class Melody(NamedTuple):
    """
    A tune, each section played once; times are in quarters.

    Attributes:
        notes: MIDI number, onset and length of each note.
        bars: Onset and length of each bar.
        sections: The length of each section, which ends at a repeat sign or a double bar. The second ending of a
            section belongs to none.
        bar_length: The length of a bar that fills the metre.
        tonic: The pitch class of the key's tonic, 0 for C; what is read of notes alone has none.
        scale: The pitch classes of the key's scale.
    """

    notes: Sequence[tuple[int, float, float]]
    bars: Sequence[tuple[float, float]]
    sections: Sequence[float]
    bar_length: float
    tonic: int | None = None
    scale: frozenset[int] = frozenset()

    def in_key(self, tonic: int, scale: frozenset[int]) -> "Melody":
        """The same, with its key."""
        return self._replace(tonic=tonic, scale=scale)

    @property
    def line(self) -> list[tuple[int, float, float]]:
        """Its notes by their onsets; of those that begin together the highest."""
        highest: dict[float, tuple[int, float, float]] = {}
        for note in sorted(self.notes):
            highest[note[1]] = note
        return sorted(highest.values(), key=lambda note: note[1])

    def full_bars(self) -> list[tuple[tuple[int, float, float], ...]]:
        """The notes of each bar that fills the metre, with onsets counted from its beginning."""
        line = self.line
        return [
            tuple(
                (pitch, round(onset - start, 3), round(length, 3))
                for pitch, onset, length in line
                if start - 1e-6 <= onset < start + bar - 1e-6
            )
            for start, bar in self.bars
            if abs(bar - self.bar_length) < 1e-3
        ]


_ENDLESS_METRE = re.compile(r"M:\s*(0*[1-9]\d{2,}\s*/\s*\d+)")
"""One of a hundred beats or more, over which music21 computes for minutes."""
MOST_UNITS_OF_A_BAR = 300
"""Of the unit of length, or of quarters where that is longer. For what a bar holds beyond its metre music21 seeks a
metre, for minutes too."""
MOST_BARS = 500
"""Over a thousand, music21 computes for half a minute: for each it goes through all that are before it."""
_UNIT = re.compile(r"(?m)(?:^|\[)L:\s*(\d{1,9})(?:\s*/\s*(\d{1,9}))?")
_LENGTH = re.compile(r"[A-Ga-gxz][,']*(\d*)(/*)(\d*)")


class ReadTune:
    """
    A tune that was read: once if [`spell_out`] leaves it as it is, or else once as it is written and, when its melody
    is asked for, once more as it is spelled out.

    Args:
        abc: One tune in ABC notation.

    Attributes:
        abc: What was read.
        bars: Its bars as they are written.
        bar_length: The length in quarters of a bar that fills the metre.
        problem: Why music21 does not read it as one melody with bars; empty if it does.
    """

    def __init__(self, abc: str):
        self.abc = abc
        self.bars: list[Bar] = []
        self.bar_length, self.problem = 0.0, _takes_minutes(abc)
        if self.problem:
            self.melody = None
            return
        written = _with_long_signs(abc)
        try:
            with _listening() as said:
                parts = _parse(written)
                if len(parts) == 1:
                    self.bars, self.bar_length = _bars_of(parts[0])
        except Exception as error:  # of many kinds, music21's own and Python's
            self.problem = f"{type(error).__name__}: {' '.join(str(error).split())[:80]}"
            return
        if "Could not get pitch" in said.getvalue():  # it reads on over a note that it cannot make out
            self.problem = " ".join(said.getvalue().split())[:80]
        elif not any(bar.length for bar in self.bars):
            self.problem = "no single melody with bars"
        else:
            spelled, ties = _spelled(abc)
            if spelled == written:
                self.melody = _melody_of(parts[0], ties, self.bars, self.bar_length)

    @cached_property
    def melody(self) -> Melody | None:
        """
        What sounds, each section played once; `None` if music21 cannot parse the tune once it is spelled out, or would
        take minutes for it.
        """
        spelled, ties = _spelled(self.abc)
        try:
            with _listening():
                part = _parse(spelled)[0]
                bars, bar_length = _bars_of(part)
        except Exception:
            return None
        return _melody_of(part, ties, bars, bar_length)


@contextlib.contextmanager
def _listening() -> Iterator[io.StringIO]:
    """What music21 says meanwhile: it warns on standard error."""
    said = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stderr(said):
        warnings.simplefilter("ignore")
        yield said


def _parse(abc: str) -> list[Any]:
    """The parts of a tune, as music21 has them; none where it makes something else of a text."""
    from music21 import converter, stream  # slow to import, and needed by music alone

    score = converter.parseData(abc, format="abc")
    return list(score.parts) if isinstance(score, stream.Score) else []


def _bars_of(part: Any) -> tuple[list[Bar], float]:
    """The bars of a part, and how long one is that fills the metre."""
    from music21 import spanner, stream

    bars = list(part.getElementsByClass(stream.Measure))
    endings: dict[int, set[str]] = {}  # the numbers of those that begin with a bar
    for bracket in part.recurse().getElementsByClass(spanner.RepeatBracket):
        endings.setdefault(id(bracket.getFirst()), set()).add(bracket.number)
    found = [
        Bar(
            float(bar.offset),
            float(bar.duration.quarterLength),
            _is_border(bar.leftBarline),
            _is_border(bar.rightBarline),
            id(bar) in endings,
            bool(endings.get(id(bar), set()) - {"1"}),
        )
        for bar in bars
    ]
    # The tune's own: music21 gives a bar that it has cut off an overfull one a metre that fits it.
    return found, float(bars[0].barDuration.quarterLength) if bars else 0.0


def _bars_as_written(abc: str) -> list[str]:
    return "\n".join(line for line in abc.splitlines() if not _LINE_FIELD.match(line)).split("|")


def _takes_minutes(abc: str) -> str:
    """What of a tune music21 would compute over for minutes or hours; empty if nothing."""
    if metre := _ENDLESS_METRE.search(abc):
        return f"the metre {metre.group(1)[:20]} has too many beats"
    as_written = _bars_as_written(abc)
    if len(as_written) > MOST_BARS:
        return f"it has more than {MOST_BARS} bars"
    quarters = max([1.0, *(4 * int(number) / max(1, int(divisor or 1)) for number, divisor in _UNIT.findall(abc))])
    if any(_units_in(bar) * quarters > MOST_UNITS_OF_A_BAR for bar in as_written):
        return f"a bar is longer than {MOST_UNITS_OF_A_BAR} of its units of length" + " or quarters" * (quarters > 1)
    return ""


def _units_in(bar: str) -> float:
    """How many units of length the notes and rests of a bar take; those of a chord are counted one by one."""
    return sum(
        float(number or 1) * (1 / max(1.0, float(divisor)) if divisor else 0.5 ** len(slashes))
        for number, slashes, divisor in _LENGTH.findall(bar)
    )


def _is_border(barline: Any) -> bool:
    return barline is not None and barline.type in ("double", "final", "heavy-light", "heavy-heavy", "heavy")


def _melody_of(part: Any, ties: list[list[bool]], bars: list[Bar], bar_length: float) -> Melody | None:
    """What sounds of a tune that is spelled out: of its notes and chords `ties` says whether each is tied."""
    try:
        with _listening():
            notes = _notes_of(part, ties)
    except Exception:
        return None
    sections: list[float] = []
    is_counted, begins = True, True
    for bar in bars:
        if begins or bar.begins_section:
            is_counted = not bar.begins_later_ending
            sections += [0.0] if is_counted else []
        if is_counted:
            sections[-1] += bar.length
        begins = bar.ends_section
    return Melody(notes, [bar[:2] for bar in bars], [length for length in sections if length], bar_length)


def _notes_of(part: Any, ties: list[list[bool]]) -> list[tuple[int, float, float]]:
    melody = part.flatten()
    elements = [element for element in melody.notes if element.quarterLength > 0]
    if len(elements) != len(ties):  # it cuts a note where a bar is too full, or reads another sign as one
        elements = [element for element in melody.stripTies().notes if element.quarterLength > 0]
        ties = [[False] * len(element.pitches) for element in elements]
    found: list[list] = []
    held: dict[int, list] = {}  # notes that are tied to what comes next
    for element, are_tied in zip(elements, ties, strict=True):
        start, length, going_on = element.offset, element.quarterLength, {}
        for pitch, is_tied in zip(element.pitches, are_tied, strict=False):
            note = held.get(pitch.midi)
            if note is None or abs(note[1] + note[2] - start) > 1e-6:
                note = [pitch.midi, start, 0]
                found.append(note)
            note[2] += length
            if is_tied:
                going_on[pitch.midi] = note
        held = going_on
    return [(pitch, float(start), float(length)) for pitch, start, length in found]


def spell_out(abc: str) -> str:
    """
    A tune in which every note carries the accidental that it sounds with, and bars of rest are written as rests.

    By the standard (abcnotation.com/wiki/abc:standard:v2.1, sections 4.2, 4.5, 4.8 and 11.3) an accidental holds for
    its note in every octave up to the bar line, and beyond it for a tied note; `Z2` are two bars of rest, `x` is a
    rest that is not printed, `y` is no time at all, and `::` ends one repeat and begins another: music21 does not know
    these. A tie between two notes that differ is a slur, and is left out: music21 would drop the second note.

    Args:
        abc: One tune in ABC notation.
    """
    return _spelled(abc)[0]


def _spelled(abc: str) -> tuple[str, list[list[bool]]]:
    """The tune, and for each of its notes and chords whether each note is tied to the next one."""
    abc = _OLD_CHORD.sub(r"[\1]", _LATE_TIE.sub(r"-\1", abc))
    abc = _TIED_CHORD.sub(lambda chord: "[" + _NOTE_OF_A_CHORD.sub(r"\g<0>-", chord[1]) + "]" + chord[2], abc)
    fields = {line[0]: line[2:].strip() for line in abc.splitlines() if _LINE_FIELD.match(line)}
    bar_of_rest = f"z{_units_of_a_bar(fields.get('M', ''), fields.get('L'))}"
    parts, accidentals, units = [], {}, []
    tied, chord = {}, None  # notes that a tie comes from, with their place among the parts and their accidental
    at = 0
    for token in _TOKEN.finditer(abc):
        parts.append(abc[at : token.start()])
        at = token.end()
        found = token.group()
        if token["bar"]:
            accidentals = {}
            found = _with_long_signs(found)
        elif token["rest"]:
            found = "|".join([bar_of_rest] * min(int(found[1:] or 1), MOST_BARS_OF_REST)) if found[0] in "ZX" else "z"
        elif token["space"]:
            found = ""
        elif token["open"]:
            chord = []
        elif token["letter"]:
            note, name = token["letter"] + token["octave"], token["letter"].upper()
            if token["sign"]:
                accidentals[name] = token["sign"]
            sign = accidentals.get(name, tied[note][1] if note in tied else "")
            found = sign + note + token["length"] + (token["tie"] or "")
            sounding = [(note, len(parts), sign, token["tie"] is not None)]
            chord = None if chord is None else chord + sounding
        if (token["letter"] and chord is None) or (token["close"] and chord):
            sounding, chord = chord or sounding, None
            units.append([is_tied for *_, is_tied in sounding])
            for note in tied.keys() - {note for note, *_ in sounding}:
                parts[tied[note][0]] = parts[tied[note][0]].removesuffix("-").removesuffix(".")
            tied = {note: (place, sign) for note, place, sign, is_tied in sounding if is_tied}
        parts.append(found)
    return "".join([*parts, abc[at:]]), units


def _with_long_signs(abc: str) -> str:
    """With the long form of the two repeat signs: around the short one music21 loses what stands next to it."""
    return abc.replace("::", ":||:")


def _units_of_a_bar(metre: str, unit: str | None) -> Fraction:
    """How many units of length, which depend on the metre if they are not given, fill a bar."""
    metre = {"C|": "2/2"}.get(metre, metre)
    bar = Fraction(metre if re.fullmatch(_FRACTION, metre) else "4/4")
    usual = Fraction(1, 16) if bar < Fraction(3, 4) else Fraction(1, 8)
    return bar / (Fraction(unit) if unit and re.fullmatch(_FRACTION, unit) else usual)
