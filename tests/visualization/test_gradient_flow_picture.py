"""The picture of the gradient flow."""

import pytest
from PIL import Image

from seqnlp.diagnostics import GradientFlow, GradientSeries, Saturation
from seqnlp.visualization import plot_gradient_flow
from seqnlp.visualization.gradient_flow import _points


RECURRENT = GradientFlow(
    "cross-entropy",
    3,
    [GradientSeries("layer 1", [0.5**d for d in range(60)]), GradientSeries("layer 2", [1.0, 0.0, 0.0])],
    {"layer 1, hidden candidate": 0.5},
    {"layer 1, hidden state": Saturation(0.2, 0.3)},
)
TRANSFORMER = GradientFlow("cross-entropy", 3, [GradientSeries("embeddings", [1.0, 0.1, 0.1])])


@pytest.mark.parametrize(
    "flows", [{"elman": RECURRENT}, {"transformer": TRANSFORMER}, {"elman": RECURRENT, "$b_": TRANSFORMER}]
)
def test_one_model_or_several(tmp_path, flows):
    path = tmp_path / "picture.png"
    plot_gradient_flow(flows, path)
    with Image.open(path) as picture:
        assert picture.width >= 800


def test_gradients_of_nothing_are_left_out_of_a_logarithmic_axis():
    assert _points([1.0, 0.0, 0.25], 0.5) == ([0, 2], [2.0, 0.5])
