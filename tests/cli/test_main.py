"""The command as a whole: help, and errors in one line."""

import sys

import pytest

from seqnlp.cli import main as command
from seqnlp.data import DataError


def test_help_lists_the_verbs(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["seqnlp", "--help"])
    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert stopped.value.code == 0
    assert "sequence models" in capsys.readouterr().out


@pytest.mark.parametrize(("error", "is_ours"), [(DataError("no such column"), True), (KeyError("bug"), False)])
def test_only_our_own_errors_lose_their_traceback(monkeypatch, capsys, error, is_ours):
    def fails():
        raise error

    monkeypatch.setattr(command, "app", fails)
    with pytest.raises(SystemExit if is_ours else KeyError) as stopped:
        command.main()
    if is_ours:
        assert stopped.value.code == 2
        assert capsys.readouterr().err == "error: no such column\n"
