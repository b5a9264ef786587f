"""What comes after a series of numbers: by numpy and onnxruntime alone."""

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime


# As in training: seqnlp/data/series.py, whose words a test holds to be these.
MISSING = ("", "na", "n/a", "#n/a", "nan", "nat", "null", "none", "-", "?")


def number(cell):
    """The number in a cell, NaN where it is missing, and `None` for another word."""
    try:
        cell = cell.replace("\N{MINUS SIGN}", "-")
        return float("nan") if cell.strip().lower() in MISSING else float(cell)
    except ValueError:
        return None


def read(path, delimiter, channels):
    """`(steps, channels)` numbers, NaN where there is none; a first line without a number has the channels' names."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, delimiter=delimiter)
        lines = [(reader.line_num, row) for row in reader]
    while lines and not lines[-1][1]:
        lines.pop()
    steps = []
    for place, (line, row) in enumerate(lines):
        if not row and channels > 1:
            continue
        row = row or [""]  # an empty line is a step of one channel
        if len(row) != channels:
            raise ValueError(f"line {line} of {path} has {len(row)} columns, and the model reads {channels}")
        numbers = [number(cell) for cell in row]
        if None not in numbers:
            steps.append(numbers)
        elif place > 0 or any(value is not None for value in numbers):
            raise ValueError(f"line {line} of {path}: {row[numbers.index(None)]!r} is no number")
    if not np.isfinite(steps).any():
        raise ValueError(f"{path} holds no number")
    return np.array(steps)


def predict(session, facts, past):
    """`(steps, channels)` after the past, of which as much is read as in training."""
    longest = facts["context_length"]
    if longest and len(past) > longest:
        print(f"the last {longest} of {len(past)} steps are read", file=sys.stderr)
        past = past[-longest:]
    if facts["logarithm"]:
        if (past <= 0).any():
            raise ValueError(f"the model reads logarithms, and the least value is {np.nanmin(past):g}")
        past = np.log(past)
    with np.errstate(over="ignore"):  # beyond float32 it is infinite
        past = past.astype(np.float32)[None]
    observed = np.isfinite(past)
    inputs = {"past_values": np.where(observed, past, 0), "past_observed_mask": observed.astype(np.int64)}
    found = session.run(None, inputs)[0][0].astype(np.float64)
    return np.exp(found) if facts["logarithm"] else found


def main():
    """A file with a line per step and a column per channel; an empty field was not observed."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("file")
    parser.add_argument("--delimiter", default=",")
    arguments = parser.parse_args()
    folder = Path(__file__).parent
    facts = json.loads((folder / "runtime.json").read_text(encoding="utf-8"))
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    try:
        found = predict(session, facts, read(arguments.file, arguments.delimiter, facts["channels"]))
    except (OSError, ValueError) as error:
        parser.error(str(error))
    for step in found:
        print(*(f"{value:.6g}" for value in step), sep=arguments.delimiter)


if __name__ == "__main__":
    main()
