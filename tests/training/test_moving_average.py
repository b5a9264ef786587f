"""The moving average of the weights: its values by hand, what is validated and saved, and it resumes to the bit."""

import pytest
import torch
from accelerate import DistributedType
from safetensors.torch import load_file
from tiny_runs import Interrupted, entries, make_loop, weights

from seqnlp import TransformerConfig, TransformerForConditionalGeneration
from seqnlp.metrics import Score
from seqnlp.tasks.reporting.telling import described_kept
from seqnlp.tasks.translation import TranslationTrainingArguments
from seqnlp.training import ArgumentsError, TrainingArguments, start_run
from seqnlp.training.moving_average import MovingAverage


def averages(decay, *values):
    linear = torch.nn.Linear(1, 1)
    average, found = MovingAverage(linear, decay), []
    for value in values:
        with torch.no_grad():
            linear.weight.fill_(value)
        average.update()
        with average.in_use():
            found.append(float(linear.weight.detach()))
        assert float(linear.weight.detach()) == value
    return found


def test_three_steps_by_hand():
    # (0.5 * 1 + 2) / 1.5, then (0.25 * 1 + 0.5 * 2 + 4) / 1.75.
    assert averages(0.5, 1.0, 2.0, 4.0) == pytest.approx([1, 5 / 3, 3])
    assert averages(0.0, 1.0, 2.0, 4.0) == [1, 2, 4]
    assert averages(0.999, 1.0, 2.0, 4.0) == pytest.approx([1, 3 / 2, 7 / 3], abs=2e-3)  # almost the mean


def test_before_the_first_step_and_without_a_decay_the_weights_stay():
    assert averages(None, 1.0, 2.0) == [1, 2]
    linear = torch.nn.Linear(2, 2)
    before = linear.weight.detach().clone()
    average = MovingAverage(linear, 0.9)
    average.put_in()
    assert torch.equal(linear.weight, before)
    assert MovingAverage(linear, None).state() is None


def test_tied_weights_are_kept_once_and_taken_up_again():
    def translator():
        sizes = {"vocab_size": 9, "hidden_size": 4, "num_attention_heads": 2, "num_hidden_layers": 1}
        model = TransformerForConditionalGeneration(TransformerConfig(**sizes, tie_word_embeddings=True))
        return model, MovingAverage(model, 0.5)

    model, average = translator()
    for value in (1.0, 4.0):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(value)
        average.update()
    state = average.state()
    assert len(state) == 1 + len(list(model.parameters()))
    again, taken_up = translator()
    taken_up.load(again, state)
    taken_up.put_in()
    assert all((parameter == 3).all() for parameter in again.parameters())  # (0.5 * 1 + 4) / 1.5
    assert again.lm_head.weight is again.model.encoder.embed_tokens.weight


def test_the_average_of_other_weights_is_not_taken_up():
    linear = torch.nn.Linear(2, 2)
    wider, named_otherwise = torch.nn.Linear(3, 2), torch.nn.Sequential(torch.nn.Linear(2, 2))
    average = MovingAverage(linear, 0.5)
    before = linear.weight.detach().clone()
    for other in (wider, named_otherwise):
        with pytest.raises(ValueError, match="its moving average is one of other weights"):
            average.load(linear, MovingAverage(other, 0.5).state())
        assert torch.equal(linear.weight, before)


SETTINGS = {"max_train_steps": 6, "eval_steps": 3, "checkpointing_steps": "2", "gradient_accumulation_steps": 2}
SETTINGS |= {"freeze": ["model.embed_tokens"]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run, its weights after each step, and those at each validation."""
    folder, steps, seen = tmp_path_factory.mktemp("whole"), [], {}
    losses = {3: 1.0, 6: 2.0}

    def evaluate(loop):
        seen[loop.step] = weights(loop)
        return {"loss": losses[loop.step]}

    _, loop = make_loop(folder, evaluate=evaluate, ema_decay=0.5, **SETTINGS)
    loop.on_step_end.append(lambda loop: steps.append(weights(loop)))
    loop.train()
    return loop, folder, steps, seen


def test_what_is_validated_and_saved_is_the_average_and_what_is_trained_is_not(whole, tmp_path):
    loop, folder, steps, seen = whole
    for step, found in seen.items():
        shares = [0.5 ** (step - i) for i in range(1, step + 1)]
        for name, tensor in found.items():
            expected = sum(s * w[name].double() for s, w in zip(shares, steps, strict=False)) / sum(shares)
            torch.testing.assert_close(tensor.double(), expected, rtol=0, atol=1e-6)
    assert torch.equal(seen[6]["model.embed_tokens.weight"], steps[0]["model.embed_tokens.weight"])
    assert not torch.equal(seen[6]["score.weight"], steps[-1]["score.weight"])
    best = load_file(folder / "checkpoints" / "best-00000003" / "model.safetensors")
    for name, tensor in weights(loop).items():
        assert torch.equal(tensor, seen[3][name])
        assert torch.equal(tensor, best[name])
    assert loop.record.kept == {"step": 3, "epoch": 0.6, "metric": "loss", "value": 1.0, "ema_decay": 0.5}
    told = described_kept(loop.record.kept, Score("loss", "Loss", "", greater_is_better=False), 6)
    assert told.startswith("Kept: the moving average (decay 0.5) of the weights of epoch 0.6 (step 3 of 6), ")
    _, plain = make_loop(tmp_path, evaluate=lambda loop: {"loss": loop.step}, **SETTINGS)
    last = []
    plain.on_step_end.append(lambda loop: last.append(weights(loop)))
    plain.train()
    assert all(torch.equal(tensor, steps[-1][name]) for name, tensor in last[-1].items())


def test_a_resumed_run_has_the_same_average_to_the_bit(whole, tmp_path):
    loop, _, _, seen = whole
    settings = {"evaluate": lambda loop: {"loss": 3.0 - loop.step / 6}, "ema_decay": 0.5, **SETTINGS}
    _, cut = make_loop(tmp_path, stop_at=5, **settings)
    with pytest.raises(Interrupted):
        cut.train()
    _, resumed = make_loop(tmp_path, resume_from_checkpoint="latest", **settings)
    resumed.train()
    assert [entry["train_loss"] for entry in entries(resumed) if "train_loss" in entry] == [
        entry["train_loss"] for entry in entries(loop) if "train_loss" in entry
    ]
    assert resumed.best.step == 6  # the last step's average stays in the model
    assert all(torch.equal(tensor, seen[6][name]) for name, tensor in weights(resumed).items())


def test_the_last_average_is_kept_where_no_validation_could_choose(tmp_path):
    _, loop = make_loop(
        tmp_path, evaluate=lambda loop: {"loss": float("nan")}, ema_decay=0.5, max_train_steps=2, rows=16
    )
    steps = []
    loop.on_step_end.append(lambda loop: steps.append(weights(loop)))
    loop.train()
    expected = (0.5 * steps[0]["score.weight"] + steps[1]["score.weight"]) / 1.5
    torch.testing.assert_close(weights(loop)["score.weight"], expected)
    told = "The moving average (decay 0.5) of the weights is that of the last step: no validation could choose."
    assert described_kept(loop.record.kept, None, 2) == told


def test_what_does_not_go_with_it_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ArgumentsError, match=r"--ema_decay 1\.0 must be at least 0 and below 1"):
        TrainingArguments(ema_decay=1.0)
    with pytest.raises(
        ArgumentsError, match=r"--ema_decay 0\.9 and --average_checkpoints 5 both average the weights; "
    ):
        TranslationTrainingArguments(ema_decay=0.9)
    assert TranslationTrainingArguments(ema_decay=0.9, average_checkpoints=0).ema_decay == 0.9
    monkeypatch.setattr("seqnlp.training.run.Accelerator.distributed_type", DistributedType.DEEPSPEED)
    with pytest.raises(ArgumentsError, match=r"--ema_decay 0\.9: DeepSpeed keeps the weights to itself; train by DDP"):
        start_run("test", "gru", TrainingArguments(output_dir=str(tmp_path / "x"), report_to="none", ema_decay=0.9))
