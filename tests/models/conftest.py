"""What the tests of several model families share."""

import subprocess
import sys
import textwrap

import pytest


@pytest.fixture
def run_without_seqnlp(tmp_path):
    """Runs code where seqnlp cannot be imported, with an empty cache and no input; gives what it prints."""

    def run(code: str) -> str:
        code = 'import sys\nsys.modules["seqnlp"] = None  # importing it fails\n' + textwrap.dedent(code)
        result = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "PATH": ""},
            stdin=subprocess.DEVNULL,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run
