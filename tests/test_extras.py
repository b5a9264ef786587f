"""What is lacking is installed into the clone that is run, or into the package: never one over the other."""

import re
import tomllib
from pathlib import Path

from seqnlp import extras


ROOT = Path(__file__).parents[1]


def test_a_clone_and_a_package_are_told_apart(monkeypatch, tmp_path):
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.setattr(extras, "_CLONE", tmp_path)
    assert extras.install("samples") == "pip install -e '.[samples]'"
    (tmp_path / "pyproject.toml").unlink()
    assert extras.install("samples") == "pip install 'seqnlp[samples]'"


def test_errors_advise_extras_that_there_are():
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    sources = [file.read_text() for file in (ROOT / "seqnlp").rglob("*.py")]
    told = {extra for text in sources for extra in re.findall(r"""install\(["'](\w+)["']\)""", text)}
    assert {"peft", "music", "demo"} <= told <= set(known)
    assert not [text for text in sources if "pip install 'seqnlp[" in text and "_CLONE" not in text]
