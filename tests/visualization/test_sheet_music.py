import random
import re
import subprocess
from xml.etree import ElementTree

import pytest
from music21 import converter

from seqnlp.data import TuneArguments, load_tunes, to_abc
from seqnlp.data.melody import spell_out
from seqnlp.visualization import sheet_music as module
from seqnlp.visualization.sheet_music import SheetMusicError, save_sheet_music, sheet_music


TUNE = "X:1\nT:A Tune\nM:4/4\nL:1/8\nK:Dmaj\nD2 F2 A4|d4- d2 z2|[FA]4 (3ABA ^G2|\n"
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


@pytest.mark.long
def test_a_hundred_tunes_are_drawn_as_music21_reads_them():
    tunes = load_tunes(TuneArguments(dataset_name="sample:music21")).splits["train"]["text"]
    simple = re.compile(r".*\nK:\w+\n[^~HLMOPSTuvXZ\[{]*\nT:", re.DOTALL)  # no ornament, chord or bar of rest
    plain = [to_abc(tune) for tune in tunes if simple.match(tune)]
    assert len(plain) > 1000
    for abc in random.Random(0).sample(plain, 100):
        read = converter.parseData(spell_out(abc), format="abc").flatten().notes
        assert steps_of(sheet_music(abc)) == [note.pitch.diatonicNoteNum for note in read], abc
