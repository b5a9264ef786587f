"""The recipe as a user starts it: both kinds of model, one process and two, streamed, stopped and resumed."""

import json
import re
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

from seqnlp.publishing.recomputation import evaluate_again


ROOT = Path(__file__).parents[2]
RECIPE = "language_modeling"
SMALL = ["--tokenizer_type", "char", "--max_length", 16, "--per_device_train_batch_size", 4, "--num_train_epochs", 2]
SMALL += ["--prompt", "the cat|a", "--sample_length", 12, "--num_threads", 1, "--seed", 3, "--learning_rate", 0.01]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cats")
    for split, lines in (("train", 60), ("validation", 11), ("test", 13)):
        (folder / f"{split}.txt").write_text("".join(f"the cat sat on mat {n % 7}\n" for n in range(lines)))
    return folder


@pytest.fixture(scope="module")
def finished(launch, text, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("lstm")
    small = [*SMALL, "--config_overrides", "hidden_size=32,embedding_size=8"]
    result = launch.run(RECIPE, "--dataset_name", text, *small, "--output_dir", output_dir)
    assert result.returncode == 0, result.stderr
    return output_dir, result


def test_what_it_says_and_leaves(finished, text):
    output_dir, result = finished
    record = json.loads((output_dir / "run.json").read_text())
    assert {path.name for path in output_dir.iterdir()} >= {
        "learning_curves.png",
        "model.safetensors",
        "run.json",
        "samples.txt",
        "tokenizer.json",
    }
    counts = record["dataset"]["splits"]["test"]
    assert (counts["characters"], counts["words"]) == (13 * 21, 13 * 6)
    assert record["dataset"]["evaluation"] == {
        "stride": 4096,
        "context": 512,
        "carried_state": True,
        "tokens": {"validation": 11 * 21, "test": 13 * 21},
    }
    scores = record["metrics"]["test"]
    per_unit = {"loss", "perplexity", "word_perplexity", "bits_per_character", "nats_per_character"}
    assert set(scores) == {*per_unit, "unknown_share", "intervals"}
    assert scores["unknown_share"] == 0
    assert scores["loss"] == pytest.approx(scores["nats_per_character"])  # each character is a token
    assert scores["loss"] < 2.5
    assert record["baselines"]["xz"]["test"]["bits_per_character"] > 0
    assert "Test: the whole text, read with the state carried from window to window" in result.stdout
    assert re.search(
        rf"^perplexity +{scores['perplexity']:.4g} +per token \({13 * 21}\)$", result.stdout, re.MULTILINE
    )
    bits = f"{scores['bits_per_character']:.4g} ± {scores['intervals']['bits_per_character']:.2g}"
    assert re.search(rf"^bits +{bits} +per character \({13 * 21}\)$", result.stdout, re.MULTILINE)
    samples = (output_dir / "samples.txt").read_text()
    assert samples.startswith("the cat")
    assert "\na" in samples
    assert re.search(r"^the cat", result.stdout, re.MULTILINE)  # as it was streamed
    for word in ("warning", "deprecated", "error:", "traceback", "were not passed"):
        assert word not in result.stderr.lower()


def test_the_model_writes_on(finished):
    output_dir, _ = finished
    model = AutoModelForCausalLM.from_pretrained(output_dir)
    assert model.config.use_cache
    tokenizer = AutoTokenizer.from_pretrained(output_dir)
    write = pipeline("text-generation", model=model, tokenizer=tokenizer)
    # A prompt begins as the texts of training did, with <s>.
    ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer("the c", add_special_tokens=False).input_ids]])
    written = tokenizer.decode(model.generate(ids, max_new_tokens=5, do_sample=False)[0], skip_special_tokens=True)
    assert written.startswith("the c")
    assert write("the c", max_new_tokens=5, do_sample=False, return_tensors=True)[0]["generated_token_ids"][0] == 2
    assert write("the c", max_new_tokens=5, do_sample=False)[0]["generated_text"] == written


def test_two_processes_train_a_transformer_on_the_same_text(fork, text, finished, tmp_path):
    size = ["--config_overrides", "hidden_size=32,num_attention_heads=2,num_hidden_layers=1"]
    arguments = ["--dataset_name", text, *SMALL, *size, "--architecture", "transformer", "--output_dir", tmp_path]
    result = fork(RECIPE, *arguments, processes=2)
    assert result.returncode == 0, result.stderr
    record, lstm = (json.loads((folder / "run.json").read_text()) for folder in (tmp_path, finished[0]))
    assert record["num_processes"] == 2
    assert record["dataset"]["splits"] == lstm["dataset"]["splits"]
    assert record["dataset"]["evaluation"]["tokens"] == lstm["dataset"]["evaluation"]["tokens"]
    assert (record["dataset"]["evaluation"]["context"], record["dataset"]["evaluation"]["carried_state"]) == (8, False)
    assert record["model"]["config"]["use_cache"] is True
    assert result.stdout.count("Test:") == 1
    # Scored by two processes, a part each, it is what one says of the whole.
    again = evaluate_again(record, tmp_path, str(text))
    for split in ("validation", "test"):
        claimed = record["metrics"][split]
        assert again[split].pop("intervals") == pytest.approx(claimed.pop("intervals"), rel=1e-4)
        assert again[split] == pytest.approx(claimed, rel=1e-4)


def test_streamed_by_two_processes_and_resumed(fork, text, tmp_path):
    rows = [json.dumps({"text": f"the cat sat on mat {n}"}) for n in range(60)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    streamed = ["--streaming", "--train_file", tmp_path / "rows.jsonl", "--max_eval_samples", 5, *SMALL]
    streamed += ["--max_train_steps", 6, "--checkpointing_steps", 3, "--eval_steps", 6, "--architecture", "gru"]
    streamed += ["--config_overrides", "hidden_size=16", "--output_dir", tmp_path / "out"]
    stopped = fork(RECIPE, *streamed, "--max_train_minutes", 0.0001, processes=2)
    assert stopped.returncode == 0, stopped.stderr
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["stopped"]["reason"] == "max_train_minutes"
    resumed = fork(RECIPE, *streamed, "--resume_from_checkpoint", "latest", processes=2)
    assert resumed.returncode == 0, resumed.stderr
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["stopped"] is None
    assert record["history"][-1]["step"] == 6
    assert record["dataset"]["splits"]["train"] == {"streamed": True}
    assert record["dataset"]["splits"]["validation"]["rows"] == 5


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (b"", [], "error: The file '{file}' is empty."),
        (
            b"\x89PNG\r\n\x1a\n\x00\x81",
            [],
            "error: The file '{file}' cannot be read as UTF-8: line 1 holds the byte 0x89",
        ),
        (b"too short", [], "error: The training text has 9 tokens, too few for 32 rows"),
    ],
)
def test_bad_input_is_one_line(fork, content, arguments, message, tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes(content)
    arguments = ["--tokenizer_type", "char", "--train_file", file, *arguments, "--output_dir", tmp_path / "out"]
    result = fork(RECIPE, *arguments)
    assert result.returncode == 1
    assert result.stderr.startswith(message.format(file=file)), result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
