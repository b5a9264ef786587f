"""The tables of `benchmarks/README.md`, from the JSON files of the folders in `benchmarks/results/`.

The text around the tables is kept; what stands between the markers is written anew.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from statistics import median

from tabulate import tabulate

from benchmarks import gpu_report
from seqnlp.digits import significant
from seqnlp.tasks.reporting.results import shown_size


HERE = Path(__file__).parent
SPEED, PROFILES, README = HERE / "results" / "speed", HERE / "results" / "profiles", HERE / "README.md"
RUNTIMES, EXPORTED = HERE / "results" / "runtimes", HERE / "results" / "exported"
DRAFTS = HERE / "results" / "drafts"


def read(folder: Path) -> list[dict]:
    """The records of a folder, in the order of their names."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def measured(result: dict) -> float:
    """What is held against the target."""
    return 1 / result["ratio"] if result["at_most"] else result["ratio"]


def spread(result: dict) -> str:
    """The ratio, and the quarter and three quarters of the ratios of single pairs."""
    higher_is_better = result["unit"].endswith("/s")
    pairs = sorted(
        own / theirs if higher_is_better != result["at_most"] else theirs / own
        for own, theirs in zip(result["ours"], result["peer"], strict=True)
    )
    quarter = len(pairs) // 4
    return f"{measured(result):.2f} ({pairs[quarter]:.2f} to {pairs[-1 - quarter]:.2f})"


def shown_target(target: float | None, at_most: bool, is_reached: bool | None) -> str:
    """A target, and whether it is reached; nothing where there is none."""
    if target is None:
        return ""
    return f"{'at most' if at_most else 'at least'} {target:g}: {'reached' if is_reached else '**missed**'}"


def targets_table(records: list[dict]) -> str:
    """Every contest: medians, the ratio, the target and whether it is reached."""
    rows = [
        {
            "benchmark": f"`{record['benchmark']}`",
            "ours": result["name"],
            "against": result["peer_name"],
            "ours, median": f"{significant(median(result['ours']))} {result['unit']}",
            "peer, median": f"{significant(median(result['peer']))} {result['unit']}",
            "ratio (quartiles)": spread(result),
            "target": shown_target(result["target"], result["at_most"], result["reached"]),
        }
        for record in records
        for result in record["results"]
    ]
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)


def earlier_table(records: list[dict]) -> str:
    """The ratios of records from another processor that newer ones have replaced, and where they were taken."""
    rows = [
        {
            "benchmark": f"`{record['benchmark']}`",
            "ours": result["name"],
            "against": result["peer_name"],
            "ratio (quartiles)": spread(result),
            "processor": f"{record['machine']['processor']}, {record['date']}",
        }
        for record in records
        for result in record["results"]
    ]
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)


def limits_table(records: list[dict]) -> str:
    """
    What products alone would take, for every contest with a target whose rate was taken: the ratio that a step of
    nothing but the same products, at the rate measured beside it, would reach.
    """
    rows = []
    for result in (result for record in records for result in record["results"]):
        if result["product_share"] is None or result["target"] is None:
            continue
        own_rate = result["gflop"] / (median(result["ours"]) / 1000)
        rows.append(
            {
                "ours": result["name"],
                "against": result["peer_name"],
                "GFLOP/s (a product alone)": f"{own_rate:.0f} ({result['product_rate']:.0f})",
                "of the limit": f"{result['product_share']:.0%}",
                "ratio": f"{measured(result):.2f}",
                "ratio of products alone": f"{result['ratio'] / result['product_share']:.2f}",
                "target": f"{result['target']:g}",
            }
        )
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)


def kinds_table(rows: list[tuple[str, dict[str, float]]], least: float = 0.02) -> str:
    """The kinds of operation that take the time of some work, the largest first: a row per piece of work."""
    cells = []
    for name, shares in rows:
        largest = sorted(shares.items(), key=lambda pair: -pair[1])
        shown = "; ".join(f"{kind} {share:.0%}" for kind, share in largest if share >= least)
        cells.append({"": name, f"kinds of {least:.0%} and more": shown})
    return tabulate(cells, headers="keys", tablefmt="github", disable_numparse=True)


def machine_lines(records: list[dict]) -> str:
    """The command, clock and machine of each file; they need not be of one day."""
    rows = [
        {
            "command": command_of(record),
            "clock": record["clock"],
            "processor": record["machine"]["processor"],
            "instructions": ", ".join(record["machine"]["instruction_sets"]),
            "cores": record["machine"]["cores"],
            "torch": record["machine"]["torch"],
            "date": record["date"],
        }
        for record in records
    ]
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)


def command_of(record: dict) -> str:
    """The command that measures again what a record holds."""
    settings = f"--rounds {record['rounds']} --threads {record['machine']['threads']}"
    return f"`python -m benchmarks speed {record['benchmark']} {settings}`"


def contest_kinds(records: list[dict]) -> str:
    """Where the time of each of our contests goes, told once for what several peers are held against."""
    shares = {}
    for record in records:
        for result in record["results"]:
            if result["kinds"]:
                shares.setdefault(f"{record['benchmark']}: {result['name']}", result["kinds"])
    return kinds_table(list(shares.items()))


def recipe_kinds(records: list[dict]) -> str:
    """Where the time of one step of each recipe goes."""
    return kinds_table(
        [(f"{_recipe(record)} ({record['milliseconds']:.0f} ms)", record["kinds"]) for record in records]
    )


def recipe_operations(records: list[dict], most: int = 6) -> str:
    """The operations that take most of the step of each recipe."""
    rows = []
    for record in records:
        largest = list(record["operations"].items())[:most]
        operations = ", ".join(f"{name} {share:.0%}" for name, share in largest)
        rows.append({"recipe": _recipe(record), "operations": operations})
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)


def _recipe(record: dict) -> str:
    return f"`{record['recipe']}` {record['arguments']}".rstrip()


def runtimes_table(records: list[dict]) -> str:
    """Tokens per second of `generate`, and of each runtime with how many times that is, by model and batch."""
    rows: dict[tuple[str, int], dict[str, str]] = {}
    for result in (result for record in records for result in record["results"]):
        row = rows.setdefault(
            (result["model"], result["batch"]),
            {
                "model": result["model"],
                "batch": f"{result['batch']}",
                "`generate`": f"{median(result['generate_tokens_per_second']):,.0f}",
            },
        )
        row[result["runtime"]] = f"{median(result['tokens_per_second']):,.0f} ({result['ratio']:.1f} times)"
    return tabulate(list(rows.values()), headers="keys", tablefmt="github", disable_numparse=True)


def exported_table(records: list[dict]) -> str:
    """A trained translator in each runtime: sentences alike, BLEU of both sides, and how many times as fast."""
    rows = [
        {
            "runtime": run["runtime"],
            "beams": f"{run['beams']}",
            "sentences alike": f"{run['alike']:,} of {record['rows']:,}",
            "BLEU, `generate`": f"{run['bleu_lowercase']['generate']:.2f}",
            "BLEU, exported": f"{run['bleu_lowercase']['exported']:.2f}",
            "difference (95 %)": "{:+.2f} ({:+.2f} to {:+.2f})".format(
                run["bleu_lowercase"]["exported"] - run["bleu_lowercase"]["generate"],
                *run["bleu_difference_interval"],
            ),
            "times faster": f"{run['ratio']:.1f}",
        }
        for record in records
        for run in record["runs"]
    ]
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)


def drafts_table(records: list[dict]) -> str:
    """Who writes and who guesses: the calls of both per text, and how many times as fast a text is written."""
    rows = []
    for record in records:
        target = record["target"]
        for run in record["runs"]:
            size, calls = run["parameters"], median(run["target_calls"])
            rows.append(
                {
                    "writes": f"{target['who']}, {shown_size(target['parameters'])}",
                    "guesses": run["name"] if size is None else f"{run['name']}, {shown_size(size)}",
                    "calls of who writes": f"{calls:g} instead of {record['new_tokens']}",
                    "calls of who guesses": "" if size is None else f"{median(run['draft_calls']):g}",
                    "times as fast (quartiles)": spread(run),
                }
            )
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)


def runtime_machine(records: list[dict]) -> str:
    """Processor and date of the records."""
    lines = [
        f"- `{record['machine']['processor']}` ({', '.join(record['machine']['instruction_sets'])}), one thread, "
        f"torch {record['machine']['torch']}, {record['date']}"
        for record in records
    ]
    return "\n".join(dict.fromkeys(lines))


TABLES: dict[str, tuple[Path, Callable[[list[dict]], str]]] = {
    "targets": (SPEED, targets_table),
    "earlier": (SPEED / "earlier", earlier_table),
    "limits": (SPEED, limits_table),
    "kinds": (SPEED, contest_kinds),
    "recipes": (PROFILES, recipe_kinds),
    "operations": (PROFILES, recipe_operations),
    "machines": (SPEED, machine_lines),
    "runtimes": (RUNTIMES, runtimes_table),
    "machine of the runtimes": (RUNTIMES, runtime_machine),
    "exported": (EXPORTED, exported_table),
    "gpu": (gpu_report.KEPT, gpu_report.kept_tables),
    "machine of the exported": (EXPORTED, runtime_machine),
    "drafts": (DRAFTS, drafts_table),
    "machine of the drafts": (DRAFTS, runtime_machine),
}


def write_readme() -> None:
    """Put each table between its markers, `<!-- NAME -->` and `<!-- end of NAME -->`."""
    text = README.read_text(encoding="utf-8")
    for name, (folder, make) in TABLES.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"{README.name} lacks the lines {begin!r} and {end!r}, between which a table goes.")
        table = make(read(folder))
        text = pattern.sub(lambda _, content=f"{begin}\n\n{table}\n\n{end}": content, text)
    README.write_text(text, encoding="utf-8")
