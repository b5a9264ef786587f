"""A run's results, what may fail beside them, and what a process prints when it ends badly."""

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from clean_processes import CLEAN
from tiny_runs import TOKENIZER, make_loop
from transformers import AutoTokenizer

from seqnlp import RecurrentForSequenceClassification
from seqnlp.training import ArgumentsError, CheckpointError, run_recipe


def full(*arguments, **settings):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.goes_on_without("The baselines", "The samples")
def test_results_are_there_before_anything_that_may_fail(tmp_path, caplog):
    run, loop = make_loop(tmp_path, max_train_steps=2)
    loop.train()
    model = run.save(loop.model, TOKENIZER)
    loaded = RecurrentForSequenceClassification.from_pretrained(tmp_path)
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in model.state_dict().items())
    assert AutoTokenizer.from_pretrained(tmp_path).get_vocab() == TOKENIZER.get_vocab()
    assert not (tmp_path / "run.json").exists()

    made = [run.attempt("The baselines", lambda: 1 / 0), run.attempt("The report", lambda: "made")]
    assert made == [None, "made"]
    assert [record.getMessage() for record in caplog.records] == [
        "The baselines could not be made: ZeroDivisionError: division by zero"
    ]
    run.attempt("The samples", full, everywhere=True)
    assert caplog.records[-1].getMessage() == "The samples could not be made: no space is left on the disk"
    with pytest.raises(KeyboardInterrupt):
        run.attempt("The pictures", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    run.finish()
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["tokenizer"] == {"class": type(TOKENIZER).__name__, "vocab_size": len(TOKENIZER)}
    assert not (tmp_path / "checkpoints" / "unfinished").exists()


@pytest.mark.parametrize(("given", "kept"), [(None, "64"), ("512", "512")])
def test_a_run_on_a_cpu_keeps_few_compiled_products_unless_its_user_says_how_many(tmp_path, monkeypatch, given, kept):
    name = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    monkeypatch.setenv(name, given or "")
    if given is None:
        monkeypatch.delenv(name)
    make_loop(tmp_path, max_train_steps=1)
    assert os.environ[name] == kept


@pytest.mark.parametrize("what", ["weights", "tokenizer", "run.json"])
def test_a_full_disk_at_the_end_is_one_line_and_what_was_there_stays(tmp_path, monkeypatch, what):
    run, loop = make_loop(tmp_path, max_train_steps=2)
    loop.train()
    owner, name = {
        "weights": (RecurrentForSequenceClassification, "save_pretrained"),
        "tokenizer": (type(TOKENIZER), "save_pretrained"),
        "run.json": (type(run.record), "write"),
    }[what]
    monkeypatch.setattr(owner, name, full)

    def end():
        run.save(loop.model, TOKENIZER)
        run.finish()

    with pytest.raises(CheckpointError, match=r"could not be written to .*: no space is left on the disk") as raised:
        end()
    assert "\n" not in str(raised.value)
    assert f"The last good checkpoint is {tmp_path}/checkpoints/step-00000002; go on by" in str(raised.value)
    assert not list(tmp_path.rglob("tmp-*"))
    assert (tmp_path / "checkpoints" / "unfinished").exists()
    assert (tmp_path / "model.safetensors").exists() == (what == "run.json")
    monkeypatch.undo()
    run, loop = make_loop(tmp_path, resume_from_checkpoint="latest", max_train_steps=2)
    loop.train()
    run.save(loop.model, TOKENIZER)
    run.finish()
    assert (tmp_path / "run.json").exists()


def test_errors_for_the_user_are_one_line_and_others_keep_their_traceback(capsys):
    def wrong():
        raise ArgumentsError("--seed x is no number.")

    with pytest.raises(SystemExit) as raised:
        run_recipe(wrong)
    assert raised.value.code == 1
    assert capsys.readouterr().err == "error: --seed x is no number.\n"
    with pytest.raises(ZeroDivisionError):
        run_recipe(lambda: 1 / 0)


def rust():
    raise RuntimeError("I/O error: No space left on device (os error 28)")


def behind():
    try:
        full()
    except OSError as error:
        raise ValueError("the cache could not be made") from error


@pytest.mark.parametrize("take", [lambda: torch.empty(10**15), lambda: np.empty(10**15)])
def test_memory_that_does_not_suffice_is_one_line(capsys, take):
    with pytest.raises(SystemExit) as raised:
        run_recipe(take)
    assert raised.value.code == 1
    printed = capsys.readouterr().err
    assert printed.startswith("error: the memory does not suffice (")
    assert "--per_device_train_batch_size" in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize("fail", [full, rust, behind])
def test_a_full_disk_is_one_line_wherever_it_is_met(capsys, fail):
    with pytest.raises(SystemExit) as raised:
        run_recipe(fail)
    assert raised.value.code == 1
    printed = capsys.readouterr().err
    assert printed.startswith("error: no space is left on the disk (")
    assert os.strerror(errno.ENOSPC) in printed  # of what was met first, whatever came of it
    assert printed.count("\n") == 1


def gone():
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def test_the_thread_of_a_tracker_that_cannot_write_prints_no_traceback(monkeypatch):
    told = []
    trackers = type("Writer", (threading.Thread,), {"__module__": "tensorboard.summary"})
    monkeypatch.setattr(threading, "excepthook", lambda thread: told.append(thread.exc_type))

    def main():
        for kind, fails in ((threading.Thread, (full, lambda: 1 / 0, gone)), (trackers, (full, gone))):
            for fail in fails:
                thread = kind(target=fail)
                thread.start()
                thread.join()

    run_recipe(main)
    assert told == [ZeroDivisionError, FileNotFoundError]


def test_a_working_folder_that_is_gone_is_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def main():
        (tmp_path / "work").rmdir()
        Path("a").absolute()

    with pytest.raises(SystemExit):
        run_recipe(main)
    monkeypatch.chdir(tmp_path)
    printed = capsys.readouterr().err
    assert printed.startswith("error: the folder that the run was started in is gone (")
    assert printed.count("\n") == 1


TALKER = """
import sys
from pathlib import Path
from seqnlp.training import run_recipe
def main():
    for line in range(100_000):
        print("L\\u00e4ufe \\u8bad\\u7ec3", line)
    sys.stderr.write("Ende \\u2013 gut\\n")
    Path(sys.argv[1]).write_text("saved")
run_recipe(main)
"""


def talk(folder, shell, **environment):
    environment = {**os.environ, **environment}
    command = ["bash", "-o", "pipefail", "-c", shell, sys.executable, TALKER, str(folder / "result")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_does_not_lose_the_model(tmp_path, unbuffered):
    ended = talk(tmp_path, '"$0" -c "$1" "$2" | head -1', PYTHONUNBUFFERED=unbuffered)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "Läufe 训练 0\n"
    assert "Traceback" not in ended.stderr
    assert Path(tmp_path / "result").read_text() == "saved"


def test_a_terminal_that_is_closed_does_not_lose_the_model(tmp_path):
    ours, theirs = os.openpty()
    name = os.ttyname(theirs)

    def main():
        terminal = os.open(name, os.O_RDWR | os.O_NOCTTY)
        for stream in (1, 2):
            os.dup2(terminal, stream)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        run_recipe(lambda: (print("one line\n" * 9999), (tmp_path / "result").write_text("saved")))

    child = CLEAN.Process(target=main)
    child.start()
    assert os.read(ours, 8) == b"one line"
    os.close(theirs)
    os.close(ours)
    child.join(60)
    assert child.exitcode == 0
    assert (tmp_path / "result").read_text() == "saved"


def test_a_stream_that_is_closed_swallows_what_is_printed(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    printed = []
    run_recipe(lambda: printed.append(sys.stdout.write("one line\n")))
    assert printed == [9]
    sys.stdout.close()


def test_a_terminal_that_lacks_characters_does_not_lose_the_model(tmp_path):
    ended = talk(tmp_path, '"$0" -c "$1" "$2"', PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("L?ufe ?? 0\n")
    assert ended.stderr == "Ende ? gut\n"
    assert Path(tmp_path / "result").read_text() == "saved"
