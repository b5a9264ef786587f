"""Tunes to hear and to see: MIDI, sound and piano roll. Needs the packages music21 and pretty_midi (extra `music`)."""

import re
import warnings
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.io import wavfile

from .colors import BLUE
from .plain import plain


FIDDLE = 40  # General MIDI's violin, counted from 0
SAMPLE_RATE = 22050

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
            found = found.replace("::", ":||:")
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


def _units_of_a_bar(metre: str, unit: str | None) -> Fraction:
    """How many units of length, which depend on the metre if they are not given, fill a bar."""
    metre = {"C|": "2/2"}.get(metre, metre)
    bar = Fraction(metre if re.fullmatch(_FRACTION, metre) else "4/4")
    usual = Fraction(1, 16) if bar < Fraction(3, 4) else Fraction(1, 8)
    return bar / (Fraction(unit) if unit and re.fullmatch(_FRACTION, unit) else usual)


QUARTERS_PER_MINUTE = 140.0


def _parsed(spelled: str) -> Any:
    """The melody of a tune that is spelled out, as music21 has it."""
    from music21 import converter  # needed by music alone

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return converter.parseData(spelled, format="abc").parts[0]


def bars_of(abc: str, quarters_per_minute: float = QUARTERS_PER_MINUTE) -> dict[int, float]:
    """
    When each bar of a tune begins, in seconds, by its number; an upbeat is bar 0.

    Args:
        abc: One tune in ABC notation that music21 can parse.
        quarters_per_minute: The tempo.
    """
    bars = list(_parsed(spell_out(abc)).getElementsByClass("Measure"))  # which music21 numbers by rules of its own
    has_upbeat = len(bars) > 1 and bars[1].offset - bars[0].offset < bars[0].barDuration.quarterLength
    return {
        number: float(bar.offset) * 60.0 / quarters_per_minute for number, bar in enumerate(bars, start=not has_upbeat)
    }


def to_midi(abc: str, quarters_per_minute: float = QUARTERS_PER_MINUTE):
    """
    A tune as a `pretty_midi.PrettyMIDI`, each section played once.

    Args:
        abc: One tune in ABC notation that music21 can parse.
        quarters_per_minute: The tempo.
    """
    import pretty_midi  # needed by music alone, as is music21

    midi = pretty_midi.PrettyMIDI(initial_tempo=quarters_per_minute)
    fiddle = pretty_midi.Instrument(program=FIDDLE)
    second = 60.0 / quarters_per_minute
    for pitch, start, length in _sounding(abc):
        end = start + 0.95 * length
        fiddle.notes.append(pretty_midi.Note(90, pitch, float(start) * second, float(end) * second))
    midi.instruments.append(fiddle)
    return midi


class Played(NamedTuple):
    """
    What a tune is made of, each section played once; times are in quarters.

    Attributes:
        notes: MIDI number, onset and length of each note.
        bars: Onset and length of each bar.
        sections: The length of each section, which ends at a repeat sign or a double bar. The second ending of a
            section belongs to none.
        bar_length: The length of a bar that fills the metre.
    """

    notes: list[tuple[int, float, float]]
    bars: list[tuple[float, float]]
    sections: list[float]
    bar_length: float


def read_melody(abc: str) -> Played | None:
    """What a tune in ABC notation is made of; `None` for one that music21 cannot parse once it is spelled out."""
    from music21 import spanner

    spelled, ties = _spelled(abc)
    try:
        part = _parsed(spelled)
        notes = _notes_of(part, ties)
    except Exception:  # of many kinds, music21's own and Python's
        return None
    bars = list(part.getElementsByClass("Measure"))
    brackets = part.recurse().getElementsByClass(spanner.RepeatBracket)
    later = {id(bracket.getFirst()) for bracket in brackets if bracket.number != "1"}
    sections: list[float] = []
    is_counted, begins = True, True
    for bar in bars:
        if begins or _is_border(bar.leftBarline):
            is_counted = id(bar) not in later
            sections += [0.0] if is_counted else []
        if is_counted:
            sections[-1] += float(bar.duration.quarterLength)
        begins = _is_border(bar.rightBarline)
    places = [(float(bar.offset), float(bar.duration.quarterLength)) for bar in bars]
    filled = float(bars[0].barDuration.quarterLength) if bars else 0.0
    return Played(notes, places, [length for length in sections if length], filled)


def _is_border(barline: Any) -> bool:
    return barline is not None and barline.type in ("double", "final", "heavy-light", "heavy-heavy", "heavy")


def _sounding(abc: str) -> list[tuple[int, float, float]]:
    """The pitch, onset and length in quarters of each note; tied ones are one, in chords too."""
    spelled, ties = _spelled(abc)
    return _notes_of(_parsed(spelled), ties)


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


def save_tune(abc: str, path: str | Path) -> list[Path]:
    """
    Write a tune as `.abc`, `.mid`, `.wav` and, as a piano roll, `.png`.

    Args:
        abc: One tune in ABC notation that music21 can parse.
        path: The files' name without its ending.

    Returns:
        The files.
    """
    files = [Path(f"{path}{ending}") for ending in (".abc", ".mid", ".wav", ".png")]
    midi = to_midi(abc)
    files[0].write_text(abc, encoding="utf-8")
    midi.write(str(files[1]))
    sound = _sound(midi)
    wavfile.write(files[2], SAMPLE_RATE, (sound / max(1e-9, np.abs(sound).max()) * 0.8 * 32767).astype(np.int16))
    title = next((line[2:].strip() for line in abc.splitlines() if line.startswith("T:")), "")
    plot_piano_roll(midi, files[3], title, bars=bars_of(abc))
    return files


def _sound(midi) -> np.ndarray:
    """A tone with three overtones for each note, swelling and fading, so that no speaker cracks."""
    length = int((midi.get_end_time() + 0.5) * SAMPLE_RATE)
    sound = np.zeros(length, dtype=np.float32)
    for note in midi.instruments[0].notes:
        time = np.arange(int((note.end - note.start) * SAMPLE_RATE)) / SAMPLE_RATE
        frequency = 440.0 * 2 ** ((note.pitch - 69) / 12)
        tone = sum(np.sin(2 * np.pi * k * frequency * time) / k**2 for k in (1, 2, 3, 4))
        envelope = np.minimum(1, np.minimum(time / 0.01, (time[-1] - time) / 0.03)) if len(time) else time
        start = int(note.start * SAMPLE_RATE)
        sound[start : start + len(time)] += (tone * envelope * np.exp(-2 * time)).astype(np.float32)
    return sound


def plot_piano_roll(
    midi, path: str | Path, title: str = "", seconds: float = 20.0, bars: Mapping[int, float] = MappingProxyType({})
) -> None:
    """
    Draw the first `seconds` of a melody: time to the right, pitch upwards, a beam for each note.

    Args:
        midi: A `pretty_midi.PrettyMIDI`.
        path: Where the PNG goes.
        title: Stands above the picture.
        seconds: How much is drawn.
        bars: When each bar begins, in seconds, by its number; without them the axis is in seconds.
    """
    import pretty_midi

    notes = [note for note in midi.instruments[0].notes if note.start < seconds]
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for note in notes:
        end = min(note.end, seconds)
        axis.broken_barh([(note.start, end - note.start)], (note.pitch - 0.4, 0.8), color=BLUE)
    if notes:
        axis.set_ylim(min(note.pitch for note in notes) - 1.5, max(note.pitch for note in notes) + 1.5)
    last = min(seconds, max((note.end for note in notes), default=1.0))
    axis.set_xlim(0, last)
    pitches = sorted({note.pitch for note in notes})
    axis.set_yticks(pitches, [pretty_midi.note_number_to_name(pitch) for pitch in pitches])
    shown = {number: start for number, start in bars.items() if start < last}
    if shown:
        room, before, labels = 0.025 * last, -last, []
        for number, start in shown.items():  # short bars stand too close for a number each
            labels.append(str(number) if start - before >= room else "")
            before = start if labels[-1] else before
        axis.set_xticks(list(shown.values()), labels)
        axis.set_xlabel(f"bar ({last:.0f} seconds)")
    else:
        axis.set_xlabel("time (seconds)")
    axis.set_ylabel("pitch (the notes of the tune)")
    axis.set_axisbelow(True)
    axis.grid(alpha=0.3)
    axis.set_title(plain(title))
    figure.savefig(path, dpi=120)
