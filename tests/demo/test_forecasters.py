"""Series: which numbers are read, and that the forecast is the model's."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from seqnlp import RecurrentConfig, RecurrentForTimeSeriesPrediction
from seqnlp.cli.models import load_model
from seqnlp.demo import DemoError, Options, Series, answerer_for, parse_series, read_image, read_series


def test_the_forecast_is_the_models_for_the_last_steps_of_its_channels(named, ask):
    model = named("series").model
    values = np.random.default_rng(0).normal(size=(9, 3))
    found = ask("series").answer(Series(values, ["width", "weight", "height"]))
    past = torch.tensor(values[-4:, [2, 0]], dtype=torch.float32).unsqueeze(0)
    with torch.no_grad():
        wanted = model(past, prediction_length=3).prediction_outputs[0]
    assert np.array(found.forecast) == pytest.approx(wanted.numpy(), abs=1e-5)
    assert np.array(found.past) == pytest.approx(values[-4:, [2, 0]])
    assert (found.channels, found.unit, found.step, found.step_unit) == (["height", "width"], "mg", 5.0, "min")
    assert found.remarks == ["Not read: weight.", "Of 9 steps the last 4 are read, as many as it was trained on."]
    assert len(ask("series").answer(Series(values[:, :2]), Options(max_new_tokens=7)).forecast) == 7


def test_gaps_stay_gaps(named, ask):
    values = np.array([[1.0, 2.0], [np.nan, 3.0], [2.0, np.nan]])
    found = ask("series").answer(Series(values))
    past, observed = torch.tensor(values).float().nan_to_num()[None], torch.tensor(~np.isnan(values))[None]
    with torch.no_grad():
        wanted = named("series").model(past, observed, prediction_length=3).prediction_outputs[0]
    assert np.array(found.forecast) == pytest.approx(wanted.numpy(), abs=1e-5)
    assert found.past == [[1.0, 2.0], [None, 3.0], [2.0, None]]
    with pytest.raises(DemoError, match="no number in what the model would read"):
        ask("series").answer(Series(np.full((3, 2), np.nan)))


def test_a_run_of_logarithms_gives_values_in_the_users_units(named):
    answerer = answerer_for(named("series"))
    answerer.has_logarithm = True
    values = np.array([[1.0, 2.0], [2.0, 4.0]])
    found = answerer.answer(Series(values))
    with torch.no_grad():
        past = torch.tensor(np.log(values)).float()[None]
        wanted = named("series").model(past, prediction_length=3).prediction_outputs[0].exp()
    assert np.array(found.forecast) == pytest.approx(wanted.numpy(), rel=1e-4)
    assert found.past == values.tolist()
    assert "logarithms" in found.remarks[0]
    with pytest.raises(DemoError, match="the least value is -1"):
        answerer.answer(Series(-values[:1] * [1, 0.1]))


def test_a_distribution_gives_the_central_80_percent_of_its_paths_and_the_same_ones_again(named, tmp_path):
    fields = {"hidden_size": 8, "input_size": 2, "distribution_output": "normal", "num_parallel_samples": 9}
    model = RecurrentForTimeSeriesPrediction(RecurrentConfig(**fields, prediction_length=3))
    model.save_pretrained(tmp_path)
    answerer = answerer_for(load_model(str(tmp_path)))
    values = np.array([[1.0, 2.0], [2.0, 4.0], [np.nan, 3.0]])
    found = answerer.answer(Series(values))
    noise = torch.rand(1, 9, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    past = torch.tensor(values).float()[None]
    paths = answerer.model.draw_paths(past.nan_to_num(), ~past.isnan(), noise=noise).sequences[0].sort(dim=0).values
    assert np.array(found.lower) == pytest.approx(paths[0].numpy(), abs=1e-5)  # of nine, at a tenth of ten places
    assert np.array(found.upper) == pytest.approx(paths[-1].numpy(), abs=1e-5)
    assert answerer.answer(Series(values)).lower == found.lower
    answerer.has_logarithm = True
    assert np.array(answerer.answer(Series(np.exp(values))).upper) == pytest.approx(np.exp(found.upper), rel=1e-4)
    assert answerer_for(named("series")).answer(Series(values)).lower is None


def test_channels_are_told_by_name_or_counted(ask):
    found = ask("series").answer(Series(np.ones((3, 2)), ["a", "b"]))
    assert found.remarks == ["Read: a as height, b as width."]
    with pytest.raises(DemoError, match=r"reads 2 channels \(height, width\), not 3 \(a, b, c\)"):
        ask("series").answer(Series(np.ones((3, 3)), ["a", "b", "c"]))


def test_series_are_read_from_files_and_typed(tmp_path):
    file = tmp_path / "walk.csv"
    file.write_text("row,day,steps,km\n1,mon,10,0.5\n2,tue,n/a,1.5\n")
    found = read_series(file)
    assert found.channels == ["steps", "km"]
    assert np.isnan(found.values[1, 0])
    assert found.values[[0, 0, 1], [0, 1, 1]].tolist() == [10, 0.5, 1.5]
    assert "counts the rows" in found.remarks[0]
    found = read_series(file, ["row", "km"])  # a channel of the model, though it counts the rows
    assert found.values.tolist() == [[1, 0.5], [2, 1.5]]
    assert found.remarks == ["Not read: day, steps."]
    assert parse_series("1 2, 3").values.tolist() == [[1], [2], [3]]
    assert parse_series("1 2; 3 4;").values.tolist() == [[1, 2], [3, 4]]
    for wrong in ("", "1 2; 3", "one"):
        with pytest.raises(DemoError):
            parse_series(wrong)


def test_what_is_no_image_is_refused(tmp_path):
    with pytest.raises(DemoError, match="There is no image"):
        read_image(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(DemoError, match="cannot be read"):
        read_image(tmp_path / "text.png")


def test_a_photo_is_turned_as_its_camera_says(tmp_path):
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    exif = Image.Exif()
    exif[274] = 3  # upside down
    Image.fromarray(pixels).save(tmp_path / "photo.png", exif=exif)
    assert np.asarray(read_image(tmp_path / "photo.png")).tolist() == pixels[::-1, ::-1].tolist()


def test_what_the_models_numbers_do_not_hold_is_a_gap_and_no_forecast_is_no_number(ask, named, monkeypatch):
    values = np.array([[1.0, 2.0], [np.inf, 3.0], [2.0, -1e39]])
    found = ask("series").answer(Series(values))
    assert found.past == [[1.0, 2.0], [None, 3.0], [2.0, None]]
    assert found.remarks == ["2 values are infinite or too large for the model's numbers, and gaps."]
    assert found.forecast == ask("series").answer(Series(np.where(abs(values) > 1e38, np.nan, values))).forecast
    answerer = answerer_for(named("series"))
    nothing = SimpleNamespace(prediction_outputs=torch.full((1, 3, 2), np.nan))
    monkeypatch.setattr(answerer, "model", lambda *_, **__: nothing)
    with pytest.raises(DemoError, match=r"The forecast is no number: values from -3e\+38 to 3e\+38 are too far apart"):
        answerer.answer(Series(np.array([[3e38, -3e38], [-3e38, 3e38]])))
