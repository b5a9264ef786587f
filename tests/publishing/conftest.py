"""A Hub for each test, and small finished runs to put on it."""

import pytest
from finished_run import write_run
from huggingface_hub import constants
from local_hub import Hub


@pytest.fixture(scope="session")
def _server():
    server = Hub()
    yield server
    server.stop()


@pytest.fixture
def hub(_server, monkeypatch, tmp_path):
    """An empty Hub that this process talks to as alice, and that processes it starts can be told of."""
    _server.reset()
    # What the environment variables would have set, had they been there when huggingface_hub was imported.
    monkeypatch.setattr(constants, "ENDPOINT", _server.url)
    template = _server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no_token"))
    monkeypatch.setenv("HF_TOKEN", "hf_alice_write")
    return _server


@pytest.fixture
def naps(monkeypatch):
    """The waits between tries, in seconds, which are not waited for."""
    waited = []
    monkeypatch.setattr("time.sleep", waited.append)
    return waited


@pytest.fixture
def run_folder(tmp_path):
    return write_run(tmp_path / "sentiment-lstm")
