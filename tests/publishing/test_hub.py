import types
from pathlib import Path

import pytest

from seqnlp import RecurrentConfig, RecurrentForSequenceClassification
from seqnlp.publishing import PublishingError, hub, push_to_hub
from seqnlp.tokenization import train_tokenizer


@pytest.fixture
def run_folder(tmp_path):
    folder = tmp_path / "sentiment-lstm"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "optimizer.bin").write_text("private")
    (folder / "run.json").write_text("{}")
    return folder


@pytest.fixture
def model_and_tokenizer():
    yield (
        RecurrentForSequenceClassification(RecurrentConfig(vocab_size=30, hidden_size=4)),
        train_tokenizer(["a b"], "word", 30),
    )
    RecurrentForSequenceClassification._auto_class = RecurrentConfig._auto_class = None


def test_one_commit_with_the_code_and_nothing_private(run_folder, model_and_tokenizer, monkeypatch):
    calls = []

    class Hub:
        def create_repo(self, repo_id, private, exist_ok):
            calls.append(("create", repo_id, private, exist_ok))
            return types.SimpleNamespace(repo_id=f"alice/{repo_id}")

        def upload_folder(self, repo_id, folder_path, commit_message):
            calls.append(("upload", repo_id, {path.name for path in Path(folder_path).iterdir()}))
            return types.SimpleNamespace(commit_url="https://hub/commit/1")

    monkeypatch.setattr(hub, "HfApi", Hub)
    assert push_to_hub(*model_and_tokenizer, run_folder, private=True) == "https://hub/commit/1"
    assert calls == [
        ("create", "sentiment-lstm", True, True),
        (
            "upload",
            "alice/sentiment-lstm",
            {
                "config.json",
                "configuration_recurrent.py",
                "losses.py",
                "model.safetensors",
                "modeling_recurrent.py",
                "recurrence.py",
                "recurrence_functions.py",
                "recurrent_cache.py",
                "run.json",
                "tokenizer.json",
                "tokenizer_config.json",
            },
        ),
    ]


def test_a_hub_out_of_reach_is_one_line(run_folder, model_and_tokenizer, monkeypatch):
    class Unreachable:
        def create_repo(self, *args, **kwargs):
            raise ConnectionError("no route\nto host")

    monkeypatch.setattr(hub, "HfApi", Unreachable)
    with pytest.raises(PublishingError, match=r"me/x could not be uploaded \(no route to host\)") as raised:
        push_to_hub(*model_and_tokenizer, run_folder, "me/x")
    assert "\n" not in str(raised.value)
