"""Series whose forecasts are known: straight lines."""

import dataclasses

import pytest
import torch
from uniform_models import begin, outcome_of, uniform

from seqnlp.tasks import TASKS, Task, trajectory
from seqnlp.tasks.trajectory import Trajectory


@pytest.fixture
def prepare(tmp_path):
    def make(*argv):
        (tmp_path / "line.csv").write_text("height\n" + "".join(f"{2 * step}\n" for step in range(100)))
        lengths = ["--context_length", 4, "--prediction_length", 3]
        task, run = begin(Trajectory, tmp_path, "--dataset_name", tmp_path / "line.csv", *lengths, *argv)
        return task, run, task.prepare_data(run, task.load_data(run), None)

    return make


def test_what_needs_no_model(prepare):
    task, _, data = prepare()
    assert len(data.examples["test"]) == 15 - 6  # of steps 85 to 99
    assert data.examples["test"][0]["past_values"].flatten().tolist() == [170, 172, 174, 176]
    found = task.baselines(data, "test")
    assert found["straight_line"]["test"]["rmse"] == 0
    last = found["last_value"]["test"]  # wrong by 2, 4 and 6
    assert (last["mae"], last["rmse"], last["rmse_last"]) == (4, pytest.approx((56 / 3) ** 0.5), 6)
    naive, ets = found["seasonal_naive"]["test"], found["ets"]["test"]
    assert [naive[key] for key in ("mae", "rmse", "nrmse")] == [last[key] for key in ("mae", "rmse", "nrmse")]
    assert ets["rmse"] < 0.01
    assert naive["forecasts"] == ets["forecasts"] == 9
    assert any("has no season" in remark for remark in task.remarks_on_baselines)
    # Its deviation over the steps 0 to 69, times 2: sqrt((70^2 - 1) / 12).
    assert last["nrmse"] == pytest.approx(last["rmse"] / (2 * ((70**2 - 1) / 12) ** 0.5))


def test_what_is_tried_first_is_a_past_of_validation(prepare, tmp_path):
    task, _, data = prepare()
    assert task.trial(data, tmp_path) == ["--text", "140; 142; 144; 146"]  # from step 70 on


@pytest.mark.parametrize("architecture", ["gru", "transformer"])
def test_a_model_that_has_learned_nothing_says_the_last_value(architecture, prepare):
    task, run, data = prepare("--architecture", architecture)
    sizes = {"hidden_size": 4, "num_hidden_layers": 1, "prediction_length": 3, "input_size": 1}
    sizes |= {"num_attention_heads": 2} if architecture == "transformer" else {}
    evaluator = uniform(task, **sizes, input_mean=[69.0], input_scale=[2.0])
    evaluator.run = run  # as a loop has it
    found = task.predict(evaluator, data, "test")
    assert found["predictions"][:, :, 0].tolist() == [[2 * step] * 3 for step in range(88, 97)]
    scores, baselines = task.score(found, data, "test"), task.baselines(data, "test")
    assert scores == pytest.approx(baselines["last_value"]["test"])
    wrong_by_as_much = {"loss": scores["nrmse"] ** 2, "ncrps": scores["ncrps"]}
    assert task.validate(evaluator, data) == pytest.approx(wrong_by_as_much)
    outcome = outcome_of(run, data, "test", test=found)
    run.record.metrics["test"] = scores
    task.use_model(evaluator, outcome)
    assert set(run.record.baselines) == {"last_1_steps_seen", "last_2_steps_seen"}
    assert all(part["test"] == pytest.approx(scores) for part in run.record.baselines.values())
    report = task.report(outcome)
    assert report.startswith("Test: 9 forecasts")
    assert f"{architecture} (seqnlp)" in report


@pytest.mark.parametrize("is_simulated", [True, False])
def test_walls_are_drawn_around_the_simulated_ball_alone(is_simulated, prepare, monkeypatch):
    task, run, data = prepare("--step_unit", "min", "--value_unit", "m")
    drawn = []
    monkeypatch.setattr(
        trajectory, "plot_examples", lambda _, file, title, box, **axes: drawn.append((title, box, axes))
    )
    monkeypatch.setattr(trajectory, "plot_memory", lambda errors, others, *_: drawn.append((errors, others)))
    if is_simulated:
        task.data_args.dataset_name = "simulated:ball"
    run.record.metrics["test"] = {"rmse": 0.5}
    known = {"last_value": 2.0, "last_2_steps_seen": 0.75, "last_1_steps_seen": 1.0}
    run.record.baselines = {name: {"test": {"rmse": error}} for name, error in known.items()}
    task.draw(outcome_of(run, data, "test", test={}))
    axes = {"channels": ["height"], "unit": "m", "step": 0.05, "step_unit": "min", "levels": (0.5, 0.8, 0.95)}
    title = "Forecasts of line.csv, lstm"  # a file of a user's, by its name alone
    by_past, others = drawn.pop()
    assert list(by_past.items()) == [(1, 1.0), (2, 0.75), (4, 0.5)]
    assert others == {"last_value": 2.0}
    assert drawn == [(title, trajectory.BOX if is_simulated else None, axes)]


def test_what_its_models_alone_read_is_left_out_of_the_cards_of_others():
    assert "prediction_length" not in Trajectory.meaningless_fields()
    others = [task for task in TASKS.values() if not issubclass(task, Trajectory)]
    assert others
    assert all(task.meaningless_fields() == {"prediction_length"} for task in [Task, *others])


@pytest.mark.parametrize("kind", Trajectory.model_classes)
def test_fields_that_its_cards_leave_out_change_nothing(kind):
    model_class, found = Trajectory.model_classes[kind], []
    others = {
        "vocab_size": 11,
        "tie_word_embeddings": True,
        "pooling": "max",
        "label_smoothing": 0.5,
        "loss_chunk_size": 3,
    }
    assert Trajectory.meaningless_fields() == set(others)
    known = {field.name for field in dataclasses.fields(model_class.config_class)}
    for changes in ({}, others):
        fields = {"hidden_size": 8, "num_attention_heads": 2, "input_size": 2, **changes}
        torch.manual_seed(0)
        model = model_class(model_class.config_class(**{name: fields[name] for name in known & set(fields)}))
        torch.manual_seed(1)
        past, future = torch.randn(3, 6, 2), torch.randn(3, 4, 2)
        outputs = model.eval()(past, future_values=future)
        found.append((sum(parameter.numel() for parameter in model.parameters()), float(outputs.loss.detach())))
    assert found[0] == found[1]
