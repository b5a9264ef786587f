"""A Hub for each test, and small finished runs to put on it."""

import json
import sys

import pytest
from finished_run import write_run
from local_hub import Hub, connect

from seqnlp.publishing import probe, verify


@pytest.fixture(scope="session")
def _server():
    server = Hub()
    yield server
    server.stop()


@pytest.fixture
def hub(_server, monkeypatch, tmp_path):
    """An empty Hub that this process talks to as alice, and that processes it starts can be told of."""
    _server.reset()
    connect(_server, monkeypatch, tmp_path)
    return _server


@pytest.fixture
def in_process(monkeypatch):
    """`verify` loads models in this process, not in ones of their own: seqnlp is imported, so no code is needed."""

    def ask(folder, with_seqnlp, trust_remote_code, checks, scratch):
        request = {"folder": str(folder), "with_seqnlp": True, "trust_remote_code": False, "checks": checks}
        (scratch / "request").write_text(json.dumps(request))
        probe.main(scratch / "request", scratch / "answer")
        return json.loads((scratch / "answer").read_text())

    monkeypatch.setattr(sys.modules[verify.__module__], "_probe", ask)


@pytest.fixture
def naps(monkeypatch):
    """The waits between tries, in seconds, which are not waited for."""
    waited = []
    monkeypatch.setattr("time.sleep", waited.append)
    return waited


@pytest.fixture
def run_folder(tmp_path):
    return write_run(tmp_path / "sentiment-lstm")
