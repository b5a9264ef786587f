"""Write on from a prompt, or write the target of a source: by numpy, onnxruntime and tokenizers alone."""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer


def load(folder):
    """The graphs in the order in which they run, and what is known of the model."""
    facts = json.loads((folder / "runtime.json").read_text(encoding="utf-8"))
    return [onnxruntime.InferenceSession(str(folder / f"{name}.onnx")) for name in facts["graphs"]], facts


def write(graphs, facts, ids, max_new_tokens, temperature=0.0, seed=0):
    """Token ids one by one: the likeliest at temperature 0, else drawn from softmax(logits / temperature)."""
    *encoder, step = graphs
    chance = np.random.default_rng(seed)
    memory, name, new, read = {}, "input_ids", list(ids), 0
    for value in step.get_inputs():
        if value.name.startswith("past_key_values."):  # before the first token: zeros, and no keys and values
            sizes = [{"rows": 1, "past_tokens": 0}.get(size, size) for size in value.shape]
            memory[value.name] = np.zeros(sizes, np.float32)
    if encoder:
        memory["attention_mask"] = np.ones((1, len(ids)), np.int64)
        outputs = encoder[0].run(None, {"input_ids": np.array([ids]), "attention_mask": memory["attention_mask"]})
        memory.update(zip([value.name for value in encoder[0].get_outputs()], outputs, strict=True))
        name, new = "decoder_input_ids", [facts["decoder_start_token_id"]]
    known = {value.name for value in step.get_inputs()}
    after = [value.name.replace("present.", "past_key_values.") for value in step.get_outputs()]
    for _ in range(max_new_tokens):
        read += len(new)
        if not encoder:
            memory["attention_mask"] = np.ones((1, read), np.int64)
        memory[name] = np.array([new])
        logits, *states = step.run(None, {key: value for key, value in memory.items() if key in known})
        memory.update(zip(after[1:], states, strict=True))
        logits = logits[0, -1]
        if temperature > 0:  # the largest with Gumbel noise is a draw from the softmax
            logits = logits / temperature + chance.gumbel(size=logits.shape)
        new = [int(logits.argmax())]
        yield new[0]
        if new[0] in facts["end_tokens"]:
            return


def main():
    """The text on the command line, and what the model writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", help="the prompt, or the source")
    parser.add_argument("--max_new_tokens", type=int, default=100)
    parser.add_argument("--temperature", type=float, default=0.0, help="0 takes the likeliest token each time")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    folder = Path(__file__).parent
    graphs, facts = load(folder)
    reader, writer = (Tokenizer.from_file(str(folder / facts[name])) for name in ("tokenizer", "target_tokenizer"))
    reader.encode_special_tokens = facts["split_special_tokens"]
    ids = reader.encode(arguments.text).ids or facts["begin_with"]
    begun = [] if len(graphs) == 2 else ids  # a prompt is part of the text, a source is not
    longest = facts["longest"] or 10**9
    if len(ids) > longest or len(begun) == longest:
        parser.error(f"the text has {len(ids)} tokens, and the model reads {longest} in all")
    room = min(arguments.max_new_tokens, longest - max(1, len(begun)))
    new = write(graphs, facts, ids, room, arguments.temperature, arguments.seed)
    print(writer.decode([*begun, *new], skip_special_tokens=True))


if __name__ == "__main__":
    main()
