"""The commands of the pages that need neither the Hub nor a file of the reader's, run: trained for two steps each."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import commands_of, scripts_of
from PIL import Image

from seqnlp.tasks import TASKS


ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
SMALL = {
    "max_train_steps": 2,
    "max_train_samples": 60,
    "max_eval_samples": 8,
    "num_trajectories": 60,
    "num_tunes": 2,
    "num_files": 1,
    "sample_length": 5,
    "num_threads": 1,
}
VERBS = ("try", "attention", "gradflow", "states", "export", "translate", "bundle")
"""Of these, those that read what was trained here; the others want the Hub, wait for visitors or take hours."""


def run(words, folder):
    command = [sys.executable, "-m", "seqnlp", *words]
    return subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which every recipe has run, and the language model with each architecture that pages look into."""
    folder = tmp_path_factory.mktemp("reader")
    runs = [(name, []) for name in TASKS]
    runs += [("language_modeling", ["--architecture", name]) for name in ("elman", "gru", "transformer")]
    for name, flags in runs:
        small = [f"--{flag}={value}" for flag, value in SMALL.items() if flag in TASKS[name].fields()]
        done = run(["train", name, *flags, *small], folder)
        assert done.returncode == 0, f"{name}: {done.stderr[-2000:]}"
    shutil.copy(ROOT / "LICENSE", folder)
    (folder / "docs" / "images").mkdir(parents=True)
    (folder / "in.txt").write_text("Open the file.\nSave it.\n")
    Image.new("L", (8, 8), 128).save(folder / "digit.png")
    return folder


def is_ready(words, folder):
    """Whether a command looks into nothing but what was trained here."""
    named = [word for word in words[2:] if word.startswith(("outputs/", "alice/")) and not Path(word).suffix]
    return words[0] == "seqnlp" and words[1] in VERBS and all((folder / word).is_dir() for word in named)


@pytest.mark.long
def test_what_pages_show_runs(trained):
    commands = {tuple(words) for page in PAGES for words in commands_of(page.read_text(encoding="utf-8"))}
    ready = [words for words in sorted(commands) if is_ready(words, trained)]
    assert len(ready) > 10
    places = (trained, trained / "outputs")
    known = {path for place in places for path in place.iterdir()}
    for words in ready:
        for path in {path for place in places for path in place.iterdir()} - known:  # no command writes over a file
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        done = run(words[1:], trained)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout[-500:]}{done.stderr[-2000:]}"


@pytest.mark.long
@pytest.mark.parametrize("page", ["README.md", "docs/start.md", "docs/instruments.md", "docs/models/index.md"])
def test_the_python_of_a_page_runs(trained, page):
    scripts = scripts_of((ROOT / page).read_text(encoding="utf-8"))
    assert scripts
    for script in scripts:
        done = subprocess.run([sys.executable, "-c", script], cwd=trained, capture_output=True, text=True)
        assert done.returncode == 0, f"{script}\n{done.stderr[-2000:]}"
