"""Score the translations of a finished run again, and put the scores into its record.

    python -m benchmarks.rescore outputs/translation_multi30k_transformer [--dataset_name DIR]

For records made before a score was there. Nothing is trained or chosen: the sentences are those that the record has
scores for, their translations those in `translations.SPLIT.txt` beside it, or, where it has none, what the saved model
translates with the beams of the run.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from transformers import pipeline

from seqnlp.data import PairArguments, load_translation
from seqnlp.metrics import translation_scores
from seqnlp.training import write_json


TOLERANCE = 0.3  # of BLEU; where babble is cut off depends on the batch it is in


def translations(folder: Path, split: str, sources: list[str], record: dict) -> list[str]:
    """Those that were kept, or else those of the saved model."""
    file = folder / f"translations.{split}.txt"
    if file.exists():
        return file.read_text(encoding="utf-8").split("\n")[:-1]
    settings = record["hyperparameters"]
    beams = {name: settings[name] for name in ("num_beams", "length_penalty")}
    translate = pipeline("seqnlp-translation", model=str(folder), device="cpu", max_new_tokens=None, **beams)
    # Longest first, as the recipe does it: little is computed at padding.
    order = sorted(range(len(sources)), key=lambda row: -len(sources[row]))
    answers = translate([sources[row] for row in order], batch_size=settings["per_device_eval_batch_size"])
    texts = dict(zip(order, (answer["translation_text"] for answer in answers), strict=True))
    return [texts[row] for row in range(len(sources))]


def main(argv: list[str]) -> None:
    """Rewrite the scores in `run.json`; an exit with one line where they are not those of the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="What the recipe left.")
    parser.add_argument("--dataset_name", help="The dataset, where the record names a folder of another machine.")
    arguments = parser.parse_args(argv)
    record = json.loads((arguments.folder / "run.json").read_text(encoding="utf-8"))
    names = {field.name for field in dataclasses.fields(PairArguments)}
    settings = {name: value for name, value in record["hyperparameters"].items() if name in names}
    if arguments.dataset_name:
        settings["dataset_name"] = arguments.dataset_name
    loaded = load_translation(PairArguments(**settings))
    splits = loaded.splits
    for split in record["metrics"]:
        sources, references = list(splits[split]["source"]), list(splits[split]["target"])
        texts = translations(arguments.folder, split, sources, record)
        scores = translation_scores(sources, texts, references, loaded.details["target"])
        before = record["metrics"][split]["bleu"]
        if abs(scores["bleu"] - before) > TOLERANCE:
            sys.exit(f"error: split {split}: BLEU {scores['bleu']:.2f}, and {before:.2f} in the record: other data?")
        print(f"{split}: BLEU {scores['bleu']:.2f} ± {scores['intervals']['bleu']:.2f} (recorded: {before:.2f})")
        # What was measured then stays; only what it lacks is added.
        record["metrics"][split] = {**scores, **record["metrics"][split]}
    write_json(arguments.folder / "run.json", record)


if __name__ == "__main__":
    main(sys.argv[1:])
