"""Images of two colors, which pixels tell apart."""

import pytest
from PIL import Image
from transformers import ViTImageProcessorPil
from uniform_models import begin, outcome_of, uniform

from seqnlp.tasks import image_classification
from seqnlp.tasks.image_classification import ImageClassification
from seqnlp.tasks.reporting.run_page import _data


@pytest.fixture
def prepared(tmp_path):
    for split, count in (("train", 6), ("validation", 3), ("test", 3)):
        for name, shade in (("dark", 40), ("light", 200)):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for number in range(count):
                image = Image.new("RGB", (6, 6), (shade + number, shade, shade))
                image.save(tmp_path / "images" / split / name / f"{number}.png")
    task, run = begin(ImageClassification, tmp_path, "--dataset_name", tmp_path / "images")
    processor = ViTImageProcessorPil(size={"height": 6, "width": 6}, do_convert_rgb=True)
    return task, run, task.prepare_data(run, task.load_data(run), processor)


def test_what_pixels_tell_and_what_a_model_says_that_knows_nothing(prepared):
    task, run, data = prepared
    baselines = task.baselines(data, "test")
    assert list(baselines) == ["nearest neighbours", "logistic regression"]
    assert [found["test"]["accuracy"] for found in baselines.values()] == [1.0, 1.0]
    sizes = {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 6, "patch_size": 2}
    found = task.predict(uniform(task, **sizes, id2label={0: "dark", 1: "light"}), data, "test")
    scores = task.score(found, data, "test")
    assert (scores["accuracy"], scores["loss"]) == (0.5, pytest.approx(0.693147, abs=1e-6))  # all are dark
    run.record.metrics["test"], run.record.baselines = scores, baselines
    report = task.report(outcome_of(run, data, "test", test=found))
    assert report.startswith("Test: 6 examples")
    assert "Vision Transformer (seqnlp)" in report
    assert [f"image {row}" in report for row in range(6)] == [False] * 3 + [True] * 3


def test_pictures_and_the_page_call_a_folder_by_its_name(prepared, monkeypatch):
    task, run, data = prepared
    assert run.record.dataset["name"] == "<local:images>"
    drawn = []
    monkeypatch.setattr(image_classification, "plot_image_errors", lambda *parts: drawn.append(parts[-1]))
    task.draw(outcome_of(run, data, "test", test=[None, None]))
    assert drawn == ["Vision Transformer, images"]
    shown = _data({**run.record.dataset, "remarks": ["Dataset '<local:images>': all is well."]})
    assert "Dataset &#x27;images&#x27;: all is well." in shown


def test_many_pixels_are_left_to_the_network(prepared, monkeypatch):
    task, _, data = prepared
    monkeypatch.setattr("seqnlp.tasks.image_classification.MOST_PIXELS", 12 * 36)
    assert task.baselines(data, "test") == {}


def test_the_side_is_that_of_the_images_unless_it_is_given():
    assert ImageClassification.from_command_line(argv=[]).model_args.image_size is None
    assert ImageClassification.from_command_line(argv=["--image_size", "12"]).model_args.image_size == 12
