"""`run.json`: what ran, on what, with which result; everything a model card says comes from here."""

import importlib.metadata
import json
import math
import os
import platform
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch
from accelerate import Accelerator

from .flags import fields_of, public_value


LIBRARIES = (
    "seqnlp",
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "accelerate",
    "evaluate",
    "scikit-learn",
    "numpy",
)


@dataclass
class RunRecord:
    """
    The record of a run, written as `run.json`. Nothing in it names a path of the machine.

    Attributes:
        task: Name of the recipe.
        command: The command that ran.
        seed: The seed.
        num_processes: Processes that trained together.
        hyperparameters: Every argument of the recipe.
        dataset: Name, configuration, revision, and rows and fingerprint of each split.
        model: Class, parameters and configuration.
        base_model: The model that the run started from: its name, revision, class, the SHA-256 of its weights, and
            what was taken over of them. Empty where all weights were drawn anew.
        embeddings: The word vectors with which the embeddings began, and of how many tokens there were any.
        teacher: The model whose answers it learned from: its name, revision, class, the SHA-256 of its weights and its
            parameters, and how it was listened to.
        metrics: Final metrics by split, e.g. `{"validation": {...}, "test": {...}}`.
        baselines: The same for what the model is compared with.
        history: Metrics over time; each entry has `step` and `epoch`.
        kept: Which weights were kept: `step`, `epoch`, the validation `metric` that chose them and its `value`, and
            `average_of` where they are the mean of several, or `ema_decay` where they are a moving average. All but
            `ema_decay` are missing where no validation could choose.
        stopped: Why training ended before its planned last step, and where: `{"reason", "step", "planned_steps"}`.
        seeds: Of a record that several runs share, which differ by their seed alone: the metrics of each, their mean
            and standard deviation, and which of them all else here is of. Empty for a run by itself.
        seconds: Wall-clock time, in all and for training alone (evaluation during training included).
        memory: The most memory that a process held, in MiB: `resident` in the machine and `gpu` on its accelerator.
    """

    task: str
    command: str
    seed: int
    num_processes: int
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    dataset: dict[str, Any] = field(default_factory=dict)
    tokenizer: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    base_model: dict[str, Any] = field(default_factory=dict)
    embeddings: dict[str, Any] = field(default_factory=dict)
    teacher: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    baselines: dict[str, dict[str, Any]] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    kept: dict[str, Any] = field(default_factory=dict)
    stopped: dict[str, Any] | None = None
    seeds: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=lambda: library_versions())
    hardware: dict[str, Any] = field(default_factory=lambda: hardware())
    started: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))

    def log(self, step: int, epoch: float, **values: float) -> None:
        """Add an entry to the history."""
        self.history.append({"step": step, "epoch": round(epoch, 4), **values})

    def add_arguments(self, *arguments: Any) -> None:
        """Take the flags of argument dataclasses into `hyperparameters`."""
        for argument in arguments:
            for name, flag in fields_of(type(argument)).items():
                self.hyperparameters[name] = public_value(getattr(argument, name), flag)

    def write(self, path: str | Path) -> None:
        """Write the record as JSON, in one move: a reader never finds half of it."""
        write_json(path, asdict(self))


def write_json(path: str | Path, content: Any) -> None:
    """
    Write `content` as JSON by way of a temporary file beside it, laid out by [`to_json`]. Numbers that JSON has no way
    to write become null.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(to_json(plain(content)) + "\n")
            file.flush()
            os.fsync(file.fileno())  # or the name may reach the disk before the content
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def to_json(value: Any, indent: int = 0, is_entry: bool = False) -> str:
    """
    JSON with a line per key and per entry of a list: a list of plain values is one line, and so is an entry of a list
    that has plain values alone, such as one of a history.

    Args:
        value: What JSON knows.
        indent: How deep it stands.
        is_entry: Whether it is an entry of a list.
    """
    parts = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    is_flat = not any(isinstance(part, dict | list) for part in parts)
    if not parts or (is_flat and (is_entry or isinstance(value, list))):
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    if isinstance(value, dict):
        names = [json.dumps(name, ensure_ascii=False) + ": " for name in value]
        lines = [name + to_json(part, indent + 1) for name, part in zip(names, parts, strict=True)]
        opening, closing = "{}"
    else:
        lines = [to_json(part, indent + 1, is_entry=True) for part in parts]
        opening, closing = "[]"
    margin = "\n" + "  " * indent
    return opening + ",".join(f"{margin}  {line}" for line in lines) + margin + closing


def plain(value: Any) -> Any:
    """`value` in what JSON knows: arrays as lists, keys as strings, infinities and NaN as None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # a numpy or torch number or array
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def library_versions() -> dict[str, str]:
    """The versions of Python and of the libraries that a result depends on."""
    versions = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def hardware() -> dict[str, Any]:
    """Processor, cores, memory and accelerators, without the machine's name."""
    found = {
        "cpu": _cpu_name(),
        "cpu_cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
    }
    if torch.cuda.is_available():
        found["gpus"] = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return found


def peak_memory(accelerator: Accelerator) -> dict[str, float]:
    """The most memory, in MiB, that any process of a run has held so far. Called by every process."""
    held = [_peak_resident_bytes() / 2**20, 0.0]
    if accelerator.device.type == "cuda":
        held[1] = held_bytes(accelerator.device) / 2**20
    resident, gpu = accelerator.gather(torch.tensor([held], device=accelerator.device)).amax(dim=0).tolist()
    return {"resident": round(resident, 1), **({"gpu": round(gpu, 1)} if gpu else {})}


def held_bytes(device: torch.device) -> int:
    """The most memory that this process has held so far, on the GPU where its model is on one."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _peak_resident_bytes()


def _peak_resident_bytes() -> int:
    if platform.system() == "Windows":
        return psutil.Process().memory_info().peak_wset
    import resource  # not there on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else 1024 * peak


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
