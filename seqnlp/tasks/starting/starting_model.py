"""The model that a run starts from: a run's folder or one of the Hub, ours or any of transformers."""

import copy
import functools
import hashlib
import inspect
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from tokenizers import processors
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.tokenization_utils_base import PreTrainedTokenizerBase
from transformers.utils import CONFIG_NAME, SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file, logging
from transformers.utils.hub import extract_commit_hash, get_checkpoint_shard_files

from ...training import ArgumentsError
from ...training.errors import in_one_line
from ...training.parsing import misfit, read_overrides
from ..arguments import TRANSFORMER


LABELS = ("id2label", "label2id", "problem_type")
"""Fields of a configuration that come with the classes of the data."""
SHOWN = 4  # modules of a kind that the report on loading names


@contextmanager
def quiet() -> Iterator[None]:
    """Without what transformers tells while it loads: a table of weights, of which a line is told instead."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def positions_of(config: PreTrainedConfig) -> int | None:
    """Tokens that a model can read at once; `None` where nothing in its configuration bounds them."""
    if not is_ours(config):
        size = getattr(config.get_text_config(), "max_position_embeddings", None)
        return None if size is None else size - _positions_never_used(type(config), config.to_json_string())
    is_learned = getattr(config, "position_embedding_type", None) == "learned"
    return config.max_position_embeddings if is_learned else None


@functools.cache  # it is asked for each text that is translated, and a model takes a thirtieth of a second to make
def _positions_never_used(kind: type[PreTrainedConfig], config: str) -> int:
    """
    Rows of a table of positions before that of the first token: RoBERTa's kind counts from behind the padding's.

    Args:
        kind: Class of the configuration.
        config: What the configuration says, as JSON.
    """
    try:
        with torch.device("meta"), quiet():
            model = AutoModel.from_config(kind.from_dict(json.loads(config)))
    except Exception:  # whatever code of its own such a model needs
        return 0
    tables = [module for name, module in model.named_modules() if name.endswith("position_embeddings")]
    paddings = [getattr(table, "padding_idx", None) for table in tables]
    return max((padding + 1 for padding in paddings if padding is not None), default=0)


def is_ours(config: PreTrainedConfig) -> bool:
    """Whether a configuration is of a model of seqnlp."""
    return config.model_type.startswith("seqnlp_")


def architecture_name(config: PreTrainedConfig) -> str:
    """What `--architecture` calls a model of ours; else the type of its configuration, such as `bert`."""
    return getattr(config, "cell_type", TRANSFORMER) if is_ours(config) else config.model_type


@dataclass
class Source:
    """
    Where something that exists is loaded from.

    Attributes:
        flag: The flag that names it.
        name: A folder, or a name on the Hub.
        revision: Branch, tag or commit on the Hub; the commit once it is known.
        trust_remote_code: Whether the code that comes with it is run.
    """

    flag: str
    name: str
    revision: str | None = None
    trust_remote_code: bool = False

    def __post_init__(self):
        path = Path(os.path.expanduser(self.name))
        self.is_folder = path.is_dir()
        if self.is_folder:
            self.name = str(path)
        elif path.exists() or path.is_absolute() or self.name.startswith((".", "~")) or self.name.count("/") > 1:
            raise ArgumentsError(
                f"--{self.flag} {self.name}: there is no such folder. Name the folder of a finished run, or a model "
                "on the Hub."
            )

    def load(self, what: str, load: Callable[..., Any], **options: Any) -> Any:
        """
        Call `load`, a `from_pretrained`.

        Args:
            what: What is loaded, for the error's line: "configuration".
            load: Is given the name, its revision and whether its code is trusted.
            **options: Are given to it too.

        Raises:
            ArgumentsError: If there is no such thing, or it cannot be had or read.
        """
        options |= {"revision": self.revision, "trust_remote_code": self.trust_remote_code}
        try:
            with quiet():
                return load(self.name, **options)
        except (HfHubHTTPError, HFValidationError, OSError, ValueError, KeyError, RuntimeError) as error:
            raise self._failure(what, error) from error
        except (ImportError, TypeError, AttributeError) as error:
            raise self._failure(what, error) from error

    def settle_commit(self) -> None:
        """From now on take everything from the commit that the configuration was of, whatever the branch moves to."""
        if not self.is_folder:
            path = cached_file(self.name, CONFIG_NAME, revision=self.revision)
            self.revision = extract_commit_hash(path, None) or self.revision

    def _failure(self, what: str, error: Exception) -> ArgumentsError:
        reason, hint = in_one_line(error), ""
        if "trust_remote_code" in reason:
            reason, hint = "it brings code of its own", " Read that code, then run it by --trust_remote_code."
        elif not self.is_folder and isinstance(error, HfHubHTTPError | HFValidationError | OSError):
            reason, hint = reason.split(". ")[0], " Check the name, and the connection to the Hub."
        reason = reason[:240].rstrip(".")
        return ArgumentsError(f"--{self.flag} {self.name}: its {what} cannot be loaded: {reason}.{hint}")

    def weight_files(self) -> list[Path]:
        """
        The files of its weights.

        Raises:
            ArgumentsError: If it has none in safetensors: nothing that is pickled is read.
        """
        options = {"revision": self.revision}
        options |= {f"_raise_exceptions_for_{what}": False for what in ("missing_entries", "connection_errors")}
        if one := cached_file(self.name, SAFE_WEIGHTS_NAME, **options):
            return [Path(one)]
        if index := cached_file(self.name, SAFE_WEIGHTS_INDEX_NAME, **options):
            return [Path(shard) for shard in get_checkpoint_shard_files(self.name, index, revision=self.revision)[0]]
        raise ArgumentsError(
            f"--{self.flag} {self.name}: there are no weights in safetensors, and nothing that is pickled is read. "
            "Save the model again by a recent transformers."
        )

    def record(self) -> dict[str, Any]:
        """What `run.json` says that lies beside a model of seqnlp; nothing where there is none."""
        quietly = {f"_raise_exceptions_for_{what}": False for what in ("missing_entries", "connection_errors")}
        path = cached_file(self.name, "run.json", revision=self.revision, **quietly)
        try:
            record = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
        except ValueError:
            return {}
        return record if isinstance(record, dict) and isinstance(record.get("model"), dict) else {}


def hash_of(files: Iterable[Path]) -> str:
    """The SHA-256 of a model's weights: that of their file, or of the lines of those of several files."""
    digests = []
    for path in files:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(f"{digest}\n" for digest in digests).encode()).hexdigest()


@dataclass
class StartingModel:
    """
    The model that a run starts from, before and after its weights are read.

    Attributes:
        source: Where it is.
        auto_class: The Auto class of the head that the task needs.
        config: Its own configuration.
        remarks: One line for each thing that its user should know of it.
    """

    source: Source
    auto_class: type
    config: PreTrainedConfig
    remarks: list[str] = field(default_factory=list)

    @classmethod
    def find(cls, source: Source, auto_class: type, task: str) -> "StartingModel":
        """
        Read its configuration.

        Args:
            source: Where it is.
            auto_class: The Auto class of the head that the task needs.
            task: The task's name.

        Raises:
            ArgumentsError: If it is not there, or such a model has no such head.
        """
        if source.is_folder and not (Path(source.name) / "config.json").is_file():
            raise ArgumentsError(
                f"--{source.flag} {source.name}: the folder holds no model (no config.json). Name the folder of a run "
                "that is finished."
            )
        config = source.load("configuration", AutoConfig.from_pretrained)
        source.settle_commit()
        is_custom = source.trust_remote_code and auto_class.__name__ in (getattr(config, "auto_map", None) or {})
        if not is_custom and type(config) not in auto_class._model_mapping:
            raise ArgumentsError(
                f"--{source.flag} {source.name}: it is of the kind {config.model_type}, which {task} cannot train: "
                f"{auto_class.__name__} makes no model of it."
            )
        found = cls(source, auto_class, config)
        if source.trust_remote_code:
            found.remarks.append(f"--trust_remote_code: code that comes with {source.name} runs with your rights.")
        return found

    @property
    def architecture(self) -> str:
        """What `--architecture` calls it, where it is ours; else the type of its configuration, such as `bert`."""
        return architecture_name(self.config)

    @property
    def model_class(self) -> type[PreTrainedModel] | None:
        """The class that is trained; `None` where its own code says it."""
        if type(self.config) not in self.auto_class._model_mapping:
            return None
        known = self.auto_class._model_mapping[type(self.config)]
        return known[0] if isinstance(known, tuple) else known

    @property
    def short_name(self) -> str:
        """The last part of its name, as that of a folder."""
        return Path(self.source.name).absolute().name if self.source.is_folder else self.source.name.split("/")[-1]

    def configure(self, overrides: str | None, fields: dict[str, Any]) -> PreTrainedConfig:
        """
        Its configuration with the classes of the data, and what `--config_overrides` says.

        Args:
            overrides: What that flag says.
            fields: What the data decides.

        Raises:
            ArgumentsError: For a field that does not exist and a value that does not fit.
        """
        if "id2label" in fields:
            fields.setdefault("problem_type", None)
        own = self.config.to_dict()
        if "id2label" in fields:
            own.pop("num_labels", None)
        try:
            return type(self.config).from_dict({**own, **fields, **read_overrides(type(self.config), overrides)})
        except ArgumentsError:
            raise
        except Exception as error:
            raise misfit(error, overrides) from error

    def load(self, config: PreTrainedConfig, overrides: str | None) -> tuple[PreTrainedModel, dict[str, Any]]:
        """
        The model with its weights in float32, and those that it lacks drawn anew.

        Args:
            config: From [`StartingModel.configure`].
            overrides: What `--config_overrides` says.

        Returns:
            The model, and what `run.json` says of where it comes from.

        Raises:
            ArgumentsError: If its weights cannot be read or do not fit.
        """
        files = self.source.weight_files()
        options = {"output_loading_info": True, "ignore_mismatched_sizes": True}
        options |= {"dtype": torch.float32, "use_safetensors": True}
        # A copy: transformers writes into the configuration of what it loads.
        model, report = self.source.load(
            "weights", self.auto_class.from_pretrained, config=copy.deepcopy(config), **options
        )
        missing, unused = set(report["missing_keys"]), set(report["unexpected_keys"])
        misfits = {name: shapes for name, *shapes in report["mismatched_keys"]}
        is_other = list(self.config.id2label.values()) != list(config.id2label.values())
        of_labels = self._weights_of_labels(config) if is_other or misfits else set()
        self._refuse_misfits({name: shapes for name, shapes in misfits.items() if name not in of_labels}, overrides)
        self._refuse_added(missing, config, overrides)
        new = missing | set(misfits)
        if others := of_labels - new:
            self._draw_anew(model, others)
            new |= others
        names = set(model.state_dict())
        taken, below = names - new, f"{model.base_model_prefix}."
        if not taken:
            raise ArgumentsError(
                f"--{self.source.flag} {self.source.name}: none of its weights belongs to a {type(model).__name__}."
            )
        with torch.no_grad():  # out of the file, which may be written over, to where torch puts weights
            for tensor in (*model.parameters(), *model.buffers()):
                tensor.data = tensor.data.clone()
        return model, {
            "class": (self.config.architectures or [None])[0],
            "model_type": self.config.model_type,
            "sha256": hash_of(files),
            "weights_taken": len(taken),
            "weights_new": modules_of(new, taken),
            # The checkpoint may be one of the model below the head, whose names have no prefix.
            "weights_unused": modules_of(unused, names | {name.removeprefix(below) for name in names}),
        }

    def describe(self, public_name: str) -> dict[str, Any]:
        """What `run.json` says of its name and its past."""
        record = self.source.record()
        known = {"name": public_name, "revision": None if self.source.is_folder else self.source.revision}
        if record.get("task"):
            known["task"] = record["task"]
        if record.get("base_model"):
            known["base_model"] = {
                name: value for name, value in record["base_model"].items() if not name.startswith("weights_")
            }
        return known

    def _weights_of_labels(self, config: PreTrainedConfig) -> set[str]:
        """The weights whose shapes depend on how many classes there are."""
        shapes = []
        for count in (config.num_labels, config.num_labels + 1):
            other = copy.deepcopy(config)
            other.num_labels = count
            with torch.device("meta"), quiet():
                model = self.auto_class.from_config(other, trust_remote_code=self.source.trust_remote_code)
            shapes.append({name: tensor.shape for name, tensor in model.state_dict().items()})
        return {name for name, shape in shapes[0].items() if shapes[1][name] != shape}

    def _draw_anew(self, model: PreTrainedModel, names: set[str]) -> None:
        """A head of as many classes, which are others or in another order."""
        fresh = self.auto_class.from_config(
            copy.deepcopy(model.config), trust_remote_code=self.source.trust_remote_code
        )
        drawn = fresh.state_dict()
        model.load_state_dict({**model.state_dict(), **{name: drawn[name] for name in names}})

    def _refuse_misfits(self, misfits: dict[str, list], overrides: str | None) -> None:
        if not misfits:
            return
        name, (there, here) = sorted(misfits.items())[0]
        raise ArgumentsError(
            f"--config_overrides {overrides}: the weights of {self.source.name} do not fit ({name}: "
            f"{tuple(there)} there, {tuple(here)} here). Leave out what changes their sizes."
        )

    def _refuse_added(self, missing: set[str], config: PreTrainedConfig, overrides: str | None) -> None:
        """A head may be new, and what its kind of checkpoint lacks; not what a flag has added to the model below."""
        if not overrides:
            return
        before = copy.deepcopy(self.config)
        before.num_labels = config.num_labels
        with torch.device("meta"), quiet():
            model = self.auto_class.from_config(before, trust_remote_code=self.source.trust_remote_code)
        below = f"{model.base_model_prefix}."
        added = sorted(name for name in missing - set(model.state_dict()) if name.startswith(below))
        if added:
            raise ArgumentsError(
                f"--config_overrides {overrides}: {self.source.name} has no weights for {added[0]} and "
                f"{len(added) - 1} others that this adds. Leave it out."
            )


def modules_of(names: set[str], others: set[str]) -> dict[str, int]:
    """
    The modules that some weights make up, each with how many they are: the highest in which there is no other weight.

    Args:
        names: The weights.
        others: Those from which they are told apart.
    """
    above = {prefix for name in others for prefix in _prefixes(name)}
    found: dict[str, int] = {}
    for name in sorted(names):
        module = next((prefix for prefix in _prefixes(name) if prefix not in above), name)
        found[module] = found.get(module, 0) + 1
    return found


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def described_start(described: dict[str, Any]) -> str:
    """The line on what was taken over of a model, from what `run.json` says of it."""
    revision = f", revision {described['revision'][:12]}" if described.get("revision") else ""
    parts = [f"{described['weights_taken']} weights taken over"]
    for key, word in (("weights_new", "new"), ("weights_unused", "not used")):
        modules = described[key]
        if modules:
            shown = [f"{name} ({count})" for name, count in list(modules.items())[:SHOWN]]
            more = len(modules) - SHOWN
            parts.append(f"{word}: {', '.join(shown)}" + (f" and {more} more modules" if more > 0 else ""))
    kind = described["class"] or described["model_type"]
    return f"Starting from {described['name']} ({kind}{revision}): {'; '.join(parts)}."


def load_tokenizer(source: Source, **options: Any) -> PreTrainedTokenizerBase:
    """
    A tokenizer that exists.

    Raises:
        ArgumentsError: If there is none.
    """
    return source.load("tokenizer", AutoTokenizer.from_pretrained, **options)


def load_image_processor(source: Source) -> Any:
    """
    An image processor that exists.

    Raises:
        ArgumentsError: If there is none.
    """
    return source.load("image processor", AutoImageProcessor.from_pretrained)


def give_padding(tokenizer: PreTrainedTokenizerBase, is_of_model: bool, remarks: list[str]) -> None:
    """
    See that a tokenizer has a padding token: of a given model's vocabulary its end token, else a new `<pad>`.

    Raises:
        ArgumentsError: If the model knows no token that could pad.
    """
    if tokenizer.pad_token is not None:
        return
    name = tokenizer.name_or_path
    if not is_of_model:
        tokenizer.add_special_tokens({"pad_token": "<pad>"})
        remarks.append(f"The tokenizer {name} has no padding token: <pad> is added to it.")
        return
    stand_in = tokenizer.eos_token or tokenizer.unk_token
    if stand_in is None:
        raise ArgumentsError(f"The tokenizer {name} has neither a padding nor an end token: batches cannot be padded.")
    tokenizer.pad_token = stand_in
    remarks.append(f"The tokenizer {name} has no padding token: its {stand_in} pads, which the model is told to skip.")


def give_ends(tokenizer: PreTrainedTokenizerBase, remarks: list[str]) -> None:
    """
    See that a tokenizer has a token that begins a text and one that ends it: others stand in for those it lacks.

    Raises:
        ArgumentsError: If it has nothing that could stand in.
    """
    for role, others in (("bos", ("cls", "eos")), ("eos", ("sep", "bos"))):
        if getattr(tokenizer, f"{role}_token") is not None:
            continue
        stand_in = next((token for other in others if (token := getattr(tokenizer, f"{other}_token"))), None)
        if stand_in is None:
            raise ArgumentsError(
                f"The tokenizer {tokenizer.name_or_path} has no token that begins or ends a text: texts cannot be "
                "told apart."
            )
        setattr(tokenizer, f"{role}_token", stand_in)
        word = {"bos": "begins", "eos": "ends"}[role]
        remarks.append(f"The tokenizer {tokenizer.name_or_path} has no token that {word} a text: {stand_in} does.")


def end_texts(tokenizer: PreTrainedTokenizerBase, flag: str, remarks: list[str]) -> None:
    """
    See that a tokenizer that has an end token puts it behind each text.

    Args:
        tokenizer: The tokenizer.
        flag: What named it, with its value, for the error's line.
        remarks: Gets a line if it has to be told so.

    Raises:
        ArgumentsError: If it cannot be told so.
    """
    ids, of_text = tokenizer("a").input_ids, tokenizer("a", add_special_tokens=False).input_ids
    if ids[-1:] == [tokenizer.eos_token_id]:
        return
    before = ids[: len(ids) - len(of_text)]
    if not isinstance(tokenizer, PreTrainedTokenizerFast) or ids != [*before, *of_text]:
        raise ArgumentsError(
            f"{flag}: it does not put its end token {tokenizer.eos_token} behind a text, and cannot be told to: no "
            "translation would end. Give another."
        )
    end, backend = tokenizer.eos_token, tokenizer.backend_tokenizer
    begin = tokenizer.convert_ids_to_tokens(before)
    template = processors.TemplateProcessing(
        single=[*begin, "$A", end],
        pair=[*begin, "$A", end, "$B", end],
        special_tokens=[*zip(begin, before, strict=True), (end, tokenizer.eos_token_id)],
    )
    # Two templates, one behind the other, would take what the first has made for a pair.
    kept = [backend.post_processor] if backend.post_processor is not None and not begin else []
    backend.post_processor = processors.Sequence([*kept, template])
    remarks.append(f"The tokenizer {tokenizer.name_or_path} puts no end token behind a text: {end} is put there.")


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, flag: str, start: StartingModel) -> None:
    """
    Refuse a tokenizer whose tokens are not those that a model knows.

    Args:
        tokenizer: What is to be used.
        flag: What named it, with its value, for the error's line.
        start: The model.

    Raises:
        ArgumentsError: If it has more tokens than the model, or others than the model's own tokenizer.
    """
    known = start.config.get_text_config().vocab_size
    if len(tokenizer) > known:
        raise ArgumentsError(
            f"{flag}: the vocabulary does not fit, it has {len(tokenizer):,} tokens and {start.source.name} knows "
            f"{known:,}."
        )
    if tokenizer.name_or_path == start.source.name:
        return  # it is the model's own
    try:
        own = load_tokenizer(start.source).get_vocab()
    except ArgumentsError:
        return  # it brings none
    ids = tokenizer.get_vocab()
    differing = sorted(token for token in own.keys() & ids.keys() if own[token] != ids[token])
    differing += sorted(ids.keys() - own.keys())
    if differing:
        raise ArgumentsError(
            f"{flag}: the vocabulary does not fit, {differing[0]!r} and {len(differing) - 1:,} other tokens are not "
            f"those of {start.source.name}."
        )


def keep_known_inputs(tokenizer: PreTrainedTokenizerBase, model_class: type[PreTrainedModel] | None) -> None:
    """Let a tokenizer give what a model takes alone: no `token_type_ids` to one that has no such embedding."""
    if model_class is None:
        return
    taken = inspect.signature(model_class.forward).parameters
    tokenizer.model_input_names = [name for name in tokenizer.model_input_names if name in taken]
