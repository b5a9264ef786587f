import random
import re
import subprocess
from fractions import Fraction
from xml.etree import ElementTree

import pytest
from music21 import converter

from seqnlp.data import TuneArguments, load_tunes, to_abc
from seqnlp.data.melody import spell_out
from seqnlp.visualization import sheet_music as module
from seqnlp.visualization.engraving import engrave, mei_of
from seqnlp.visualization.sheet_music import SheetMusicError, save_sheet_music, sheet_music


TUNE = "X:1\nT:A Tune\nM:4/4\nL:1/8\nK:Dmaj\nD2 F2 A4|d4- d2 z2|[FA]4 (3ABA ^G2|\n"
MEI = "{http://www.music-encoding.org/ns/mei}"
G, USE, PATH = (f"{{http://www.w3.org/2000/svg}}{name}" for name in ("g", "use", "path"))
TOP_LINE = 39  # F5, counted in steps of the scale from C0 = 1, as music21 does


def groups(svg, kind):
    """What is drawn of a kind; of an accidental that the key implies there is an empty group."""
    return [part for part in ElementTree.fromstring(svg).iter(G) if part.get("class") == kind and len(part)]


def steps_of(svg):
    """The notes of a drawing by where their heads stand between the lines, in steps of the scale."""
    found = []
    for staff in groups(svg, "staff"):
        lines = [float(line.get("d").split()[1]) for line in staff.findall(PATH)]
        top, step = lines[0], (lines[4] - lines[0]) / 8
        heads = [part for part in staff.iter(G) if part.get("class") == "notehead"]
        places = (head.find(USE).get("transform").split(",")[1].split(")")[0] for head in heads)
        found += [TOP_LINE - round((float(place) - top) / step) for place in places]
    return found


def test_the_notes_stand_where_the_tune_says(tmp_path):
    svg = save_sheet_music(TUNE, tmp_path / "tune").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["tune.svg"]
    d4, f4, g4, a4, b4, d5 = 30, 32, 33, 34, 35, 37
    assert steps_of(svg) == [d4, f4, a4, d5, d5, f4, a4, a4, b4, a4, g4]
    counted = {kind: len(groups(svg, kind)) for kind in ("keyAccid", "accid", "rest", "measure", "tie", "tupletNum")}
    assert counted == {"keyAccid": 2, "accid": 1, "rest": 1, "measure": 3, "tie": 1, "tupletNum": 1}


def test_a_tune_without_a_key_signature_has_a_clef():
    svg = sheet_music(TUNE.replace("K:Dmaj", "K:none"))
    assert steps_of(svg) == steps_of(sheet_music(TUNE))
    assert (len(groups(svg, "clef")), len(groups(svg, "keyAccid"))) == (len(groups(sheet_music(TUNE), "clef")), 0)
    assert groups(svg, "clef")


def test_the_same_tune_makes_the_same_drawing():
    assert sheet_music(TUNE) == sheet_music(TUNE)


@pytest.mark.parametrize("broken", ["no notes", "X:1\nM:4/4\nK:Dbphr\nABcd|\n"])  # the second ends Verovio's process
def test_what_cannot_be_engraved_is_one_line(broken, tmp_path):
    with pytest.raises(SheetMusicError, match=r"^verovio cannot engrave it$"):
        save_sheet_music(broken, tmp_path / "tune")
    assert not list(tmp_path.iterdir())


def test_what_is_missing_or_never_ends_is_one_line(monkeypatch):
    def hang(command, timeout, **_):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(module.subprocess, "run", hang)
    with pytest.raises(SheetMusicError, match="within 60 seconds"):
        sheet_music(TUNE)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(SheetMusicError, match="verovio is not installed"):
        sheet_music(TUNE)


def in_words(element):
    """Bars, endings, tuplets and notes of a piece of MEI, each with what is written of it."""
    kind, found = element.tag.removeprefix(MEI), []
    length = element.get("dur", "") + "." * int(element.get("dots", 0))
    if kind == "chord":
        return ["".join(note.get("pname") for note in element) + length]
    if kind in ("note", "rest"):
        return [element.get("pname", "z") + length]
    if kind == "tuplet":
        found.append(f"({element.get('num')}:{element.get('numbase')}")
    if kind == "ending":
        found.append(f"[{element.get('n')}")
    if element.get("left", "single") != "single":
        found.append(element.get("left"))
    for part in element:
        found += in_words(part)
    if kind == "measure":
        found.append(element.get("right"))
    return found + {"tuplet": [")"], "ending": ["]"]}.get(kind, [])


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        ("a(3b/c/d/ ef|", "a8 (3:2 b16 c16 d16 ) e8 f8 single"),
        ("A>c(3ABcdd|", "a8. c16 (3:2 a8 b8 c8 ) d8 d8 single"),
        ("(3abc(3def|", "(3:2 a8 b8 c8 ) (3:2 d8 e8 f8 ) single"),
        ("ab(3cd e f2|", "a8 b8 (3:2 c8 d8 e8 ) f4 single"),
        ("(3a2b2c2|(3azb (3z/a/b/|", "(3:2 a4 b4 c4 ) single (3:2 a8 z8 b8 ) (3:2 z16 a16 b16 ) single"),
        (
            "(3:2:2a2b (3::4a/b/cd (2ab (5abcde|",
            "(3:2 a4 b8 ) (3:2 a16 b16 c8 d8 ) (2:3 a8 b8 ) (5:2 a8 b8 c8 d8 e8 ) single",
        ),
        ("(4abcd|(6abcdef|", "(4:3 a8 b8 c8 d8 ) single (6:2 a8 b8 c8 d8 e8 f8 ) single"),
        ("(8abcdefga|", "(8:3 a8 b8 c8 d8 e8 f8 g8 a8 ) single"),
        ("(3ab|(9(3abcd|", "(3:2 a8 b8 ) single (3:2 a8 b8 c8 ) d8 single"),
        ("A-<A B>-B|c- >c d> e|", "a16 a8. b8. b16 single c8. c16 d8. e16 single"),
        ("[Ac]<[Ac] [GB]/c/|+GB+c|", "ac16 ac8. gb16 c16 single gb8 c8 single"),
        ("a>b>c2|a>>b|", "a8. b8. c8 single a8.. b32 single"),
        ("A5 z5|[Ac]5/2>B|", "a2 a8 z2 z8 single ac4 ac8.. b16 single"),
        ("|:ab|1cd:|2ef|gf||ab|]", "rptstart a8 b8 single [1 c8 d8 rptend ] [2 e8 f8 single g8 f8 dbl ] a8 b8 end"),
        ("ab|[1cd:|\n[2 ef:|[3,4 ga||", "a8 b8 single [1 c8 d8 rptend ] [2 e8 f8 rptend ] [3,4 g8 a8 dbl ]"),
        ("ab [1cd|ef:|", "a8 b8 invis [1 c8 d8 single e8 f8 rptend ]"),
        ("ab::cd|\n::ef:|:ga", "a8 b8 rptend rptstart c8 d8 rptend rptstart e8 f8 rptend rptstart g8 a8 invis"),
        ("ab:|\n||cd|\n|ef||:ga|", "a8 b8 rptend c8 d8 single e8 f8 dbl rptstart g8 a8 single"),
        ("ab|c", "a8 b8 single c8 invis"),
        ('"(3Am"a%(3\nb|Z2|{c}d:|', "a8 b8 single single c8 d8 rptend"),
    ],
)
def test_bars_endings_tuplets_and_lengths_are_as_they_are_written(notes, expected):
    """By sections 4.3, 4.4, 4.5, 4.8, 4.9, 4.11, 4.13 and 4.17 of the standard."""
    found = mei_of(f"X:1\nM:4/4\nL:1/8\nK:C\n{notes}\n").find(f".//{MEI}section")
    assert " ".join(in_words(found)) == expected


def test_a_ninth_has_the_time_of_its_metre():
    for metre, time in (("6/8", "3"), ("9/8", "3"), ("3/4", "2"), ("C", "2")):
        (found,) = mei_of(f"X:1\nM:{metre}\nL:1/8\nK:C\n(9abcdefgab|\n").iter(f"{MEI}tuplet")
        assert found.get("numbase") == time


def test_endings_and_tuplets_are_drawn():
    svg = sheet_music(f"{TUNE}|:(3A2B2c2 (3dzd|1 d4:|2 D4|]\n")
    assert [len(groups(svg, kind)) for kind in ("tupletNum", "voltaBracket")] == [3, 2]


def test_a_tune_of_which_a_note_is_lost_is_not_drawn(monkeypatch):
    assert engrave(TUNE)
    monkeypatch.setattr("seqnlp.visualization.engraving._NO_KEY", re.compile(r"\^G2"))
    assert engrave(TUNE) == ""


def lengths_of(root, factor=Fraction(1), chord=None):
    """The quarters that each note of a piece of MEI takes; a chord's notes have that of the chord."""
    kind, found = root.tag.removeprefix(MEI), []
    if kind == "tuplet":
        factor *= Fraction(int(root.get("numbase")), int(root.get("num")))
    if root.get("dur"):
        chord = Fraction(4, int(root.get("dur"))) * (2 - Fraction(1, 2 ** int(root.get("dots", 0)))) * factor
    for part in root:
        found += lengths_of(part, factor, chord)
    return [*found, chord] if kind == "note" else found


@pytest.mark.long
def test_a_hundred_tunes_are_drawn_as_music21_reads_them():
    tunes = load_tunes(TuneArguments(dataset_name="sample:music21")).splits["train"]["text"]
    simple = re.compile(r".*\nK:\w+\n[^~HLMOPSTuvXZ\[{]*\nT:", re.DOTALL)  # no ornament, chord or bar of rest
    plain = [to_abc(tune) for tune in tunes if simple.match(tune)]
    assert len(plain) > 1000
    for abc in random.Random(0).sample(plain, 100):
        # What is written stands in one bar, however full it is; music21 cuts a bar that is too full in two, sometimes
        # through a note, whose parts it ties. Once the tune's own ties are taken out, only these are left.
        read = converter.parseData(spell_out(abc).replace("-", ""), format="abc").stripTies().flatten().notes
        parts = [part for note in read for part in (note.splitAtDurations() if note.duration.isComplex else [note])]
        assert steps_of(sheet_music(abc)) == [note.pitch.diatonicNoteNum for note in parts], abc
        lengths = [float(length) for length in lengths_of(mei_of(abc))]
        assert lengths == pytest.approx([float(note.quarterLength) for note in parts]), abc
