"""What must hold on several processes; every process runs it, and what it finds wrong raises."""

import errno
import math
import os
import signal
import sys
import weakref
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import datasets
import pytest
import torch
from accelerate import Accelerator, DistributedType
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.utils import FullyShardedDataParallelPlugin, gather_object
from safetensors.torch import save_file
from tiny_runs import DATA, TOKENIZER, Interrupted, entries, make_loop, make_writer, weights
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from seqnlp.data import PairCollator, TokenBatchSampler
from seqnlp.tasks import PreparedData
from seqnlp.tasks.translation import Tokenizers, Translation
from seqnlp.tasks.writing import write_on, write_texts
from seqnlp.training import ArgumentsError, CheckpointError, WeightAverager
from seqnlp.training.batches import MicroBatch
from seqnlp.training.evaluation import logits_and_labels


def check_everything(folder: Path) -> None:
    process, processes = PartialState().process_index, PartialState().num_processes
    gradients_of_one_batch_of_32(folder)
    for rows in (70, 3, 1):
        every_example_is_read_once(folder / f"rows-{rows}", rows, processes)
    streams_of_unequal_length_end_together(folder / "stream", process, processes)
    odd_numbers_of_rows_are_evaluated_once(folder / "rows")
    a_resumed_run_is_the_same_run(folder)
    time_is_up_for_all(folder / "time", process)
    a_full_disk_stops_all(folder / "full", process)
    a_full_disk_at_the_end_stops_all(folder / "full-at-the-end", process)
    a_refusal_reaches_all(folder / "refused", process)
    a_run_for_others_to_go_on_with(folder / "together")
    nothing_holds_the_processes_together_at_the_end(folder / "let-go")


def check_other_ways_to_train(folder: Path) -> None:
    a_sharded_run(folder / "sharded")
    muon_orthogonalizes_whole_matrices(folder / "muon")
    sharded_models_write(folder / "writers")
    a_compiled_run(folder / "compiled")


def loop_of(folder, **settings):
    start_anew()
    return make_loop(folder, **settings)[1]


def start_anew():
    """Every process has returned from whatever it did before."""
    PartialState().wait_for_everyone()
    for state in (AcceleratorState, GradientState):
        state._reset_state()


def gradients_of_one_batch_of_32(folder):
    processes = PartialState().num_processes
    for accumulation in (1, 2):
        loop = loop_of(folder / f"gradients-{accumulation}", dropout=0.0)
        size = 32 // processes // accumulation
        mine = range(loop.accelerator.process_index * size, 32, processes * size)
        micro = [MicroBatch(loop.collator(DATA[start : start + size]), True) for start in mine]
        seen = {}
        loop.scheduler.step = lambda: None
        loop.optimizer.step = lambda loop=loop, seen=seen: seen.update(
            {name: parameter.grad.clone() for name, parameter in model_of(loop).named_parameters()}
        )
        loss = loop.optimizer_step(micro)
        assert len(micro) == accumulation
        if loop.accelerator.is_main_process:
            save_file({**seen, "loss": loss}, folder / f"gradients-{accumulation}.safetensors")


def model_of(loop):
    return loop.accelerator.unwrap_model(loop.model)


def every_example_is_read_once(folder, rows, processes):
    """Batches of 8 that do not divide by the processes, and fewer examples than processes."""
    loop = loop_of(folder, rows=rows, num_train_epochs=2.0)
    read = []

    def note(loop, micro_batches):
        real = [micro.batch["input_ids"] for micro in micro_batches if micro.is_real]
        read.extend((loop.step // loop.steps_per_epoch, str(row[row > 0].tolist())) for ids in real for row in ids)

    loop.on_step_begin.append(note)
    loop.train()
    expected = sorted((epoch, str(row["input_ids"])) for epoch in (0, 1) for row in DATA[:rows])
    assert sorted(gather_object(read)) == expected
    assert loop.step == 2 * math.ceil(math.ceil(rows / 8) / processes)
    totals = gather_object([float(sum(tensor.double().sum() for tensor in weights(loop).values()))])
    assert len(set(totals)) == 1


def streams_of_unequal_length_end_together(folder, process, processes):
    """13 examples, also as 3 shards, of which a process may get none."""
    rows = [{"input_ids": row["input_ids"], "label": row["label"], "number": i} for i, row in enumerate(DATA[:13])]

    def shards(shard):
        for number in shard:
            yield from rows[number::3]

    streams = {
        "plain": rows,
        "shards": datasets.IterableDataset.from_generator(shards, gen_kwargs={"shard": [0, 1, 2]}),
    }
    for name, stream in streams.items():
        numbers = []

        settings = {"max_train_steps": 4, "checkpointing_steps": "2", "per_device_train_batch_size": 2}
        loop = loop_of(folder / name, data=stream, **settings)

        def collate(rows, numbers=numbers, collator=loop.collator):
            numbers.append([row["number"] for row in rows])
            return collator([{key: row[key] for key in ("input_ids", "label")} for row in rows])

        loop.batches.collator = collate
        groups = []

        def note(loop, group, groups=groups):
            if loop.epoch == 0:
                groups.append([len(micro.batch["input_ids"]) for micro in group if micro.is_real])

        loop.on_step_begin.append(note)
        loop.train()
        read = gather_object([size for group in groups for size in group])
        assert sum(read) == (13 if len(groups) < 4 else min(13, sum(read))), read
        if len(groups) < 4:
            own = numbers[1 : 1 + sum(map(len, groups))]  # the first settles the gradient buckets
            first_pass = gather_object([number for batch in own for number in batch])
            assert sorted(first_pass) == list(range(13)), first_pass


def odd_numbers_of_rows_are_evaluated_once(folder):
    loop = loop_of(folder, per_device_eval_batch_size=3)

    def ids_of(model, batch):
        return [row[row > 0].tolist() for row in batch["input_ids"]]

    for rows in (0, 1, 2, 7, 33):
        ids = loop.evaluate_rows(DATA[:rows], ids_of)
        assert ids == [row["input_ids"] for row in DATA[:rows]]
        lengths = [len(row["input_ids"]) for row in DATA[:rows]]
        assert loop.evaluate_rows(DATA[:rows], ids_of, lengths=lengths) == ids
    assert loop.predict(DATA[:33]).labels.tolist() == [row["label"] for row in DATA[:33]]


def a_resumed_run_is_the_same_run(folder):
    settings = {
        "num_train_epochs": 2.0,
        "checkpointing_steps": "2",
        "eval_steps": 2,
        "max_tokens": 40,
        "ema_decay": 0.9,
    }
    whole = loop_of(folder / "whole", **settings)
    assert isinstance(whole.batches.batch_sampler, TokenBatchSampler)
    whole.train()
    cut = loop_of(folder / "cut", stop_at=3, **settings)
    try:
        cut.train()
    except Interrupted:
        pass
    else:
        raise AssertionError("it was not interrupted")
    resumed = loop_of(folder / "cut", resume_from_checkpoint="latest", **settings)
    resumed.train()
    assert entries(resumed) == entries(whole)
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(resumed)[name]), name


class ShardingAccelerator(Accelerator):
    """Accelerate shards on accelerators alone: here it is told that these processes are to be sharded."""

    def __init__(self, **settings):
        plugin = FullyShardedDataParallelPlugin(
            fsdp_version=2, auto_wrap_policy="TRANSFORMER_BASED_WRAP", state_dict_type="FULL_STATE_DICT"
        )
        super().__init__(**settings, fsdp_plugin=plugin)
        self.state.fsdp_plugin = plugin
        self.state.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP


@contextmanager
def sharding():
    """Runs that begin here are sharded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seqnlp.training.run.Accelerator", ShardingAccelerator)
        patch.setitem(PartialState._shared_state, "distributed_type", PartialState().distributed_type)
        yield


def a_sharded_run(folder):
    """Under FSDP2: the weights of a run under DDP, the best model loaded and saved whole, and resumed to the bit."""
    settings = {"num_train_epochs": 2.0, "checkpointing_steps": "2", "eval_steps": 2, "ema_decay": 0.9}
    replicated = loop_of(folder / "replicated", **settings)
    replicated.train()
    with sharding():
        whole = loop_of(folder / "whole", **settings)
        assert all(isinstance(parameter, DTensor) for parameter in whole.model.parameters())
        whole.train()
        cut = loop_of(folder / "cut", stop_at=3, **settings)
        with pytest.raises(Interrupted):
            cut.train()
        resumed = loop_of(folder / "cut", resume_from_checkpoint="latest", **settings)
        resumed.train()
    assert entries(resumed) == entries(whole)
    for name, tensor in replicated.accelerator.unwrap_model(replicated.model).state_dict().items():
        torch.testing.assert_close(weights(whole)[name].full_tensor(), tensor, rtol=0, atol=1e-5)
        assert torch.equal(weights(whole)[name].full_tensor(), weights(resumed)[name].full_tensor()), name


def muon_orthogonalizes_whole_matrices(folder):
    """Of shards it takes the matrices together; its products are in bfloat16, and summed up in another order."""
    settings = {"max_train_steps": 2, "optimizer": "muon"}
    replicated = loop_of(folder / "replicated", **settings)
    replicated.train()
    with sharding():
        sharded = loop_of(folder / "sharded", **settings)
        sharded.train()
    for name, tensor in model_of(replicated).state_dict().items():
        torch.testing.assert_close(weights(sharded)[name].full_tensor(), tensor, rtol=0, atol=1e-3)


def sharded_models_write(folder):
    """Trained sharded they write what they do trained whole, though texts end at different times in the processes."""
    source = [TOKENIZER(text)["input_ids"] for text in ("a b c", "d", "e f", "f", "a", "b b b b b", "c a")]
    rows = datasets.Dataset.from_dict({"input_ids": source, "labels": source})

    def writer(folder, **settings):
        start_anew()
        loop = make_writer(folder, max_train_steps=2, **settings)
        loop.train()
        return loop

    def written(folder):
        averager, scores = WeightAverager(2), iter((0.0, 1.0))  # the mean is the better one
        evaluation = {"evaluate": lambda loop: averager.add(loop) or {"loss": 1.0}, "eval_steps": 1}
        loop = writer(folder / "translator", translates=True, **evaluation)
        assert averager.keep_better(loop, lambda: next(scores)) == {"best": 0.0, "average of 2": 1.0}
        task = Translation.from_command_line(argv=[])
        data = PreparedData(None, Tokenizers(TOKENIZER, TOKENIZER), {"rows": rows}, PairCollator(TOKENIZER))
        found = [task.translate(loop, data, "rows", num_beams=beams) for beams in (1, 3)]
        found.append(task.loss(loop, data, "rows"))
        loop = writer(folder / "writer")
        found.append(write_texts(loop, TOKENIZER, "a", 5, 12, temperature=1e-6))
        return [*found, [write_on(loop, TOKENIZER, prompt, 12, temperature=1e-6) for prompt in ("a", "b c")]]

    whole = written(folder / "whole")
    assert len({len(text.split()) for text in whole[0]}) > 1, whole
    with sharding():
        sharded = written(folder / "sharded")
    assert sharded[:2] == whole[:2]
    assert math.isclose(sharded[2], whole[2], rel_tol=1e-4)
    assert sharded[3:] == whole[3:]


def a_compiled_run(folder):
    settings = {"max_train_steps": 4, "gradient_accumulation_steps": 2, "dropout": 0.0}
    plain = loop_of(folder / "plain", **settings)
    plain.train()
    with pytest.MonkeyPatch.context() as patch:
        # Traced and taken apart as ever, but not translated to C++.
        patch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
        compiled = loop_of(folder / "compiled", torch_compile=True, **settings)
        compiled.train()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    assert weights(compiled).keys() == weights(plain).keys()
    for name, tensor in weights(plain).items():
        torch.testing.assert_close(weights(compiled)[name], tensor, rtol=0, atol=1e-5)


def time_is_up_for_all(folder, process):
    loop = loop_of(folder, max_train_minutes=5)
    loop.clock.now = lambda: 300.0 * (process == 1 and loop.step >= 2)  # clocks differ
    loop.train()
    assert loop.step == 3


def full(*arguments, **settings):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def a_full_disk_stops_all(folder, process):
    """The last process alone cannot write; nobody waits for it."""
    loop = loop_of(folder, checkpointing_steps="2")
    if process == PartialState().num_processes - 1:
        loop.accelerator.save_state = full
    expected = "no space is left" if loop.accelerator.save_state is full else "another process could not write"
    with pytest.raises(CheckpointError, match=expected):
        loop.train()


def a_full_disk_at_the_end_stops_all(folder, process):
    """The main process alone writes weights and record; where it cannot, nobody waits for it."""
    start_anew()
    run, loop = make_loop(folder, max_train_steps=2)
    expected = "could not be written.*no space is left" if process == 0 else "another process could not write"
    loop.train()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model_of(loop)), "save_pretrained", full)
        with pytest.raises(CheckpointError, match=expected):
            run.save(loop.model, TOKENIZER)
        with pytest.raises(CheckpointError, match=expected):
            WeightAverager(1).add(loop)
    run.save(loop.model, TOKENIZER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(run.record), "write", full)
        with pytest.raises(CheckpointError, match=f"run.json {expected}" if process == 0 else expected):
            run.finish()


def a_refusal_reaches_all(folder, process):
    """The main process alone looks at the folder."""
    folder.parent.mkdir(exist_ok=True)
    if process == 0:
        folder.write_text("a file")
    PartialState().wait_for_everyone()
    with pytest.raises(ArgumentsError, match="is a file; name a folder"):
        loop_of(folder)


def nothing_holds_the_processes_together_at_the_end(folder):
    """But what Python itself holds, and gives up without waiting for threads that wait for it."""
    loop = loop_of(folder, max_train_steps=2)
    loop.train()
    wrapped = weakref.ref(loop.model)
    assert isinstance(wrapped(), DistributedDataParallel)
    before = weights(loop)
    loop.let_go()
    assert wrapped() is None
    assert loop.model is loop.unwrapped_model
    assert all(tensor.equal(before[f"module.{name}"]) for name, tensor in weights(loop).items())
    assert len(loop.evaluate_rows(DATA[:5], logits_and_labels)) == 5


def a_run_for_others_to_go_on_with(folder):
    """Cut short after 32 of 64 examples of its second epoch of three."""
    settings = {"rows": 64, "num_train_epochs": 3.0, "checkpointing_steps": "1", "per_device_train_batch_size": 4}
    steps = 64 // 4 // PartialState().num_processes
    loop = loop_of(folder, stop_at=steps + steps // 2, **settings)
    with pytest.raises(Interrupted):
        loop.train()


if __name__ == "__main__":
    torch.set_num_threads(1)
    PartialState(cpu=True)
    check_everything(Path(sys.argv[1]))
    print(f"process {PartialState().process_index} of {PartialState().num_processes} is content", flush=True)
    PartialState().wait_for_everyone()
    if PartialState().process_index == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    PartialState().wait_for_everyone()  # the dead one never comes
