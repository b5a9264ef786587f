"""Starting a recipe as a user does, and small data for it."""

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from forked import ForkedRun


ROOT = Path(__file__).parents[2]
ONE_PROCESS = ("--config_file", "recipes/accelerate/one_process.yaml")
TWO_PROCESSES = ("--config_file", "recipes/accelerate/cpu.yaml")


def whole(process):
    """The same process: a run goes on without a report, a picture or a page that fails, and a test does not."""
    assert " could not be made: " not in process.stdout + process.stderr, process.stderr[-2000:]
    return process


class Launcher:
    """`accelerate launch recipes/NAME.py ...` from the root of the repository."""

    one_process, two_processes = ONE_PROCESS, TWO_PROCESSES

    def command(self, recipe, *arguments, launcher=ONE_PROCESS):
        accelerate = str(Path(sys.executable).with_name("accelerate"))
        return [accelerate, "launch", *launcher, f"recipes/{recipe}.py", *map(str, arguments)]

    def environment(self, launcher=ONE_PROCESS):
        on_cpu = {"ACCELERATE_USE_CPU": "true"} if launcher == TWO_PROCESSES else {}
        return {**os.environ, "HF_HUB_OFFLINE": "1", **on_cpu}

    def start(self, recipe, *arguments, launcher=ONE_PROCESS):
        """The running process; end it by `kill`."""
        return subprocess.Popen(
            self.command(recipe, *arguments, launcher=launcher),
            cwd=ROOT,
            env=self.environment(launcher),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self, process):
        """`kill -9` for the launcher and everything it started; workers are in sessions of their own."""
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
        for member in family:
            member.kill()
        psutil.wait_procs(family)
        process.wait()

    def run(self, recipe, *arguments, launcher=ONE_PROCESS, timeout=300):
        """The finished process with what it printed: that it made all that it should is asked here."""
        return whole(
            subprocess.run(
                self.command(recipe, *arguments, launcher=launcher),
                cwd=ROOT,
                env=self.environment(launcher),
                capture_output=True,
                text=True,
                timeout=timeout,
            )
        )


@pytest.fixture(scope="session")
def launch():
    return Launcher()


@pytest.fixture(scope="session")
def fork():
    """As `launch.run`, in processes that have imported everything: seconds less for each. Not what a user starts."""

    def run(recipe, *arguments, processes=1, timeout=300):
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / name for name in ("stdout", "stderr")]
            started = ForkedRun(recipe, arguments, processes, files[0], errors=files[1])
            for member in started.members:
                member.join(timeout)
            started.kill()  # what is not over by then; its exit code tells
            code = max((member.exitcode for member in started.members), key=abs)
            texts = (file.read_text() for file in files)
            return whole(subprocess.CompletedProcess([recipe, *arguments], code, *texts))

    return run


@pytest.fixture(scope="session")
def reviews(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reviews")
    for split, count in (("train", 90), ("validation", 31), ("test", 37)):
        rows = [
            {
                "sentence": f"{'a good' if number % 3 else 'an awful'} film number {number}",
                "label": int(number % 3 > 0),
            }
            for number in range(count)
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture(scope="session")
def lines(tmp_path_factory):
    """Files of lines: a text, the same as rows of JSON, pairs of sentences, labeled words, tunes in ABC notation."""
    folder, chance = tmp_path_factory.mktemp("lines"), random.Random(0)
    words = {"one": "eins", "two": "zwei", "three": "drei", "four": "vier", "five": "fünf", "six": "sechs"}
    head = "X:1\nT:Jig\nM:6/8\nL:1/8\nK:G\n"
    for split, count in (("train", 200), ("validation", 11), ("test", 13)):
        pairs = [chance.choices(list(words), k=chance.randint(1, 6)) for _ in range(count)]
        bars = ["".join(chance.choices("ABcdefg", k=3)) for _ in range(count)]
        labeled = [[f"{word} {words[word][0]}\n" for word in pair] for pair in pairs]
        contents = {
            "txt": [f"the cat sat on mat {chance.randint(0, 9)}" for _ in range(count)],
            "jsonl": [json.dumps({"text": f"the cat sat on mat {number}"}) for number in range(count)],
            "en": [" ".join(pair) for pair in pairs],
            "de": [" ".join(words[word] for word in pair) for pair in pairs],
            "conll": ["".join(sentence) for sentence in labeled],
            "abc": [f"{head}{bar} GAG|{bar} GAG|{bar} AGA|GAG AGA|\n" for bar in bars],
        }
        for suffix, rows in contents.items():
            (folder / f"{split}.{suffix}").write_text("".join(f"{row}\n" for row in rows))
    return folder
