"""Models whose loss is a mean over the batch train as those whose is a sum; batches that are read twice (R-Drop)."""

import math
from types import SimpleNamespace

import pytest
import torch
from tiny_runs import DATA, TOKENIZER
from torch.nn.functional import cross_entropy, kl_div, logsigmoid
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
)

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentForSequenceClassification,
)
from seqnlp.data import LengthGroupedBatchSampler
from seqnlp.models.losses import symmetric_divergence
from seqnlp.tasks import TASKS
from seqnlp.training import ArgumentsError, TrainingArguments, TrainingError, TrainingLoop, start_run, step_loss
from seqnlp.training.batches import MicroBatch
from seqnlp.training.step_loss import StepLoss


SIZES = {"vocab_size": 20, "num_attention_heads": 2, "num_hidden_layers": 1, "pad_token_id": 0}
BERT = {
    **SIZES,
    "hidden_size": 8,
    "intermediate_size": 8,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0,
}
DISTILBERT = {"vocab_size": 20, "dim": 8, "hidden_dim": 8, "n_heads": 2, "n_layers": 1, "pad_token_id": 0}
DISTILBERT |= {"dropout": 0.0, "attention_dropout": 0.0, "seq_classif_dropout": 0.0}


def sure_of_the_first():
    """Its loss for the first row is 3e-7: hardly more than nothing, and still no sum."""
    model = BertForSequenceClassification(BertConfig(**BERT))
    with torch.no_grad():
        model.classifier.weight.mul_(0.1)
        model.classifier.bias[DATA[0]["label"]] = 15.0
    return model


MODELS = {
    "mean": lambda: BertForSequenceClassification(BertConfig(**BERT)),
    "mean too": lambda: DistilBertForSequenceClassification(DistilBertConfig(**DISTILBERT)),
    "mean of one that is sure": sure_of_the_first,
    "sum": lambda: LlamaForSequenceClassification(LlamaConfig(**SIZES, hidden_size=8, intermediate_size=8)),
}


def make_loop(folder, model, **arguments):
    settings = {"report_to": "none", "num_threads": 1, "greater_is_better": False, "max_grad_norm": 0.0, **arguments}
    arguments = TrainingArguments(output_dir=str(folder), **settings)
    run = start_run("test", "given", arguments)
    sampler = LengthGroupedBatchSampler([len(row["input_ids"]) for row in DATA], 8, 0)
    collator = DataCollatorWithPadding(TOKENIZER)
    return TrainingLoop(run, arguments, model, DATA, sampler, collator, lambda loop: {"loss": 1.0})


@pytest.mark.parametrize("r_drop", [0.0, 2.0])
@pytest.mark.parametrize("kind", MODELS)
def test_the_gradient_of_a_step_is_that_of_the_mean_over_all_its_examples(kind, r_drop, tmp_path):
    """Without dropout two readings are the same, and so is what is learned from them."""
    torch.manual_seed(0)
    model = MODELS[kind]()
    loop = make_loop(tmp_path, model, r_drop=r_drop)
    batches = [loop.collator(DATA[:8]), loop.collator(DATA[8:10])]  # of which each example counts the same

    whole = loop.collator(DATA[:10])
    logits = model(input_ids=whole["input_ids"], attention_mask=whole["attention_mask"]).logits
    expected = torch.nn.functional.cross_entropy(logits, whole["labels"])
    gradients = torch.autograd.grad(expected, list(model.parameters()))

    found = {}
    step = loop.optimizer.step
    loop.optimizer.step = lambda: found.update((n, p.grad.clone()) for n, p in model.named_parameters()) or step()
    loss = loop.optimizer_step([MicroBatch(batch, is_real=True) for batch in batches])
    torch.testing.assert_close(loss, expected.detach())
    for (name, _), gradient in zip(model.named_parameters(), gradients, strict=True):
        torch.testing.assert_close(found[name], gradient, msg=name, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("is_real", [True, False])
def test_a_batch_without_targets_changes_nothing(kind, is_real, tmp_path):
    """A process that has no examples left reads one again, and that may be a text of which no token is hidden."""

    def step(folder, *more):
        torch.manual_seed(0)
        loop = make_loop(folder, MODELS[kind]())
        loss = loop.optimizer_step([MicroBatch(loop.collator(DATA[:8]), True), *more])
        return {"loss": loss, **dict(loop.model.named_parameters())}, loop

    alone, loop = step(tmp_path / "alone")
    without = loop.collator(DATA[:1])
    without["labels"] = torch.full_like(without["labels"], -100)
    beside, _ = step(tmp_path / "beside", MicroBatch(without, is_real))
    for name, value in alone.items():
        assert torch.equal(value, beside[name]), name


def test_a_loss_that_is_neither_is_refused(tmp_path):
    class Odd(BertForSequenceClassification):
        def forward(self, *args, num_items_in_batch=1, **kwargs):
            outputs = super().forward(*args, **kwargs)
            return type(outputs)(loss=outputs.loss / (num_items_in_batch + 1), logits=outputs.logits)

    loop = make_loop(tmp_path, Odd(BertConfig(**BERT)))
    with pytest.raises(TrainingError, match="neither a sum divided by their number nor a mean"):
        loop.optimizer_step([MicroBatch(loop.collator(DATA[:8]), is_real=True)])


def test_a_model_without_a_loss_is_refused(tmp_path):
    class Silent(BertForSequenceClassification):
        def forward(self, *args, labels=None, **kwargs):
            return super().forward(*args, **kwargs)

    loop = make_loop(tmp_path, Silent(BertConfig(**BERT)))
    with pytest.raises(TrainingError, match="A Silent computes no loss of its labels: start from another model"):
        loop.optimizer_step([MicroBatch(loop.collator(DATA[:8]), is_real=True)])


def test_the_divergence_is_the_mean_of_both_directions():
    # p = (1/2, 1/2) and q = (9/10, 1/10): KL(p, q) = ln(5/3), KL(q, p) = (9 ln(9/5) - ln 5) / 10.
    both = symmetric_divergence(torch.tensor([[0.0, 0.0]]), torch.tensor([[9.0, 1.0]]).log() + 3)
    expected = (math.log(5 / 3) + (9 * math.log(9 / 5) - math.log(5)) / 10) / 2
    torch.testing.assert_close(both, torch.tensor([expected]))


def both_ways(first, second):
    """The paper's equation 2, by torch's own divergence: of two `(N, C)` logits."""
    p, q = first.log_softmax(-1), second.log_softmax(-1)
    return (kl_div(p, q, log_target=True, reduction="sum") + kl_div(q, p, log_target=True, reduction="sum")) / 2


def divergence_of_a_classifier(logits, labels):
    return both_ways(*logits.chunk(2))


def divergence_of_tags(logits, labels):
    pairs = zip(*logits.chunk(2), labels, strict=True)
    return sum(both_ways(a[t], b[t]) for a, b, row in pairs for t in range(5) if row[t] != -100)


def divergence_of_next_tokens(logits, labels):
    pairs = zip(*logits.chunk(2), labels, strict=True)
    return sum(both_ways(a[t], b[t]) for a, b, row in pairs for t in range(4) if row[t + 1] != -100)


def divergence_of_several_labels(logits, labels):
    total = 0.0
    for a, b in zip(*(half.flatten() for half in logits.chunk(2)), strict=True):
        p, q = a.sigmoid(), b.sigmoid()
        of_p = p * (logsigmoid(a) - logsigmoid(b)) + (1 - p) * (logsigmoid(-a) - logsigmoid(-b))
        of_q = q * (logsigmoid(b) - logsigmoid(a)) + (1 - q) * (logsigmoid(-b) - logsigmoid(-a))
        total = total + (of_p + of_q) / 2
    return total


TAGS = torch.tensor([[1, 2, -100, 0, -100], [3, -100, -100, 1, 2], [0, 0, 1, -100, -100]])
READ_TWICE = {
    "one class": (RecurrentForSequenceClassification, (4,), torch.tensor([1, 0, 3]), divergence_of_a_classifier),
    "tags": (RecurrentForSequenceClassification, (5, 4), TAGS, divergence_of_tags),
    "next tokens": (RecurrentForCausalLM, (5, 4), TAGS, divergence_of_next_tokens),
    "several labels": (
        RecurrentForSequenceClassification,
        (4,),
        torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 1], [1, 1, 1, 1]]),
        divergence_of_several_labels,
    ),
}


def test_windows_are_compared_at_each_label_that_is_shifted_already():
    """The last token of a window has a label there, and is not left out for want of a token behind it."""
    loss = StepLoss(RecurrentForCausalLM(RecurrentConfig(vocab_size=20, hidden_size=4)), lambda batch: 8, r_drop=3.0)
    loss._gives_mean = False
    logits = torch.randn(6, 5, 4, generator=torch.Generator().manual_seed(0))
    batch = {"labels": TAGS, "shift_labels": TAGS}
    found = loss.share(SimpleNamespace(loss=0.5, logits=logits), MicroBatch(batch, is_real=True), torch.tensor(8))
    torch.testing.assert_close(found, 0.5 + 3 / 2 * divergence_of_tags(logits, TAGS) / 8)


@pytest.mark.parametrize("kind", READ_TWICE)
@pytest.mark.parametrize("gives_mean", [False, True])
def test_what_two_readings_add_is_half_the_papers_loss(kind, gives_mean):
    kind, shape, labels, divergence = READ_TWICE[kind]
    model = kind(RecurrentConfig(vocab_size=20, hidden_size=4))
    loss = StepLoss(model, lambda batch: 8, r_drop=3.0)
    loss._gives_mean = gives_mean
    logits = torch.randn(6, *shape, generator=torch.Generator().manual_seed(0), requires_grad=True)
    own = torch.tensor(0.75)  # of a sum divided by all 2 * 20 items, or of a mean over the 2 * 8 of this batch
    outputs = SimpleNamespace(loss=own, logits=logits)

    found = loss.share(outputs, MicroBatch({"labels": labels}, is_real=True), torch.tensor(20))
    readings = 0.75 * 8 / 20 if gives_mean else 0.75
    torch.testing.assert_close(found, readings + 3 / 2 * divergence(logits, labels) / 20)
    (gradient,) = torch.autograd.grad(found, logits)
    (expected,) = torch.autograd.grad(3 / 2 * divergence(logits, labels) / 20, logits)
    torch.testing.assert_close(gradient, expected)
    stand_in = loss.share(outputs, MicroBatch({"labels": labels}, is_real=False), torch.tensor(20))
    assert stand_in.item() == 0.0


def test_two_readings_draw_their_own_dropout_and_their_losses_are_averaged(tmp_path):
    config = BertConfig(**{**BERT, "hidden_dropout_prob": 0.5})
    torch.manual_seed(0)
    model = BertForSequenceClassification(config)
    loop = make_loop(tmp_path, model, r_drop=2.0, seed=5)
    batch, outputs = loop.collator(DATA[:8]), []
    model.register_forward_hook(lambda module, inputs, found: outputs.append(found))
    loss = loop.optimizer_step([MicroBatch(batch, is_real=True)])

    first, second = outputs[-1].logits.chunk(2)
    assert not torch.allclose(first, second)
    losses = [cross_entropy(half, batch["labels"]) for half in (first, second)]
    torch.testing.assert_close(loss, sum(losses) / 2 + both_ways(first, second) / 8, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("chunk_size", [None, 3, 100])
def test_a_language_model_that_never_holds_its_logits_compares_its_readings_itself(chunk_size, tmp_path):
    """The loss and what is learned, from the logits of the same draws of dropout, in two parts of unequal size."""
    torch.manual_seed(0)
    config = RecurrentConfig(vocab_size=20, hidden_size=8, dropout=0.5, bos_token_id=2, loss_chunk_size=chunk_size)
    model = RecurrentForCausalLM(config)
    loop = make_loop(tmp_path, model, r_drop=3.0, seed=5)
    texts = torch.randint(3, 20, (5, 7))
    labels = texts.masked_fill(torch.rand(5, 7) < 0.3, -100)
    labels[:, 0] = -100  # nothing predicts the first token
    batches = [{"input_ids": texts[part], "labels": labels[part]} for part in (slice(0, 2), slice(2, 5))]
    targets = (labels != -100).sum()

    model.train()
    torch.manual_seed(5 * 1_000_003 * 4_099)  # as the loop does for the first step of the first process
    expected = 0.0
    for batch in batches:
        logits = model(torch.cat([batch["input_ids"]] * 2)).logits[:, :-1]
        wanted = batch["labels"][:, 1:]
        first, second = (half[wanted != -100] for half in logits.chunk(2))
        wanted = wanted[wanted != -100]
        losses = sum(cross_entropy(reading, wanted, reduction="sum") for reading in (first, second))
        expected = expected + (losses / 2 + 3 / 2 * both_ways(first, second)) / targets
    gradients = torch.autograd.grad(expected, list(model.parameters()))

    found = {}
    step = loop.optimizer.step
    loop.optimizer.step = lambda: found.update((n, p.grad.clone()) for n, p in model.named_parameters()) or step()
    loss = loop.optimizer_step([MicroBatch(batch, is_real=True) for batch in batches])
    torch.testing.assert_close(loss, expected.detach())
    for (name, _), gradient in zip(model.named_parameters(), gradients, strict=True):
        torch.testing.assert_close(found[name], gradient, msg=name, rtol=1e-4, atol=1e-6)


def test_a_model_that_predicts_numbers_is_refused(tmp_path):
    sizes = {"vocab_size": 20, "hidden_size": 4}
    regression = RecurrentForSequenceClassification(RecurrentConfig(**sizes, num_labels=1, problem_type="regression"))
    with pytest.raises(ArgumentsError, match="--r_drop 1 compares distributions over classes"):
        StepLoss(regression, len, r_drop=1.0)
    series = TASKS["trajectory"].from_command_line(argv=["--r_drop", "1", "--output_dir", str(tmp_path)])
    with pytest.raises(ArgumentsError, match="--r_drop 1 compares distributions over classes"):
        series.start()


@pytest.mark.parametrize(("dropout", "warnings"), [(0.0, 1), (0.5, 0)])
def test_two_readings_that_are_the_same_are_told_once(dropout, warnings, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(step_loss.logger, "warning", told.append)
    model = BertForSequenceClassification(BertConfig(**{**BERT, "hidden_dropout_prob": dropout}))
    loop = make_loop(tmp_path, model, r_drop=1.0)
    for _ in range(2):
        loop.optimizer_step([MicroBatch(loop.collator(DATA[:8]), is_real=True)])
    assert len(told) == warnings
    assert all("two readings of the first batch's texts are the same" in line for line in told)


@pytest.mark.parametrize("chunk_size", [None, 4])
def test_a_first_batch_without_targets_is_no_sign_of_missing_dropout(chunk_size, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(step_loss.logger, "warning", told.append)
    config = RecurrentConfig(vocab_size=20, hidden_size=8, dropout=0.5, bos_token_id=2, loss_chunk_size=chunk_size)
    loop = make_loop(tmp_path, RecurrentForCausalLM(config), r_drop=1.0)
    texts = torch.randint(3, 20, (2, 7))
    batch = {"input_ids": texts, "labels": torch.full_like(texts, -100)}
    assert loop.optimizer_step([MicroBatch(batch, is_real=True)]) == 0
    assert told == []
