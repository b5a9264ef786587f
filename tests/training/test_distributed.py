"""Two and four processes over gloo, two nodes, and the death of one."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import distributed_checks
import pytest
import torch
from clean_processes import CLEAN
from safetensors.torch import load_file
from tiny_runs import DATA, make_loop

from seqnlp.training import TrainingArguments, start_run
from seqnlp.training.batches import MicroBatch
from seqnlp.training.run import LONGEST_ALONE


HERE = Path(__file__).parent


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def one_of(process, processes, port, folder, check, is_begun):
    os.environ |= {
        "ACCELERATE_USE_CPU": "true",
        "RANK": str(process),
        "LOCAL_RANK": str(process),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    if is_begun:
        distributed_checks.PartialState(cpu=True)
    check(folder)


def gradient_of_the_whole_batch(folder):
    _, loop = make_loop(folder, dropout=0.0)
    seen = {}
    loop.scheduler.step = lambda: None
    loop.optimizer.step = lambda: seen.update(
        {name: parameter.grad.clone() for name, parameter in loop.model.named_parameters()}
    )
    loss = loop.optimizer_step([MicroBatch(loop.collator(DATA[:32]), True)])
    return {**seen, "loss": loss}


def check_gradients(folder, whole):
    for accumulation in (1, 2):
        gradients = load_file(folder / f"gradients-{accumulation}.safetensors")
        assert gradients.keys() == whole.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, whole[name], rtol=0, atol=1e-6)


def check_going_on_alone(folder):
    """One process trains on the examples that several have left over, and no others."""
    settings = {"rows": 64, "num_train_epochs": 3.0, "per_device_train_batch_size": 4}
    _, loop = make_loop(folder, resume_from_checkpoint="latest", resume_with_changes=True, **settings)
    read = []
    loop.on_step_begin.append(lambda loop, group: read.extend(len(micro.batch["labels"]) for micro in group))
    loop.train()
    assert sum(read) == 32 + 64


def run_together(processes, folder, check, is_begun=True):
    port = free_port()
    group = [
        CLEAN.Process(target=one_of, args=(number, processes, port, folder, check, is_begun), daemon=True)
        for number in range(processes)
    ]
    for process in group:
        process.start()
    deadline = time.monotonic() + 300
    for process in group:
        process.join(max(0, deadline - time.monotonic()))
    codes = [process.exitcode for process in group]
    for process in group:
        process.kill()
    assert codes == [0] * processes


def begin_a_run(folder):
    start_run("toy", "lstm", TrainingArguments(output_dir=str(folder), report_to="none"))
    group = torch.distributed.distributed_c10d._get_default_group()
    assert group.size() == 2
    assert group._get_backend(torch.device("cpu")).options._timeout == LONGEST_ALONE
    torch.distributed.barrier()


def test_the_others_wait_as_long_as_one_may_work_alone(tmp_path):
    assert LONGEST_ALONE.total_seconds() > 3600  # a million texts are tokenized, or baselines fitted to them
    run_together(2, tmp_path, begin_a_run, is_begun=False)


@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_do_what_one_does(processes, tmp_path):
    run_together(processes, tmp_path, distributed_checks.check_everything)
    check_gradients(tmp_path, gradient_of_the_whole_batch(tmp_path / "one"))
    check_going_on_alone(tmp_path / "together")


def test_two_processes_train_sharded_and_compiled(tmp_path):
    run_together(2, tmp_path, distributed_checks.check_other_ways_to_train)


def test_two_nodes_by_rendezvous_and_the_death_of_a_process_ends_both(tmp_path):
    port = free_port()
    nodes = [
        subprocess.Popen(
            [
                *[sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1"],
                *["--rdzv_backend", "c10d", "--rdzv_endpoint", f"127.0.0.1:{port}", "--rdzv_id", "seqnlp"],
                *["--local_addr", "127.0.0.1", str(HERE / "distributed_checks.py"), str(tmp_path)],
            ],
            env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            stdout=(tmp_path / f"node-{number}.out").open("w"),
            stderr=(tmp_path / f"node-{number}.err").open("w"),
        )
        for number in range(2)
    ]
    died = None
    try:
        deadline = time.monotonic() + 300
        while any(node.poll() is None for node in nodes) and time.monotonic() < deadline:
            time.sleep(0.2)
            if died is None and any(node.poll() is not None for node in nodes):
                died = time.monotonic()
        ended = time.monotonic()
    finally:
        for node in nodes:
            node.kill()
    printed = "".join((tmp_path / f"node-{number}.out").read_text() for number in range(2))
    errors = "".join((tmp_path / f"node-{number}.err").read_text() for number in range(2))
    assert "process 0 of 2 is content" in printed, errors
    assert "process 1 of 2 is content" in printed, errors
    assert all(node.returncode for node in nodes)
    assert ended - died < 60
    assert "Signal 9 (SIGKILL)" in errors
    assert "rank      : 1 (local_rank: 0)" in errors, errors
    check_gradients(tmp_path, gradient_of_the_whole_batch(tmp_path / "one"))
