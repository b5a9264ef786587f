"""Runs that are told to stop, left by their launcher, or without one of their processes."""

import multiprocessing
import os
import re
import signal
import socket
import sys
import threading
import time

import pytest
import torch
from clean_processes import CLEAN
from tiny_runs import DATA, entries, make_loop, weights
from transformers import StoppingCriteria

from seqnlp import RecurrentConfig, RecurrentForCausalLM
from seqnlp.signals import SIGNALS
from seqnlp.training import CheckpointFolder, run_recipe, stopping
from seqnlp.training.evaluation import logits_and_labels
from seqnlp.training.stopping import RunStopped, StopSignals, follow_launcher


SETTINGS = {"checkpointing_steps": "9", "max_train_steps": 18}


def talk_to(log):
    """What this process prints goes to a file."""
    with open(log, "a") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    sys.stdout, sys.stderr = (os.fdopen(os.dup(stream), "w", buffering=1) for stream in (1, 2))


def run_as_a_recipe(log, main):
    talk_to(log)
    run_recipe(main)


def train_as_a_recipe(folder, log, hook, settings):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # who runs the tests under nohup ignores it

    def main():
        loop = make_loop(folder, **SETTINGS, **settings)[1]
        loop.on_step_begin.append(hook)
        loop.train()

    run_as_a_recipe(log, main)


def trained(tmp_path, hook, **settings):
    """How a run in a process of its own ended, and what it printed."""
    log = tmp_path / "log"
    child = CLEAN.Process(target=train_as_a_recipe, args=(tmp_path / "run", log, hook, settings))
    child.start()
    child.join(120)
    return child.exitcode, log.read_text()


@pytest.mark.parametrize(
    ("name", "workers"),
    [
        *((name, workers) for name in ("SIGTERM", "SIGUSR1", "SIGINT") for workers in (0, 2)),
        *((name, 0) for name in ("SIGUSR2", "SIGXCPU", "SIGHUP")),  # of Grid Engine, a limit, a closed terminal
    ],
)
def test_a_signal_ends_the_run_after_its_step_with_a_checkpoint(tmp_path, name, workers):
    number = getattr(signal, name)

    def tell(loop, micro_batches):
        if loop.step == 4:  # the workers too, as SLURM and a terminal do
            os.kill(os.getpid(), number)
            for worker in multiprocessing.active_children():
                os.kill(worker.pid, number)

    code, printed = trained(tmp_path, tell, dataloader_num_workers=workers)
    assert code == 128 + number
    said = [line for line in printed.replace("\r", "\n").splitlines() if name in line]
    assert len(said) == 1, printed
    assert re.search(
        r"stopped at step 5 of 18, with a checkpoint in .*/checkpoints; go on by the same command and --", said[0]
    )
    assert "Traceback" not in printed
    whole = make_loop(tmp_path / "whole", **SETTINGS)[1]
    whole.train()
    resumed = make_loop(tmp_path / "run", resume_from_checkpoint="latest", **SETTINGS)[1]
    begun = []
    resumed.on_step_begin.append(lambda loop, batches: begun.append(loop.step))
    resumed.train()
    assert begun == list(range(5, 18))
    assert all(torch.equal(tensor, weights(whole)[key]) for key, tensor in weights(resumed).items())


def test_a_second_interruption_does_not_wait(tmp_path):
    def tell(loop, micro_batches):
        if loop.step == 4:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)

    code, printed = trained(tmp_path, tell)
    assert code == 130
    assert printed.endswith(
        "SIGINT: ended. A run that has written a checkpoint goes on by the same command and --resume_from_checkpoint "
        "latest.\n"
    )
    assert "Traceback" not in printed


def test_a_second_sigterm_does_not_lose_the_checkpoint(tmp_path):
    """SLURM tells every process, and a launcher tells its workers once more."""
    save = CheckpointFolder.save

    def save_and_be_told_again(self, accelerator, checkpoint):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
        save(self, accelerator, checkpoint)

    def tell(loop, micro_batches):
        if loop.step == 4:
            CheckpointFolder.save = save_and_be_told_again
            os.kill(os.getpid(), signal.SIGTERM)

    code, printed = trained(tmp_path, tell)
    assert code == 128 + signal.SIGTERM, printed
    assert (tmp_path / "run" / "checkpoints" / "step-00000005").is_dir()


def told_in_the_third_batch(number, at_step):
    """A validation of five batches; after that step the process is told to stop in the third of them."""

    def evaluate(loop):
        calls = []

        def function(model, batch):
            calls.append(loop.step)
            if len(calls) == 3 and loop.step == at_step:
                os.kill(os.getpid(), number)
            return logits_and_labels(model, batch)

        rows = loop.evaluate_rows(DATA[:40], function)
        print(f"{len(calls)} batches at {loop.step}", flush=True)
        return {"loss": float(sum(logits[0] for logits, _ in rows))}

    return evaluate


@pytest.mark.parametrize("at_step", [9, 18], ids=["in training", "after the last step"])
def test_a_signal_during_a_validation_ends_it_after_its_batch(tmp_path, at_step):
    """The validation that was broken off is made good when the run goes on: it ends as one that was left alone."""
    settings = {"eval_steps": 3, "per_device_eval_batch_size": 8, "report_to": "none", "num_threads": 1}

    def main():
        evaluate = told_in_the_third_batch(signal.SIGUSR1, at_step)
        make_loop(tmp_path / "run", evaluate=evaluate, **SETTINGS, **settings)[1].train()

    child = CLEAN.Process(target=run_as_a_recipe, args=(tmp_path / "log", main))
    child.start()
    child.join(120)
    printed = (tmp_path / "log").read_text()
    assert child.exitcode == 128 + signal.SIGUSR1, printed
    assert f"SIGUSR1: stopped at step {at_step} of 18, with a checkpoint in " in printed
    assert f"5 batches at {at_step - 3}\n" in printed
    assert f"batches at {at_step}\n" not in printed
    evaluate = told_in_the_third_batch(signal.SIGUSR1, None)
    loops = [make_loop(tmp_path / "whole", evaluate=evaluate, **SETTINGS, **settings)[1]]
    resume = {"resume_from_checkpoint": "latest"}
    loops.append(make_loop(tmp_path / "run", evaluate=evaluate, **resume, **SETTINGS, **settings)[1])
    for loop in loops:
        loop.train()
    assert [entry["step"] for entry in entries(loops[0]) if "validation_loss" in entry] == [3, 6, 9, 12, 15, 18]
    assert entries(loops[0]) == entries(loops[1])
    assert loops[0].best.state() == loops[1].best.state()
    assert all(torch.equal(tensor, weights(loops[0])[key]) for key, tensor in weights(loops[1]).items())


def test_a_signal_during_a_generation_ends_it_at_a_token(tmp_path):
    """In the last batch of a validation, whose texts are none then: they are made when the run goes on."""
    fields = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    writer, told = RecurrentForCausalLM(RecurrentConfig(vocab_size=20, hidden_size=8, **fields)), []

    class Tell(StoppingCriteria):
        def __call__(self, input_ids, scores, **kwargs):
            told.append(input_ids.shape[1])
            if len(told) == 4:
                os.kill(os.getpid(), signal.SIGTERM)
            return torch.zeros(len(input_ids), dtype=torch.bool)

    def evaluate(loop):
        def write(model, batch):
            criteria = [Tell(), *loop.stopping_criteria()]
            return writer.generate(
                batch["input_ids"][:, :1], min_new_tokens=10_000, max_new_tokens=10_000, stopping_criteria=criteria
            ).tolist()

        rows = loop.evaluate_rows(DATA[:3], write)
        print(f"whole: {len(rows[0])} tokens", flush=True)
        return {"loss": 1.0}

    def main():
        try:
            make_loop(tmp_path / "run", evaluate=evaluate, eval_steps=3, **SETTINGS)[1].train()
        finally:
            print(f"{len(told)} tokens", flush=True)

    child = CLEAN.Process(target=run_as_a_recipe, args=(tmp_path / "log", main))
    child.start()
    child.join(120)
    printed = (tmp_path / "log").read_text()
    assert child.exitcode == 128 + signal.SIGTERM, printed
    assert "4 tokens\n" in printed
    assert "SIGTERM: stopped at step 3 of 18, with a checkpoint in " in printed
    assert ("whole:" in printed, "validation loss" in printed) == (False, False)
    begun = []

    def note(loop):
        begun.append(loop.step)
        return {"loss": 1.0}

    make_loop(tmp_path / "run", evaluate=note, resume_from_checkpoint="latest", eval_steps=3, **SETTINGS)[1].train()
    assert begun == [3, 6, 9, 12, 15, 18]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT"])
def test_before_and_after_training_a_signal_ends_the_run_at_once(tmp_path, name):
    """Even where a part of it may fail alone."""
    number = getattr(signal, name)

    def main():
        run, _ = make_loop(tmp_path / "run", **SETTINGS)
        run.attempt("The baselines", lambda: os.kill(os.getpid(), number) or time.sleep(60))

    child = CLEAN.Process(target=run_as_a_recipe, args=(tmp_path / "log", main))
    child.start()
    child.join(30)
    assert child.exitcode == 128 + number
    assert (tmp_path / "log").read_text() == (
        f"{name}: ended. A run that has written a checkpoint goes on by the same command and "
        "--resume_from_checkpoint latest.\n"
    )


def test_signals_are_as_before_when_training_is_over():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)]
    try:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        with StopSignals() as signals:
            os.kill(os.getpid(), signal.SIGUSR1)  # ignored, as nohup and its like want it
            assert not any(signals.counts())
            os.kill(os.getpid(), signal.SIGTERM)
            assert dict(zip(SIGNALS, signals.counts(), strict=True))[signal.SIGTERM] == sum(signals.counts()) == 1
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR1, before[1])
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)] == before


def launch(folder, log, is_launched):
    """A launcher, itself a clean process, with one worker of its own, which trains slowly."""
    os.environ.pop("ACCELERATE_MIXED_PRECISION", None)
    os.environ.pop("TORCHELASTIC_RUN_ID", None)
    if is_launched:
        os.environ["TORCHELASTIC_RUN_ID"] = "none"

    def slow(loop, micro_batches):
        print(f"{os.getpid()} at {loop.step}", flush=True)
        time.sleep(0.3)

    worker = multiprocessing.get_context("fork").Process(target=train_as_a_recipe, args=(folder, log, slow, {}))
    worker.start()
    worker.join()


@pytest.mark.parametrize("is_launched", [True, False])
def test_a_worker_ends_with_its_launcher_but_not_with_a_shell(tmp_path, is_launched):
    log = tmp_path / "log"
    log.touch()
    launcher = CLEAN.Process(target=launch, args=(tmp_path / "run", log, is_launched))
    launcher.start()
    wait_for(lambda: " at 2\n" in log.read_text())
    worker = int(re.search(r"(\d+) at 2\n", log.read_text()).group(1))
    launcher.kill()
    launcher.join()
    wait_for(lambda: not is_running(worker))
    steps = len(re.findall(r"\d+ at \d+\n", log.read_text()))
    assert ("SIGTERM: stopped at step" in log.read_text()) == is_launched
    assert steps < 18 if is_launched else steps == 18
    assert (tmp_path / "run" / "checkpoints" / f"step-{steps:08d}").is_dir()


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_launcher_is_followed_once(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    follow_launcher()
    follow_launcher()
    assert [thread.name for thread in threading.enumerate()].count("follow_launcher") == 1


def one_of_two(rank, port, folder, log, behave, seconds_of_silence):
    ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    os.environ |= {"ACCELERATE_USE_CPU": "true", **{name: str(value) for name, value in ranks.items()}}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    stopping.SECONDS_OF_SILENCE = seconds_of_silence

    def hook(loop, micro_batches):
        behave(rank, loop)

    train_as_a_recipe(folder, log, hook, {})


def two(tmp_path, behave, seconds_of_silence=stopping.SECONDS_OF_SILENCE):
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    log = tmp_path / "log"
    common = port, tmp_path / "run", log, behave, seconds_of_silence
    pair = [CLEAN.Process(target=one_of_two, args=(rank, *common)) for rank in (0, 1)]
    for process in pair:
        process.start()
    return pair, log


def test_two_processes_stop_in_the_same_step_when_one_is_told(tmp_path):
    def behave(rank, loop):
        if (rank, loop.step) == (1, 3):
            os.kill(os.getpid(), signal.SIGUSR1)

    pair, log = two(tmp_path, behave)
    for process in pair:
        process.join(120)
    assert [process.exitcode for process in pair] == [128 + signal.SIGUSR1] * 2, log.read_text()
    assert log.read_text().count("SIGUSR1: stopped at step 4 of 18") == 1
    assert "18 steps of training, on 1 CPU thread in each of 2 processes\n" in log.read_text()
    assert (tmp_path / "run" / "checkpoints" / "step-00000004").is_dir()


@pytest.mark.parametrize("stopped", [0, 1])
def test_a_process_that_is_stopped_is_named_and_does_not_hold_the_others(tmp_path, stopped):
    def behave(rank, loop):
        if (rank, loop.step) == (stopped, 3):
            os.kill(os.getpid(), signal.SIGSTOP)

    pair, log = two(tmp_path, behave, seconds_of_silence=3.0)
    try:
        pair[1 - stopped].join(60)
        assert pair[1 - stopped].exitcode == 1, log.read_text()
        printed = log.read_text()
        # Without a launcher it is process 0 that holds the store.
        who = "process 1" if stopped else "process 0, or whatever else holds the store of the processes,"
        assert f"error: {who} has given no sign of life for 3 seconds" in printed, printed
        assert "Traceback" not in printed
    finally:
        for process in pair:
            process.kill()
            process.join()


def test_the_stopped_run_is_told_by_its_message_alone():
    assert str(RunStopped(15, "SIGTERM: stopped")) == "SIGTERM: stopped"
