"""The training loop on a GPU: it learns, it resumes to the bit, and two processes share a card."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.gpu_setting import Row, Setting
from benchmarks.peers import PAD, Sizes, our_decoder, our_encoder, our_lstm, our_translator, random_tokens
from benchmarks.training_loops import PairCollator, make_loop
from seqnlp.data import LanguageModelCollator
from seqnlp.training import TrainingLoop


def _sizes(setting: Setting) -> Sizes:
    return Sizes(vocab_size=64, width=16 if setting.is_tiny else 256, layers=2, heads=2 if setting.is_tiny else 4)


def _examples(kind: str, count: int, length: int) -> list[dict]:
    """What is learned in few steps: tokens that repeat, one token to copy for ever, a class that one token tells."""
    if kind == "translator":
        rows = random_tokens(count, 1, 64).expand(-1, length)
        return [{"input_ids": row, "labels": row} for row in rows]
    halves = random_tokens(count, length // 2, 64)
    rows = torch.cat([halves, halves], dim=1)
    if kind == "classifier":
        return [{"input_ids": row, "labels": row[0] % 2} for row in rows]
    return [{"input_ids": row, "labels": row} for row in rows]


def _loop(setting: Setting, kind: str, folder: Path, **arguments) -> TrainingLoop:
    batch_size, length = setting.pick((64, 64), (64, 64), (4, 8))
    make, collator = {
        "classifier": (our_encoder, PairCollator()),
        "language model": (our_decoder, LanguageModelCollator(PAD)),
        "LSTM language model": (lambda sizes: our_lstm(sizes, width=sizes.width), LanguageModelCollator(PAD)),
        "translator": (our_translator, PairCollator()),
    }[kind]
    torch.manual_seed(0)
    examples = _examples(kind, 8 * batch_size, length)
    never = {"eval_steps": 10**6, "checkpointing_steps": str(10**6)}
    given = {"output_dir": str(folder), "learning_rate": 2e-3, **never, **arguments}
    return make_loop(lambda: make(_sizes(setting)), examples, collator, batch_size, **given)


class _Interrupted(Exception):
    """What ends a run in the middle, as a machine that is taken away does."""


def _interrupt_behind(step: int):
    def check(loop, micro_batches) -> None:
        if loop.step > step:
            raise _Interrupted

    return check


def training_loops(setting: Setting) -> Iterator[Row]:
    """200 steps of each kind by the training loop in bfloat16: the loss falls, and tokens per second."""
    steps = setting.pick(200, 60, 3)
    for kind in ("classifier", "language model", "LSTM language model", "translator"):
        with TemporaryDirectory() as folder:
            settings = {"max_train_steps": steps, "mixed_precision": "bf16", "logging_steps": max(1, steps // 10)}
            loop = _loop(setting, kind, Path(folder) / "run", **settings)
            seconds = setting.seconds_of(loop.train)
            losses = [entry["train_loss"] for entry in loop.run.record.history if "train_loss" in entry]
        limit = None if setting.is_tiny else 0.7
        yield Row(f"{kind}: last loss over first", losses[-1] / losses[0], limit=limit, remark=f"{steps} steps")
        yield Row(f"{kind}: a step, checkpoint included", 1000 * seconds / steps, "ms")


def resume(setting: Setting) -> Iterator[Row]:
    """A run that is resumed at its half against one that never stopped, with deterministic kernels."""
    steps = setting.pick(20, 10, 4)
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(True)
    for kind in ("language model", "LSTM language model"):
        with TemporaryDirectory() as folder:
            common = {"max_train_steps": steps, "checkpointing_steps": str(steps // 2), "mixed_precision": "bf16"}
            whole = _loop(setting, kind, Path(folder) / "whole", **common)
            whole.train()
            halved = _loop(setting, kind, Path(folder) / "halved", **common)
            halved.on_step_begin.append(_interrupt_behind(steps // 2))
            with contextlib.suppress(_Interrupted):
                halved.train()
            resumed = _loop(setting, kind, Path(folder) / "halved", resume_from_checkpoint="latest", **common)
            resumed.train()
            pairs = zip(whole.model.parameters(), resumed.model.parameters(), strict=True)
            different = sum(int((one != other).sum()) for one, other in pairs)
        yield Row(f"{kind}: weights that differ", different, limit=0, remark=f"{steps} steps, resumed at {steps // 2}")


# Two processes with half of the rows each, over gloo: NCCL does not take one card twice.
_TWO = """
import sys, torch, torch.distributed as dist
from benchmarks.peers import Sizes, our_decoder
device, file = sys.argv[1:]
dist.init_process_group("gloo")
torch.manual_seed(0)
model = our_decoder(Sizes(vocab_size=64, width=32, layers=2, heads=2), loss_chunk_size=None).to(device)
rows = torch.randint(4, 64, (8, 16), generator=torch.Generator().manual_seed(1)).to(device)
shared = torch.nn.parallel.DistributedDataParallel(model)
mine = rows.chunk(2)[dist.get_rank()]
shared(input_ids=mine, labels=mine).loss.backward()
if dist.get_rank() == 0:
    ours = [weight.grad.clone() for weight in model.parameters()]
    model.zero_grad()
    model(input_ids=rows, labels=rows).loss.backward()
    pairs = zip(ours, (weight.grad for weight in model.parameters()))
    open(file, "w").write(str(max(float((a - b).abs().max() / b.abs().max().clamp(min=1e-9)) for a, b in pairs)))
dist.destroy_process_group()
"""


def processes(setting: Setting) -> Iterator[Row]:
    """The averaged gradients of two processes on one card against those of one with all rows."""
    with TemporaryDirectory() as folder:
        script, file = Path(folder) / "two.py", Path(folder) / "found"
        script.write_text(_TWO)
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])}
        command = [*launch, str(script), setting.device, str(file)]
        run = subprocess.run(command, env=environment, capture_output=True, text=True)
        if run.returncode:
            sys.stderr.write(run.stderr[-3000:])
            raise RuntimeError("two processes over gloo did not end well")
        yield Row("gradients of two processes: difference", float(file.read_text()), limit=1e-4, remark="gloo")
