"""The verb on a recipe that takes no time: what it launches, what it does not launch again, table, page, refusals."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from transformers import (
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    PatchTSTForPrediction,
)
from typer.testing import CliRunner

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentForTokenClassification,
    TransformerDecoderConfig,
    TransformerDecoderForCausalLM,
    TransformerDecoderForTimeSeriesPrediction,
)
from seqnlp.cli import compare_runs
from seqnlp.cli.compare_report import Measure, answer, comparison_rows, measure_of
from seqnlp.cli.compare_runs import CompareError, launch, overrides_for, read_comparison
from seqnlp.cli.compare_scores import Scores, score_of_all, summarize
from seqnlp.cli.costs import count_flops, unit_read
from seqnlp.cli.main import app
from seqnlp.cli.outputs import OutputError
from seqnlp.cli.sizes import size_models
from seqnlp.publishing.card import build_card
from seqnlp.tasks import TASKS
from seqnlp.training.folder_lock import LOCK
from seqnlp.visualization.comparison import TableRow, comparison_page


ROOT = Path(__file__).parents[2]
RECIPE = """
import json, pathlib, sys, yaml
flags = dict(zip((name[2:] for name in sys.argv[1::2]), sys.argv[2::2]))
folder = pathlib.Path(flags["output_dir"])
folder.mkdir(parents=True, exist_ok=True)
with open(folder.parent / "launched", "a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
if flags.get("break") == "yes":
    sys.exit("error: this recipe is broken")
architecture = flags.get("architecture")
transformer = architecture == "transformer"
config = {"vocab_size": 500, "num_hidden_layers": 1}
config |= {"cell_type": architecture} if architecture and not transformer else {}
config |= {} if architecture else {"hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2}
pairs = [pair.split("=") for pair in flags.get("config_overrides", "").split(",") if pair]
config |= {key: yaml.safe_load(value) for key, value in pairs}
seed = int(flags.get("seed", 0))
score = 0.8 + 0.01 * seed + 0.1 * transformer
record = {
    "command": "recipes/quick.py " + " ".join(sys.argv[1:]),
    "task": "sentiment_analysis",
    "hyperparameters": {"metric_for_best_model": "accuracy"},
    "dataset": {"name": "sample:quick", "splits": {"train": {}, "validation": {}, "test": {}}},
    "model": {
        "class": {None: "BertForSequenceClassification", "transformer": "TransformerDecoderForCausalLM"}.get(
            architecture, "RecurrentForCausalLM"
        ),
        "parameters": 12345,
        "config": config,
    },
    "metrics": {"validation": {"accuracy": score}, "test": {"accuracy": score}},
    "baselines": {"by_rule": {"test": {"accuracy": 0.5}}},
    "history": [
        {"step": 1, "epoch": 1, "targets_per_second": 100.0 + seed},
        {"step": 1, "epoch": 1, "validation_accuracy": score - 0.1},
        {"step": 2, "epoch": 2, "validation_accuracy": score},
    ],
    "seconds": {"training": 10.0},
    "memory": {"resident": 300.0 + 10 * (3 - seed)},
    "hardware": {"cpu": "<a & b>"},
    "versions": {"python": "3"},
}
(folder / "run.json").write_text(json.dumps(record))
"""


@pytest.fixture
def quick(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes" / "configs").mkdir(parents=True)
    (tmp_path / "recipes" / "quick.py").write_text(RECIPE)
    config = tmp_path / "recipes" / "configs" / "quick.yaml"
    config.write_text("recipe: quick\nconfig_overrides: {hidden_size: 40, bidirectional: false}\n")
    return config


KINDS = ("gru", "transformer")


def compare(config, *flags):
    arguments = [str(config), "--architectures", ",".join(KINDS), "--seeds", "2", *flags]
    return CliRunner().invoke(app, ["compare", *arguments, "--output_dir", str(config.parent.parent / "out")])


def launched(config):
    return [line for file in config.parent.parent.rglob("launched") for line in file.read_text().splitlines()]


@pytest.fixture
def without_accelerate(quick, monkeypatch):
    """Start the recipe without the seconds that accelerate takes, which test_one_real_launch pays."""
    monkeypatch.setattr(compare_runs, "_launcher", lambda: [sys.executable])


def test_equal_seconds_are_asked_for_in_each_run_at_equal_parameters(quick, without_accelerate):
    result = compare(quick, "--match", "seconds", "--minutes", "0.5", "--seeds", "1")
    assert result.exit_code == 0, result.output
    lines = launched(quick)
    assert sum("--max_train_minutes 0.5" in line for line in lines) == 2
    assert not any("max_train_minutes" in line for line in lines if "--max_train_steps 1" in line)
    out = quick.parent.parent / "out"
    configs = [json.loads((out / f"{kind}-1" / "run.json").read_text())["model"]["config"] for kind in KINDS]
    counts = [
        model_class(model_class.config_class(**config)).num_parameters()
        for model_class, config in zip((RecurrentForCausalLM, TransformerDecoderForCausalLM), configs, strict=True)
    ]
    assert counts[1] == pytest.approx(counts[0], rel=0.02)
    table = (out / "compare.md").read_text()
    assert "0.5 minutes of training each, at" in table
    assert "With one seed each, differences may be chance." in table


def test_each_architecture_and_seed_once_with_matched_sizes_table_and_page(quick, without_accelerate):
    result = compare(quick)
    assert result.exit_code == 0, result.output
    lines = launched(quick)
    assert len(lines) == 2 + 2 * 2
    assert sum("--max_train_steps 1" in line for line in lines) == 2
    assert not any("bidirectional" in line for line in lines if "--architecture transformer" in line)

    out = quick.parent.parent / "out"
    records = {kind: json.loads((out / f"{kind}-1" / "run.json").read_text()) for kind in KINDS}
    counts = {}
    for kind, model_class, config_class in (
        ("gru", RecurrentForCausalLM, RecurrentConfig),
        ("transformer", TransformerDecoderForCausalLM, TransformerDecoderConfig),
    ):
        model = model_class(config_class(**records[kind]["model"]["config"]))
        counts[kind] = sum(parameter.numel() for parameter in model.parameters())
    assert records["gru"]["model"]["config"]["hidden_size"] == 40  # the first stays as it is
    assert counts["transformer"] == pytest.approx(counts["gru"], rel=0.02)

    table = (out / "compare.md").read_text()
    # 81 and 82: the mean's 95 % interval over two seeds is 12.706 * 0.7071 / sqrt(2) = 6.35 wide on each side.
    assert re.search(r"\| gru +\| 81\.5 ± 6\.4 .* 320 +\|\n", table)  # MiB of the first seed, the most of both
    assert re.search(r"\| transformer +\| 91\.5 ± 6\.4 ", table)
    assert re.search(r"\| by rule +\| 50\.0 ", table)
    assert "The best test accuracy is transformer's, 91.5 ± 6.4 %\n" in table
    assert "Its 95 % interval overlaps with that of gru" in table  # 91.5 - 6.4 is below 81.5 + 6.4
    page = (out / "compare.html").read_text()
    assert not re.search(r'(?:src|href)=(?!"data:)', page)  # it opens offline
    assert base64.b64decode(re.search(r"base64,([^\"]+)", page).group(1))[:4] == b"\x89PNG"
    assert "&lt;a &amp; b&gt;" in page

    assert compare(quick).exit_code == 0
    assert len(launched(quick)) == 6  # all there, nothing is run again
    assert compare(quick, "--flags", "--weight_decay 0.5").exit_code == 0
    assert len(launched(quick)) == 12  # other settings, other runs


def test_what_follows_from_a_width_is_not_left_as_the_yaml_has_it(quick, without_accelerate):
    fields = "hidden_size: 40, head_dim: 6, num_attention_heads: 4, num_key_value_heads: 2"
    quick.write_text(f"recipe: quick\nconfig_overrides: {{{fields}}}\n")
    assert compare(quick, "--seeds", "1").exit_code == 0
    out = quick.parent.parent / "out"
    gru, transformer = (json.loads((out / f"{kind}-1" / "run.json").read_text())["model"]["config"] for kind in KINDS)
    model = TransformerDecoderForCausalLM(TransformerDecoderConfig(**transformer))
    count = RecurrentForCausalLM(RecurrentConfig(**gru)).num_parameters()
    assert model.num_parameters() == pytest.approx(count, rel=0.02)  # as the page says
    assert (model.config.num_key_value_heads, model.config.head_dim) == (2, model.config.hidden_size // 4)


def test_models_that_exist_stand_beside_them_with_sizes_and_flags_of_their_own(quick, without_accelerate):
    quick.write_text("recipe: quick\nseed: 5\narchitecture: gru\nconfig_overrides: {hidden_size: 40}\n")
    (quick.parent.parent / "mine").mkdir()
    given = ["--models", f"someone/bert-tiny,{quick.parent.parent / 'mine'}", "--model_flags", "--learning_rate 3e-5"]
    result = compare(quick, *given)
    assert result.exit_code == 0, result.output
    lines = [line for line in launched(quick) if "--model_name_or_path" in line]
    assert len(lines) == 2 * 2
    assert not any(word in line for line in lines for word in ("--architecture", "--config_overrides"))
    assert sum("--model_name_or_path someone/bert-tiny --seed 1" in line for line in lines) == 1
    assert all("--learning_rate 3e-5" in line for line in lines)
    out = quick.parent.parent / "out"
    config = yaml.safe_load((out / "from-bert-tiny-1.yaml").read_text())
    assert config == {"recipe": "quick", "seed": 5}  # without what it says of models that are drawn anew
    table = (out / "compare.md").read_text()
    # A layer's four 8 x 8 and two 8 x 16 maps and two products of attention over 64 tokens, the pooler, two classes.
    flops = 2 * (64 * (4 * 8 * 8 + 2 * 8 * 16) + 2 * 64 * 64 * 8 + 8 * 8 + 8 * 2)
    assert re.search(rf"\| bert-tiny \(fine-tuned\) +\| 81\.5 ± 6\.4 +\| 12,345 +\| {flops / 1e6:,.2f} ", table)
    told = (
        "bert-tiny (fine-tuned), mine (fine-tuned): with the tokenizer and the size of the model that it starts from"
    )
    assert f"{told}, by --learning_rate 3e-5." in table
    count = len(launched(quick))
    assert compare(quick, *given).exit_code == 0
    assert len(launched(quick)) == count
    refused = compare(quick, "--models", "a/bert,b/bert")
    assert "two of them are called bert" in str(refused.exception or refused.output)


def test_one_real_launch_and_its_error(quick):
    comparison = read_comparison(quick, "", quick.parent.parent / "out")
    record = launch(comparison, "gru", {"hidden_size": 16}, comparison.folder / "gru-1", "--seed", "1")
    assert record["metrics"]["test"]["accuracy"] == pytest.approx(0.81)
    comparison.flags += ["--break", "yes"]
    with pytest.raises(CompareError, match=r"quick, gru: this recipe is broken \(all its output: .*output.txt\)"):
        launch(comparison, "gru", {"hidden_size": 16}, comparison.folder / "gru-2", "--seed", "2")


def test_fields_for_other_architectures_alone_are_emptied_and_not_left_to_the_yaml(quick, without_accelerate):
    quick.write_text("recipe: quick\nconfig_overrides: {bidirectional: true}\n")
    comparison = read_comparison(quick, "", quick.parent.parent / "out")
    overrides = overrides_for("transformer", comparison.overrides)
    launch(comparison, "transformer", overrides, comparison.folder / "transformer-1", "--seed", "1")
    assert "--config_overrides  --output_dir" in launched(quick)[0]


def scores(architecture, *values, baselines=None, greater_is_better=True, memory=0.0):
    return Scores(
        architecture=architecture,
        split="test",
        score=TASKS["sentiment_analysis" if greater_is_better else "trajectory"].score_of(
            "accuracy" if greater_is_better else "rmse"
        ),
        unit="" if greater_is_better else "m",
        curve_metric="accuracy",
        values=list(values),
        baselines=baselines or {},
        parameters=1000,
        flops=10**6,
        targets_per_second=10.0,
        seconds=1.0,
        memory=memory,
        curves=[],
        sizes={},
    )


def answer_of(*found):
    return " ".join(answer(list(found), measure_of(list(found))))


def test_two_that_are_equal_as_shown_share_the_best_score():
    assert answer_of(scores("gru", 0.8151), scores("lstm", 0.8149), scores("elman", 0.7)) == (
        "gru and lstm share the best test accuracy, 81.5 %. With one seed each, differences may be chance."
    )
    assert answer_of(scores("gru", 0.8), scores("lstm", 0.8)) == "gru and lstm share the best test accuracy, 80.0 %."
    rows = comparison_rows([scores("gru", 0.8), scores("lstm", 0.8)], Measure("test accuracy", "%", 100, 1, True))
    assert [row.is_best for row in rows] == [True, True]


def test_the_best_is_named_with_those_that_chance_may_put_beside_it():
    # Over 0.80 and 0.82 the interval is 12.706 * 0.01414 / sqrt(2) = 0.127, over 0.5 and 0.5 there is none.
    assert answer_of(scores("gru", 0.80, 0.82), scores("lstm", 0.78, 0.80), scores("elman", 0.5, 0.5)) == (
        "The best test accuracy is gru's, 81.0 ± 12.7 %. Its 95 % interval lies apart from that of elman. "
        "Its 95 % interval overlaps with that of lstm: there may be no difference."
    )


def test_less_of_an_error_is_better():
    found = scores("gru", 2.5, greater_is_better=False), scores("lstm", 1.5, greater_is_better=False)
    assert answer_of(*found).startswith("The best test RMSE is lstm's, 1.5000 m.")


@pytest.mark.parametrize(
    ("baseline", "sentence"),
    [
        (0.9, " No architecture is better than the baseline by rule, 90.0 %."),
        (0.8, " No architecture is better than the baseline by rule, 80.0 %."),
        (0.75, " Not better than the baseline by rule, 75.0 %: lstm."),
        (0.6, ""),
    ],
)
def test_a_baseline_that_does_as_well_is_not_passed_over(baseline, sentence):
    baselines = {"majority": 0.5, "by_rule": baseline}
    found = [scores(name, value, baselines=baselines) for name, value in (("gru", 0.8), ("lstm", 0.7))]
    assert answer_of(*found) == (
        f"The best test accuracy is gru's, 80.0 %. With one seed each, differences may be chance.{sentence}"
    )
    is_best = [row.is_best for row in comparison_rows(found, measure_of(found))]
    assert is_best == [baseline <= 0.8, False, False, baseline >= 0.8]


def test_a_baseline_within_the_interval_is_told():
    found = [scores("gru", 0.80, 0.82, baselines={"by_rule": 0.70}), scores("elman", 0.9, 0.9, baselines={})]
    assert "baseline" not in answer_of(*found)  # elman's runs have none, so that it says nothing of the data
    found = [scores(name, *values, baselines={"by_rule": 0.70}) for name, values in (("gru", (0.80, 0.82)),)]
    assert answer_of(*found) == (
        "The best test accuracy is gru's, 81.0 ± 12.7 %. Within the 95 % interval of gru lies the baseline by rule, "
        "70.0 %: there may be no difference."
    )


def test_memory_is_the_most_of_all_runs_and_that_of_the_gpu_where_there_is_one():
    record = {
        "task": "trajectory",
        "hyperparameters": {"metric_for_best_model": "loss"},
        "model": {"class": "RecurrentForCausalLM", "parameters": 1, "config": {"vocab_size": 9, "hidden_size": 4}},
        "metrics": {"validation": {"loss": 1.0}},
        "baselines": {},
        "history": [{"targets_per_second": speed} for speed in (1.0, 2.0, 30.0)],
        "seconds": {"training": 1.0},
    }
    held = [{"resident": 500.0}, {"resident": 900.0}, {"resident": 700.0}]
    found = summarize("gru", [{**record, "memory": memory} for memory in held], 4)
    assert found.memory == 900
    assert found.targets_per_second == 2  # the median
    held = [{"resident": 900.0, "gpu": 200.0}, {"resident": 900.0, "gpu": 100.0}]
    assert summarize("gru", [{**record, "memory": memory} for memory in held], 4).memory == 200


LANGUAGE_MODEL = {
    "task": "language_modeling",
    "hyperparameters": {"metric_for_best_model": "loss", "seed": 3},
    "dataset": {"splits": {"train": {}, "validation": {}, "test": {}}},
    "model": {"class": "RecurrentForCausalLM", "parameters": 1, "config": {"vocab_size": 9, "hidden_size": 4}},
    "metrics": {"test": {"loss": 2.0, "perplexity": 7.4, "bits_per_character": 1.5}},
    "baselines": {"xz": {"test": {"bits_per_character": 2.5}}, "broken": {"test": {"bits_per_character": None}}},
    "history": [
        {"step": 1, "epoch": 1, "validation_loss": None, "validation_bits_per_character": None},
        {"step": 2, "epoch": 2, "validation_loss": 2.5, "validation_bits_per_character": 1.8},
    ],
    "seconds": {"training": 1.0},
}


@pytest.mark.parametrize(
    ("has_other_tokens", "key", "value", "last"), [(False, "loss", 2.0, 2.5), (True, "bits_per_character", 1.5, 1.8)]
)
def test_models_with_other_tokens_are_compared_by_what_does_not_depend_on_them(has_other_tokens, key, value, last):
    found = summarize("gru", [LANGUAGE_MODEL], 4, score_of_all(LANGUAGE_MODEL, has_other_tokens))
    assert (found.metric, found.values, found.curve_metric) == (key, [value], key)
    assert found.curves == [[(2, last)]]  # what is no number is no point of a curve
    assert found.baselines == ({"xz": 2.5} if has_other_tokens else {})


def test_masked_language_models_with_other_tokens_are_not_ranked():
    record = {**LANGUAGE_MODEL, "task": "masked_language_modeling"}
    assert score_of_all(record, False).key == "loss"
    with pytest.raises(CompareError, match=r"^--models: nothing that masked_language_modeling measures ranks models"):
        score_of_all(record, True)


@pytest.mark.parametrize("metrics", [{"loss": None, "perplexity": 7.4}, {"perplexity": 7.4}])
def test_a_run_without_the_score_of_the_others_is_not_compared_by_another_one(metrics):
    score = score_of_all(LANGUAGE_MODEL, False)
    diverged = {**LANGUAGE_MODEL, "metrics": {"test": metrics}}
    with pytest.raises(CompareError, match=r"^gru, seed 3: its run reports no number as test loss, by which all are"):
        summarize("gru", [LANGUAGE_MODEL, diverged], 4, score)


def test_people_read_at_most_seven_columns(quick, without_accelerate):
    assert compare(quick, "--seeds", "1").exit_code == 0
    text = (quick.parent.parent / "out" / "compare.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert max(row.count("|") - 1 for row in rows) == 7
    assert re.search(r"\| architecture +\| +hidden_size +\|", text)


def test_operations_by_hand():
    length, vocab = 8, 50
    config = RecurrentConfig(vocab_size=vocab, hidden_size=16, embedding_size=12, cell_type="lstm")
    assert count_flops(RecurrentForCausalLM, config, length) == length * 2 * (4 * 16 * (12 + 16) + 16 * vocab)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40}
    config = TransformerDecoderConfig(vocab_size=vocab, **sizes)
    projections = 2 * (4 * 16 * 16 + 3 * 16 * 40) + 16 * vocab  # two layers, and the output matrix
    similarities = 2 * 2 * length * length * 16  # two layers, Q K^T and the weighted sum of V
    assert count_flops(TransformerDecoderForCausalLM, config, length) == 2 * (length * projections + similarities)


def test_operations_of_words_are_those_of_a_word_per_token_by_hand():
    length, fields = 8, {"vocab_size": 50, "hidden_size": 16, "first_continuing_id": 20, "num_labels": 5}
    config = RecurrentConfig(embedding_size=12, cell_type="lstm", **fields)
    spelled = 3 * 12 * 12  # a convolution of three pieces
    products = spelled + 4 * 16 * (12 + 16) + 16 * 5
    assert count_flops(RecurrentForTokenClassification, config, length) == length * 2 * products


@pytest.mark.parametrize(
    ("model_class", "outputs"), [(GPT2LMHeadModel, 8 * 50), (GPT2ForSequenceClassification, 8 * 3)]
)
def test_operations_of_a_decoder_of_others_by_hand(model_class, outputs):
    length = 8
    config = GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=4, num_labels=3, pad_token_id=0)
    projections = 2 * (4 * 16 * 16 + 2 * 16 * 64)
    similarities = 2 * 2 * length * length * 16
    assert count_flops(model_class, config, length) == 2 * (length * projections + similarities + 16 * outputs)


def test_what_a_model_reads_is_a_fact_of_its_class():
    assert unit_read(RecurrentForCausalLM) == unit_read(BertForSequenceClassification) == "tokens"
    assert unit_read(TransformerDecoderForTimeSeriesPrediction) == unit_read(PatchTSTForPrediction) == "steps"


@pytest.mark.parametrize("match", ["parameters", "flops"])
def test_all_architectures_match_within_two_percent(match):
    probes = {}
    for kind in ("lstm", "elman", "transformer"):
        is_transformer = kind == "transformer"
        fields = {"vocab_size": 200, "hidden_size": 48, "num_hidden_layers": 2}
        name = "TransformerDecoderForCausalLM" if is_transformer else "RecurrentForCausalLM"
        probes[kind] = {"model": {"class": name, "config": fields | ({} if is_transformer else {"cell_type": kind})}}
    target, sizes = size_models(probes, match, 16, None)
    assert sizes["lstm"].fields == {}
    for kind in ("elman", "transformer"):
        assert sizes[kind].count == pytest.approx(target, rel=0.02)
    assert sizes["transformer"].fields["hidden_size"] % 8 == 0  # four heads of an even width


def test_fields_that_mean_nothing_to_an_architecture_are_left_out():
    both, recurrent = {"hidden_size": 8, "pooling": "max"}, {"bidirectional": True}
    transformer = {"norm_position": "pre", "patch_size": 4}  # one of texts, and one of images
    overrides = {**both, **recurrent, **transformer}
    assert overrides_for("gru", overrides) == {**both, **recurrent}
    assert overrides_for("transformer", overrides) == {**both, **transformer}


def test_values_of_a_yaml_are_what_they_say(quick):
    quick.write_text(
        "recipe: quick\ntext_column: no\nlabel_column: 010\nconfig_overrides: {hidden_size: 010, a: no}\n"
    )
    comparison = read_comparison(quick, "", quick.parent.parent / "out")
    assert comparison.hyperparameters == {"text_column": "no", "label_column": "010"}
    assert comparison.overrides == {"hidden_size": 10, "a": False}
    quick.write_text("recipe: quick\nconfig_overrides: hidden_size=010,a=no\n")
    assert read_comparison(quick, "", quick.parent.parent / "out").overrides == {"hidden_size": 10, "a": False}


def test_a_task_that_is_not_known_is_refused_after_one_step(quick, without_accelerate):
    (quick.parent.parent / "quick.py").write_text(RECIPE.replace('"task": "sentiment_analysis"', '"task": "juggling"'))
    result = compare(quick)
    assert isinstance(result.exception, CompareError)
    assert str(result.exception) == (
        "recipes/quick.py: its runs are of the task 'juggling', which is none of seqnlp's, so that nothing is known "
        "of its scores. A task is a file in seqnlp/tasks."
    )
    assert len(launched(quick)) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("hidden: 1", "names no recipe: add a line such as"),
        ("recipe: juggling", "There is no recipe 'juggling'; there is image_classification,"),
        ("recipe: [", "cannot be read"),
        ("recipe: ../quick", "`recipe: '../quick'` is no name of a recipe"),
        ("recipe: configs/quick", "`recipe: 'configs/quick'` is no name of a recipe"),
        ('recipe: "quick\\n"', "is no name of a recipe"),
        ("recipe: 7", "There is no recipe '7'; there is image_classification,"),
        ("recipe: [7]", "`recipe: ['7']` is no name of a recipe"),
        ("recipe: quick\nseed: 1\nseed: 2", "cannot be read: 'seed' stands there twice"),
        ("recipe: quick\nconfig_overrides: hidden_size", "`config_overrides: 'hidden_size'` is not of the form"),
        ("recipe: quick\nconfig_overrides: [1]", "`config_overrides: [1]` is not of the form"),
    ],
)
def test_refusals(quick, content, message):
    quick.write_text(content)
    result = compare(quick)
    assert isinstance(result.exception, CompareError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
    assert not (quick.parent.parent / "out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--seed 5", "compare decides on --seed itself"),
        ("--output-dir=x", "compare decides on --output_dir itself"),
        ("--push_to_hub", "compare decides on --push_to_hub itself"),
        ("--max_train_minutes 5", "compare decides on --max_train_minutes itself"),
        ("--architecture gru", "compare decides on --architecture itself"),
        ("--text 'a", "cannot be read: No closing quotation"),
    ],
)
def test_flags_that_are_not_the_recipes_are_refused(quick, flags, message):
    assert message in str(compare(quick, "--flags", flags).exception)


@pytest.mark.parametrize(
    "line",
    [
        "push_to_hub: true",
        "hub_model_id: alice/x",
        "max_train_minutes: 5",
        "validation_log: log",
        "resume_from_checkpoint: latest",
        "model_name_or_path: somewhere",
    ],
)
def test_a_yaml_whose_runs_would_not_be_comparable_is_refused(quick, line):
    quick.write_text(f"recipe: quick\n{line}\n")
    told = str(compare(quick, "--match", "seconds").exception)
    assert told == (
        f"{quick}: `{line}` is not for the runs of compare, which are all to be comparable. Leave it out of the YAML."
    )
    assert not (quick.parent.parent / "out").exists()


def test_every_run_has_a_seed_in_the_place_of_those_of_the_yaml(quick, without_accelerate):
    quick.write_text("recipe: quick\nseeds: 1,2,3\npush_to_hub: false\nmax_train_minutes: null\n")
    assert compare(quick, "--first_seed", "7").exit_code == 0
    seeds = [re.search(r"--seed (\d)", line)[1] for line in launched(quick)]
    assert sorted(seeds) == ["7", "7", "7", "7", "8", "8"]  # of each architecture one step, and two runs


def test_a_folder_that_compare_did_not_make_is_left_alone(quick, without_accelerate):
    out = quick.parent.parent / "out"
    out.write_text("mine")
    assert "out cannot be made: File exists" in str(compare(quick).exception)
    out.unlink()
    out.mkdir()
    (out / "compare.md").write_text("mine")
    result = compare(quick)
    assert isinstance(result.exception, OutputError)
    assert "holds files that compare did not make" in str(result.exception)
    assert [path.name for path in out.iterdir()] == ["compare.md"]
    (out / "compare.md").unlink()
    assert compare(quick).exit_code == 0
    # Nor is a run that somebody has put into a folder of compare's.
    shutil.rmtree(out / "gru-1")
    (out / "gru-1").mkdir()
    (out / "gru-1" / "model.safetensors").write_text("mine")
    assert "gru-1 holds files that compare did not make" in str(compare(quick).exception)


@pytest.mark.parametrize("target", ["0", "-5", "nan", "inf"])
def test_a_size_that_no_model_has_is_refused_before_anything_is_launched(quick, without_accelerate, target):
    assert str(compare(quick, "--target", target).exception) == (
        f"--target {target} must be a number of parameters above 0."
    )
    assert launched(quick) == []


def test_a_second_comparison_in_the_folder_is_refused(quick, without_accelerate):
    out = quick.parent.parent / "out"
    out.mkdir()
    # A lock, without a note of whose it is, as the first one has it before it has written anything.
    hold = "import sys, filelock; a = filelock.FileLock(sys.argv[1]); a.acquire(); print(flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    first = subprocess.Popen([sys.executable, "-c", hold, out / LOCK], **pipes)
    try:
        first.stdout.readline()
        told = str(compare(quick).exception)
        assert told == f"{out} is in use by another run. Wait for its end or stop it, or give another --output_dir."
        assert launched(quick) == []
    finally:
        first.communicate("\n")
    assert compare(quick).exit_code == 0
    assert not (out / LOCK).exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_with_its_run_at_a_signal_and_goes_on(quick, without_accelerate, number):
    out = quick.parent.parent / "out"
    waiting = "import signal, time\ndef end(number, frame):\n    sys.exit('error: ended well')\n"
    waiting += "signal.signal(signal.SIGTERM, end)\nprint('here', flush=True)\ntime.sleep(60)\n"
    broken = RECIPE.replace("architecture = flags", f"{waiting}architecture = flags")
    (quick.parent.parent / "quick.py").write_text(broken)

    def stop():
        while "here" not in ((out / "probes" / "gru" / "output.txt").read_text() if out.is_dir() else ""):
            time.sleep(0.1)
        os.kill(os.getpid(), number)

    threading.Timer(1, stop).start()
    result = compare(quick)
    assert result.exit_code == 128 + number
    assert "Stopped. The same command goes on with it." in result.output
    assert "error: ended well" in (out / "probes" / "gru" / "output.txt").read_text()  # and was waited for
    (quick.parent.parent / "quick.py").write_text(RECIPE)
    assert compare(quick).exit_code == 0


def test_help_has_an_example():
    assert (
        "\n      seqnlp compare sentiment_sst2_sentences --architectures lstm,transformer --seeds 3\n"
        in CliRunner().invoke(app, ["compare", "--help"]).output
    )


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed to open the page in")
def test_the_page_opens_offline(tmp_path):
    pixel = base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
    rows = [TableRow(["gru", "81.5 ± 1.0"], is_best=True), TableRow(["by rule", "50.0"], False, is_baseline=True)]
    page = comparison_page("t", "a", "m", ["architecture", "score"], rows, pixel, ["n"], {"d": "e"})
    (tmp_path / "page.html").write_text(page)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    result = subprocess.run(
        [CHROMIUM, *flags, (tmp_path / "page.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert '<tr class="best">' in result.stdout
    assert "81.5 ± 1.0" in result.stdout


def test_the_first_of_several_tests_stands_for_a_run_as_it_does_everywhere():
    name = "translation-multi30k_en_de_all_tests-transformer-1-bf16.json"
    record = json.loads((ROOT / "benchmarks" / "results" / name).read_text())
    scores = summarize("transformer", [record], length=20)
    headline = TASKS["translation"].headline(record)
    assert (scores.split, scores.score.key, scores.values[0]) == headline[:3]
    assert scores.split == "test_2016_flickr"
    assert "the test split was evaluated once, after training" in build_card(record, "me/it", "main", set())
