"""
How cost grows with the work: time and peak memory per token against the length of a text, the vocabulary and the
batch, and per row against the rows of a corpus that is streamed. Each point is measured in a process of its own.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import process_time

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tabulate import tabulate
from transformers import PreTrainedModel

from benchmarks.machine import describe_machine
from benchmarks.memory import peak_resident, resident
from benchmarks.peers import LOSS_CHUNK, SPECIAL, Sizes, our_decoder, random_tokens
from benchmarks.records import RESULTS, ROOT, joined
from benchmarks.training_steps import training_step
from seqnlp import RecurrentConfig, RecurrentForCausalLM
from seqnlp.data import TextArguments, load_texts, stream_windows
from seqnlp.digits import significant
from seqnlp.tokenization import encode_documents, train_tokenizer
from seqnlp.training import write_json
from seqnlp.visualization.colors import LOOKS, OTHER, Look


GROWTH = RESULTS / "growth"
PICTURE = ROOT / "docs" / "images" / "growth.png"
PAGE = ROOT / "docs" / "scale.md"
BEGIN, END = "<!-- growth: written by python -m benchmarks growth -->", "<!-- end of growth -->"
LAYERS = 2
STEPS = 3


def decoder(vocab_size: int, loss_chunk_size: int | None = LOSS_CHUNK) -> PreTrainedModel:
    """A Transformer decoder of two layers, 256 wide."""
    return our_decoder(Sizes(vocab_size=vocab_size, layers=LAYERS), loss_chunk_size)


def recurrent(cell_type: str, vocab_size: int) -> PreTrainedModel:
    """Two layers of 256 units."""
    sizes = {"hidden_size": 256, "embedding_size": 256, "num_hidden_layers": LAYERS, "loss_chunk_size": LOSS_CHUNK}
    config = RecurrentConfig(cell_type=cell_type, vocab_size=vocab_size, tie_word_embeddings=True, **sizes, **SPECIAL)
    return RecurrentForCausalLM(config)


MODELS: dict[str, Callable[[int], PreTrainedModel]] = {
    "transformer": decoder,
    "transformer, all logits at once": lambda vocab_size: decoder(vocab_size, None),
    "lstm": lambda vocab_size: recurrent("lstm", vocab_size),
    "mingru": lambda vocab_size: recurrent("mingru", vocab_size),
}


@dataclass(frozen=True)
class Axis:
    """
    What grows.

    Attributes:
        title: Of the panel.
        per: What time is counted per.
        values: How large it becomes.
        models: Which models are measured.
        shape: From a value to rows, tokens per row and vocabulary of a training step; None where rows are streamed.
    """

    title: str
    per: str
    values: tuple[int, ...]
    models: tuple[str, ...]
    shape: Callable[[int], tuple[int, int, int]] | None = None


AXES = {
    "length": Axis(
        "Tokens per text, 4,096 per batch",
        "token",
        (64, 256, 1024, 4096),
        ("transformer", "lstm", "mingru"),
        lambda length: (4096 // length, length, 8192),
    ),
    "vocabulary": Axis(
        "Vocabulary, 8 texts of 256 tokens",
        "token",
        (8_000, 32_000, 128_000),
        ("transformer", "transformer, all logits at once", "lstm"),
        lambda vocab_size: (8, 256, vocab_size),
    ),
    "batch": Axis(
        "Texts of 64 tokens per batch",
        "token",
        (1, 4, 16, 64, 256),
        ("transformer", "lstm", "mingru"),
        lambda rows: (rows, 64, 8192),
    ),
    "rows": Axis("Rows of a streamed corpus", "row", (10_000, 100_000, 1_000_000, 10_000_000), ("streaming",)),
}


def cost_of_point(axis: str, model: str, value: int) -> dict[str, float]:
    """
    Measure in this process, with one thread.

    Returns:
        `microseconds` of CPU time per token or row, the median of three steps after a first one or of all rows, and
        `mebibytes` by which the resident memory was largest, over what it was before.
    """
    torch.set_num_threads(1)
    shape = AXES[axis].shape
    if shape is None:
        return _cost_of_streaming(value)
    rows, length, vocab_size = shape(value)
    # What is loaded and allocated once, whatever the size of the model.
    warm = random_tokens(1, 2, 10)
    training_step(MODELS[model](16), {"input_ids": warm, "labels": warm})()
    before = resident()
    tokens = random_tokens(rows, length, vocab_size)
    step = training_step(MODELS[model](vocab_size), {"input_ids": tokens, "labels": tokens})
    step()
    times = []
    for _ in range(STEPS):
        start = process_time()
        step()
        times.append(process_time() - start)
    return {"microseconds": 1e6 * median(times) / (rows * length), "mebibytes": peak_resident() - before}


def _cost_of_streaming(rows: int) -> dict[str, float]:
    """Read a file row by row, tokenize it and cut it into windows as a run with `--streaming` does, to its end."""
    words = [f"word{number}" for number in range(500)]
    generator = torch.Generator().manual_seed(0)
    tokenizer = train_tokenizer([" ".join(words)], "word", 1000)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("train.jsonl", "validation.jsonl")]
        for path, count in zip(paths, (rows, 10), strict=True):
            with path.open("w", encoding="utf-8") as file:
                for start in range(0, count, 100_000):
                    drawn = torch.randint(len(words), (min(100_000, count - start), 8), generator=generator).tolist()
                    file.writelines(
                        json.dumps({"text": " ".join(words[word] for word in row)}) + "\n" for row in drawn
                    )
        before, start = resident(), process_time()
        arguments = TextArguments(train_file=str(paths[0]), validation_file=str(paths[1]), streaming=True)
        windows = stream_windows(
            load_texts(arguments).splits["train"],
            lambda texts: encode_documents(tokenizer, texts),
            tokenizer.bos_token_id,
            window=128,
            batch_size=32,
        )
        labels = sum(len(window["labels"]) for window in windows)
        seconds = process_time() - start
    if labels != 9 * rows:  # eight words and what a document begins with
        raise RuntimeError(f"{labels} tokens came out of {rows} rows of 9.")
    return {"microseconds": 1e6 * seconds / rows, "mebibytes": peak_resident() - before}


def measure(names: list[str], rounds: int) -> Iterator[dict]:
    """
    Every point of these axes, each in processes of its own, by turns of all models: the median of the rounds.

    Args:
        names: Of axes.
        rounds: Turns; rows are streamed in one turn alone, where a million of them average over what disturbs.
    """
    for name in names:
        axis = AXES[name]
        for value in axis.values:
            found = {model: [] for model in axis.models}
            for _ in range(rounds if axis.shape else 1):
                for model, costs in found.items():
                    command = [sys.executable, "-m", "benchmarks", "growth-point", name, model, str(value)]
                    run = subprocess.run(command, capture_output=True, text=True, check=True)
                    costs.append(json.loads(run.stdout.splitlines()[-1]))
            for model, costs in found.items():
                cost = {key: median(one[key] for one in costs) for key in costs[0]}
                yield {"axis": name, "value": value, "model": model, **cost}


def keep(points: list[dict]) -> Path:
    """Write the points of this machine, in the place of those of the same axes."""
    machine = describe_machine() | {"threads": 1}
    sets = "amx" if "amx_bf16" in machine["instruction_sets"] else "no_amx"
    path = GROWTH / f"{joined([machine['processor'], sets])}.json"
    measured = {point["axis"] for point in points}
    older = json.loads(path.read_text(encoding="utf-8"))["points"] if path.exists() else []
    points = [point for point in older if point["axis"] not in measured] + points
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"machine": machine, "points": points})
    return path


def write_page(record: dict, page: Path = PAGE, picture: Path = PICTURE) -> None:
    """The table and the picture of a kept record, and of which machine it is."""
    machine, text = record["machine"], page.read_text(encoding="utf-8")
    where = f"{machine['processor']} ({', '.join(machine['instruction_sets'])}), one thread, torch {machine['torch']}."
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n\n{table(record['points'])}\n\n{where}\n\n{END}{after}", encoding="utf-8")
    draw(record["points"], picture)


def table(points: list[dict]) -> str:
    """A row per point: what grows, how far, by which model, and what it costs."""
    rows = [
        {
            "what grows": AXES[point["axis"]].title,
            "to": f"{point['value']:,}",
            "model": point["model"],
            "CPU time": f"{significant(point['microseconds'], 3)} µs per {AXES[point['axis']].per}",
            "peak memory": f"{point['mebibytes']:,.0f} MiB",
        }
        for point in points
    ]
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)


def draw(points: list[dict], path: Path = PICTURE) -> None:
    """Time above and memory below, an axis per column; both scales are logarithmic."""
    names = [name for name in AXES if any(point["axis"] == name for point in points)]
    figure = Figure(figsize=(3.6 * len(names), 6.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, len(names), squeeze=False)
    for column, name in enumerate(names):
        axis = AXES[name]
        for row, (key, what) in enumerate((("microseconds", f"µs per {axis.per}"), ("mebibytes", "peak, MiB"))):
            panel = panels[row][column]
            values = [point[key] for point in points if point["axis"] == name]
            for model in axis.models:
                line = [(p["value"], p[key]) for p in points if p["axis"] == name and p["model"] == model]
                panel.loglog(*zip(*line, strict=True), label=model, markersize=4, **_look(model).line())
            # A power of ten at least: what hardly changes is to look flat.
            panel.set_ylim(min(min(values) / 1.5, max(values) / 6), max(values) * 1.7)
            panel.set_ylabel(what)
            panel.set_xlabel(axis.title)
            panel.grid(alpha=0.3)
            if row == 0 and len(axis.models) > 1:
                panel.legend(fontsize=7)
    figure.suptitle("What a token or a row costs as the work grows: CPU, one thread")
    figure.savefig(path, dpi=120)


def _look(model: str) -> Look:
    look = LOOKS.get(model.split(",")[0], OTHER)
    return look._replace(linestyle=":", marker="x") if "," in model else look
