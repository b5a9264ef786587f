"""Words of users and models, which may hold what matplotlib takes for mathematics, are drawn as they are."""

import numpy as np
import pretty_midi
import pytest
from matplotlib.axes import Axes
from PIL import Image

from seqnlp.visualization import plot_image_errors, plot_learning_curves
from seqnlp.visualization.bleu_by_length import plot_bleu_by_length
from seqnlp.visualization.comparison import plot_comparison
from seqnlp.visualization.dependency import plot_dependency, plot_state_sizes
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
    row = {"architecture": NAME, "values": [1.0], "mean": 1.0, "interval": None, "targets_per_second": 1.0}
    drawn[0].with_name("3.png").write_bytes(plot_comparison([{**row, "curves": [[]]}], NAME, NAME, NAME))
    bins = [{"from": 1, "to": 2, "sentences": 3, "bleu": 4.0}]
    plot_bleu_by_length({NAME: bins}, tmp_path / "4.png", NAME, NAME)
    answers = {"architecture": "lstm", "distance": 8, "trained": True, "accuracy": 0.5, "chance": 0.1, "state_size": 8}
    plot_dependency([{"task": "copy", **answers}], tmp_path / "5.png", NAME)
    plot_state_sizes([{"task": "copy", **answers}], tmp_path / "6.png", NAME)
    for file in tmp_path.glob("*.png"):
        assert np.asarray(Image.open(file)).std() > 0


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "CMYK"])
def test_images_of_every_kind_are_drawn_as_the_model_reads_them(mode, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(Axes, "imshow", lambda axis, pixels, **_: drawn.append(pixels))
    image = Image.new("RGB", (4, 4), "white").convert(mode)
    plot_image_errors([image], np.array([[0.0, 1.0]]), np.array([0]), ["a", "b"], tmp_path / "errors.png")
    assert drawn[0].tolist() == np.asarray(image.convert("RGB")).tolist() == [[[255] * 3] * 4] * 4


@pytest.mark.parametrize(
    ("text", "right"), [(NAME, r"\$^\$ for \$5 ·"), ("two\nlines", "two\nlines"), ("café", "café")]
)
def test_what_matplotlib_is_given(text, right):
    assert plain(text) == right
