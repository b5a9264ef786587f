"""Loading a model that a user names: a recipe's output folder or a model on the Hub."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import cached_file

from ..models import AUTO_CLASSES, compile_generation
from ..tasks.starting.starting_model import architecture_name
from ..training.errors import in_one_line


ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="A recipe's output folder or a Hub id.")]
TrustRemoteCode = Annotated[bool, typer.Option("--trust_remote_code", help="Run code that comes with a model.")]
CompileGeneration = Annotated[
    bool,
    typer.Option(
        "--compile_generation",
        help="Compiled generation (torch.compile), without beam search: the first text takes some seconds longer, and "
        "all others are faster.",
    ),
]


class ModelError(ValueError):
    """A model that cannot be loaded as named; the message says why and what would do."""


@dataclass
class NamedModel:
    """
    A model as a user named it.

    Attributes:
        name: The folder's or the repository's last part.
        source: The folder or the Hub id, as given.
        model: The model with the head that its configuration names, in float32 and set to `eval()`.
        auto_class: The Auto class that loads it, which says what head that is.
        run: What `run.json` beside the model says, empty where there is none of a recipe's.
        trust_remote_code: Whether code that comes with it may run.
        revision: The branch, tag or commit on the Hub; `None` for its main branch, and for a folder.
    """

    name: str
    source: str
    model: PreTrainedModel
    auto_class: type
    run: dict[str, Any] = field(default_factory=dict)
    trust_remote_code: bool = False
    revision: str | None = None

    @property
    def architecture(self) -> str:
        """The kind of recurrent cell, `transformer` for our own, or the type of a model of others."""
        return architecture_name(self.model.config)

    @property
    def num_positions(self) -> int | None:
        """How many tokens it can read at once; `None` where its configuration sets no bound."""
        bound = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        # RoBERTa and its kin count positions from behind that of padding.
        tables = [table for name, table in self.model.named_modules() if name.endswith(".position_embeddings")]
        unused = [table.padding_idx + 1 for table in tables if getattr(table, "padding_idx", None) is not None]
        return bound and bound - max(unused, default=0)

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """
        Its tokenizer.

        Raises:
            ModelError: If there is none, or the model reads no text.
        """
        if self.model.main_input_name != "input_ids":
            raise ModelError(f"Model {self.source!r} is a {type(self.model).__name__}, which reads no text.")
        return self._load(AutoTokenizer, "tokenizer")

    def target_tokenizer(self) -> PreTrainedTokenizerBase:
        """
        The tokenizer of what it writes: where its configuration names a `target_tokenizer`, the one in the folder of
        that name, else the same as of what it reads.

        Raises:
            ModelError: If there is none.
        """
        subfolder = getattr(self.model.config, "target_tokenizer", None) or ""
        return self._load(AutoTokenizer, "tokenizer for targets", subfolder=subfolder)

    def image_processor(self):
        """
        Its image processor.

        Raises:
            ModelError: If there is none.
        """
        return self._load(AutoImageProcessor, "image processor")

    def _load(self, auto_class, what: str, **options):
        try:
            options |= {"trust_remote_code": self.trust_remote_code, "revision": self.revision or "main"}
            return auto_class.from_pretrained(self.source, **options)
        except Exception as error:  # what is missing shows in many ways
            raise ModelError(
                f"Model {self.source!r} has no {what} that can be loaded: {in_one_line(error, 240)}"
            ) from error


def load_model(source: str, trust_remote_code: bool = False, revision: str | None = None) -> NamedModel:
    """
    Load a model with the head that its configuration's `architectures` name.

    Args:
        source: A folder with `config.json`, e.g. a recipe's output, or the id of a model on the Hub.
        trust_remote_code: Whether to run code that comes with a model; without it such a model is refused.
        revision: The branch, tag or commit on the Hub; its main branch by default.

    Raises:
        ModelError: If there is no such model, it cannot be loaded, or the Hub cannot be reached.
    """
    path = Path(os.path.expanduser(source))
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(f"The folder {source!r} holds no model: there is no config.json in it.")
        source = str(path)
    elif path.exists() or path.is_absolute() or source.startswith((".", "~")) or source.count("/") > 1:
        raise ModelError(f"There is no folder {source!r}. Name a recipe's output folder, or a model on the Hub.")
    try:
        options = {"trust_remote_code": trust_remote_code, "revision": revision or "main"}
        config = AutoConfig.from_pretrained(source, **options)
        auto_class = _auto_class(config, source, trust_remote_code)
        model = auto_class.from_pretrained(source, dtype=torch.float32, **options)
    except ModelError:
        raise
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        where = "" if path.is_dir() else ", neither as a folder nor on the Hub (check the name and the connection)"
        raise ModelError(f"Model {source!r} cannot be loaded{where}: {in_one_line(error, 240)}") from error
    except (ValueError, KeyError, RuntimeError, ImportError, TypeError) as error:
        hint = " To run it, give --trust_remote_code." if "trust_remote_code" in str(error) else ""
        raise ModelError(f"Model {source!r} cannot be loaded: {in_one_line(error, 240)}{hint}") from error
    name = path.absolute().name if path.is_dir() else source
    run = _run_record(source, options["revision"])
    return NamedModel(name, source, model.eval(), auto_class, run, trust_remote_code, revision)


def compile_writing(model: PreTrainedModel, source: str, num_beams: int | None = None) -> None:
    """
    Have a model write by a compiled step from now on, as `--compile_generation` asks for it.

    Args:
        model: The model.
        source: Its name.
        num_beams: That it is to write by; `None` for as many as it was saved with.

    Raises:
        ModelError: If it does not write, is of others, or searches by beams.
    """
    beams = num_beams or (model.generation_config.num_beams if model.can_generate() else None) or 1
    if beams > 1:
        raise ModelError(f"--compile_generation does nothing for {beams} beams: give --num_beams 1, or leave it out.")
    try:
        compile_generation(model)
    except ValueError as error:
        raise ModelError(f"--compile_generation, model {source!r}: {error}") from error


def _run_record(source: str, revision: str) -> dict[str, Any]:
    """What `run.json` says, in the folder or the repository; nothing where there is none of ours."""
    quiet = ("missing_entries", "connection_errors")
    path = cached_file(
        source, "run.json", revision=revision, **{f"_raise_exceptions_for_{what}": False for what in quiet}
    )
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    except ValueError:
        return {}
    return record if isinstance(record, dict) and "hyperparameters" in record else {}


def _auto_class(config, source: str, trust_remote_code: bool):
    architecture = (config.architectures or [None])[0]
    if architecture is None:
        raise ModelError(f"Model {source!r}: its config.json names no class under 'architectures'.")
    for auto_class in AUTO_CLASSES.values():
        found = auto_class._model_mapping.get(type(config), ())
        found = found if isinstance(found, tuple) else (found,)
        custom = str(getattr(config, "auto_map", {}).get(auto_class.__name__)) if trust_remote_code else ""
        if custom.endswith(f".{architecture}") or architecture in [model_class.__name__ for model_class in found]:
            return auto_class
    raise ModelError(
        f"Model {source!r} is a {architecture}, which is neither a language model nor a classifier of texts, tokens "
        "or images, nor predicts series."
    )
