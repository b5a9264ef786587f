"""Speculative decoding is measured on the same texts, and its calls are counted."""

import json

import pytest
import torch

from benchmarks import drafts
from benchmarks import speed_tables as tables
from seqnlp import RecurrentConfig, RecurrentForCausalLM
from seqnlp.cli.models import ModelError
from seqnlp.tokenization import train_tokenizer


TEXT = "in the beginning was the word and the word was long and it was said again and again\n" * 20


def save_language_model(folder, seed, text=TEXT):
    """An LSTM that is sure of every token, so that it guesses as many as it may; beside it the record of a run."""
    tokenizer = train_tokenizer([text], "char", 40)
    torch.manual_seed(seed)
    ids = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    config = RecurrentConfig(vocab_size=len(tokenizer), hidden_size=16, cell_type="lstm", **ids)
    model = RecurrentForCausalLM(config)
    model.get_output_embeddings().weight.data *= 1e6
    model.generation_config.suppress_tokens = tokenizer.all_special_ids  # the padding in a text would be skipped
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    flags = {"dataset_name": None, "train_file": "<local:text.txt>"}
    record = {"task": "language_modeling", "hyperparameters": flags, "dataset": {"name": "<local:text.txt>"}}
    (folder / "run.json").write_text(json.dumps(record))


def test_calls_are_counted_and_the_text_is_the_same(tmp_path, monkeypatch):
    for name, seed in (("large", 0), ("same", 0), ("other", 1)):
        save_language_model(tmp_path / name, seed)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "text.txt").write_text(TEXT)
    monkeypatch.setattr(drafts, "NEW_TOKENS", 21)
    found = {}
    for name in ("same", "other"):
        places = [str(tmp_path / one) for one in ("large", name)]
        found[name] = drafts.measure(*places, rounds=2, dataset=str(tmp_path / "data"), keep=False)
    same, lookup = found["same"]["runs"]
    # 20 guesses at a time, which all hold, and one token that the model adds itself: 21 a call.
    assert same["target_calls"] == [1, 1]
    assert same["name"] == "lstm"
    assert len(same["ours"]) == len(same["peer"]) == 4
    assert lookup["parameters"] is None
    assert lookup["draft_calls"] == [0, 0]
    other, _ = found["other"]["runs"]
    assert min(other["target_calls"]) > 1  # what is guessed wrong is computed again
    table = tables.drafts_table([found["same"]])
    assert "| 1 instead of 21 " in table


def test_a_draft_with_other_tokens_is_refused(tmp_path):
    save_language_model(tmp_path / "large", 0)
    save_language_model(tmp_path / "small", 0, text="0123456789")
    with pytest.raises(ModelError, match=r"has other tokens than .*large: train it with --tokenizer_name"):
        drafts.load_pair(str(tmp_path / "large"), str(tmp_path / "small"))
