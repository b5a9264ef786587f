"""What comes after a series of numbers: by numpy and onnxruntime alone."""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime


def main():
    """A file with a line per step and a column per channel; an empty field was not observed."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("file")
    parser.add_argument("--delimiter", default=",")
    arguments = parser.parse_args()
    folder = Path(__file__).parent
    facts = json.loads((folder / "runtime.json").read_text(encoding="utf-8"))
    past = np.genfromtxt(arguments.file, np.float32, delimiter=arguments.delimiter, ndmin=2)
    if past.shape[1] != facts["channels"]:
        parser.error(f"{arguments.file} has {past.shape[1]} columns, and the model reads {facts['channels']}")
    past = past[None]
    observed = np.isfinite(past)
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    inputs = {"past_values": np.where(observed, past, 0), "past_observed_mask": observed.astype(np.int64)}
    for step in session.run(None, inputs)[0][0]:
        print(*(f"{value:.6g}" for value in step), sep=arguments.delimiter)


if __name__ == "__main__":
    main()
