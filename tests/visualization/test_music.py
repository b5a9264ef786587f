import numpy as np
import pretty_midi
from PIL import Image
from scipy.io import wavfile

from seqnlp.visualization.music import save_tune, to_midi


TUNE = "X:1\nT:A Tune\nM:4/4\nL:1/8\nK:Dmaj\nD2 F2 A4|d4- d2 z2|[FA]4 (3ABA F2|\n"


def test_the_notes_are_those_of_the_tune():
    notes = to_midi(TUNE, quarters_per_minute=60).instruments[0].notes
    heard = [(round(note.start, 3), pretty_midi.note_number_to_name(note.pitch)) for note in notes]
    assert heard[:4] == [(0.0, "D4"), (1.0, "F#4"), (2.0, "A4"), (4.0, "D5")]
    assert notes[3].end - notes[3].start > 2  # tied over
    assert {name for start, name in heard if start == 8.0} == {"F#4", "A4"}
    assert [start for start, _ in heard[6:9]] == [10.0, 10.333, 10.667]


def test_a_tune_to_read_to_hear_and_to_see(tmp_path):
    files = save_tune(TUNE, tmp_path / "tune")
    assert [file.name for file in files] == ["tune.abc", "tune.mid", "tune.wav", "tune.png"]
    assert files[0].read_text() == TUNE
    assert len(pretty_midi.PrettyMIDI(str(files[1])).instruments[0].notes) == 10
    rate, sound = wavfile.read(files[2])
    assert len(sound) / rate > 4
    assert np.abs(sound).max() > 20000
    pixels = np.asarray(Image.open(files[3]).convert("RGB"))
    assert pixels.std() > 10
