"""A loop over a tiny classifier, and ways to stop it and to look at it."""

import numpy as np
import torch
from transformers import DataCollatorWithPadding

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentForSequenceClassification,
    TransformerConfig,
    TransformerForConditionalGeneration,
)
from seqnlp.data import LengthGroupedBatchSampler, PairCollator, TokenBatchSampler
from seqnlp.metrics import Accuracy
from seqnlp.tokenization import train_tokenizer
from seqnlp.training import TrainingArguments, TrainingLoop, start_run


TOKENIZER = train_tokenizer(["a b c d e f"], "word", 20)
GENERATOR = np.random.default_rng(0)
ROWS = [GENERATOR.integers(4, 10, GENERATOR.integers(1, 9)).tolist() for _ in range(70)]
DATA = [{"input_ids": row, "label": int(4 in row)} for row in ROWS]
ALL_ROWS = len(DATA)


class Interrupted(Exception):
    """Stands for the plug being pulled."""


def interrupt(loop, stop_at):
    def check(loop, micro_batches):
        if loop.step == stop_at:
            raise Interrupted

    loop.on_step_begin.append(check)


def make_loop(
    folder,
    dropout=0.3,
    evaluate=None,
    stop_at=None,
    rows=ALL_ROWS,
    data=None,
    max_tokens=None,
    wrap_collator=lambda collator: collator,
    **arguments,
):
    """
    A run and its loop over the first `rows` of DATA, or over the stream `data`; `stop_at` interrupts it before a step.
    """
    settings = {"report_to": "none", "num_train_epochs": 3, "per_device_train_batch_size": 8, "learning_rate": 0.01}
    settings["greater_is_better"] = arguments.get("metric_for_best_model", "loss") != "loss"
    arguments = TrainingArguments(output_dir=str(folder), **{**settings, "num_threads": 1, **arguments})
    run = start_run("test", "gru", arguments)
    run.record.dataset = {"splits": {"train": {"rows": rows, "fingerprint": "of these rows"}}}
    config = RecurrentConfig(vocab_size=20, hidden_size=8, cell_type="gru", embedding_dropout=dropout, pad_token_id=0)
    lengths = [len(row) for row in ROWS[:rows]]
    if data is not None:
        sampler = None
    elif max_tokens is not None:
        sampler = TokenBatchSampler(lengths, max_tokens, arguments.seed, run.accelerator.num_processes)
    else:
        sampler = LengthGroupedBatchSampler(
            lengths, arguments.per_device_train_batch_size, arguments.seed, pool_batches=2
        )

    def accuracy(loop):
        logits, labels = loop.predict(DATA)
        loss = torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(labels))
        return {**Accuracy().compute(predictions=logits.argmax(-1), references=labels), "loss": float(loss)}

    model = RecurrentForSequenceClassification(config)
    collator = wrap_collator(DataCollatorWithPadding(TOKENIZER))
    loop = TrainingLoop(
        run, arguments, model, DATA[:rows] if data is None else data, sampler, collator, evaluate or accuracy
    )
    if stop_at is not None:
        interrupt(loop, stop_at)
    return run, loop


def make_writer(folder, translates=False, evaluate=lambda loop: {"loss": 1.0}, **arguments):
    """The loop of a language model, or translator, with the words of TOKENIZER; both full of dropout."""
    settings = {"report_to": "none", "per_device_eval_batch_size": 1, "num_threads": 1, "greater_is_better": False}
    arguments = TrainingArguments(output_dir=str(folder), **{**settings, **arguments})
    run = start_run("test", "writer", arguments)
    fields = {"vocab_size": len(TOKENIZER), "decoder_start_token_id": TOKENIZER.bos_token_id}
    fields |= {f"{name}_token_id": getattr(TOKENIZER, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    if translates:
        layers = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "dropout": 0.5}
        model = TransformerForConditionalGeneration(TransformerConfig(**fields, **layers))
    else:
        fields.pop("decoder_start_token_id")
        model = RecurrentForCausalLM(RecurrentConfig(**fields, hidden_size=8, cell_type="gru", head_dropout=0.5))
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():  # with the usual ones every token would be equally likely
        torch.nn.init.normal_(parameter, std=0.7, generator=generator)
    rows = [{"input_ids": row, "labels": row} for row in ROWS[:16]]
    sampler = LengthGroupedBatchSampler([len(row["labels"]) for row in rows], 4, 0, pool_batches=2)
    return TrainingLoop(run, arguments, model, rows, sampler, PairCollator(TOKENIZER), evaluate)


def weights(loop):
    return {name: tensor.clone() for name, tensor in loop.model.state_dict().items()}


def entries(loop):
    """The history without what depends on the clock."""
    return [{k: v for k, v in entry.items() if k != "targets_per_second"} for entry in loop.record.history]
