"""The verb on a recipe that takes no time: what it launches, what it does not launch again, table, page, refusals."""

import base64
import json
import re
import shutil
import subprocess

import pytest
from typer.testing import CliRunner

from seqnlp import RecurrentConfig, RecurrentForCausalLM, TransformerDecoderConfig, TransformerDecoderForCausalLM
from seqnlp.cli.compare import CompareError, launch, overrides_for, read_comparison, size_models
from seqnlp.cli.costs import count_flops
from seqnlp.cli.main import app
from seqnlp.visualization.comparison import comparison_page


RECIPE = """
import json, pathlib, sys, yaml
flags = dict(zip((name[2:] for name in sys.argv[1::2]), sys.argv[2::2]))
folder = pathlib.Path(flags["output_dir"])
folder.mkdir(parents=True, exist_ok=True)
with open(folder.parent / "launched", "a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
if flags.get("break") == "yes":
    sys.exit("error: this recipe is broken")
transformer = flags["architecture"] == "transformer"
config = {"vocab_size": 500, "num_hidden_layers": 1, **({} if transformer else {"cell_type": flags["architecture"]})}
pairs = [pair.split("=") for pair in flags["config_overrides"].split(",") if pair]
config |= {key: yaml.safe_load(value) for key, value in pairs}
seed = int(flags.get("seed", 0))
score = 0.8 + 0.01 * seed + 0.1 * transformer
record = {
    "command": "recipes/quick.py " + " ".join(sys.argv[1:]),
    "hyperparameters": {"metric_for_best_model": "accuracy", "greater_is_better": True},
    "dataset": {"name": "sample:quick"},
    "model": {
        "class": "TransformerDecoderForCausalLM" if transformer else "RecurrentForCausalLM",
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
    "memory": {"resident": 300.0},
    "hardware": {"cpu": "<a & b>"},
    "versions": {"python": "3"},
}
(folder / "run.json").write_text(json.dumps(record))
"""


@pytest.fixture
def quick(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "quick.py").write_text(RECIPE)
    config = tmp_path / "configs" / "quick.yaml"
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
    run, recipe = subprocess.run, str(quick.parent.parent / "quick.py")
    monkeypatch.setattr(
        "seqnlp.cli.compare.subprocess.run",
        lambda command, **kwargs: run([command[0], *command[command.index(recipe) :]], **kwargs),
    )


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
    assert re.search(r"\| gru +\| 81\.5 ± 6\.4 ", table)
    assert re.search(r"\| transformer +\| 91\.5 ± 6\.4 ", table)
    assert re.search(r"\| by rule +\| 50\.0 ", table)
    assert "The best test accuracy is transformer's, 91.5 ± 6.4 %." in table
    assert "Its 95 % interval overlaps with that of gru" in table  # 91.5 - 6.4 is below 81.5 + 6.4
    page = (out / "compare.html").read_text()
    assert not re.search(r'(?:src|href)=(?!"data:)', page)  # it opens offline
    assert base64.b64decode(re.search(r"base64,([^\"]+)", page).group(1))[:4] == b"\x89PNG"
    assert "&lt;a &amp; b&gt;" in page

    assert compare(quick).exit_code == 0
    assert len(launched(quick)) == 6  # all there, nothing is run again
    assert compare(quick, "--flags", "--weight_decay 0.5").exit_code == 0
    assert len(launched(quick)) == 12  # other settings, other runs


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


def test_operations_by_hand():
    length, vocab = 8, 50
    config = RecurrentConfig(vocab_size=vocab, hidden_size=16, embedding_size=12, cell_type="lstm")
    assert count_flops(RecurrentForCausalLM, config, length) == length * 2 * (4 * 16 * (12 + 16) + 16 * vocab)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40}
    config = TransformerDecoderConfig(vocab_size=vocab, **sizes)
    projections = 2 * (4 * 16 * 16 + 3 * 16 * 40) + 16 * vocab  # two layers, and the output matrix
    similarities = 2 * 2 * length * length * 16  # two layers, Q K^T and the weighted sum of V
    assert count_flops(TransformerDecoderForCausalLM, config, length) == 2 * (length * projections + similarities)


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
    overrides = {"hidden_size": 8, "pooling": "max", "bidirectional": True, "norm_position": "pre"}
    assert overrides_for("gru", overrides) == {"hidden_size": 8, "pooling": "max", "bidirectional": True}
    assert overrides_for("transformer", overrides) == {"hidden_size": 8, "pooling": "max", "norm_position": "pre"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("hidden: 1", "names no recipe: add a line such as"),
        ("recipe: juggling", "there is no recipe 'juggling'; looked for"),
        ("recipe: [", "cannot be read"),
    ],
)
def test_refusals(quick, content, message):
    quick.write_text(content)
    result = compare(quick)
    assert isinstance(result.exception, CompareError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)


def test_help_has_an_example():
    assert "Example: seqnlp compare recipes/configs/" in CliRunner().invoke(app, ["compare", "--help"]).output


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed to open the page in")
def test_the_page_opens_offline(tmp_path):
    pixel = base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
    rows = [["gru", "81.5 ± 1.0"], ["by rule", "50.0"]]
    page = comparison_page(
        "t", "a", "m", ["architecture", "score"], rows, ["best", "baseline"], pixel, ["n"], {"d": "e"}
    )
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
