"""What a hostile model gets hold of, and what a model may take."""

import os
import re
import socket
import subprocess
import sys
import time
import uuid
from functools import partial
from pathlib import Path

import psutil
import pytest
from finished_run import change, write_run
from hostile import hostile_code

from seqnlp import RecurrentConfig, RecurrentForTimeSeriesPrediction
from seqnlp.publishing import Limits, PublishingError, build_bundle, isolation, verify
from seqnlp.publishing.isolation import NOT_HELD, LimitError, run_isolated, run_limited, why_not_isolated
from seqnlp.publishing.verify import _answer_of_probe, _Steps


ROOT = Path(__file__).parents[2]
GIB = 2**30
isolates = pytest.mark.skipif(why_not_isolated() is not None, reason=f"cannot isolate: {why_not_isolated()}")


@pytest.fixture
def bundle(run_folder, tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    build_bundle(run_folder, folder, "bob/model")
    return folder


def processes(mark):
    return [process for process in psutil.process_iter(["cmdline"]) if mark in " ".join(process.info["cmdline"] or ())]


def attack(bundle, home, *flags):
    """Run `seqnlp verify` on a model that tries everything: what it printed, what the model got, who connected."""
    (home / ".cache" / "huggingface").mkdir(parents=True)
    (home / ".cache" / "huggingface" / "token").write_text("hf_secret_of_the_home")
    mark = f"left-behind-{uuid.uuid4()}"
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        facts = {"HOME": str(home), "PORT": server.getsockname()[1], "FOLDER": str(bundle), "MARK": mark}
        (bundle / "modeling_recurrent.py").write_text(hostile_code(**facts))
        change(bundle / "config.json", model_type="hostile")  # seqnlp's own classes do not take its place
        environment = {**os.environ, "HOME": str(home), "HF_TOKEN": "hf_secret_of_the_environment"}
        environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "seqnlp.cli.main", "verify", str(bundle), "--trust_remote_code", *flags],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=400,
            env=environment,
        )
        try:
            server.accept()[0].close()
            connected = True
        except BlockingIOError:
            connected = False
    left = processes(mark)
    for process in left:
        process.kill()
    got = re.search(r"GOT (.*?) END", re.sub(r"\s+", " ", done.stdout))
    assert got, done.stdout + done.stderr
    return done, set(got.group(1).split()), connected, bool(left)


def written(bundle, home):
    return {folder.name for folder in (bundle, home) if (folder / "written_by_the_model").exists()}


@isolates
def test_a_hostile_model_gets_nothing_where_it_is_isolated(bundle, tmp_path):
    home = tmp_path / "home"
    done, got, connected, left = attack(bundle, home)
    assert got == {"scratch", "process"}  # what it may have, and what does not outlive it
    assert (connected, left) == (False, False)
    assert written(bundle, home) == set()
    assert done.returncode == 2
    assert NOT_HELD not in done.stderr


@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it looks for tokens in /proc")
def test_the_same_model_gets_all_of_it_where_it_is_not(bundle, tmp_path):
    """So what the test above finds is held by the isolation."""
    home = tmp_path / "home"
    done, got, connected, left = attack(bundle, home, "--no_isolation")
    assert got == {"environ", "home", "socket", "its-folder", "elsewhere", "scratch", "process"}
    assert (connected, left) == (True, True)
    assert written(bundle, home) == {"bundle", "home"}
    assert done.stderr.startswith(NOT_HELD)


def test_without_isolation_code_is_refused_before_anything_runs(bundle, monkeypatch):
    module = sys.modules[verify.__module__]
    monkeypatch.setattr(module, "why_not_isolated", lambda: "bubblewrap is not installed")
    monkeypatch.setattr(module, "run_isolated", lambda *arguments: pytest.fail("it ran"))
    with pytest.raises(PublishingError, match=r"isolated here \(bubblewrap is not installed\).*no_isolation"):
        verify(str(bundle), trust_remote_code=True)


@isolates
def test_a_process_that_answers_nonsense_or_not_at_all_has_not_loaded(bundle, tmp_path):
    change(bundle / "config.json", model_type="hostile")
    steps = _Steps(tmp_path, True, Limits())
    for code, told in (
        ("import os; os._exit(0)", "there is no|not read|Expecting value"),
        ("import os; os.kill(os.getpid(), 9)", "its process ended with"),
        ("import sys; open(sys.argv[2], 'w').write('[' * 200_000); import os; os._exit(0)", "nested too deep"),
        ("open('big', 'w').truncate(2 ** 40)", "File too large"),
    ):
        (bundle / "modeling_recurrent.py").write_text(code)
        answer = steps.probe(bundle, with_seqnlp=False, trust_remote_code=True, checks=True)
        assert not answer["loaded"]
        assert re.search(told, answer["error"]), answer["error"]


GOOD = {"loaded": True, "checks": [], "outputs": [0.5], "class": "X"}


@pytest.mark.parametrize(
    "answer",
    [
        [],
        None,
        3,
        {},
        {**GOOD, "checks": [["mine", "passed", ""]]},
        {**GOOD, "outputs": ["x"]},
        {**GOOD, "outputs": 1},
    ],
)
def test_answers_of_another_shape(answer):
    assert _answer_of_probe(GOOD)["loaded"]
    with pytest.raises(ValueError, match="did not answer what it was asked"):
        _answer_of_probe(answer)


def test_what_a_model_says_cannot_move_the_cursor():
    assert _answer_of_probe({**GOOD, "class": "a\x1b[2J\nb"})["class"] == "a [2J b"


def outcomes(result):
    return {check.name: (check.outcome, check.detail) for check in result.checks}


@pytest.mark.parametrize("kind", ["a million layers", "ten million steps"])
def test_a_model_that_takes_too_long_is_a_failed_line(bundle, tmp_path, kind):
    if kind == "a million layers":
        change(bundle / "config.json", num_hidden_layers=10**6)
    else:
        config = RecurrentConfig(input_size=1, hidden_size=4, prediction_length=10**7)
        RecurrentForTimeSeriesPrediction(config).save_pretrained(bundle)
        (bundle / "tokenizer.json").unlink()
        (bundle / "tokenizer_config.json").unlink()
        (bundle / "run.json").unlink()
    start = time.monotonic()
    result = verify(str(bundle), limits=Limits(seconds=12, memory=3 * GIB))
    assert outcomes(result)["loads with seqnlp"] == ("failed", "it took more than 12 seconds")
    assert result.exit_code == 2
    assert time.monotonic() - start < 120


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is limited on Linux")
def test_a_record_that_asks_for_more_memory_than_there_is_is_a_failed_line(tmp_path):
    hyperparameters = {"dataset_name": "simulated:ball", "num_trajectories": 10**9}
    metrics = {"test": {"mse": 0.1}}
    run = write_run(tmp_path / "run", task="trajectory", hyperparameters=hyperparameters, metrics=metrics)
    steps = _Steps(tmp_path, False, Limits(seconds=120, memory=3 * GIB))
    answer = steps.work("claims", folder=str(run), dataset=None, loaded=True)
    found = {check.name: check for check in answer["checks"]}
    assert found["the card's numbers"].outcome == "failed", answer
    assert "memory" in found["the card's numbers"].detail.lower()


# Four processes of 200 MiB, in sessions of their own and without a parent, as one that is to outlive it would start.
FOUR = """
import os, time
for _ in range(4):
    if os.fork() == 0:
        os.setsid()
        if ORPHANED and os.fork():
            os._exit(0)
        taken = b"x" * (200 << 20)
        time.sleep(60)
time.sleep(60)
"""


@pytest.mark.parametrize("isolated", [pytest.param(True, marks=isolates), False], ids=["isolated", "as it is"])
def test_memory_is_limited_for_all_processes_of_a_step_together(tmp_path, isolated):
    mark = f"limit-{uuid.uuid4()}"
    code = f"ORPHANED = {isolated}  # {mark}{FOUR}"
    home, limits = tmp_path / "home", Limits(seconds=60, memory=GIB // 2)
    home.mkdir()
    (home / "request.json").write_text("{}")
    arguments = ["-I", "-S", "-c", code]
    run = partial(run_isolated, visible=[], holds=True) if isolated else run_limited
    with pytest.raises(LimitError, match=r"^its processes took more than 0\.5 GiB of memory together$"):
        run(arguments, home, limits=limits)
    assert not processes(mark)
    big = Limits(seconds=60, memory=2 * GIB)
    run_limited(["-I", "-S", "-c", code.replace("sleep(60)", "sleep(0.5)")], home, big)


def test_processes_without_end_are_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(isolation, "MOST_PROCESSES", 20)
    code = "import os, time\nfor _ in range(40):\n    if os.fork() == 0:\n        break\ntime.sleep(60)"
    with pytest.raises(LimitError, match="it started more than 20 processes"):
        run_limited(["-I", "-S", "-c", code], tmp_path, Limits(seconds=60))


def test_a_step_that_hangs_or_dies_is_told_in_one_line(tmp_path):
    for code, told in (
        ("import time; time.sleep(60)", "it took more than 1 seconds"),
        ("import os; os.abort()", "its process ended with SIGABRT"),
        ("raise SystemExit('no\\nspace')", "its process ended with 1: space"),
    ):
        with pytest.raises(LimitError, match=told):
            run_limited(["-I", "-S", "-c", code], tmp_path, Limits(seconds=1 if "sleep" in code else 60))
