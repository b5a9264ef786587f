"""What a run on a GPU found, as Markdown, and where records of cards are kept."""

import json
from collections.abc import Iterator
from pathlib import Path

from tabulate import tabulate

from benchmarks.gpu_setting import Row
from seqnlp.training import write_json


KEPT = Path(__file__).parent / "results" / "gpu"


def keep(record: dict) -> Path:
    """Put a record beside those of other cards; parts that were found before and not now stay as they are."""
    KEPT.mkdir(exist_ok=True)
    file = KEPT / f"{record['device']['card'].replace(' ', '_')}.json"
    before = json.loads(file.read_text(encoding="utf-8"))["parts"] if file.exists() else {}
    write_json(file, {**record, "parts": {**before, **record["parts"]}})
    return file


def report(record: dict) -> str:
    """The record as a Markdown page."""
    parts = [f"# On a GPU\n\n{_device(record)}"]
    for found in record["parts"].values():
        state = "" if found["state"] == "ok" else f"\n\n**{found['state']}**"
        parts.append(f"## {found['title']}\n\n{_table(found)}{state}")
    return "\n\n".join(parts) + "\n"


def kept_tables(records: list[dict]) -> str:
    """The tables of all kept records, below the lines with their cards."""
    parts = []
    for record in records:
        parts.append(_device(record))
        parts.extend(f"{found['title']}:\n\n{_table(found)}" for found in record["parts"].values())
    return "\n\n".join(parts)


def _device(record: dict) -> str:
    device = ", ".join(f"{name} {value}" for name, value in record["device"].items())
    return f"{device}; sizes: {record['size']}; {record['date']}."


def _table(found: dict) -> str:
    rows = [_cells(Row(**row)) for row in found["rows"]]
    return (
        tabulate(rows, ["what", "found", "limit", "", "remark"], tablefmt="github", disable_numparse=True)
        if rows
        else ""
    )


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
