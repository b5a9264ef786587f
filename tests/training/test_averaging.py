from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from seqnlp import TransformerConfig, TransformerForConditionalGeneration
from seqnlp.training import CheckpointFolder, WeightAverager


@pytest.fixture
def loop(tmp_path):
    """As much of a loop as averaging sees."""
    config = TransformerConfig(vocab_size=12, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    checkpoints = CheckpointFolder(tmp_path, limit=2)
    checkpoints.root.mkdir()
    model = TransformerForConditionalGeneration(config)
    accelerator = Accelerator(cpu=True)
    return SimpleNamespace(
        model=model,
        unwrapped_model=model,
        accelerator=accelerator,
        checkpoints=checkpoints,
        step=0,
        record=SimpleNamespace(kept={"step": 1}),
    )


def train_to(loop, averager, step, value):
    loop.step = step
    with torch.no_grad():
        for parameter in loop.model.parameters():
            parameter.fill_(value)
    averager.add(loop)


def write_checkpoint(loop):
    folder = loop.checkpoints.root / f"step-{loop.step:08d}"
    folder.mkdir()
    (folder / "loop_state.json").write_text("{}")


def kept(loop):
    return [int(path.name.split("-")[1]) for path in sorted(loop.checkpoints.root.glob("weights-*"))]


def test_the_mean_of_the_last_weights_is_kept_if_it_scores_higher(loop):
    averager = WeightAverager(2)
    for step, value in ((1, 50.0), (2, 1.0), (3, 3.0)):
        train_to(loop, averager, step, value)
    assert kept(loop) == [2, 3]
    scores = averager.keep_better(loop, lambda: -abs(float(loop.model.lm_head.weight[0, 0].detach()) - 2))
    assert scores == {"best": -1.0, "average of 2": 0.0}
    assert loop.record.kept == {"step": 1, "average_of": 2}
    assert all((parameter == 2).all() for parameter in loop.model.parameters())
    assert loop.model.lm_head.weight is loop.model.model.encoder.embed_tokens.weight  # still tied


def test_the_best_weights_come_back_if_the_mean_is_no_better(loop):
    averager = WeightAverager(3)
    for step, value in ((1, 1.0), (2, 5.0)):
        train_to(loop, averager, step, value)
    scores = averager.keep_better(loop, lambda: float(loop.model.lm_head.weight[0, 0].detach()))
    assert scores == {"best": 5.0, "average of 2": 3.0}
    assert loop.record.kept == {"step": 1}
    assert all((parameter == 5).all() for parameter in loop.model.parameters())


def test_a_resumed_run_averages_what_the_whole_one_averages(loop):
    averager = WeightAverager(2)
    for step in (1, 2, 3, 4):
        train_to(loop, averager, step, float(step))
        if step == 2:
            write_checkpoint(loop)
    assert kept(loop) == [1, 2, 3, 4]  # the checkpoint of step 2 may be gone on from, and then 1 and 2 count
    loop.step = 2
    assert set(averager.keep_better(loop, lambda: 0.0)) == {"best", "average of 2"}
    train_to(loop, averager, 3, 30.0)  # what resuming writes replaces what was there
    weights = load_file(loop.checkpoints.root / "weights-00000003" / "model.safetensors")
    assert all((tensor == 30).all() for tensor in weights.values())
    write_checkpoint(loop)
    train_to(loop, averager, 4, 4.0)
    assert kept(loop) == [1, 2, 3, 4]


def test_damaged_weights_are_left_out_of_the_average(loop, caplog):
    averager = WeightAverager(3)
    for step, value in ((1, 1.0), (2, 50.0), (3, 3.0)):
        train_to(loop, averager, step, value)
    file = loop.checkpoints.root / "weights-00000002" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert "average of 2" in averager.keep_better(
        loop, lambda: -abs(float(loop.model.lm_head.weight[0, 0].detach()) - 2)
    )
    assert all((parameter == 2).all() for parameter in loop.model.parameters())
    assert "without weights-00000002, which is damaged" in caplog.text


def test_nothing_is_kept_where_nothing_is_averaged(loop):
    averager = WeightAverager(0)
    train_to(loop, averager, 1, 1.0)
    assert kept(loop) == []
    assert averager.keep_better(loop, lambda: 7.0) == {"best": 7.0}
