"""Models whose loss is a mean over the batch, whatever they are told, train as those whose is a sum."""

import pytest
import torch
from tiny_runs import DATA, TOKENIZER
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
)

from seqnlp.data import LengthGroupedBatchSampler
from seqnlp.training import TrainingArguments, TrainingError, TrainingLoop, start_run
from seqnlp.training.batches import MicroBatch


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


def make_loop(folder, model):
    settings = {"report_to": "none", "num_threads": 1, "greater_is_better": False, "max_grad_norm": 0.0}
    arguments = TrainingArguments(output_dir=str(folder), **settings)
    run = start_run("test", "given", arguments)
    sampler = LengthGroupedBatchSampler([len(row["input_ids"]) for row in DATA], 8, 0)
    collator = DataCollatorWithPadding(TOKENIZER)
    return TrainingLoop(run, arguments, model, DATA, sampler, collator, lambda loop: {"loss": 1.0})


@pytest.mark.parametrize("kind", MODELS)
def test_the_gradient_of_a_step_is_that_of_the_mean_over_all_its_examples(kind, tmp_path):
    torch.manual_seed(0)
    model = MODELS[kind]()
    loop = make_loop(tmp_path, model)
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
