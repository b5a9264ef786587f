"""What is launched has the last word, and its exit code is the launcher's."""

import ast
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from seqnlp.cli import launching
from seqnlp.cli.launching import launch


ONE = ["--num_processes", "1", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
TWO = ["--multi_gpu", "--num_processes", "2", "--main_process_port", "0", *ONE[2:]]


@pytest.fixture
def launched(monkeypatch, tmp_path, capfd):
    """Launch a script of these lines; gives the exit code and what was printed."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")

    def run(flags, *lines):
        script = tmp_path / "script.py"
        script.write_text("\n".join(["import os, signal, sys, time", "rank = int(os.environ.get('RANK', 0))", *lines]))
        code = launch([*flags, str(script)])
        return code, capfd.readouterr().err

    return run


def test_what_trains_is_imported_by_the_launched_process_alone():
    """The launcher stood still for as long before, for models and the training loop, of which it uses nothing."""
    nodes = ast.walk(ast.parse(Path(launching.__file__).read_text(encoding="utf-8")))
    assert {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level} == {"signals"}


@pytest.mark.parametrize("flags", [ONE, TWO], ids=["one process", "two"])
def test_an_error_is_the_last_line(launched, flags):
    fails = "if rank == 0: sys.stderr.write('error: nothing there\\n'); sys.exit(3)"
    code, printed = launched(flags, fails, "time.sleep(60)")
    assert code == 3
    assert printed == "error: nothing there\n"


@pytest.mark.parametrize(("flags", "rank"), [(ONE, 0), (TWO, 1)], ids=["one process", "two"])
def test_a_process_that_is_killed_is_named(launched, flags, rank):
    code, printed = launched(flags, f"if rank == {rank}: os.kill(os.getpid(), signal.SIGKILL)", "time.sleep(60)")
    assert code == 128 + signal.SIGKILL
    assert printed == (
        f"error: process {rank} of the run was ended by SIGKILL; perhaps by the system, for lack of memory. A run "
        "that has written a checkpoint goes on by --resume_from_checkpoint latest.\n"
    )


@pytest.mark.parametrize("flags", [ONE, TWO], ids=["one process", "two"])
def test_a_signal_reaches_the_recipe_whose_end_is_waited_for(launched, tmp_path, flags):
    def tell():
        while len(list(tmp_path.glob("ready*"))) < (1 if flags is ONE else 2):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=tell, daemon=True).start()
    code, printed = launched(
        flags,
        "def end(number, frame):",
        "    time.sleep(1)",
        f"    open({str(tmp_path)!r} + f'/written{{rank}}', 'w').close()",
        "    sys.exit(128 + number)",
        "signal.signal(signal.SIGTERM, end)",
        f"open({str(tmp_path)!r} + f'/ready{{rank}}', 'w').close()",
        "time.sleep(60)",
    )
    assert code == 128 + signal.SIGTERM
    assert printed == ""
    assert len(list(tmp_path.glob("written*"))) == (1 if flags is ONE else 2)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_good_end_is_zero(launched):
    assert launched(ONE, "print(sys.argv)") == (0, "")
