"""Starting a recipe as a user does, and small data for it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest


ROOT = Path(__file__).parents[2]
ONE_PROCESS = ("--config_file", "recipes/accelerate/one_process.yaml")
TWO_PROCESSES = ("--config_file", "recipes/accelerate/cpu.yaml")


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
        """The finished process with what it printed."""
        return subprocess.run(
            self.command(recipe, *arguments, launcher=launcher),
            cwd=ROOT,
            env=self.environment(launcher),
            capture_output=True,
            text=True,
            timeout=timeout,
        )


@pytest.fixture(scope="session")
def launch():
    return Launcher()


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
