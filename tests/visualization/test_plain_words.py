"""Words of users and models, which may hold what matplotlib takes for mathematics, are drawn as they are."""

import numpy as np
import pretty_midi
import pytest
from PIL import Image

from seqnlp.visualization import plot_image_errors, plot_learning_curves
from seqnlp.visualization.music import plot_piano_roll
from seqnlp.visualization.plain import plain


NAME = "$^$ for $5 \x07"


def test_words_are_drawn_as_they_are(tmp_path):
    image, logits = Image.new("L", (4, 4)), np.array([[0.0, 1.0]])
    midi = pretty_midi.PrettyMIDI()
    midi.instruments.append(pretty_midi.Instrument(0))
    midi.instruments[0].notes.append(pretty_midi.Note(64, 60, 0.0, 1.0))
    drawn = [tmp_path / f"{number}.png" for number in range(3)]
    plot_image_errors([image], logits, np.array([0]), [NAME, NAME], drawn[0], NAME)
    plot_learning_curves([{"epoch": 1.0, "train_loss": 1.0}], drawn[1], NAME)
    plot_piano_roll(midi, drawn[2], NAME)
    for file in drawn:
        assert np.asarray(Image.open(file)).std() > 0


@pytest.mark.parametrize(
    ("text", "right"), [(NAME, r"\$^\$ for \$5 ·"), ("two\nlines", "two\nlines"), ("café", "café")]
)
def test_what_matplotlib_is_given(text, right):
    assert plain(text) == right
