"""What a token costs as the work grows: the points have the sizes that they say."""

import json

import pytest

from benchmarks import growth


@pytest.mark.parametrize(
    ("name", "value", "shape"), [("length", 1024, (4, 1024, 8192)), ("batch", 16, (16, 64, 8192))]
)
def test_a_point_has_the_size_that_its_axis_says(name, value, shape):
    assert growth.AXES[name].shape(value) == shape


def test_every_model_of_an_axis_learns_and_a_stream_is_read_to_its_end():
    for name in {model for axis in growth.AXES.values() if axis.shape for model in axis.models}:
        model = growth.MODELS[name](16)
        assert (model.config.num_hidden_layers, model.config.hidden_size) == (growth.LAYERS, 256)
        assert (model.config.loss_chunk_size is None) == name.endswith("all logits at once")
    # It raises unless 9 tokens come out of each row.
    assert growth.cost_of_point("rows", "streaming", 50)["microseconds"] > 0


def test_points_of_an_axis_replace_older_ones_and_are_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "GROWTH", tmp_path)
    old = [
        {"axis": "rows", "value": 10, "model": "streaming", "microseconds": 1.0, "mebibytes": 2.0},
        {"axis": "batch", "value": 4, "model": "lstm", "microseconds": 3.0, "mebibytes": 4.0},
    ]
    growth.keep(old)
    new = [{"axis": "rows", "value": 10_000, "model": "streaming", "microseconds": 5.0, "mebibytes": 6.0}]
    path = growth.keep(new)
    kept = json.loads(path.read_text())
    assert kept["points"] == [old[1], *new]
    assert kept["machine"]["threads"] == 1
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in growth.table(kept["points"]).splitlines()]
    assert rows[-1] == ["Rows of a streamed corpus", "10,000", "streaming", "5 µs per row", "6 MiB"]
    page = tmp_path / "page.md"
    page.write_text(f"Before.\n{growth.BEGIN}\nold\n{growth.END}\nAfter.\n")
    growth.write_page({**kept, "points": new}, page, tmp_path / "growth.png")
    assert "old" not in page.read_text()
    assert growth.table(new) in page.read_text()
    assert (tmp_path / "growth.png").stat().st_size > 1000
