"""Sample paths of a series follow from its past alone, and forecasts by a distribution are scored by them."""

import sys

import numpy as np
import pytest
import torch
from uniform_models import begin, outcome_of, uniform

from seqnlp import RecurrentConfig, RecurrentForTimeSeriesPrediction
from seqnlp.tasks import series_paths
from seqnlp.tasks.series_paths import noise_of, summarize_paths
from seqnlp.tasks.trajectory import Trajectory


def test_paths_are_the_same_whatever_is_in_the_batch(monkeypatch):
    fields = {"input_size": 2, "hidden_size": 8, "cell_type": "gru", "distribution_output": "student_t"}
    model = RecurrentForTimeSeriesPrediction(RecurrentConfig(**fields)).eval()
    past, future = torch.randn(5, 6, 2, dtype=torch.float64), torch.randn(5, 3, 2, dtype=torch.float64)
    observed = torch.rand(5, 6, 2) > 0.2
    assert not torch.equal(noise_of(past[0], (4, 3, 2, 2)), noise_of(past[1], (4, 3, 2, 2)))
    together = summarize_paths(model, past, observed, future, 40, 5)
    monkeypatch.setattr(series_paths, "ROWS_AT_ONCE", 80)  # two series at a time
    calls = []
    draw = model.draw_paths
    monkeypatch.setattr(model, "draw_paths", lambda *given: calls.append(len(given[0])) or draw(*given))
    for name, found in summarize_paths(model, past, observed, future, 40, 8).items():
        torch.testing.assert_close(found, together[name], rtol=1e-4, atol=1e-5)
    assert calls == [2, 2, 1, 1]  # as often as for a full batch
    alone = summarize_paths(model, past[3:4], observed[3:4], future[3:4], 40, 1)
    torch.testing.assert_close(alone["crps"][0], together["crps"][3], rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walk")
    walk = np.random.default_rng(0).standard_normal(2000).cumsum()
    (folder / "walk.csv").write_text("height\n" + "".join(f"{value}\n" for value in walk))
    lengths = ["--context_length", 4, "--prediction_length", 3, "--per_device_eval_batch_size", 64]
    task, run = begin(Trajectory, folder, "--dataset_name", folder / "walk.csv", "--architecture", "gru", *lengths)
    return task, run, task.prepare_data(run, task.load_data(run), None)


def test_a_distribution_that_is_right_holds_what_it_says(prepared):
    task, run, data = prepared
    sizes = {"hidden_size": 4, "num_hidden_layers": 1, "prediction_length": 3, "input_size": 1}
    evaluator = uniform(task, **sizes, distribution_output="normal", num_parallel_samples=50)
    assert task.losses_of == (("single steps", "nats, normalized"), ("forecasts", "squared error, normalized"))
    evaluator.run = run
    with torch.no_grad():  # the walk's own deviation of 1
        evaluator.unwrapped_model.distribution_head.bias.fill_(float(np.log(np.expm1(1.0))))
    predictions, scores = task.predict_and_score(evaluator, data, "test")
    assert predictions["intervals"].shape == (294, 3, 1, 3, 2)
    for level in (50, 80, 95):
        assert scores[f"coverage_{level}"] == pytest.approx(level / 100, abs=0.05)
    # Of a normal with deviation s around the mean: s / sqrt(pi), here over 1, 2 and 3 steps.
    assert scores["crps"] == pytest.approx(np.sqrt([1, 2, 3]).mean() / np.sqrt(np.pi), rel=0.1)
    assert scores["crps"] < 0.8 * scores["mae"]
    validation = task.validate(evaluator, data)
    assert validation["ncrps"] == pytest.approx(scores["ncrps"], rel=0.2)

    run.record.metrics["test"] = scores
    outcome = outcome_of(run, data, "test", test=predictions)
    task.use_model(evaluator, outcome)
    seen = run.record.baselines["last_1_steps_seen"]["test"]
    assert seen["rmse"] == pytest.approx(scores["rmse"])  # it knows no more of the past
    assert "crps" not in seen
    task._compare(outcome)
    report = task.report(outcome)
    assert report.count("gru (seqnlp)") == report.count("\nseasonal naive") == report.count("\nets") == 2
    task.draw(outcome)
    assert outcome.file("predictions.png").read_bytes()[:4] == b"\x89PNG"


def test_without_statsmodels_that_baseline_alone_is_left_out(prepared, monkeypatch):
    task, _, data = prepared
    monkeypatch.setitem(sys.modules, "statsmodels.tsa.exponential_smoothing.ets", None)
    assert set(task.baselines(data, "test")) == {"last_value", "straight_line", "seasonal_naive"}
    assert "Exponential smoothing is left out: it needs statsmodels. pip install" in task.remarks_on_baselines[-1]
