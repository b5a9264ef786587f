"""A Hub for each test, and small finished runs to put on it."""

import json
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from families import FAMILIES, make, write_data
from finished_run import write_run
from local_hub import Hub, connect

from seqnlp.publishing import probe, verify, worker
from seqnlp.publishing.verify import _answer_of_probe, _Steps


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
    """`verify` does its steps in this process, not in ones of their own: seqnlp is imported, so no code is needed."""

    def ask(self, folder, with_seqnlp, trust_remote_code, checks):
        request = {"folder": str(folder), "with_seqnlp": True, "trust_remote_code": False, "checks": checks}
        (self.scratch / "request").write_text(json.dumps(request))
        probe.main(self.scratch / "request", self.scratch / "answer")
        return _answer_of_probe(json.loads((self.scratch / "answer").read_text()))

    monkeypatch.setattr(_Steps, "probe", ask)
    monkeypatch.setattr(_Steps, "work", lambda self, step, **request: worker.STEPS[step](**request))
    monkeypatch.setattr(sys.modules[verify.__module__], "why_not_isolated", lambda: None)


@pytest.fixture
def naps(monkeypatch):
    """The waits between tries, in seconds, which are not waited for."""
    waited = []
    monkeypatch.setattr("time.sleep", waited.append)
    return waited


@pytest.fixture
def run_folder(tmp_path):
    return write_run(tmp_path / "sentiment-lstm")


class Published(NamedTuple):
    """What the recipes have left, and a Hub that holds it."""

    hub: Hub
    data: Path
    folders: dict[str, Path]
    printed: dict[str, str]


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """Every family, trained a few steps and published by `--push_to_hub`."""
    home, server = tmp_path_factory.mktemp("whole_way"), Hub()
    (home / "data").mkdir()
    write_data(home / "data")
    found = Published(server, home / "data", {}, {})
    with pytest.MonkeyPatch.context() as patch:
        connect(server, patch, home)
        for family in FAMILIES:
            name = family.model
            found.folders[name] = home / name
            found.printed[name] = make(family, found.data, home / name, f"alice/{name}")
    yield found
    server.stop()
