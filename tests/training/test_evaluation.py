"""One kind of object evaluates, a loop in training or a bare model: the same rows, batches and results."""

import numpy as np
import pytest
import torch
from tiny_runs import DATA, ROWS, make_loop
from torch.utils._python_dispatch import TorchDispatchMode

from seqnlp import TransformerDecoderConfig, TransformerDecoderForCausalLM
from seqnlp.training import ModelEvaluator, TrainingArguments, TrainingLoop, start_run
from seqnlp.training.evaluation import cut_into_batches


def test_a_long_row_is_not_evaluated_beside_many_short_ones():
    lengths = [3, 100, 2, 4, 3, 5, 3, 3, 12, 3]
    batches = cut_into_batches(len(lengths), 4, lengths)
    assert batches == [[1], [8], [5, 3], [0, 4, 6, 7], [9, 2]]  # 12 tokens, as 4 of the middling ones have
    assert sorted(row for batch in batches for row in batch) == list(range(10))
    assert cut_into_batches(5, 2) == [[0, 1], [2, 3], [4]]
    assert cut_into_batches(0, 2) == cut_into_batches(0, 2, []) == []


@pytest.fixture
def loop(tmp_path):
    return make_loop(tmp_path, per_device_eval_batch_size=16, seed=7)[1]


@pytest.fixture(params=["loop", "bare model"])
def evaluator(request, loop):
    return loop if request.param == "loop" else ModelEvaluator(loop.unwrapped_model, 16, loop.collator, seed=7)


class Casts(TorchDispatchMode):
    """Counts how often a matrix of the model is cast to bfloat16."""

    def __init__(self, model):
        super().__init__()
        self.shapes, self.count = {weight.shape for weight in model.parameters() if weight.dim() == 2}, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is torch.ops.aten._to_copy.default and kwargs.get("dtype") == torch.bfloat16:
            self.count += args[0].shape in self.shapes
        return function(*args, **kwargs)


def test_weights_are_cast_once_per_batch_however_many_tokens_are_written(tmp_path):
    """In a run in bf16, and what is written and scored is what it is where each forward pass casts anew."""
    torch.manual_seed(0)
    run = start_run("test", "gru", TrainingArguments(str(tmp_path), mixed_precision="bf16", report_to="none"))
    config = TransformerDecoderConfig(vocab_size=20, hidden_size=24, num_attention_heads=2, num_hidden_layers=2)
    model = run.accelerator.prepare_model(TransformerDecoderForCausalLM(config), evaluation_mode=True)
    loop = ModelEvaluator(model, 4, lambda rows: {"input_ids": torch.tensor(rows)})

    def write(tokens):
        def function(model, batch):
            options = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False}
            written = model.generate(**batch, **options, output_logits=True, return_dict_in_generate=True)
            logits = torch.stack(written.logits, dim=1)
            return list(zip(written.sequences.tolist(), logits.tolist(), strict=True))

        with Casts(model) as casts:
            found = loop.evaluate_rows([[5, 6], [7, 8], [9, 10]], function)
        return found, casts.count

    anew, many = write(9)
    loop.run, loop.accelerator = run, run.accelerator
    loop.autocast = lambda: TrainingLoop.autocast(loop)  # a loop's, without training
    (once, few), (_, fewer) = write(9), write(2)
    assert once == anew
    assert few == fewer == 1 + 2 * 7  # the output matrix and seven of each layer
    assert many == 9 * few


def test_predictions_are_every_example_once_in_order(evaluator):
    logits, labels = evaluator.predict(DATA)
    assert labels.tolist() == [row["label"] for row in DATA]
    model = evaluator.unwrapped_model.eval()
    alone = [model(torch.tensor([row])).logits[0].tolist() for row in ROWS]
    np.testing.assert_allclose(logits, alone, rtol=1e-4, atol=1e-6)


def test_rows_come_in_the_same_batches_whoever_evaluates(evaluator):
    """The longest first, and the model as it was before."""
    seen = []

    def note(model, batch):
        assert model is evaluator.unwrapped_model
        assert not model.training
        assert not torch.is_grad_enabled()
        seen.append([row[row > 0].tolist() for row in batch["input_ids"]])
        return seen[-1]

    evaluator.unwrapped_model.train()
    lengths = [len(row) for row in ROWS]
    assert evaluator.evaluate_rows(DATA, note, lengths=lengths) == ROWS
    assert seen == [[ROWS[row] for row in batch] for batch in cut_into_batches(len(ROWS), 16, lengths)]
    assert evaluator.unwrapped_model.training


def test_rows_are_dealt_out_to_processes_and_the_last_round_is_filled(loop, monkeypatch):
    """Process 1 of 2 has the second of three batches, and a row of the third whose result is dropped."""
    second = ModelEvaluator(loop.unwrapped_model, 30, loop.collator)
    second.num_processes, second.process_index = 2, 1
    monkeypatch.setattr("seqnlp.training.evaluation.gather_object", lambda found: found)
    sizes = []
    found = second.evaluate_rows(
        DATA, lambda model, batch: sizes.append(len(batch["labels"])) or batch["labels"].tolist()
    )
    assert sizes == [30, 1]
    assert found == [row["label"] for row in DATA[30:60]]


def test_what_an_evaluation_may_ask_for(evaluator):
    assert (evaluator.seed, evaluator.process_index, evaluator.is_main_process) == (7, 0, True)
    assert evaluator.device == torch.device("cpu")
    with pytest.raises(ValueError, match="The function gave 1 results for a batch of 16 examples"):
        evaluator.evaluate_rows(DATA, lambda model, batch: [0])
    assert evaluator.evaluate_rows([], lambda model, batch: [0]) == []
    sizes = evaluator.evaluate_rows([torch.ones(2)] * 3, lambda model, batch: list(batch.shape[1:]) * 3, torch.stack)
    assert sizes == [2, 2, 2]


def test_a_bare_model_stacks_tensors_unless_told_otherwise(loop):
    rows = [{"values": torch.full((2,), float(row))} for row in range(3)]
    bare = ModelEvaluator(loop.unwrapped_model, 2)
    assert bare.evaluate_rows(rows, lambda model, batch: batch["values"].sum(dim=1).tolist()) == [0, 2, 4]
