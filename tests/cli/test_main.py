"""The command as a whole: help, and errors in one line."""

import sys

import pytest
from typer.main import get_command

from seqnlp.cli import main as command
from seqnlp.data import DataError


def test_the_help_of_every_verb_has_an_example():
    verbs = get_command(command.app).commands
    assert [name for name, verb in verbs.items() if "Example" not in (verb.help or "")] == []


def test_help_lists_the_verbs(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["seqnlp", "--help"])
    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert stopped.value.code == 0
    assert "sequence models" in capsys.readouterr().out


@pytest.mark.parametrize(("error", "is_ours"), [(DataError("no such column"), True), (KeyError("bug"), False)])
def test_only_our_own_errors_lose_their_traceback(monkeypatch, capsys, error, is_ours):
    def fails(prog_name):
        raise error

    monkeypatch.setattr(command, "app", fails)
    with pytest.raises(SystemExit if is_ours else KeyError) as stopped:
        command.main()
    if is_ours:
        assert stopped.value.code == 2
        assert capsys.readouterr().err == "error: no such column\n"
