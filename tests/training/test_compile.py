"""`--torch_compile`: the same weights under the same names, in one process and in two, kept and resumed."""

from functools import partial

import pytest
import torch
from accelerate.state import AcceleratorState
from tiny_runs import TOKENIZER, Interrupted, entries, make_loop, weights

from seqnlp import RecurrentForSequenceClassification
from seqnlp.training import CheckpointError


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Traced and taken apart as ever, but not translated to C++."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))


def test_it_trains_keeps_and_resumes_what_is_not_compiled(tmp_path):
    settings = {"num_train_epochs": 2.0, "checkpointing_steps": "2", "eval_steps": 4, "dropout": 0.0}
    _, plain = make_loop(tmp_path / "plain", **settings)
    plain.train()

    settings["torch_compile"] = True
    run, whole = make_loop(tmp_path / "whole", **settings)
    whole.train()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    assert weights(whole).keys() == weights(plain).keys()
    for name, tensor in weights(plain).items():
        torch.testing.assert_close(weights(whole)[name], tensor, rtol=0, atol=1e-5)

    _, cut = make_loop(tmp_path / "cut", stop_at=7, **settings)
    with pytest.raises(Interrupted):
        cut.train()
    _, resumed = make_loop(tmp_path / "cut", resume_from_checkpoint="latest", **settings)
    resumed.train()
    assert entries(resumed) == entries(whole)
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(resumed)[name]), name

    final = run.save(whole.model, TOKENIZER)
    assert type(final) is RecurrentForSequenceClassification
    loaded = RecurrentForSequenceClassification.from_pretrained(tmp_path / "whole")
    for name, tensor in final.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])


def test_a_run_is_not_resumed_with_the_other_unasked(tmp_path):
    _, cut = make_loop(tmp_path, stop_at=3, checkpointing_steps="2")
    with pytest.raises(Interrupted):
        cut.train()
    changed = {"torch_compile": True, "mixed_precision": "bf16", "resume_from_checkpoint": "latest"}
    AcceleratorState._reset_state()
    _, loop = make_loop(tmp_path, **changed)
    expected = "mixed_precision no there, bf16 here; torch_compile False there, True here"
    with pytest.raises(CheckpointError, match=expected):
        loop.train()
