"""Texts with labels, first read for their words alone: the two commands of docs/fine_tuning.md, at a small size."""

import json

import torch
from given_models import run
from safetensors.torch import load_file


def test_a_classifier_goes_on_from_what_its_own_texts_taught_without_labels(tmp_path):
    kinds = [("a Fine day , fine .", "1"), ("a poor day , poor .", "0")]
    for split, count in (("train", 40), ("validation", 10), ("test", 10)):
        rows = [{"sentence": kinds[n % 2][0], "label": kinds[n % 2][1]} for n in range(count)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = ["--dataset_name", tmp_path]
    read = ["--text_column", "sentence", "--tokenizer_type", "word", "--lowercase", "true", "--min_frequency", 2]
    size = ["--vocab_size", 10000, "--config_overrides", "hidden_size=12,embedding_size=8", "--max_length", 16]
    few = ["--sample_length", 0, "--num_train_epochs", 15, "--per_device_train_batch_size", 4, "--learning_rate", 0.02]
    language = run("language_modeling", tmp_path / "lm", *data, *read, *size, *few)
    assert language["metrics"]["test"]["loss"] < 1.0
    start = ["--model_name_or_path", tmp_path / "lm", "--config_overrides", "pooling=max", "--learning_rate", 1e-9]
    record = run("sentiment_analysis", tmp_path / "out", *data, *start, "--max_train_steps", 1)
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("lm", "out"))
    taken = {name for name in before if name.startswith("model.")}
    assert taken
    for name in taken:
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-7)
    assert record["base_model"]["weights_new"] == {"score": 2}
    assert record["model"]["config"]["bidirectional"] is False
    assert record["hyperparameters"]["lowercase"] is None  # the language model's tokenizer has settled it
    tokens = [json.loads((tmp_path / name / "tokenizer.json").read_text())["model"]["vocab"] for name in ("lm", "out")]
    assert tokens[0] == tokens[1]
