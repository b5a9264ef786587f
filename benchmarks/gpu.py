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
from tabulate import tabulate

from benchmarks.gpu_parity import attention, cuda_tests, fused_recurrence, linear_scan
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
    """

    title: str
    run: Callable[[Setting], Iterator[Row]]
    minutes: tuple[float, float]


PARTS = {
    "tests": Part("Tests that need a card", cuda_tests, (1.5, 0.8)),
    "recurrence": Part("Fused recurrence against the readable loop", fused_recurrence, (1.0, 0.5)),
    "attention": Part("Kinds of attention against the readable one", attention, (1.0, 0.5)),
    "scan": Part("The parallel scan of linear cells", linear_scan, (1.0, 0.5)),
    "steps": Part("Training steps against peers, and against the card's limit", training_steps, (1.0, 0.6)),
    "layers": Part("Recurrent layers against torch's", layers, (0.6, 0.4)),
    "loops": Part("The training loop in bfloat16", training_loops, (1.5, 0.6)),
    "compiled": Part("Training through torch.compile", compiled_training, (1.5, 0.8)),
    "resume": Part("A resumed run against one that never stopped", resume, (0.7, 0.4)),
    "generation": Part("Generation, static cache and compiled step", generation, (1.2, 0.7)),
    "memory": Part("Peak memory of a training step", memory, (0.5, 0.3)),
    "processes": Part("Two processes on one card", processes, (0.7, 0.4)),
}


def run_part(name: str, setting: Setting, file: Path) -> None:
    """Run one part here; each row is written when it is found."""
    torch.manual_seed(0)
    rows = []
    for row in PARTS[name].run(setting):
        rows.append(asdict(row))
        write_json(file, rows)
        sys.stderr.write(f"  {row.name}: {row.shown()}\n")


def run_all(names: list[str], setting: Setting, output_dir: Path, minutes: float) -> dict:
    """
    Run parts one after the other, each in a process of its own, and write `gpu.json` and `gpu.md` after each.

    Args:
        names: Of [`PARTS`].
        setting: Device and sizes.
        output_dir: Where the two files go.
        minutes: For all together; parts that find no time left are recorded as left out.

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
    for name in names:
        part, started = PARTS[name], time.monotonic()
        # A CPU only tries the code: how long that takes says nothing.
        limit = end - started if setting.is_tiny else min(60 * part.minutes[setting.size != "full"], end - started)
        sys.stderr.write(f"{part.title} ({name})\n")
        record["parts"][name] = _in_a_process(name, setting, output_dir, limit)
        record["parts"][name]["seconds"] = round(time.monotonic() - started, 1)
        write_json(output_dir / "gpu.json", record)
        (output_dir / "gpu.md").write_text(report(record), encoding="utf-8")
    return record


def _in_a_process(name: str, setting: Setting, output_dir: Path, limit: float) -> dict:
    if limit < 5:
        return {"state": "left out: no time was left", "rows": []}
    file, log = output_dir / f"part-{name}.json", output_dir / f"part-{name}.log"
    file.unlink(missing_ok=True)
    flags = ["--device", setting.device, "--size", setting.size, "--file", str(file)]
    command = [sys.executable, "-m", "benchmarks", "gpu-part", name, *flags]
    with log.open("w") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=sink, start_new_session=True)
        try:
            code = process.wait(limit)
            state = "ok" if code == 0 else f"failed: {_last_line(log)}"
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            state = f"stopped after {limit:.0f} s"
    rows = json.loads(file.read_text()) if file.exists() else []
    file.unlink(missing_ok=True)
    if state == "ok":
        log.unlink()  # else it is kept beside the results
    return {"state": state, "rows": rows}


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


def report(record: dict) -> str:
    """The record as a Markdown page."""
    device = ", ".join(f"{name} {value}" for name, value in record["device"].items())
    parts = [f"# On a GPU\n\n{device}; sizes: {record['size']}; {record['date']}."]
    for name, found in record["parts"].items():
        rows = [_cells(Row(**row)) for row in found["rows"]]
        table = tabulate(rows, ["what", "found", "limit", "", "remark"], tablefmt="github", disable_numparse=True)
        state = "" if found["state"] == "ok" else f"\n\n**{found['state']}**"
        parts.append(f"## {PARTS[name].title}\n\n{table if rows else ''}{state}")
    return "\n\n".join(parts) + "\n"


def _cells(row: Row) -> list[str]:
    verdict = {None: "", True: "holds", False: "**does not hold**"}[row.holds]
    return [row.name, row.shown(), "" if row.limit is None else f"{row.sense} {row.limit:g}", verdict, row.remark]


def failures(record: dict) -> Iterator[str]:
    """Parts that did not end well, and rows that do not hold."""
    for name, found in record["parts"].items():
        if found["state"] != "ok":
            yield f"{name}: {found['state']}"
        for row in found["rows"]:
            if Row(**row).holds is False:
                yield f"{name}: {row['name']}"
