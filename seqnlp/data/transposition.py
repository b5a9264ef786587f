"""
Tunes in other keys: more to learn from, in which time runs as in the ones that were written down.

In ABC notation the accidentals of the key stand in the header alone. A tune moved along the scale by some steps,
and its key with it, keeps its rhythm to the letter and its intervals to the semitone.
"""

import re

from datasets import Dataset

from .columns import values_of


LETTERS = "CDEFGAB"
NATURAL_FIFTHS = {"F": -1, "C": 0, "G": 1, "D": 2, "A": 3, "E": 4, "B": 5}
# Sharps of the key with this mode on C (flats below zero).
MODE_FIFTHS = {"lyd": 1, "maj": 0, "mix": -1, "dor": -2, "min": -3, "phr": -4, "loc": -5}
SHARPED = "FCGDAEB"  # the order in which a key takes its sharps; its flats from the end

_NOTE = re.compile(r"(\^\^?|__?|=)?([A-Ga-g])([,']*)")
_SIGNS = {"^^": 2, "^": 1, "=": 0, "_": -1, "__": -2}
_WRITTEN = {alteration: sign for sign, alteration in _SIGNS.items()}
_KEY_LINE = re.compile(r"^K:([A-G])([#b]?)(\w+)((?:\nR:.*)?)$", re.MULTILINE)  # and the form, if it is known
# From the open G string of a fiddle to the f in the fourth octave, in steps from middle C.
LOWEST, HIGHEST = -3, 17


def transpose_tune(text: str, steps: int) -> str | None:
    """
    A tune moved along the scale, into the key on that step which has the fewest accidentals.

    Args:
        text: A tune in the form of [`seqnlp.data.normalize_tune`].
        steps: Steps of the scale, upwards if above zero; seven are an octave.

    Returns:
        The tune in the same form, or `None` if it would leave the fiddle's range or need more than two accidentals
        at a note, or has no key, whose scale it would be moved along.
    """
    key = _KEY_LINE.search(text)
    if key is None:
        return None
    tonic, sign, mode, form = key.groups()
    step, mode_fifths = LETTERS.index(tonic) + steps, MODE_FIFTHS[mode]
    new_tonic = LETTERS[step % 7]
    before = NATURAL_FIFTHS[tonic] + 7 * {"": 0, "#": 1, "b": -1}[sign] + mode_fifths
    # Seven fifths raise every note of a scale by a semitone: G sharp has seven sharps more than G.
    after, new_sign = min(
        ((NATURAL_FIFTHS[new_tonic] + fifths + mode_fifths, sign) for sign, fifths in (("", 0), ("#", 7), ("b", -7))),
        key=lambda choice: abs(choice[0]),
    )

    def move(note: re.Match) -> str:
        written, letter, marks = note.groups()
        place = LETTERS.index(letter.upper()) + 7 * (letter.islower() + marks.count("'") - marks.count(",")) + steps
        octave, moved = place // 7, LETTERS[place % 7]
        if not LOWEST <= place <= HIGHEST:
            raise ValueError(place)
        accidental = ""
        if written is not None:
            raised = _SIGNS[written] - _alteration(letter.upper(), before)
            accidental = _WRITTEN[raised + _alteration(moved, after)]
        return accidental + (moved.lower() + "'" * (octave - 1) if octave > 0 else moved + "," * -octave)

    header, (notes, _, title) = text[: key.start()], text[key.end() :].rpartition("\nT:")
    try:
        notes = _NOTE.sub(move, notes)
    except (KeyError, ValueError):
        return None
    return f"{header}K:{new_tonic}{new_sign}{mode}{form}{notes}\nT:{title}"


def _alteration(letter: str, fifths: int) -> int:
    """By how many semitones a key with this number of sharps (flats below zero) raises a letter."""
    place = SHARPED.index(letter)
    return (fifths - place + 6) // 7


def scale_of(key: str) -> tuple[int, frozenset[int]] | None:
    """
    The pitch class of a key's tonic (0 for C, 11 for B) and those of its scale; `None` for what is no key.

    Args:
        key: As [`seqnlp.data.normalize_key`] writes it, e.g. `Ador`.
    """
    found = _KEY_LINE.search(f"K:{key}")
    if not found or found[3] not in MODE_FIFTHS:
        return None
    fifths = NATURAL_FIFTHS[found[1]] + 7 * {"": 0, "#": 1, "b": -1}[found[2]]
    lowest = fifths + MODE_FIFTHS[found[3]] - 1  # a scale is seven fifths in a row, F to B without accidentals
    return 7 * fifths % 12, frozenset(7 * place % 12 for place in range(lowest, lowest + 7))


def with_transpositions(tunes: Dataset, steps: int) -> list[str]:
    """
    The texts of tunes, and of the same tunes moved by up to `steps` steps of the scale downwards and upwards.

    Args:
        tunes: What [`seqnlp.data.load_tunes`] gives for a split.
        steps: 0 for the tunes alone; 3 for all seven tonics.
    """
    moves = [0, *(sign * step for step in range(1, steps + 1) for sign in (1, -1))]
    moved = (text if move == 0 else transpose_tune(text, move) for move in moves for text in values_of(tunes, "text"))
    return [text for text in moved if text is not None]
