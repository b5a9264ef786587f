"""The drawings of models: what they show is what the modules are, and the tracked ones are drawn from today's."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from benchmarks.diagrams import DIAGRAMS
from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    TransformerDecoderConfig,
    TransformerDecoderForCausalLM,
)
from seqnlp.models.cells import CELLS, GRUCell, LSTMCell
from seqnlp.visualization.cell_diagrams import DiagramError, draw_gru, draw_lstm, read_step
from seqnlp.visualization.model_diagrams import draw_unrolled, sublayers
from seqnlp.visualization.svg import Drawing


IMAGES = Path(__file__).parents[2] / "docs" / "images"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Each drawing as its SVG."""
    folder = tmp_path_factory.mktemp("drawings")
    for name, draw in DIAGRAMS.items():
        draw(folder / f"{name}.svg")
    return {name: (folder / f"{name}.svg").read_text() for name in DIAGRAMS}


def texts(svg):
    """Every line of text, subscripts as they are written."""
    root = ElementTree.fromstring(svg)
    return ["".join(found.itertext()).replace("\u200b", "") for found in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("name", DIAGRAMS)
def test_the_tracked_drawing_is_the_one_that_the_code_draws_today(name, drawn):
    assert (IMAGES / f"{name}.svg").read_text() == drawn[name], (
        "python -m benchmarks diagrams --output_dir docs/images"
    )


@pytest.mark.parametrize("name", DIAGRAMS)
def test_a_drawing_stands_alone_and_reads_in_the_dark(name, drawn):
    root = ElementTree.fromstring(drawn[name])
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    assert not re.search(r"(href|url)\s*[=(]\s*[\"']?http", drawn[name])
    assert "prefers-color-scheme: dark" in drawn[name]
    assert root.find("{http://www.w3.org/2000/svg}title").text
    for box in root.iter("{http://www.w3.org/2000/svg}rect"):
        left, top, wide, tall = (float(box.attrib.get(key, 0)) for key in ("x", "y", "width", "height"))
        assert left >= 0
        assert top >= 0
        assert left + wide <= width
        assert top + tall <= height


def test_a_step_is_read_as_its_paper_has_it():
    """Hochreiter & Schmidhuber 1997 and Gers et al. 2000; Cho et al. 2014, with the reset gate on U h."""
    step = read_step(CELLS["lstm"](3, 4))
    assert step.states == {
        "hidden": "output_gate * tanh(new cell)",
        "cell": "forget_gate * cell + input_gate * cell_candidate",
    }
    assert step.gates["forget_gate"] == "sigmoid(x + hidden)"
    assert step.gates["cell_candidate"] == "tanh(x + hidden)"
    step = read_step(CELLS["gru"](3, 4))
    assert step.states == {"hidden": "update_gate * hidden + (1 - update_gate) * hidden_candidate"}
    assert step.gates["hidden_candidate"] == "tanh(x + reset_gate * hidden)"
    assert read_step(CELLS["elman"](3, 4)).states == {"hidden": "tanh(x + hidden)"}


@pytest.mark.parametrize("cell_type", ["lstm", "gru"])
def test_a_cell_is_drawn_with_each_of_its_gates_once(cell_type, drawn):
    cell = CELLS[cell_type]
    found = texts(drawn[cell_type])
    assert [found.count(gate.replace("_", " ")) for gate in cell.gates] == [1] * len(cell.gates)
    assert any(text.startswith(f"{len(cell.gates)} times W and U") for text in found)
    assert found.count("sigmoid") == sum(gate.endswith("_gate") for gate in cell.gates)


def test_a_cell_that_computes_something_else_is_not_drawn(tmp_path):
    class Leaky(LSTMCell):  # without a `cell_type` of its own it is no new cell
        def forward(self, projected_input, state):
            (hidden, cell), gates = super().forward(projected_input, state)
            return (hidden, cell * 0.5), gates

    class Odd(GRUCell):
        def forward(self, projected_input, state):
            (hidden,), gates = super().forward(projected_input, state)
            return (torch.erf(hidden),), gates

    with pytest.raises(DiagramError, match=r"Leaky: hidden is .* and its drawing has output_gate \* tanh\(new cell\)"):
        draw_lstm(Leaky(3, 4), tmp_path / "leaky.svg")
    with pytest.raises(DiagramError, match="erf"):
        draw_gru(Odd(3, 4), tmp_path / "odd.svg")
    with pytest.raises(DiagramError, match="GRUCell: input_gate is None"):
        draw_lstm(GRUCell(3, 4), tmp_path / "gru.svg")
    assert list(tmp_path.iterdir()) == []


def test_the_unrolled_net_has_the_models_layers_and_sizes(tmp_path):
    config = RecurrentConfig(vocab_size=31, hidden_size=7, embedding_size=5, cell_type="gru", num_hidden_layers=2)
    model = RecurrentForCausalLM(config)
    draw_unrolled(model, tmp_path / "net.svg")
    found = texts((tmp_path / "net.svg").read_text())
    assert {"layers[0]", "layers[1]", "31 \u00d7 5", "31 \u00d7 7", "GRUCell"} <= set(found)
    assert found.count("h3") == 2
    model.lm_head = None
    with pytest.raises(DiagramError, match="has no lm_head"):
        draw_unrolled(model, tmp_path / "net.svg")


@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_sublayers_are_in_the_order_in_which_they_work(norm_position):
    sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = TransformerDecoderForCausalLM(TransformerDecoderConfig(**sizes, norm_position=norm_position)).eval()
    found = sublayers(model.model.layers[1], lambda: model(input_ids=torch.tensor([[1, 2]])))
    expected = [("self_attn_norm", "self_attn"), ("mlp_norm", "mlp")]
    assert found == (expected if norm_position == "pre" else [pair[::-1] for pair in expected])
    assert not any(module._forward_hooks for module in model.modules())


def test_a_transformer_is_drawn_with_a_residual_connection_for_each_sublayer(drawn):
    found = texts(drawn["transformer"])
    assert found.count("+") == 2 + 3 + 2
    assert found.count("LayerNorm") == 5
    assert found.count("RMSNorm") == 2
    assert "cross_attn, 4 heads" in found
    assert found.count("self_attn, 4 heads, causal") == 2
    assert found.count("self_attn, 4 heads") == 1


def test_text_is_text_whatever_it_contains(tmp_path):
    drawing = Drawing(100, 50, "<a> & b")
    drawing.text(50, 25, "<script> h_{<t>}")
    drawing.save(tmp_path / "evil.svg")
    assert texts((tmp_path / "evil.svg").read_text()) == ["<script> h<t>"]
