"""The recipe as a user starts it, in one process and in two, on two languages that it has never seen."""

import json
import os
import random
import re
from pathlib import Path

import pytest
from safetensors.torch import load_file
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, pipeline

from seqnlp.metrics import BLEU
from seqnlp.tasks import TASKS


ROOT = Path(__file__).parents[2]
RECIPE = "translation"
NUMBERS = {"one": "eins", "two": "zwei", "three": "drei", "four": "vier", "five": "fünf", "six": "sechs"}
SPLITS = {"train": 400, "validation": 31, "test": 37}


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """Files of lines, and the arguments that name them."""
    folder, chance = tmp_path_factory.mktemp("numbers"), random.Random(0)
    arguments = []
    for split, count in SPLITS.items():
        pairs = [chance.choices(list(NUMBERS), k=chance.randint(1, 6)) for _ in range(count)]
        (folder / f"{split}.en").write_text("".join(" ".join(words) + "\n" for words in pairs))
        german = [" ".join(NUMBERS[word] for word in words) for words in pairs]
        (folder / f"{split}.de").write_text("".join(f"{line}\n" for line in german))
        arguments += [f"--{split}_file", folder / f"{split}.en", f"--{split}_target_file", folder / f"{split}.de"]
    return folder, arguments


@pytest.fixture(scope="module")
def small(numbers):
    sizes = "hidden_size=32,intermediate_size=64,num_hidden_layers=1,dropout=0,label_smoothing=0"
    settings = [
        "--architecture",
        "transformer",
        "--config_overrides",
        sizes,
        "--vocab_size",
        300,
        "--min_frequency",
        1,
        "--bpe_dropout",
        0.03,
    ]
    settings += ["--max_tokens", 128, "--num_train_epochs", 20, "--learning_rate", 0.01, "--bleu_every", 5]
    return [*numbers[1], *settings, "--average_checkpoints", 3, "--checkpointing_steps", 1000, "--num_threads", 1]


@pytest.fixture(scope="module")
def finished(launch, small, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("one")
    result = launch.run(RECIPE, *small, "--output_dir", output_dir)
    assert result.returncode == 0, result.stderr
    return output_dir, result


def test_it_ends_with_scores_and_a_table_of_translations(finished):
    _, result = finished
    assert "Test: 37 sentences" in result.stdout
    assert re.search(
        r"BLEU +\d+\.\d\d ± \d+\.\d\d +nrefs:1\|case:mixed\|eff:no\|tok:13a\|smooth:exp\|version:", result.stdout
    )
    assert re.search(r"\| source +\| reference +\| translation +\|", result.stdout)
    assert (
        len(re.findall(r"^\| (?:one|two|three|four|five|six)\b.*\| (?:eins|zwei|drei|vier)", result.stdout, re.M)) > 2
    )
    for word in ("warning", "deprecated", "error:", "traceback", "were not passed", "shared tensor"):
        assert word not in result.stderr.lower()


def test_what_it_leaves_loads_and_translates(finished, numbers):
    output_dir, _ = finished
    assert {path.name for path in output_dir.iterdir()} == {
        "bleu_by_length.png",
        "checkpoints",
        "config.json",
        "generation_config.json",
        "learning_curves.png",
        "logs",
        "model.safetensors",
        "report.html",
        "run.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "translations.test.txt",
        "translations.validation.txt",
    }
    model = AutoModelForSeq2SeqLM.from_pretrained(output_dir)
    assert (model.generation_config.num_beams, model.generation_config.length_penalty) == (5, 1.0)
    translate = pipeline("seqnlp-translation", model=output_dir, device="cpu")
    lines = {side: (numbers[0] / f"test.{side}").read_text().splitlines() for side in ("en", "de")}
    translations = [answer["translation_text"] for answer in translate(lines["en"], batch_size=16)]
    record = json.loads((output_dir / "run.json").read_text())
    again = BLEU().compute(predictions=translations, references=lines["de"])["bleu"]
    assert again == pytest.approx(record["metrics"]["test"]["bleu"], abs=3)  # the bound on babble is the batch's
    assert again > 50
    tokenizer = AutoTokenizer.from_pretrained(output_dir)
    assert tokenizer.decode(tokenizer("sechs vier")["input_ids"], skip_special_tokens=True).strip() == "sechs vier"


def test_run_json(finished, numbers):
    output_dir, _ = finished
    text = (output_dir / "run.json").read_text()
    record = json.loads(text)
    assert record["dataset"]["name"] == "<local:train.en>"
    assert {split: part["rows"] for split, part in record["dataset"]["splits"].items()} == SPLITS
    assert [record["dataset"][side] for side in ("source", "target")] == ["en", "de"]
    assert record["dataset"]["training_pairs_left_out"] == 0
    validation, test = record["metrics"]["validation"], record["metrics"]["test"]
    names = {"bleu", "bleu_lowercase", "bleu_lowercase_moses", "chrf"}
    assert set(test) == {"loss", "signatures", "intervals", "bleu_by_source_length", *names}
    assert set(test["signatures"]) == set(test["intervals"]) == names
    assert sum(item["sentences"] for item in test["bleu_by_source_length"]) == 37
    assert set(validation["bleu_by_weights"]) == {"best", "average of 3"}
    assert validation["bleu"] == pytest.approx(max(validation["bleu_by_weights"].values()))
    assert validation["seconds_to_bleu"]["5"] <= record["seconds"]["training"]
    assert validation["target_tokens_per_second"] > 0
    evaluated = [entry for entry in record["history"] if "validation_loss" in entry]
    assert len(evaluated) == 20
    assert ["validation_bleu" in entry for entry in evaluated[:10]] == ([False] * 4 + [True]) * 2
    for path in (str(output_dir), str(numbers[0]), str(ROOT), str(Path.home()), os.uname().nodename):
        assert path not in text


def test_a_run_in_two_stretches_is_the_same_run_and_looks_at_the_test_once(fork, small, finished, tmp_path):
    first = fork(RECIPE, *small, "--output_dir", tmp_path, "--max_train_minutes", 0.02)
    assert first.returncode == 0, first.stderr
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["stopped"]["reason"] == "max_train_minutes"
    assert set(record["metrics"]) == {"validation"}
    assert "Validation: 31 sentences" in first.stdout
    second = fork(RECIPE, *small, "--output_dir", tmp_path, "--resume_from_checkpoint", "latest")
    assert second.returncode == 0, second.stderr
    records = [json.loads((folder / "run.json").read_text()) for folder in (tmp_path, finished[0])]
    assert records[0]["metrics"]["test"] == records[1]["metrics"]["test"]
    weights = [load_file(folder / "model.safetensors") for folder in (tmp_path, finished[0])]
    assert all((weights[0][name] == tensor).all() for name, tensor in weights[1].items())


def test_two_processes_and_two_vocabularies(fork, numbers, tmp_path):
    sizes = "hidden_size=16,embedding_size=16,attention_type=multiplicative"
    settings = [
        "--architecture",
        "gru",
        "--joint_vocabulary",
        "false",
        "--tokenizer_type",
        "word",
        "--lowercase",
        "true",
    ]
    settings += ["--config_overrides", sizes, "--max_tokens", 128, "--num_train_epochs", 1, "--num_threads", 1]
    result = fork(RECIPE, *numbers[1], *settings, "--output_dir", tmp_path, processes=2)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("Test: 37 sentences") == 1
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["num_processes"] == 2
    for split in ("validation", "test"):  # every sentence counted once
        bins = record["metrics"][split]["bleu_by_source_length"]
        assert sum(item["sentences"] for item in bins) == SPLITS[split]
    lines = {
        name: (folder / name).read_text().split("\n")[:-1]
        for folder, name in ((tmp_path, "translations.test.txt"), (numbers[0], "test.de"))
    }
    again = BLEU().compute(predictions=lines["translations.test.txt"], references=lines["test.de"])["bleu"]
    assert again == pytest.approx(record["metrics"]["test"]["bleu"])
    assert record["model"]["config"]["attention_type"] == "multiplicative"
    translate = pipeline("seqnlp-translation", model=tmp_path, device="cpu")
    assert set(translate.tokenizer.get_vocab()) >= set(NUMBERS)
    assert set(translate.target_tokenizer.get_vocab()) >= set(NUMBERS.values())
    assert translate("one two", return_alignment=True)["source_tokens"] == ["one", "two", "</s>"]


def test_the_packaged_sample_is_the_default(fork, tmp_path):
    short = ["--max_train_steps", 2, "--max_eval_samples", 12, "--num_beams", 2, "--average_checkpoints", 0]
    short += ["--num_threads", 1]
    result = fork(RECIPE, "--output_dir", tmp_path, *short)
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["dataset"]["name"] == "sample:jupyterlab_fr"
    assert record["dataset"]["splits"]["train"]["rows"] == 2452
    assert record["model"]["class"] == "RecurrentSeq2SeqForConditionalGeneration"
    assert record["metrics"]["test"]["signatures"]["bleu_lowercase_moses"].split("|")[3].startswith("tok:moses-fr")


def test_bad_input_is_one_line_and_leaves_nothing(fork, numbers, tmp_path):
    folder, arguments = numbers
    cut = [*arguments, "--train_target_file", folder / "test.de", "--output_dir", tmp_path / "out"]
    result = fork(RECIPE, *cut)
    assert (result.returncode, result.stdout) == (1, f"Reading {folder / 'train.en'} ...\n")
    assert re.fullmatch(r"error: \S+train.en has 400 lines and \S+test.de has 37: line by line .*\n", result.stderr)
    assert not (tmp_path / "out" / "run.json").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--bpe_dropout", "1"], "--bpe_dropout 1.0 must be at least 0 and below 1"),
        (["--num_beams", "0"], "--num_beams 0 must be at least 1"),
        (["--average_checkpoints", "-1"], "--average_checkpoints -1 must be at least 0"),
    ],
)
def test_values_that_mean_nothing(argv, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parse(argv)


def parse(argv):
    return TASKS[RECIPE].from_command_line(argv=argv)


@pytest.mark.long
def test_the_default_run_learns_to_translate(launch, tmp_path):
    result = launch.run(RECIPE, "--output_dir", tmp_path, timeout=1200)
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["metrics"]["test"]["bleu"] > 10
