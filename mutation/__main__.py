"""`python -m mutation`: put faults into the code, one at a time, and see whether the tests notice.

Faults are drawn by a seed. Each is put into a copy of the working tree, and the tests nearest to its file are run
there, in a process forked from one that has imported torch and transformers: first those that fit into a budget, and
where they notice nothing those that take longer. The outcomes are kept in `.mutation.jsonl`, so that the command goes
on where it was interrupted, and later runs only what a change of a file or of its tests made anew.
"""

import hashlib
import json
import re
import shutil
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated

import typer
from tabulate import tabulate

from mutation.mutants import Mutant, draw
from mutation.nearest import ImportGraph, nearest_tests
from mutation.runner import Job, Slot, copy_repository, import_libraries, run_jobs


ROOT = Path(__file__).parent.parent
KEPT = ROOT / ".mutation.jsonl"
MODELS = ("cells", "recurrent_cell", "recurrence", "attention", "losses")
TARGETS = ["seqnlp/training", "seqnlp/tasks", "seqnlp/metrics", *(f"seqnlp/models/{name}.py" for name in MODELS)]
MOST_TESTS = 8  # test files that are looked at for one source


class Kept:
    """What earlier runs found, by a digest of all that it follows from; added to a file line by line."""

    def __init__(self, path: Path):
        self.path = path
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        self.entries = {}
        for line in text.splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # the line at which a run was interrupted
            if "test" in entry and entry["status"] == "failed":
                continue  # without a fault: what it failed for may be mended since
            self.entries[entry.pop("key")] = entry
        self.cut_off = text != "" and not text.endswith("\n")

    def add(self, key: str, **entry) -> None:
        """Keep an entry, on the disk as well."""
        self.entries[key] = entry
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" * self.cut_off + json.dumps({"key": key, **entry}) + "\n")
        self.cut_off = False


def digest(tree: Path, tests: list[Path], text: str = "") -> str:
    """A digest of test files and of a mutant's text."""
    parts = [text, *(f"{test}\n{(tree / test).read_text(encoding='utf-8')}" for test in tests)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def choose_tests(
    graph: ImportGraph, source: Path, slot: Slot, kept: Kept, budget: float, been: Collection[Path] = ()
) -> list[Path]:
    """
    The nearest tests of a file that together take no more processor time than the budget, without a fault.

    Args:
        graph: Which file imports which.
        source: The file that has the fault.
        slot: Where tests are run whose time is not known yet.
        kept: What is known.
        budget: Seconds.
        been: Tests that were run before, and need not be run again.
    """
    chosen, left = [], budget
    for test in nearest_tests(graph, source)[:MOST_TESTS]:
        if test in been:
            continue
        key = digest(slot.tree, [test])
        entry = kept.entries.get(key)
        if entry is None or (entry["status"] == "timeout" and entry["seconds"] < budget):
            (outcome,) = run_jobs([slot], [Job(key, [test], budget, {})])
            kept.add(key, test=str(test), status=outcome.status, seconds=outcome.seconds)
            last = "" if outcome.status == "passed" else f", is left out: {outcome.output.splitlines()[-1:]}"
            typer.echo(f"{test} without a fault: {outcome.status}, {outcome.seconds:.1f} s{last}", err=True)
            entry = kept.entries[key]
        if entry["status"] == "passed" and entry["seconds"] <= left:
            chosen.append(test)
            left -= entry["seconds"]
    return chosen


def expected_seconds(tree: Path, tests: list[Path], kept: Kept) -> float:
    """Processor time that the tests took without a fault."""
    return sum(kept.entries[digest(tree, [test])]["seconds"] for test in tests)


def first_failure(output: str) -> str:
    """The test that noticed a fault, as pytest's output names it."""
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
    return found.group(1) if found else ""


def run_mutants(
    mutants: Sequence[Mutant], tests: dict[Path, list[Path]], slots: Sequence[Slot], kept: Kept
) -> list[Mutant]:
    """Run each mutant against the tests of its file, unless that was done before; gives those that survive."""
    tree = slots[0].tree
    keys = [digest(tree, tests[mutant.path], f"{mutant.path}\n{mutant.text}") for mutant in mutants]
    by_key = dict(zip(keys, mutants, strict=True))
    jobs = []
    for key, mutant in by_key.items():
        near = tests[mutant.path]
        if near and key not in kept.entries:
            seconds = 2 * expected_seconds(tree, near, kept) + 20
            jobs.append(Job(key, near, seconds, {mutant.path: mutant.text}))
    for place, outcome in enumerate(run_jobs(slots, jobs), start=1):
        path = by_key[outcome.key].path
        kept.add(outcome.key, status=outcome.status, tests=list(map(str, tests[path])), seconds=outcome.seconds)
        by = first_failure(outcome.output)
        typer.echo(f"{place} of {len(jobs)}: {path} {outcome.status}, {outcome.seconds:.1f} s {by}", err=True)
    return [
        mutant for key, mutant in by_key.items() if kept.entries.get(key, {"status": "passed"})["status"] == "passed"
    ]


def report(mutants: Sequence[Mutant], survivors: Sequence[Mutant], tests: dict[Path, list[Path]]) -> str:
    """The survivors one by one, a table by file, and the score."""
    counts = defaultdict(lambda: [0, 0])
    for mutant in mutants:
        counts[mutant.path][0] += 1
        counts[mutant.path][1] += mutant not in survivors
    parts = [
        f"survived {' '.join(map(str, tests[mutant.path])) or 'since no test is near'}\n{mutant.diff}"
        for mutant in survivors
    ]
    rows = [[path, made, killed, f"{killed / made:.0%}"] for path, (made, killed) in sorted(counts.items())]
    made, killed = (sum(count[place] for count in counts.values()) for place in (0, 1))
    parts.append(tabulate(rows, ["file", "faults", "noticed", "score"]))
    parts.append(f"{killed} of {made} faults are noticed: {killed / made:.1%}.")
    return "\n\n".join(parts)


def main(
    targets: Annotated[
        list[str] | None, typer.Argument(help="Files or folders.", show_default=" ".join(TARGETS))
    ] = None,
    count: Annotated[int, typer.Option(help="Faults to draw.", min=1)] = 200,
    seed: Annotated[int, typer.Option(help="Which faults are drawn.")] = 1,
    workers: Annotated[int, typer.Option(help="Processes at a time.", min=1)] = 2,
    budget: Annotated[float, typer.Option(help="Seconds of processor time of tests per fault.")] = 60.0,
    survivors_budget: Annotated[
        float, typer.Option(help="The same of further tests, for a fault that those do not notice.")
    ] = 240.0,
    memory: Annotated[float, typer.Option(help="GiB for all processes together.")] = 4.0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what earlier runs found.")] = False,
) -> None:
    """Put faults into the code, one at a time, and see whether the tests nearest to each notice."""
    if fresh:
        KEPT.unlink(missing_ok=True)
    kept = Kept(KEPT)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: what is running is ended, copies are deleted
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        slots = [Slot(ROOT, Path(folder) / str(place), int(memory * 2**30 / workers)) for place in range(workers)]
        tree = slots[0].tree
        copy_repository(ROOT, tree)
        drawn = draw(tree, targets or TARGETS, count, seed)
        if not drawn:
            raise typer.BadParameter(f"{' '.join(targets or TARGETS)}: there is nothing to put a fault into.")
        import_libraries(tree)
        graph = ImportGraph(tree)
        paths = dict.fromkeys(mutant.path for mutant in drawn)
        tests = {path: choose_tests(graph, path, slots[0], kept, budget) for path in paths}
        for slot in slots[1:]:
            shutil.copytree(tree, slot.tree)
        survivors = run_mutants(drawn, tests, slots, kept)
        paths = dict.fromkeys(mutant.path for mutant in survivors)
        further = {path: choose_tests(graph, path, slots[0], kept, survivors_budget, tests[path]) for path in paths}
        survivors = run_mutants(survivors, further, slots, kept)
    typer.echo(report(drawn, survivors, {path: near + further.get(path, []) for path, near in tests.items()}))


if __name__ == "__main__":
    typer.run(main)
