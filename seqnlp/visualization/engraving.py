"""
A tune in ABC notation as a drawing, by Verovio (https://www.verovio.org).

Run as a program, this file reads a tune from standard input and writes its SVG to standard output. It imports nothing
of seqnlp: that is how [`sheet_music`] runs it, in a process of its own.

Verovio's reader of ABC reads keys, notes, beams, ties and slurs, and for these it is used. It stretches a tuplet over
the whole beam that it is part of, loses notes of one with a rest, draws no endings, and reads few of the repeat signs
and no broken rhythm behind a tie or a chord. So it is given a tune without these, and they are put into what it has
read, its MEI (https://music-encoding.org).
"""

import re
import sys
from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate
from typing import Any, NamedTuple, TypeAlias
from xml.etree import ElementTree


PAGE_WIDTH, SCALE = 2100, 40
"""In Verovio's units, tenths of a millimeter; percent."""
SETTINGS = {
    "pageWidth": PAGE_WIDTH,
    "pageHeight": 60000,  # Verovio's most: one page, as high as its lines
    "adjustPageHeight": True,
    "scale": SCALE,
    "svgViewBox": True,
    "header": "none",
    "footer": "none",
    "xmlIdSeed": 1,  # the same tune makes the same file
}
_SIGN = re.compile(r"[\^_=]")
_MEI = "{http://www.music-encoding.org/ns/mei}"
_EVENTS = {f"{_MEI}{name}" for name in ("note", "chord", "rest", "space", "mRest", "multiRest")}
_Parents: TypeAlias = dict[ElementTree.Element, ElementTree.Element]
_BARS = ("rptend", "end", "dbl", "single", "invis")
"""Of two that stand beside each other with nothing between, the first in this order is drawn."""
_SECTION_ENDS = _BARS[:3]
_NO_KEY = re.compile(r"^K:none$", re.MULTILINE)
_NOTE, _LENGTH = r"(?:\^\^?|__?|=)?[A-Ga-g][,']*", r"\d*/*\d*"
_WITH_LENGTH = re.compile(rf"({_NOTE}|[xz])({_LENGTH})")
_TOKEN = re.compile(
    r'(?P<skipped>^[A-Za-z+]:(?![|:]).*$|"[^"\n]*"|![^!\n]*!|\{[^}]*\}|\[[A-Za-z]:[^\]\n]*\]|%.*$)'
    r"|\((?P<tuplet>[2-9])(?::(?P<time>[1-9]?))?(?::(?P<count>[1-9]?))?"
    r"|(?P<bar>\[?:*\|+[\]:|]*|::+)(?:\[?(?P<ending>[1-9][\d,-]*))?"
    r"|\[(?P<later_ending>[1-9][\d,-]*)"
    rf"|(?P<event>\[(?=[\^_=A-Ga-g])[^\]\n]*\]|\+(?:{_NOTE}[\d/]*){{2,}}\+|{_NOTE}|[xz])(?P<length>{_LENGTH})"
    r"|[XZ](?P<bars_of_rest>\d*)"
    r"|(?P<broken>[<>]+)",
    re.MULTILINE,
)


class _Tuplet(NamedTuple):
    """The first of its notes and the one behind its last; `number` of them in the time of `time`."""

    first: int
    end: int
    number: int
    time: int


class _Tune:
    """
    A tune in the ABC that Verovio reads, and what is to be put into its MEI.

    Notes, chords and rests are counted from the beginning of the tune.

    Attributes:
        abc: The tune, of which all bars are plain and all lengths are written.
        num_events: How many notes, chords and rests it has.
        tuplets: Its tuplets.
        bars: The bar line before a note, as MEI has it.
        repeats: The notes that a repeat begins with.
        endings: The numbers of the endings that begin with a note.
    """

    def __init__(self, abc: str):
        self.tuplets: list[_Tuplet] = []
        self.bars: dict[int, str] = {}
        self.repeats: set[int] = set()
        self.endings: dict[int, str] = {}
        self._parts: list[str] = []
        self._events: list[tuple[int, str, Fraction]] = []  # place among the parts, what is written, its broken rhythm
        self._factor = Fraction(1)  # by which a broken rhythm lengthens the next note
        self._of_three = _is_of_three(abc)
        at = 0
        for token in _TOKEN.finditer(abc):
            self._parts.append(abc[at : token.start()])
            at = token.end()
            self._parts.append(self._read(token))
        self._parts.append(abc[at:].rstrip())
        if self._events and len(self._events) not in self.bars:  # Verovio loses a last bar that has no end
            self.bars[len(self._events)] = "invis"
            self._parts.append("\n|")
        self._end_tuplets()
        counts = [self._write(*event) for event in self._events]
        self._recount([0, *accumulate(counts)])
        self.abc = _NO_KEY.sub("K:clef=treble", "".join([*self._parts, "\n"]))  # beside `none` Verovio draws no clef

    def _write(self, place: int, written: str, factor: Fraction) -> int:
        """Its length as Verovio reads it: as that of so many notes, which are tied."""
        base = _number(_WITH_LENGTH.search(written)[2]) if written[0] != "Z" else Fraction(1)
        lengths = _lengths_of_notes(base * factor)
        if factor != 1 or len(lengths) > 1:
            first, *others = (_lengthened(written, length / base) for length in lengths)
            tie = " " if written[0] in "xz" else "-"
            written = tie.join([first, *(_SIGN.sub("", other) for other in others)])
        self._parts[place] = written
        return len(lengths)

    def _recount(self, places: list[int]) -> None:
        """Count the notes as they were written."""
        self.num_events = places[-1]
        tuplets = [one for one in self.tuplets if one.first < one.end]
        self.tuplets = [one._replace(first=places[one.first], end=places[one.end]) for one in tuplets]
        self.bars = {places[event]: bar for event, bar in self.bars.items()}
        self.repeats = {places[event] for event in self.repeats if event + 1 < len(places)}
        self.endings = {places[event]: name for event, name in self.endings.items() if event + 1 < len(places)}

    def _read(self, token: re.Match) -> str:
        """What Verovio is given for it."""
        if token["event"]:
            return self._read_event(token["event"], token["length"])
        if token["bars_of_rest"] is not None:
            return self._read_event(f"Z{token['bars_of_rest'] or 1}", "")
        if token["bar"] or token["later_ending"]:
            return self._read_bar(token)
        if token["tuplet"]:
            number, first = int(token["tuplet"]), len(self._events)
            time = int(token["time"] or {3: 2, 2: 3, 4: 3, 6: 2, 8: 3}.get(number, 3 if self._of_three else 2))
            self._end_tuplets()
            self.tuplets.append(_Tuplet(first, first + int(token["count"] or number), number, time))
            return ""
        if token["broken"] and self._events:
            short = Fraction(1, 2 ** len(token["broken"]))
            factors = (2 - short, short) if token["broken"][0] == ">" else (short, 2 - short)
            # Of two signs beside one note, which the standard leaves open, the later counts, as it does for music21.
            self._events[-1], self._factor = (*self._events[-1][:2], factors[0]), factors[1]
            return ""
        return token.group()

    def _read_event(self, written: str, length: str) -> str:
        if written[0] == "+":  # a chord as the standard had them until 2003
            written = f"[{written[1:-1]}]"
        written = _lengthened(written, _number(length)) if written[0] == "[" and length else written + length
        self._events.append((len(self._parts), written, self._factor))
        self._factor = Fraction(1)
        return ""  # until its factor is known

    def _end_tuplets(self) -> None:
        """None goes beyond its bar, or on into another one."""
        here = len(self._events)
        self.tuplets = [one._replace(end=min(one.end, here)) for one in self.tuplets]

    def _read_bar(self, token: re.Match) -> str:
        bar, here = token["bar"] or "", len(self._events)
        if ending := token["ending"] or token["later_ending"]:
            self.endings[here] = ending
        self._end_tuplets()
        if bar.endswith(":"):
            self.repeats.add(here)
        if here == 0:
            return " "
        is_new, kind = here not in self.bars, _kind_of(bar)
        self.bars[here] = min(kind, self.bars.get(here, kind), key=_BARS.index)
        return "| " if is_new else " "


def _kind_of(bar: str) -> str:
    """A bar line as MEI calls it; where an ending begins within a bar there is none."""
    if bar in ("", "[|]"):
        return "invis"
    if bar.startswith(":"):
        return "rptend"
    if "|]" in bar:
        return "end"
    return "dbl" if "||" in bar or "[|" in bar else "single"


def _is_of_three(abc: str) -> bool:
    """Whether the beats of its metre have three parts, as those of 6/8 have: it tells the time of some tuplets."""
    metre = re.search(r"^M:\s*(\d+)/", abc, re.MULTILINE)
    return metre is not None and int(metre[1]) % 3 == 0 and int(metre[1]) > 3


def _number(length: str) -> Fraction:
    """What a length such as `3/2`, `2`, `/` or `//` says; nothing is 1."""
    number, slashes, divisor = re.fullmatch(r"(\d*)(/*)(\d*)", length).groups()
    return Fraction(int(number or 1) or 1, (int(divisor) or 1) if divisor else 2 ** len(slashes))


def _lengths_of_notes(length: Fraction) -> list[Fraction]:
    """A length as the lengths of single notes, with two dots at most: five are four and one."""
    whole = length.numerator
    if whole // (whole & -whole) in (1, 3, 7):
        return [length]
    longest = Fraction(2 ** (whole.bit_length() - 1), length.denominator)
    return [longest, *_lengths_of_notes(length - longest)]


def _lengthened(written: str, factor: Fraction) -> str:
    """A note or rest, or each note of a chord, of so many times its length."""

    def lengthened(found: re.Match) -> str:
        length = factor * _number(found[2])
        return f"{found[1]}{length.numerator}/{length.denominator}"

    return _WITH_LENGTH.sub(lengthened, written)


def _complete(root: ElementTree.Element, tune: _Tune) -> bool:
    """Put into the MEI of a tune what Verovio has not read; whether all its notes are there."""
    parents = {child: parent for parent in root.iter() for child in parent}
    found = [
        (event, measure)
        for measure in root.iter(f"{_MEI}measure")
        for event in measure.iter()
        if event.tag in _EVENTS and parents[event].tag != f"{_MEI}chord" and not _is_grace(event)
    ]
    if len(found) != tune.num_events:
        return False
    events, measures = zip(*found, strict=True)
    for tuplet in tune.tuplets:
        _add_tuplet(events[tuplet.first : tuplet.end], tuplet, parents)
    for event, kind in tune.bars.items():
        measures[event - 1].set("right", kind)
    for event in tune.repeats:
        measures[event].set("left", "rptstart")
    endings = {measures[event]: name for event, name in tune.endings.items()}
    _add_endings(list(dict.fromkeys(measures)), endings, parents)
    return True


def _is_grace(event: ElementTree.Element) -> bool:
    return any(one.get("grace") for one in event.iter())


def _add_tuplet(events: Sequence[ElementTree.Element], tuplet: _Tuplet, parents: _Parents) -> None:
    first, last = events[0], events[-1]
    if parents[first] is not parents[last]:
        for beam in {parents[first], parents[last]}:
            if beam.tag == f"{_MEI}beam" and any(child not in events and not _is_grace(child) for child in beam):
                _unwrap(beam, parents)  # it reaches beyond the tuplet
        first, last = (one if parents[one].tag == f"{_MEI}layer" else parents[one] for one in (first, last))
    _wrap("tuplet", first, last, {"num": str(tuplet.number), "numbase": str(tuplet.time)}, parents)


def _add_endings(
    measures: list[ElementTree.Element], begun: dict[ElementTree.Element, str], parents: _Parents
) -> None:
    """Each reaches to the next double bar, repeat or ending."""
    last: dict[ElementTree.Element, ElementTree.Element] = {}
    start = None
    for measure in measures:
        if measure in begun or measure.get("left"):
            start = measure if measure in begun else None
        if start is not None:
            last[start] = measure
        if measure.get("right") in _SECTION_ENDS:
            start = None
    for start, end in last.items():
        _wrap("ending", start, end, {"n": begun[start]}, parents)


def _wrap(name: str, first: ElementTree.Element, last: ElementTree.Element, fields: dict, parents: _Parents) -> None:
    """Put siblings, with what is between them, into an element of their own."""
    parent = parents[first]
    siblings = list(parent)
    start, end = siblings.index(first), siblings.index(last) + 1
    made = ElementTree.Element(f"{_MEI}{name}", fields)
    made.extend(siblings[start:end])
    parent[start:end] = [made]
    parents.update({made: parent, **dict.fromkeys(made, made)})


def _unwrap(element: ElementTree.Element, parents: _Parents) -> None:
    """Put what is in an element in its place."""
    parent = parents[element]
    place = list(parent).index(element)
    parent[place : place + 1] = list(element)
    parents.update(dict.fromkeys(element, parent))


def _toolkit(source: str) -> Any:
    import verovio  # needed by this process alone

    verovio.enableLog(verovio.LOG_OFF)
    toolkit = verovio.toolkit()
    toolkit.setOptions(SETTINGS)
    toolkit.setInputFrom(source)
    return toolkit


def mei_of(abc: str) -> ElementTree.Element | None:
    """A tune as MEI; `None` if Verovio does not read it, or loses a note."""
    tune, toolkit = _Tune(abc), _toolkit("abc")
    if not tune.num_events or not toolkit.loadData(tune.abc):
        return None
    root = ElementTree.fromstring(toolkit.getMEI())
    return root if _complete(root, tune) else None


def engrave(abc: str) -> str:
    """A tune as an SVG; empty if there is none."""
    root, toolkit = mei_of(abc), _toolkit("mei")
    if root is None:
        return ""
    ElementTree.register_namespace("", _MEI.strip("{}"))  # Verovio reads no other prefix
    return toolkit.renderToSVG(1) if toolkit.loadData(ElementTree.tostring(root, encoding="unicode")) else ""


if __name__ == "__main__":
    sys.stdout.buffer.write(engrave(sys.stdin.buffer.read().decode()).encode())
