"""A bundle of a run loads in a process where seqnlp cannot be imported."""

import json
import os
import subprocess
import sys

import pytest
import torch
from transformers import AutoModelForTokenClassification, PreTrainedConfig
from typer.testing import CliRunner

from seqnlp import RecurrentConfig, RecurrentForSequenceClassification
from seqnlp.cli.main import app
from seqnlp.cli.models import ModelError, _auto_class
from seqnlp.cli.outputs import OutputError
from seqnlp.publishing import PublishingError
from seqnlp.publishing.auto import auto_classes
from seqnlp.tokenization import train_tokenizer


ALONE = """
import json, sys
sys.modules["seqnlp"] = None
from transformers import AutoModelForSequenceClassification, AutoTokenizer
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1], trust_remote_code=True)
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], trust_remote_code=True)
print(json.dumps(model(**tokenizer("a good film", return_tensors="pt")).logits.tolist()))
"""


def test_a_bundle_loads_by_itself_and_is_never_written_over(tmp_path):
    tokenizer = train_tokenizer(["a good film", "an awful film"], "word", 30, model_max_length=16)
    config = RecurrentConfig(vocab_size=len(tokenizer), hidden_size=8, pad_token_id=tokenizer.pad_token_id)
    model = RecurrentForSequenceClassification(config).eval()
    run = tmp_path / "films"
    model.save_pretrained(run)
    tokenizer.save_pretrained(run)
    record = {"task": "sentiment_analysis", "metrics": {"test": {"accuracy": 0.5}}}
    record["model"] = {"class": type(model).__name__, "parameters": 1, "config": json.loads(config.to_json_string())}
    (run / "run.json").write_text(json.dumps(record))

    result = CliRunner().invoke(app, ["bundle", str(run)])
    assert result.exit_code == 0, result.exception
    assert "modeling_recurrent.py" in result.output
    environment = {**os.environ, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-P", "-c", ALONE, str(tmp_path / "films-bundle")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        expected = model(**tokenizer("a good film", return_tensors="pt")).logits
    torch.testing.assert_close(torch.tensor(json.loads(done.stdout.splitlines()[-1])), expected)

    again = CliRunner().invoke(app, ["bundle", str(run)])
    assert isinstance(again.exception, OutputError)
    assert "it is there already" in str(again.exception)
    assert isinstance(CliRunner().invoke(app, ["bundle", str(tmp_path / "nothing")]).exception, PublishingError)


def test_the_verbs_take_the_head_that_was_trained_of_all_that_the_code_has():
    """A published configuration names every head of its family."""
    config = RecurrentConfig(architectures=["RecurrentForTokenClassification"])
    names = {name: f"modeling_recurrent.{known.__name__}" for name, known in auto_classes(RecurrentConfig)}
    assert len(names) == 5
    published = PreTrainedConfig(architectures=config.architectures, auto_map=names)  # seqnlp's class is not looked at
    for one, trust_remote_code in ((config, False), (config, True), (published, True)):
        assert _auto_class(one, "alice/model", trust_remote_code) is AutoModelForTokenClassification
    with pytest.raises(ModelError, match="is a RecurrentForTokenClassification, which is neither"):
        _auto_class(published, "alice/model", False)
