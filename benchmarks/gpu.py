"""`python -m benchmarks gpu`: everything that only a GPU can tell, in one run of a few minutes.

Each part is a process of its own, so that one that fails, hangs or takes the card down loses nothing of the others;
what a part has found so far is kept even then. On a CPU the same parts run at tiny sizes: that is how they are tested.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.gpu_parity import attention, cuda_tests, fused_recurrence, linear_scan
from benchmarks.gpu_report import report
from benchmarks.gpu_setting import Row, Setting, describe_device
from benchmarks.gpu_speed import compiled_training, generation, layers, memory, training_steps
from benchmarks.gpu_training import processes, resume, training_loops
from seqnlp.training import write_json


@dataclass(frozen=True)
class Part:
    """
    A part of the run.

    Attributes:
        title: What it tells.
        run: Yields its rows.
        minutes: After how many minutes it is stopped, at full size and in a quick run.
        is_timed: Whether it measures speed or memory, and so must have the card to itself.
    """

    title: str
    run: Callable[[Setting], Iterator[Row]]
    minutes: tuple[float, float]
    is_timed: bool = True


PARTS = {
    "tests": Part("Tests that need a card", cuda_tests, (2.0, 1.2), is_timed=False),
    "recurrence": Part("Fused recurrence against the readable loop", fused_recurrence, (2.0, 1.2), is_timed=False),
    "resume": Part("A resumed run against one that never stopped", resume, (2.0, 1.2), is_timed=False),
    "processes": Part("Two processes on one card", processes, (2.0, 1.2), is_timed=False),
    "attention": Part("Kinds of attention against the readable one", attention, (1.0, 0.6)),
    "scan": Part("The parallel scan of linear cells", linear_scan, (1.0, 0.5)),
    "steps": Part("Training steps against peers, and against the card's limit", training_steps, (1.0, 0.6)),
    "layers": Part("Recurrent layers against torch's", layers, (0.6, 0.4)),
    "loops": Part("The training loop in bfloat16", training_loops, (1.5, 0.6)),
    "generation": Part("Generation, static cache and compiled step", generation, (1.2, 0.8)),
    "memory": Part("Peak memory of a training step", memory, (0.5, 0.3)),
    "compiled": Part("Training through torch.compile", compiled_training, (2.0, 1.0)),
}


def run_part(name: str, setting: Setting, file: Path) -> None:
    """Run one part here, when the standard input has ended; each row is written when it is found."""
    sys.stdin.read()
    torch.manual_seed(0)
    rows = []
    for row in PARTS[name].run(setting):
        rows.append(asdict(row))
        write_json(file, rows)
        sys.stderr.write(f"  {row.name}: {row.shown()}\n")


def run_all(names: list[str], setting: Setting, output_dir: Path, minutes: float) -> dict:
    """
    Run parts, each in a process of its own, and write `gpu.json` and `gpu.md` after each: first those that measure no
    time, beside each other, then the others one by one.

    Args:
        names: Of [`PARTS`].
        setting: Device and sizes.
        output_dir: Where the two files go.
        minutes: For all together; what is not done by then is stopped.

    Returns:
        The record, as in `gpu.json`.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    record = {
        "device": describe_device(setting.device),
        "size": setting.size,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "parts": {},
    }
    end = time.monotonic() + 60 * minutes
    untimed = [name for name in names if not PARTS[name].is_timed]
    groups = [group for group in (untimed, *([name] for name in names if PARTS[name].is_timed)) if group]
    following = [_Process(name, setting, output_dir) for name in groups[0]]
    for next_group in [*groups[1:], []]:
        running = following
        for part in running:
            sys.stderr.write(f"{PARTS[part.name].title} ({part.name})\n")
            part.begin()
        # The next import what they need meanwhile.
        following = [_Process(name, setting, output_dir) for name in next_group]
        for part in running:
            record["parts"][part.name] = part.result(end)
            write_json(output_dir / "gpu.json", record)
            (output_dir / "gpu.md").write_text(report(record), encoding="utf-8")
    return record


class _Process:
    """A part in a process of its own, which imports what it needs and then waits for [`begin`]."""

    def __init__(self, name: str, setting: Setting, output_dir: Path):
        self.name, self.setting = name, setting
        self.file, self.log = output_dir / f"part-{name}.json", output_dir / f"part-{name}.log"
        self.file.unlink(missing_ok=True)
        flags = ["--device", setting.device, "--size", setting.size, "--file", str(self.file)]
        command = [sys.executable, "-m", "benchmarks", "gpu-part", name, *flags]
        with self.log.open("w") as sink:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=sink, stderr=sink, start_new_session=True
            )

    def begin(self) -> None:
        """Let it run."""
        self.started = time.monotonic()
        self.process.stdin.close()

    def result(self, end: float) -> dict:
        """Its state, rows and seconds, when it has ended or its time or that of all parts (`end`) is over."""
        limit = max(0.0, end - time.monotonic())
        if not self.setting.is_tiny:  # a CPU only tries the code: how long that takes says nothing
            own = 60 * PARTS[self.name].minutes[self.setting.size != "full"]
            limit = min(limit, max(0.0, self.started + own - time.monotonic()))
        try:
            code = self.process.wait(limit)
            state = "ok" if code == 0 else f"failed: {_last_line(self.log)}"
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            state = f"stopped after {time.monotonic() - self.started:.0f} s"
        rows = json.loads(self.file.read_text()) if self.file.exists() else []
        self.file.unlink(missing_ok=True)
        if state == "ok":
            self.log.unlink()  # else it is kept beside the results
        seconds = round(time.monotonic() - self.started, 1)
        return {"title": PARTS[self.name].title, "state": state, "rows": rows, "seconds": seconds}


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"
