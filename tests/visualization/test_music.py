import random
import re
import shutil
import subprocess

import numpy as np
import pretty_midi
import pytest
from matplotlib.figure import Figure
from PIL import Image
from scipy.io import wavfile

from seqnlp.data import ReadTune, TuneArguments, load_tunes, to_abc
from seqnlp.visualization.music import bars_of, plot_piano_roll, save_tune, sound_remark, to_midi


TUNE = "X:1\nT:A Tune\nM:4/4\nL:1/8\nK:Dmaj\nD2 F2 A4|d4- d2 z2|[FA]4 (3ABA F2|\n"
MELODY = ReadTune(TUNE).melody


def test_the_notes_are_those_of_the_tune():
    notes = to_midi(MELODY, quarters_per_minute=60).instruments[0].notes
    heard = [(round(note.start, 3), pretty_midi.note_number_to_name(note.pitch)) for note in notes]
    assert heard[:4] == [(0.0, "D4"), (1.0, "F#4"), (2.0, "A4"), (4.0, "D5")]
    assert notes[3].end - notes[3].start > 2  # tied over
    assert {name for start, name in heard if start == 8.0} == {"F#4", "A4"}
    assert [start for start, _ in heard[6:9]] == [10.0, 10.333, 10.667]


def test_a_tune_to_read_to_hear_and_to_see(tmp_path):
    files = save_tune(ReadTune(TUNE), tmp_path / "tune")
    assert [file.name for file in files] == ["tune.abc", "tune.mid", "tune.wav", "tune.png"]
    assert files[0].read_text() == TUNE
    assert len(pretty_midi.PrettyMIDI(str(files[1])).instruments[0].notes) == 10
    rate, sound = wavfile.read(files[2])
    assert len(sound) / rate > 4
    assert np.abs(sound).max() > 20000
    pixels = np.asarray(Image.open(files[3]).convert("RGB"))
    assert pixels.std() > 10


def test_the_sound_of_a_tune_that_does_not_end_is_its_beginning(tmp_path):
    # 1,200 quarters and more, 60 seconds for 140 of them.
    tune = ReadTune(TUNE.replace("D2 F2 A4|", "D8|" * 300))
    assert [length for _, _, length in tune.melody.notes[:1]] == [4.0]
    files = save_tune(tune, tmp_path / "tune")
    rate, sound = wavfile.read(files[2])
    assert len(sound) / rate == pytest.approx(300.5, abs=0.01)
    last = max(start + length for _, start, length in tune.melody.notes) * 60 / 140
    assert sound_remark(tune.melody) == f"The sound is the first 300 of {last:.0f} seconds."
    assert pretty_midi.PrettyMIDI(str(files[1])).get_end_time() > 500
    assert sound_remark(MELODY) == ""


def test_the_piano_roll_names_every_note_and_counts_bars(tmp_path, monkeypatch):
    assert bars_of(MELODY, quarters_per_minute=60) == {1: 0.0, 2: 4.0, 3: 8.0}
    upbeat = TUNE.replace("D2 F2 A4|", "A2|D2 F2 A4|")
    assert bars_of(ReadTune(upbeat).melody, quarters_per_minute=120) == {0: 0.0, 1: 0.5, 2: 2.5, 3: 4.5}
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure.axes[0]))
    plot_piano_roll(to_midi(MELODY, quarters_per_minute=60), tmp_path / "roll.png", bars=bars_of(MELODY, 60))
    ticks = drawn[0].get_yticklabels(), drawn[0].get_yticks()
    names = {name.get_text(): place for name, place in zip(*ticks, strict=True)}
    assert names == {"D4": 62, "F#4": 66, "A4": 69, "B4": 71, "D5": 74}
    assert list(drawn[0].get_xticks()) == [0, 4, 8]
    assert [label.get_text() for label in drawn[0].get_xticklabels()] == ["1", "2", "3"]


# What abc2midi (abcmidi 2023.02.08) plays of a tune without repeats: onsets in quarters, MIDI pitches.
PLAYED = [
    ("4/4", "1/8", "C", "^F2 F2 f2 =f2|F4 f4|", [0, 1, 2, 3, 4, 6], [66, 66, 78, 77, 65, 77]),
    ("6/8", "1/8", "Gmaj", "=FGF ^CDC|F3 C3|", [0, 0.5, 1, 1.5, 2, 2.5, 3, 4.5], [65, 67, 65, 61, 62, 61, 66, 60]),
    ("4/4", "1/4", "Dmaj", "F ^F =F F-|F F2 F|", [0, 1, 2, 3, 5, 7], [66, 66, 65, 65, 66, 66]),
    ("4/4", "1/4", "C", "C D E F|Z2|x4|G2 z2|", [0, 1, 2, 3, 16], [60, 62, 64, 65, 67]),
    ("2/4", "1/16", "Amin", "^G3 _E4 e|^^G8 _B8|", [0, 0.75, 1.75, 2, 4], [68, 63, 75, 69, 70]),
    ("4/4", "1/8", "Emin", "e-d c-c ^c2 c2|c4 A4|", [0, 0.5, 1, 2, 3, 4, 6], [76, 74, 72, 73, 73, 72, 69]),
    ("C|", "1/8", "Amix", "a3/2g/ f2 e4|X|=g2 g2 a4|", [0, 0.75, 1, 2, 8, 9, 10], [81, 79, 78, 76, 79, 79, 81]),
    ("4/4", "1/8", "C", "C4 D4::E4 F4:|", [0, 2, 4, 6], [60, 62, 64, 65]),
    ("4/4", "1/8", "C", "[CE]4-[CE]4|[^CE]4-[CE]4|C8|", [0, 0, 4, 4, 8], [60, 64, 61, 64, 60]),
    ("4/4", "1/8", "C", "[C-E]4 C2 E2|[CE]2 C6|", [0, 0, 3, 4, 4, 5], [60, 64, 64, 60, 64, 60]),
    ("4/4", "1/8", "C", "A4.-A2y2B2|A4-z2A2|", [0, 3, 4, 7], [69, 71, 69, 69]),
    ("2/4", "1/8", "C", "B>-c B->B|+C2E2+ A:|", [0, 0.75, 1, 2, 2, 3], [71, 72, 71, 60, 64, 69]),
]


@pytest.mark.parametrize(("metre", "unit", "key", "notes", "onsets", "pitches"), PLAYED)
def test_a_tune_sounds_as_another_program_plays_it(metre, unit, key, notes, onsets, pitches):
    tune = ReadTune(f"X:1\nT:a\nM:{metre}\nL:{unit}\nK:{key}\n{notes}\n")
    midi = to_midi(tune.melody, quarters_per_minute=60)
    heard = sorted((note.start, note.pitch) for note in midi.instruments[0].notes)
    assert [pitch for _, pitch in heard] == pitches
    assert [onset for onset, _ in heard] == pytest.approx(onsets)


@pytest.mark.long
@pytest.mark.skipif(shutil.which("abc2midi") is None, reason="needs abc2midi, of Debian's package abcmidi")
def test_two_hundred_tunes_sound_as_abc2midi_plays_them(tmp_path):
    tunes = load_tunes(TuneArguments(dataset_name="sample:music21")).splits["train"]["text"]
    tunes = [tune for tune in tunes if "(5" not in tune]  # which abc2midi plays otherwise than the standard
    different = [tune for tune in random.Random(0).sample(tunes, 200) if not sounds_alike(to_abc(tune), tmp_path)]
    assert different == []


def sounds_alike(abc, folder):
    ours = sorted((note.pitch, note.start) for note in to_midi(ReadTune(abc).melody, 60).instruments[0].notes)
    file = folder / "tune.abc"
    file.write_text(without_repeats(abc))
    subprocess.run(["abc2midi", file, "-o", folder / "tune.mid", "-silent"], check=True, capture_output=True)
    midi = pretty_midi.PrettyMIDI(str(folder / "tune.mid"))
    notes = midi.instruments[0].notes
    theirs = sorted((note.pitch, midi.time_to_tick(note.start) / midi.resolution) for note in notes)
    # abc2midi strikes the notes of a chord one after the other.
    return [pitch for pitch, _ in ours] == [pitch for pitch, _ in theirs] and all(
        abs(one - other) < 0.1 for (_, one), (_, other) in zip(ours, theirs, strict=True)
    )


SIGNS = ((r"::|:\|\|:|:\|:", "||"), (r":\|\]?\s*[12]?|\|:", "|"), (r"\|\s*[12](?![/\d])", "|"), (r"\[[12]", ""))


def without_repeats(abc):
    """As `to_midi` plays it: each section once."""
    header, notes = re.match(r"(?s)(.*?\nK:.*?\n)(.*)", abc).groups()
    for sign, bar in SIGNS:
        notes = re.sub(sign, bar, notes)
    return header + notes
