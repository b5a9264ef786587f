"""Tunes to hear and to see: MIDI, sound and piano roll. Needs the package pretty_midi (extra `music`)."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.io import wavfile

from ..data.melody import Melody, ReadTune
from .colors import BLUE
from .plain import plain
from .saving import save_figure


FIDDLE = 40  # General MIDI's violin, counted from 0
SAMPLE_RATE = 22050
QUARTERS_PER_MINUTE = 140.0
MOST_SECONDS = 300.0
"""Of a tune's sound: 13 MB of it, which a page holds with its other tunes."""


def bars_of(melody: Melody, quarters_per_minute: float = QUARTERS_PER_MINUTE) -> dict[int, float]:
    """
    When each bar of a tune begins, in seconds, by its number; an upbeat is bar 0.

    Args:
        melody: The melody of a tune that was read.
        quarters_per_minute: The tempo.
    """
    onsets = [onset for onset, _ in melody.bars]  # music21 numbers bars by rules of its own
    has_upbeat = len(onsets) > 1 and onsets[1] - onsets[0] < melody.bar_length
    return {number: onset * 60.0 / quarters_per_minute for number, onset in enumerate(onsets, start=not has_upbeat)}


def to_midi(melody: Melody, quarters_per_minute: float = QUARTERS_PER_MINUTE):
    """
    A tune as a `pretty_midi.PrettyMIDI`, each section played once.

    Args:
        melody: The melody of a tune that was read.
        quarters_per_minute: The tempo.
    """
    import pretty_midi  # needed by music alone

    midi = pretty_midi.PrettyMIDI(initial_tempo=quarters_per_minute)
    fiddle = pretty_midi.Instrument(program=FIDDLE)
    second = 60.0 / quarters_per_minute
    for pitch, start, length in melody.notes:
        end = start + 0.95 * length
        fiddle.notes.append(pretty_midi.Note(90, pitch, start * second, end * second))
    midi.instruments.append(fiddle)
    return midi


def sound_remark(melody: Melody, quarters_per_minute: float = QUARTERS_PER_MINUTE) -> str:
    """
    A line where a tune is longer than its sound may be; empty for all others.

    Args:
        melody: The melody of a tune that was read.
        quarters_per_minute: The tempo.
    """
    seconds = max((start + length for _, start, length in melody.notes), default=0.0) * 60.0 / quarters_per_minute
    return f"The sound is the first {MOST_SECONDS:g} of {seconds:,.0f} seconds." if seconds > MOST_SECONDS else ""


def save_tune(tune: ReadTune, path: str | Path) -> list[Path]:
    """
    Write a tune as `.abc`, `.mid`, `.wav` and, as a piano roll, `.png`; of a tune longer than `MOST_SECONDS` the sound
    is the beginning, see [`sound_remark`].

    Args:
        tune: A tune that has a melody.
        path: The files' name without its ending.

    Returns:
        The files.
    """
    files = [Path(f"{path}{ending}") for ending in (".abc", ".mid", ".wav", ".png")]
    midi = to_midi(tune.melody)
    files[0].write_text(tune.abc, encoding="utf-8")
    midi.write(str(files[1]))
    sound = _sound(midi)
    wavfile.write(files[2], SAMPLE_RATE, (sound / max(1e-9, np.abs(sound).max()) * 0.8 * 32767).astype(np.int16))
    title = next((line[2:].strip() for line in tune.abc.splitlines() if line.startswith("T:")), "")
    plot_piano_roll(midi, files[3], title, bars=bars_of(tune.melody))
    return files


def _sound(midi) -> np.ndarray:
    """A tone with three overtones for each note, swelling and fading, so that no speaker cracks."""
    length = int((min(midi.get_end_time(), MOST_SECONDS) + 0.5) * SAMPLE_RATE)
    sound = np.zeros(length, dtype=np.float32)
    for note in midi.instruments[0].notes:
        end = min(note.end, MOST_SECONDS)
        time = np.arange(int((end - note.start) * SAMPLE_RATE)) / SAMPLE_RATE  # empty where it begins later
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
    save_figure(figure, path, dpi=120)
