"""The commands of the pages, run: trained for two steps each. What is not run has its reason here."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import HERE_DOCUMENT, commands_of, scripts_of
from PIL import Image
from readers_files import write_files

from seqnlp.tasks import TASKS


ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "labs").glob("*.md")]
SMALL = {
    "max_train_steps": 2,
    "max_train_samples": 60,
    "max_eval_samples": 8,
    "num_trajectories": 60,
    "num_tunes": 2,
    "num_files": 1,
    "sample_length": 5,
    "num_threads": 1,
    "report_to": "none",
}
IN_THE_WAY = "outputs/tried"
"""Where a run goes whose command names no folder: that of the recipe is there already."""

Words = tuple[str, ...]
HUB = re.compile(
    r"alice/|google|openai-community/|stanfordnlp/|Helsinki-NLP/|distilbert/|my/|https://|corpus/|reviews/$|sentiment_sst2"
)
NOT_RUN = {
    "other programs, and installations": lambda words: (
        words[0]
        in {
            "cp",
            "export",
            "head",
            "hf",
            "jupyter",
            "make",
            "optimum-cli",
            "pip",
            "pre-commit",
            "pytest",
            "sbatch",
            "sky",
        }
    ),
    "tests, and what has tests of its own": lambda words: (
        words[:2] == ("python", "-m") or (words[0] == "python" and "-onnx/" in words[1])
    ),
    "a script, which is run below": lambda words: words[0] == "python" and words[1] in ("-", "-c"),
    "waits for visitors": lambda words: words[1] in ("demo", "serve"),
    "takes hours": lambda words: words[1] in ("compare", "dependency", "scale", "sweep"),
    "goes on with a run that was interrupted": lambda words: "--resume_from_checkpoint" in words,
    "wants the Hub": lambda words: any(map(HUB.search, words)) and "--dry_run" not in words,
    "wants data or models that are large": lambda words: any(
        word in ("DIR", "outputs/teacher", "outputs/large", "outputs/lm", "model.npz")
        or "glove" in word
        or "multi30k" in word
        for word in words
    ),
}


def why_not_run(words: Words) -> str:
    return next((reason for reason, holds in NOT_RUN.items() if holds(words)), "")


def recipe_of(words: Words) -> str:
    """The recipe that a command trains; empty for other commands."""
    if words[:2] == ("seqnlp", "train"):
        return words[2]
    return next((Path(word).stem for word in words if re.match(r"recipes/\w+\.py$", word)), "")


def everything() -> list[Words]:
    """Every command of every page once, in the order of the pages."""
    return list(dict.fromkeys(tuple(w) for page in PAGES for w in commands_of(page.read_text(encoding="utf-8"))))


def run(words, folder):
    program = {"seqnlp": [sys.executable, "-m", "seqnlp"]}.get(words[0])
    program = program or [str(Path(sys.executable).with_name(words[0]))]
    command = [*program, *words[1:]]
    return subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)


def small(words: Words) -> list[str]:
    """A command of training, for two steps."""
    name = recipe_of(words)
    unread = {"num_trajectories"} if any("--dataset_name" in word or "series_" in word for word in words) else set()
    unread |= {"max_train_samples"} if "--form" in words else set()  # no tune of the first 60 has one
    flags = [f"--{flag}={value}" for flag, value in SMALL.items() if flag in TASKS[name].fields().keys() - unread]
    return [*words, *flags, *([] if "--output_dir" in words else [f"--output_dir={IN_THE_WAY}"])]


def succeeds(words, folder):
    done = run(words, folder)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout[-500:]}{done.stderr[-2000:]}"


def here_documents() -> list[str]:
    """The scripts that pages give Python on its standard input, or as a word."""
    found = [found.group() for page in PAGES for found in HERE_DOCUMENT.finditer(page.read_text(encoding="utf-8"))]
    scripts = [script.split("\n", 1)[1].rsplit("\n", 1)[0] for script in found]
    return [*scripts, *(words[2] for words in everything() if words[:2] == ("python", "-c"))]


def runs(script, folder):
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{script}\n{done.stderr[-2000:]}"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which every recipe has run, and the language model with each architecture that pages look into."""
    folder = tmp_path_factory.mktemp("reader")
    train_all(folder)
    return folder


def train_all(folder):
    (folder / "recipes").symlink_to(ROOT / "recipes")
    (folder / "seqnlp").symlink_to(ROOT / "seqnlp")
    shutil.copy(ROOT / "LICENSE", folder)
    Image.new("L", (8, 8), 128).save(folder / "digit.png")
    write_files(folder)
    for script in here_documents():
        if "outputs/" not in script:
            runs(script, folder)
    first = [("seqnlp", "train", name) for name in TASKS]
    first += [
        ("seqnlp", "train", "language_modeling", "--architecture", name) for name in ("elman", "gru", "transformer")
    ]
    for words in first:
        succeeds(small(words)[:-1], folder)  # into the folder of its name


def test_every_command_is_run_or_has_a_reason():
    """Whoever shows a new command has it run below, or says why not."""
    verbs = {words[1] for words in everything() if not why_not_run(words) and not recipe_of(words)}
    assert verbs >= {
        "attention",
        "bundle",
        "export",
        "gradflow",
        "labs",
        "list",
        "publish",
        "states",
        "translate",
        "try",
    }
    assert {why_not_run(words) for words in everything()} == {"", *NOT_RUN}  # no reason without a command


@pytest.mark.long
def test_what_pages_show_trains(trained):
    for words in everything():
        if recipe_of(words) and not why_not_run(words):
            shutil.rmtree(trained / IN_THE_WAY, ignore_errors=True)
            if "--output_dir" in words:
                shutil.rmtree(trained / words[words.index("--output_dir") + 1], ignore_errors=True)
            succeeds(small(words), trained)
    for script in here_documents():
        if "outputs/" in script:
            runs(script, trained)


@pytest.mark.long
def test_what_pages_show_of_a_model_runs(trained):
    """After the test above, which leaves the models that pages name."""
    ready = [words for words in everything() if not recipe_of(words) and not why_not_run(words)]
    assert len(ready) > 30
    places = (trained, trained / "outputs")
    known = {path for place in places for path in place.iterdir()}
    for words in ready:
        for path in {path for place in places for path in place.iterdir()} - known:  # no command writes over a file
            if path.name not in ("fast", "my_labs"):  # which a later command reads
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        succeeds(words, trained)


@pytest.mark.long
@pytest.mark.parametrize("page", ["docs/start.md", "docs/instruments.md", "docs/models/index.md"])
def test_the_python_of_a_page_runs(trained, page):
    scripts = scripts_of((ROOT / page).read_text(encoding="utf-8"))
    assert scripts
    for script in scripts:
        runs(script, trained)
