"""The command, run in this process."""

import sys

import pytest
from transformers import CompileConfig

from seqnlp.cli import main as command


@pytest.fixture
def captured(capsys):
    """Holds what is printed; a module that starts processes captures theirs too by a fixture of this name."""
    return capsys


@pytest.fixture
def seqnlp(monkeypatch, captured):
    """Run the command; gives its exit status, what it printed and its error."""

    def run(*arguments, stdin=None):
        monkeypatch.setattr(sys, "argv", ["seqnlp", *map(str, arguments)])
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(SystemExit) as stopped:
            command.main()
        found = captured.readouterr()
        return stopped.value.code or 0, found.out, found.err

    return run


@pytest.fixture
def compiled(monkeypatch):
    """What is compiled is traced and run as it is, without the time of a compiler; counts the texts written so."""
    told = []

    def config():
        told.append("asked")
        return CompileConfig(backend="eager", mode=None)

    monkeypatch.setattr("seqnlp.models.compiled_generation.CompileConfig", config)
    return told
