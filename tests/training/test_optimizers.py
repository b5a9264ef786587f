"""The optimizers: one step of each by hand, what Muon is for, and that each resumes to the bit."""

import math
import sys

import pytest
import torch
from accelerate import DistributedType
from tiny_runs import Interrupted, make_loop, weights
from transformers import BertConfig, BertForSequenceClassification

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentSeq2SeqConfig,
    RecurrentSeq2SeqForConditionalGeneration,
    TransformerConfig,
    TransformerForConditionalGeneration,
)
from seqnlp.tasks.translation import TranslationTrainingArguments
from seqnlp.training import (
    ArgumentsError,
    CheckpointError,
    TrainingArguments,
    create_optimizer,
    create_scheduler,
    start_run,
)
from seqnlp.training.flags import fields_of
from seqnlp.training.optimization import create_average
from seqnlp.training.optimizers import OPTIMIZERS, described
from seqnlp.training.parameters import hidden_matrices


def step(values, *gradients, **arguments):
    """The values of a layer's matrix, and of a vector, after a step with each of these gradients of the matrix."""
    model = torch.nn.Module()
    model.layers = torch.nn.ModuleList([torch.nn.Linear(2, 2)])
    matrix, bias = model.layers[0].weight, model.layers[0].bias
    optimizer = create_optimizer(model, TrainingArguments(learning_rate=0.1, weight_decay=0.5, **arguments))
    with torch.no_grad():
        matrix.copy_(torch.tensor(values))
        bias.fill_(1.0)
    for gradient in gradients:
        matrix.grad, bias.grad = torch.tensor(gradient), torch.tensor([2.0, -2.0])
        optimizer.step()
    return matrix.detach(), bias.detach()


VALUES, GRADIENTS = [[3.0, 4.0], [0.0, 0.0]], [[2.0, 0.0], [0.0, 1.0]]


def test_steps_of_sgd_by_hand():
    matrix, bias = step(VALUES, GRADIENTS, GRADIENTS, optimizer="sgd", momentum=0.5)
    # The decay is added: g = [[2, 0], [0, 1]] + 0.5 w; the first step is -0.1 g.
    first = [[3 - 0.35, 4 - 0.2], [0, -0.1]]
    second = [[2 + 0.5 * first[0][0], 0.5 * first[0][1]], [0, 1 + 0.5 * first[1][1]]]
    momentum = [[0.5 * 3.5 + second[0][0], 0.5 * 2.0 + second[0][1]], [0, 0.5 * 1.0 + second[1][1]]]
    expected = [[a - 0.1 * b for a, b in zip(*rows, strict=True)] for rows in zip(first, momentum, strict=True)]
    torch.testing.assert_close(matrix, torch.tensor(expected))
    torch.testing.assert_close(bias, torch.tensor([1 - 0.2 - 0.3, 1 + 0.2 + 0.3]))  # no decay


def test_steps_of_adamw_by_hand():
    first, second = GRADIENTS, [[-1.0, 3.0], [0.0, 1.0]]
    matrix, bias = step(VALUES, first, second, adam_beta1=0.5, adam_beta2=0.75, adam_epsilon=0.3)

    def moved(value, g, h):
        value = 0.95 * value - 0.1 * g / (abs(g) + 0.3)  # after one step the means are the gradient and its square
        mean, square = (0.25 * g + 0.5 * h) / 0.75, (0.1875 * g**2 + 0.25 * h**2) / 0.4375
        return 0.95 * value - 0.1 * mean / (math.sqrt(square) + 0.3)

    expected = [[moved(*each) for each in zip(*rows, strict=True)] for rows in zip(VALUES, first, second, strict=True)]
    torch.testing.assert_close(matrix, torch.tensor(expected))
    torch.testing.assert_close(bias, torch.tensor([1 - 0.4 / 2.3, 1 + 0.4 / 2.3]))  # no decay


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "schedule_free"])
def test_epsilon_is_that_of_every_adamw(optimizer):
    settings = {"optimizer": optimizer, "lr_scheduler_type": "constant", "adam_epsilon": 0.5}
    _, bias = step(VALUES, GRADIENTS, **settings)
    torch.testing.assert_close(bias, torch.tensor([1 - 0.1 * 2 / 2.5, 1 + 0.1 * 2 / 2.5]))


def test_a_step_of_adafactor_by_hand():
    matrix, bias = step(VALUES, [[2.0, 2.0], [2.0, 2.0]], optimizer="adafactor")
    # Decay 1 - 0.1 * 0.5; the gradient over its root mean square is 1, times the share 0.1 of the weights' size,
    # which is sqrt((9 + 16) / 4) of the matrix, and 1 of the vector.
    torch.testing.assert_close(matrix, 0.95 * torch.tensor(VALUES) - 0.1 * 2.5, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(bias, torch.tensor([0.9, 1.1]))


@pytest.fixture(params=[True, False], ids=["bf16", "float32"])
def digits(request, monkeypatch):
    """How exact Muon is on a processor that multiplies bfloat16, and on one that emulates it."""
    can = {"avx512_bf16": True} if request.param else {}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: can)
    return 0.05 if request.param else 1e-5


def test_a_step_of_muon_by_hand(digits):
    matrix, bias = step(VALUES, GRADIENTS, optimizer="muon")
    moved = 0.95 * torch.tensor(VALUES) - matrix
    # Orthogonalized, a diagonal gradient is near the identity: both singular values between 0.5 and 1.5; the
    # step is that times 0.1 * 0.2 * sqrt(2). The five iterations by the published coefficients, in numbers:
    scale, values = 0.1 * 0.2 * math.sqrt(2), [x / math.sqrt(5) for x in (2.0, 1.0)]
    for _ in range(5):
        values = [3.4445 * x - 4.7750 * x**3 + 2.0315 * x**5 for x in values]
    assert all(0.5 < value < 1.5 for value in values)
    expected = scale * torch.diag(torch.tensor(values))
    torch.testing.assert_close(moved, expected, rtol=0, atol=digits * scale)
    assert torch.allclose(moved, expected, rtol=0, atol=1e-5 * scale) is (digits == 1e-5)  # torch's own, where it can
    torch.testing.assert_close(bias, torch.tensor([0.9, 1.1]))  # by AdamW: the first step is the learning rate


def test_two_steps_of_muon_have_its_momentum(digits):
    first, second = GRADIENTS, [[-0.6, 0.0], [0.0, 1.0]]
    once, _ = step(VALUES, first, optimizer="muon", momentum=0.5)
    twice, _ = step(VALUES, first, second, optimizer="muon", momentum=0.5)
    # The mean of the gradients is g / 2, then g / 4 + h / 2; half of it and half of h is orthogonalized (Nesterov).
    # Its first number is below 0; with the usual momentum, of which the first gradient has more, it is not.
    momentum = [0.125 * 2 - 0.75 * 0.6, 0.125 * 1 + 0.75]
    scale, values = 0.1 * 0.2 * math.sqrt(2), [x / math.hypot(*momentum) for x in momentum]
    for _ in range(5):
        values = [3.4445 * x - 4.7750 * x**3 + 2.0315 * x**5 for x in values]
    moved = 0.95 * once - twice
    torch.testing.assert_close(moved, scale * torch.diag(torch.tensor(values)), rtol=0, atol=2 * digits * scale)


def test_two_steps_of_schedule_free_by_hand():
    constant = {"optimizer": "schedule_free", "lr_scheduler_type": "constant"}
    model = torch.nn.Module()
    model.layers = torch.nn.ModuleList([torch.nn.Linear(2, 1)])
    matrix, bias = model.layers[0].weight, model.layers[0].bias
    arguments = TrainingArguments(learning_rate=0.1, weight_decay=0.5, adam_beta1=0.8, **constant)
    optimizer = create_optimizer(model, arguments)
    with torch.no_grad():
        matrix.copy_(torch.tensor([[3.0, 4.0]]))
        bias.fill_(1.0)
    for _ in range(2):
        matrix.grad, bias.grad = torch.tensor([[2.0, -5.0]]), torch.tensor([7.0])
        optimizer.step()
    # A gradient that stays is 1 or -1 over the root of its mean square. Of the vector, z is 1, 0.9, 0.8; c is 1, then
    # a half, so that x is 0.9, then (0.9 + 0.8) / 2; and y = 0.2 z + 0.8 x.
    torch.testing.assert_close(bias.detach(), torch.tensor([0.2 * 0.8 + 0.8 * 0.85]))
    # The matrix has its decay besides, half of y: z_1 = x_1 = y_1 = w - 0.1 (sign + w / 2).
    first = [w - 0.1 * (sign + 0.5 * w) for w, sign in ((3.0, 1.0), (4.0, -1.0))]
    last = [z - 0.1 * (sign + 0.5 * z) for z, sign in zip(first, (1.0, -1.0), strict=True)]
    mean = [(a + b) / 2 for a, b in zip(first, last, strict=True)]
    trained = torch.tensor([[0.2 * z + 0.8 * x for z, x in zip(last, mean, strict=True)]])
    torch.testing.assert_close(matrix.detach(), trained)
    average = create_average(model, optimizer, arguments)
    before = matrix.detach().clone()
    with average.in_use():
        torch.testing.assert_close(matrix.detach(), torch.tensor([mean]))
        torch.testing.assert_close(bias.detach(), torch.tensor([0.85]))
    assert torch.equal(matrix, before)
    optimizer.step()  # it is in training again
    average.put_in()
    assert not torch.equal(matrix, before)


def test_a_run_without_a_schedule_keeps_the_mean_of_its_weights(tmp_path):
    seen = []

    def evaluate(loop):
        seen.append(weights(loop))
        return {"loss": 10.0 - loop.step}

    settings = {"optimizer": "schedule_free", "lr_scheduler_type": "constant_with_warmup", "max_train_steps": 5}
    _, loop = make_loop(tmp_path, rows=32, evaluate=evaluate, num_warmup_steps=2, learning_rate=0.02, **settings)
    trained = []
    loop.on_step_end.append(lambda loop: trained.append(weights(loop)))
    loop.train()
    rates = [entry["learning_rate"] for entry in loop.record.history if "learning_rate" in entry]
    assert rates[-1] == 0.02  # it has not fallen
    kept = weights(loop)
    # What was validated last is what is left in the model, and it is not what was trained.
    assert all(torch.equal(tensor, seen[-1][name]) for name, tensor in kept.items())
    assert not any(torch.equal(tensor, trained[-1][name]) for name, tensor in kept.items())


def names_of(model, parameters):
    chosen = {id(parameter) for parameter in parameters}
    return {name for name, parameter in model.named_parameters() if id(parameter) in chosen}


def test_muon_takes_the_matrices_of_the_layers_and_adamw_the_rest():
    sizes = {"vocab_size": 9, "hidden_size": 4, "num_attention_heads": 2, "num_hidden_layers": 1}
    model = TransformerForConditionalGeneration(TransformerConfig(**sizes))
    found = names_of(model, hidden_matrices(model))
    assert "model.encoder.layers.0.self_attn.q_proj.weight" in found
    every = {name for name, parameter in model.named_parameters() if parameter.dim() == 2}
    assert every - found == names_of(model, [model.lm_head.weight])  # with the embeddings tied to it
    lstm = RecurrentForCausalLM(RecurrentConfig(vocab_size=9, hidden_size=4))
    optimizer = create_optimizer(lstm, TrainingArguments(optimizer="muon", layerwise_lr_decay=0.5))
    muons = [group for group in optimizer.param_groups if group["is_hidden"]]
    assert names_of(lstm, muons[0]["params"]) == {
        f"model.layers.0.forward_cell.{name}.weight" for name in ("input_proj", "recurrent_proj")
    }
    assert [group["momentum"] for group in muons] == [0.95]
    count = sum(len(group["params"]) for group in optimizer.param_groups)
    assert count == len(list(lstm.parameters()))
    scheduler = create_scheduler(optimizer, TrainingArguments(num_warmup_steps=4, optimizer="muon"), 8)
    optimizer.step()
    scheduler.step()
    rates = {group["is_hidden"]: group["lr"] for group in optimizer.param_groups}
    assert rates[True] == pytest.approx(1e-3 * 0.5 / 4)  # of the layer, below the head, a quarter of the warm-up
    with pytest.raises(ArgumentsError, match="--optimizer muon: no matrix of a layer is trained in a Linear; take"):
        create_optimizer(torch.nn.Linear(2, 2), TrainingArguments(optimizer="muon"))


@pytest.mark.parametrize("attention", ["additive", "multiplicative", "none"])
def test_muon_takes_what_stands_beside_the_layers_of_a_stack(attention):
    """Of an encoder-decoder all matrices but embeddings and head; of BERT's classifier no part of its head."""
    sizes = {"vocab_size": 9, "hidden_size": 4, "embedding_size": 3, "block": "residual"}
    model = RecurrentSeq2SeqForConditionalGeneration(RecurrentSeq2SeqConfig(**sizes, attention_type=attention))
    every = {name for name, parameter in model.named_parameters() if parameter.dim() == 2}
    found = names_of(model, hidden_matrices(model))
    assert every - found == {"model.encoder.embed_tokens.weight", "lm_head.weight"}
    beside = {name.removeprefix("model.decoder.") for name in found if ".layers." not in name and ".decoder." in name}
    additive = {"attention.q_proj.weight"} if attention == "additive" else set()
    attending = {"attention.k_proj.weight", "attentional_proj.weight", *additive} if attention != "none" else set()
    assert beside == {"bridge.projs.0.0.weight", "bridge.projs.0.1.weight", "input_proj.weight", *attending}
    sizes = {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 4}
    bert = BertForSequenceClassification(BertConfig(**sizes, vocab_size=9))
    found = names_of(bert, hidden_matrices(bert))
    assert len(found) == 6
    assert all(name.startswith("bert.encoder.layer.0.") for name in found)


def test_muon_leaves_a_head_beside_the_layers_to_adamw():
    model = torch.nn.Module()
    model.layers, model.score = torch.nn.ModuleList([torch.nn.Linear(2, 2)]), torch.nn.Linear(2, 3)
    assert names_of(model, hidden_matrices(model)) == {"layers.0.weight"}


@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if name != "adamw"])
def test_each_resumes_to_the_bit(optimizer, tmp_path):
    settings = {"optimizer": optimizer, "max_train_steps": 5, "checkpointing_steps": "2", "rows": 32}
    settings["lr_scheduler_type"] = OPTIMIZERS[optimizer].schedules[0]
    settings |= {"evaluate": lambda loop: {"loss": 10.0 - loop.step}, "learning_rate": 0.02}
    _, whole = make_loop(tmp_path / "whole", **settings)
    before = weights(whole)
    whole.train()
    assert not any(torch.equal(before[name], tensor) for name, tensor in weights(whole).items())
    _, cut = make_loop(tmp_path / "cut", stop_at=3, **settings)
    with pytest.raises(Interrupted):
        cut.train()
    _, resumed = make_loop(tmp_path / "cut", resume_from_checkpoint="latest", **settings)
    resumed.train()
    assert all(torch.equal(tensor, weights(whole)[name]) for name, tensor in weights(resumed).items())
    if optimizer == "sgd":
        changed = {**settings, "optimizer": "adafactor", "resume_from_checkpoint": "latest", "max_train_steps": 6}
        _, other = make_loop(tmp_path / "cut", **changed)
        with pytest.raises(CheckpointError, match="optimizer sgd there, adafactor here"):
            other.train()
        _, other = make_loop(tmp_path / "cut", **changed, resume_with_changes=True)
        with pytest.raises(CheckpointError, match="holds the state of --optimizer sgd, and this run has adafactor"):
            other.train()


@pytest.mark.parametrize("optimizer", [name for name, kind in OPTIMIZERS.items() if "polynomial" in kind.schedules])
def test_a_polynomial_schedule_falls_to_almost_nothing(optimizer, tmp_path):
    settings = {"lr_scheduler_type": "polynomial", "num_warmup_steps": 0, "max_train_steps": 4}
    _, loop = make_loop(tmp_path, optimizer=optimizer, learning_rate=0.01, **settings)
    rates = []
    loop.on_step_begin.append(lambda loop, group: rates.append(loop.scheduler.get_last_lr()[0]))
    loop.train()
    # By a quarter of the way from 0.01 to 1e-7 in each step.
    assert rates == pytest.approx([0.01, 0.007500025, 0.00500005, 0.002500075])
    refused = r"--learning_rate 1e-08 with --lr_scheduler_type polynomial: lr_end \(1e-07\) must be smaller"
    with pytest.raises(ArgumentsError, match=refused) as raised:
        make_loop(tmp_path / "refused", optimizer=optimizer, learning_rate=1e-8, **settings)
    assert "\n" not in str(raised.value)


def test_what_does_nothing_is_said_or_refused(tmp_path, monkeypatch):
    with pytest.raises(ArgumentsError, match=r"--momentum 0\.9 does nothing with --optimizer adamw"):
        TrainingArguments(momentum=0.9)
    with pytest.raises(ArgumentsError, match="--optimizer adam: there is adamw, sgd, adafactor, muon"):
        TrainingArguments(optimizer="adam")
    with pytest.raises(
        ArgumentsError, match="cosine: with --optimizer schedule_free it can be constant_with_warmup, con"
    ):
        TrainingArguments(optimizer="schedule_free")
    constant = {"optimizer": "schedule_free", "lr_scheduler_type": "constant"}
    with pytest.raises(ArgumentsError, match=r"schedule_free and --ema_decay 0\.9 both average the weights; leave"):
        TrainingArguments(ema_decay=0.9, **constant)
    with pytest.raises(ArgumentsError, match=r"schedule_free and --average_checkpoints 5 both average the weights"):
        TranslationTrainingArguments(**constant)
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "schedulefree", None)
        with pytest.raises(ArgumentsError, match=r"--optimizer schedule_free needs pip install .*\[schedulefree\]"):
            create_optimizer(torch.nn.Linear(2, 2), TrainingArguments(**constant))
    told = described(TrainingArguments(optimizer="sgd", learning_rate=0.5, adam_beta2=0.98))
    assert told == (
        "SGD with momentum; learning rate 0.5, what gradients are multiplied by, often 0.1 and more; "
        "--adam_beta2 not read"
    )
    for schedule, told in (("constant", "; --num_warmup_steps not read"), ("constant_with_warmup", "in a step")):
        assert described(TrainingArguments(lr_scheduler_type=schedule, num_warmup_steps=5)).endswith(told)
    assert all(kind.title and kind.source and kind.rate for kind in OPTIMIZERS.values())
    assert all(set(kind.reads) <= fields_of(TrainingArguments).keys() for kind in OPTIMIZERS.values())
    monkeypatch.setattr("seqnlp.training.run.Accelerator.distributed_type", DistributedType.DEEPSPEED)
    with pytest.raises(ArgumentsError, match=r"--optimizer muon cannot make steps with .* by DDP, or take adamw, sgd"):
        start_run("test", "gru", TrainingArguments(output_dir=str(tmp_path), report_to="none", optimizer="muon"))
