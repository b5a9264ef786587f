"""What the model says of a text, or of each token of it: by numpy, onnxruntime and tokenizers alone."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer


def probabilities(logits, answers):
    """Of the labels on the last axis: `one` of them, `several` of them, or a `number` as it is."""
    if answers == "number":
        return logits
    if answers == "several":
        return 1 / (1 + np.exp(-logits))
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def predict(session, tokenizer, facts, text):
    """For a text a list of (label, probability); for each token (token, label, probability)."""
    encoding, longest = tokenizer.encode(text), facts["longest"]
    if longest and longest < len(encoding.ids):
        print(f"cut to {longest} of {len(encoding.ids)} tokens", file=sys.stderr)
        tokenizer.enable_truncation(longest, direction=facts["truncation_side"])  # it keeps the special tokens
        encoding = tokenizer.encode(text)
        tokenizer.no_truncation()
    ids = encoding.ids
    mask = np.ones((1, max(1, len(ids))), np.int64) * bool(ids)
    inputs = {"input_ids": np.array([ids or [facts["pad_token_id"]]]), "attention_mask": mask}
    found = probabilities(session.run(None, inputs)[0][0], facts["answers"])
    if found.ndim == 1:
        return sorted(zip(facts["labels"], found.tolist(), strict=True), key=lambda pair: -pair[1])
    best = found[: len(ids)].argmax(axis=-1)
    names = [tokenizer.id_to_token(place) if facts["labels"] is None else facts["labels"][place] for place in best]
    return list(zip(encoding.tokens, names, found.max(axis=-1).tolist(), strict=False))


def main():
    """The text on the command line, and a line for each answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text")
    arguments = parser.parse_args()
    folder = Path(__file__).parent
    facts = json.loads((folder / "runtime.json").read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_file(str(folder / facts["tokenizer"]))
    tokenizer.encode_special_tokens = facts["split_special_tokens"]
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    for *names, number in predict(session, tokenizer, facts, arguments.text):
        print(*names, f"{number:.4f}", sep="\t")


if __name__ == "__main__":
    main()
