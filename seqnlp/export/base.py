"""What an export is: files for another runtime, and the proof that they compute what the model computes."""

import contextlib
import importlib.metadata
import importlib.util
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ..extras import install


EXPORTS: dict[str, type["Export"]] = {}
"""Every target by its name."""

MANIFEST = "export.json"
"""The file in each exported folder that says what was exported, by what, and what was checked."""

TARGET_TOKENIZER = "target_tokenizer"
"""The folder, in an exported one, of the tokenizer of what a translator writes, where it has two."""


class ExportError(ValueError):
    """A model that cannot be exported as asked; the message says in one line why and what would do."""


@dataclass
class Check:
    """
    One row of the table of an export.

    Attributes:
        name: What was compared, e.g. `logits, 6 texts in 3 paddings`.
        passed: Whether it holds.
        found: What was found, e.g. `2.9e-06`.
        limit: What it had to be, e.g. `at most 1e-05`.
    """

    name: str
    passed: bool
    found: str
    limit: str


class Export:
    """
    A model for one target, which a subclass is. It is registered under its `name`.

    Attributes:
        name: What `--to` says.
        title: What it is for, in a few words for `--help` and for cards.
        packages: What must be installed beside seqnlp, by the names under which it is imported and installed.
        extra: The extra of seqnlp that installs them; `None` where nothing is needed.
        quantizations: What `--quantization` may say.
        language: Of the lines that [`Export.usage`] gives, as a fence in Markdown names it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str | None] = None
    quantizations: ClassVar[tuple[str, ...]] = ()
    language: ClassVar[str] = "python"

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "name" in vars(cls):
            EXPORTS[cls.name] = cls

    def __init__(
        self,
        model: PreTrainedModel,
        processor: Any = None,
        *,
        target_processor: Any = None,
        settings: dict[str, Any] | None = None,
        quantization: str | None = None,
    ):
        """
        Args:
            model: In float32; it is set to `eval()`.
            processor: What makes its inputs, a tokenizer or an image processor; `None` for series.
            target_processor: The tokenizer of what it writes, where that is another one.
            settings: The hyperparameters of the run that trained a model of series, which say how it reads one.
            quantization: One of `quantizations`, or `None` for weights as they are.
        """
        self.model = model.eval()
        self.config = model.config
        self.processor = processor
        self.target_processor = target_processor
        self.settings = settings or {}
        self.quantization = quantization

    # What a target has to say.

    def refuse(self) -> None:
        """
        Refuse what the target cannot express, before anything is written.

        Raises:
            ExportError: With the field of the configuration and its value.
        """
        raise NotImplementedError

    def write(self, folder: Path) -> None:
        """Write the exported files to an empty folder, processor included."""
        raise NotImplementedError

    def verify(self, folder: Path) -> list[Check]:
        """Run the files in `folder` in their runtime and compare with the model; not called under autograd."""
        raise NotImplementedError

    def usage(self, folder: str) -> str:
        """Lines that tell a reader how to run what lies in a folder of that name."""
        raise NotImplementedError

    # What all of them do.

    @property
    def end_tokens(self) -> list[int]:
        """The tokens of which each ends a text."""
        end = self.model.generation_config.eos_token_id
        return end if isinstance(end, list) else [] if end is None else [end]

    def refuse_missing_rows(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """
        Refuse a tokenizer that has more tokens than the model has embeddings.

        Raises:
            ExportError: With both numbers.
        """
        if len(tokenizer) > self.config.vocab_size:
            raise ExportError(
                f"vocab_size={self.config.vocab_size}: the tokenizer has {len(tokenizer)} tokens, and each needs "
                "its embedding."
            )

    def save_processors(self, folder: Path) -> None:
        """Write what makes the model's inputs beside the exported files, and a second tokenizer in its folder."""
        for processor, place in ((self.processor, folder), (self.target_processor, folder / TARGET_TOKENIZER)):
            if processor is not None:
                if isinstance(processor, PreTrainedTokenizerFast):
                    # transformers sets both at each call. Other programs would cut and pad as the last call did.
                    processor.backend_tokenizer.no_truncation()
                    processor.backend_tokenizer.no_padding()
                processor.save_pretrained(place)

    @torch.no_grad()
    def save(self, folder: str | Path) -> list[Check]:
        """
        Write to a folder beside `folder`, verify there, and only then move it into place.

        Returns:
            What was checked. Where one of them has not passed, nothing was written.

        Raises:
            ExportError: If `folder` cannot be made or written to, or holds something that no export has written.
        """
        folder = Path(folder)
        check_folder(folder)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        except OSError as error:
            raise ExportError(f"The folder {folder} cannot be made: {error.strerror}.") from error
        try:
            made = work / "made"
            with _writing(folder):
                made.mkdir()
                self.write(made)
            checks = self.verify(made)
            if all(check.passed for check in checks):
                with _writing(folder):
                    self._write_manifest(made, checks)
                    if folder.exists():
                        folder.rename(work / "replaced")
                    made.rename(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return checks

    def _write_manifest(self, folder: Path, checks: list[Check]) -> None:
        names = ("seqnlp", "torch", "transformers", *self.packages)
        manifest = {
            "target": self.name,
            "model": type(self.model).__name__,
            "quantization": self.quantization,
            "files": [path.relative_to(folder).as_posix() for path in files_of(folder)],
            "checks": [asdict(check) for check in checks],
            "versions": {name: importlib.metadata.version(name) for name in dict.fromkeys(names)},
        }
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:  # safetensors has one of its own for a full disk
        reason = getattr(error, "strerror", None) or error
        raise ExportError(f"{folder} cannot be written: {reason}. Nothing of it was kept.") from error


def in_python(text: str) -> str:
    """A text as Python code names it, whatever quotes and backslashes it has."""
    return json.dumps(text, ensure_ascii=False)


def create_export(model: PreTrainedModel, target: str, **options: Any) -> Export:
    """
    The export of a model to a target, if it can be made.

    Args:
        model: In float32.
        target: A name in `EXPORTS`.
        **options: The keyword arguments of [`Export`].

    Raises:
        ExportError: For an unknown target or quantization, a package that is not installed, and what the target cannot
            express.
    """
    if target not in EXPORTS:
        raise ExportError(f"There is no target {target!r}: choose from {', '.join(sorted(EXPORTS))}.")
    export_class = EXPORTS[target]
    missing = [name for name in export_class.packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(f"The target {target} needs {' and '.join(missing)}: {install(export_class.extra)}.")
    quantization = options.get("quantization")
    if quantization is not None and quantization not in export_class.quantizations:
        known = ", ".join(export_class.quantizations) or "none"
        raise ExportError(f"quantization {quantization!r}: the target {target} has {known}.")
    if any(name.endswith("base_layer") for name, _ in model.named_modules()):
        raise ExportError("The model has adapters of PEFT beside its weights: export what merge_and_unload() gives.")
    if model.dtype != torch.float32:
        raise ExportError(f"The model is in {model.dtype}: load it with dtype=torch.float32.")
    made = export_class(model, **options)
    made.refuse()
    return made


def export(model: PreTrainedModel, processor: Any, target: str, folder: str | Path, **options: Any) -> list[Check]:
    """
    Export a model to a folder, and verify what was exported; see [`create_export`] and [`Export.save`].

    Returns:
        What was checked. Where one of them has not passed, nothing was written.
    """
    return create_export(model, target, processor=processor, **options).save(folder)


def files_of(folder: Path) -> Iterator[Path]:
    """The files in a folder and those below it, in order."""
    return (path for path in sorted(folder.rglob("*")) if not path.is_dir())


def check_folder(folder: Path) -> None:
    """
    Hold the rule that an export replaces nothing but an export.

    Raises:
        ExportError: If something is there that no export has written.
    """
    if not folder.is_symlink() and (not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))):
        return
    names = {path.relative_to(folder).as_posix() for path in files_of(folder)} if folder.is_dir() else set()
    try:
        written = {MANIFEST, *json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise ExportError(f"{folder} is there already, and no export has made it: give another name.") from None
    if folder.is_symlink() or names - written:
        what = f"holds {min(names - written)}" if names - written else "is a link"
        raise ExportError(f"{folder} {what}, which no export has made: give another name.")
