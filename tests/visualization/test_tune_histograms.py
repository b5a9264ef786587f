"""What the picture of tunes' statistics draws."""

from matplotlib.figure import Figure

from seqnlp.visualization.tune_histograms import Panel, plot_tune_histograms


def test_a_line_for_each_set_of_tunes(tmp_path, monkeypatch):
    panels = [
        Panel("steps", "overlap 75%", True, [{2: 0.5, 0: 0.5}, {2: 0.25, 0: 0.75}, {-1: 1.0}]),
        Panel("rhythms", "overlap 10%", False, [{"a": 1.0}, {"b": 1.0}, {"b": 0.3, "a": 0.7}]),
    ]
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: drawn.append(figure))
    plot_tune_histograms(panels, ["written", "held out", "training"], tmp_path / "a.png", "Tunes")
    steps, rhythms, *rest = drawn[0].axes
    # Values in their order; those without one by their rank among the last set.
    assert [[list(part) for part in line.get_data()] for line in steps.lines] == [
        [[-1, 0, 2], [0, 50, 50]],
        [[-1, 0, 2], [0, 75, 25]],
        [[-1, 0, 2], [100, 0, 0]],
    ]
    assert [list(line.get_ydata()) for line in rhythms.lines] == [[100, 0], [0, 100], [70, 30]]
    assert (steps.get_xlabel(), steps.get_title()) == ("steps", "overlap 75%")
    assert not any(axis.axison for axis in rest)
    assert len({(line.get_color(), line.get_linestyle(), line.get_marker()) for line in steps.lines}) == 3
