"""The folder that goes up: everything a stranger needs to load the model, and nothing that is not listed here."""

import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer, PreTrainedConfig, PreTrainedModel

from ..export import EXPORTS, Export, ExportError, create_export
from ..training.errors import in_one_line
from ..training.integrity import WEIGHTS, weights_hash
from .auto import auto_classes
from .card import build_card, project_address
from .checks import find_link_out, read_json
from .errors import PublishingError
from .privacy import find_private_in_file, find_token_in_file, refuse_private


INDEX = "model.safetensors.index.json"
MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    INDEX,
    "model-?????-of-?????.safetensors",
)
# Taken from the folder of the run as they are.
COPIED_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "preprocessor_config.json",
    "processor_config.json",
    # The vocabularies of tokenizers that a given model brought.
    "vocab.json",
    "target_vocab.json",
    "vocab.txt",
    "merges.txt",
    "added_tokens.json",
    "source.spm",
    "target.spm",
    "spiece.model",
    "sentencepiece.bpe.model",
    "run.json",
    "learning_curves.png",
)
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
CARD = "README.md"
WEIGHT_PATTERNS = ("*.safetensors", "*.safetensors.index.json")
# A commit deletes whatever of this kind the new model does not have: old shards, old code, other formats of weights,
# which some loaders would prefer to the new ones.
STALE_PATTERNS = (
    *WEIGHT_PATTERNS,
    "*.py",
    "*.bin",
    "*.bin.index.json",
    "*.pt",
    "*.pth",
    "*.ckpt",
    "*.pkl",
    "*.pickle",
    "*.joblib",
    "*.npy",
    "*.npz",
    "*.h5",
    "*.msgpack",
    *MODEL_FILES,
    *COPIED_FILES,
    *(f"*/{name}" for name in TOKENIZER_FILES),
    *(f"{target}/*" for target in EXPORTS),
)


class BundledFile(NamedTuple):
    """A file that goes up."""

    name: str
    size: int


class Bundle(NamedTuple):
    """A folder ready to go up."""

    folder: Path
    files: list[BundledFile]
    tag: str

    def weights(self) -> dict[str, str]:
        """SHA-256 of each file of weights, as the Hub knows it."""
        return {
            file.name: hashlib.sha256((self.folder / file.name).read_bytes()).hexdigest()
            for file in self.files
            if any(fnmatch(file.name, pattern) for pattern in WEIGHT_PATTERNS)
        }


def build_bundle(
    output_dir: str | Path,
    folder: str | Path,
    repo_id: str,
    pinned: bool = True,
    max_shard_size: int | str | None = None,
    license: str | None = None,
    dataset_license: str | None = None,
    exports: Sequence[str] = (),
) -> Bundle:
    """
    Write what is to be published to an empty folder, and check it there.

    Args:
        output_dir: The folder of a finished run.
        folder: Where the files go.
        repo_id: What the card calls the model.
        pinned: Whether the card pins the tag of this publication.
        max_shard_size: Bytes of a file of weights at most.
        license: The license that the model is given.
        dataset_license: The license of its data, where `run.json` does not say.
        exports: Targets that it is exported to, each in a folder of that name.

    Raises:
        PublishingError: If the run is not finished, a file is missing or not readable or a link that leads out of the
            folder, the weights do not fit the configuration or are not those of the record, something holds a token
            or a path of the machine, or an export cannot be made or does not compute what the model computes.
    """
    output_dir, folder = Path(output_dir), Path(folder)
    record = read_record(output_dir)
    read = (*MODEL_FILES, *COPIED_FILES)
    _check_links(output_dir, [path.name for path in output_dir.iterdir() if any(fnmatch(path.name, p) for p in read)])
    _check_weights(output_dir, record)
    tag = tag_of(record)
    model = load_model(output_dir)
    save_model(model, folder, max_shard_size)
    for name in COPIED_FILES:
        if (output_dir / name).is_file():
            shutil.copy(output_dir / name, folder)
    listed = _copy_target_tokenizer(model, output_dir, folder)
    names = {path.name for path in folder.iterdir()}
    made = [_add_export(model, record, folder, target) for target in dict.fromkeys(exports)]
    licenses = {"license": license, "dataset_license": dataset_license}
    card = build_card(
        record, repo_id, tag if pinned else None, names, exports=made, project=project_address(), **licenses
    )
    (folder / CARD).write_text(card, encoding="utf-8")
    files = bundled_files(folder)
    _check(folder, files, [*listed, *(f"{export.name}/*" for export in made)])
    return Bundle(folder, files, tag)


def bundled_files(folder: Path) -> list[BundledFile]:
    """The files in a folder and those below it, in order."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return [BundledFile(path.relative_to(folder).as_posix(), path.stat().st_size) for path in paths]


def read_record(output_dir: Path) -> dict[str, Any]:
    """
    The `run.json` of a finished run.

    Raises:
        PublishingError: If there is none, or it is not the record of a run.
    """
    path = output_dir / "run.json"
    if not output_dir.is_dir():
        raise PublishingError(f"There is no folder {str(output_dir)!r}: name the --output_dir of a finished run.")
    if not path.is_file():
        raise PublishingError(f"{output_dir} holds no run.json: name the --output_dir of a run that is finished.")
    try:
        record = read_json(path)
    except ValueError as error:
        raise PublishingError(f"{path} is not JSON: {error}. Finish the run again.") from error
    is_mapping = isinstance(record, dict)
    missing = [name for name in ("task", "metrics", "model") if not is_mapping or name not in record]
    missing += [] if missing or isinstance(record["model"], dict) else ["model"]
    if missing:
        raise PublishingError(f"{path} lacks {missing[0]!r}: it is not the record of a run of seqnlp.")
    return record


def _check_links(output_dir: Path, names: list[str]) -> None:
    """Nothing goes up that lies elsewhere, whoever put a link to it there."""
    if out := find_link_out(output_dir, names):
        raise PublishingError(f"{output_dir / out} is a link that leads out of the folder: put the file itself there.")


def _check_weights(output_dir: Path, record: dict[str, Any]) -> None:
    """A run that was killed while it put its results in place leaves files of two models."""
    if is_of_other_weights(record, output_dir):
        raise PublishingError(
            f"{output_dir / 'run.json'} is the record of another model than the weights beside it: start the run "
            "again, and let it finish."
        )


def is_of_other_weights(record: dict[str, Any], folder: Path) -> bool:
    """
    Whether a record has the hash of other weights than those in a folder, which may lie there in shards.

    Raises:
        PublishingError: If there are shards that cannot be read.
    """
    expected = record["model"].get("sha256")
    if expected is None or not any((folder / name).is_file() for name in (WEIGHTS, INDEX)):
        return False
    if (folder / WEIGHTS).is_file():
        return weights_hash(folder) != expected
    weights = {}
    try:
        for shard in sorted(set(read_json(folder / INDEX)["weight_map"].values())):
            if Path(shard).name != shard:
                raise ValueError(f"{INDEX} names {shard!r}, which is no file beside it")
            weights |= load_file(folder / shard)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise PublishingError(f"The weights in {folder} cannot be read: {in_one_line(error, 300)}") from error
    # What a run records is the hash of one file; safetensors writes the same tensors in one way alone.
    return hashlib.sha256(save(weights, {"format": "pt"})).hexdigest() != expected


def tag_of(record: dict[str, Any]) -> str:
    """The name of the tag of a publication: a hash of the content of `run.json`, however it is written."""
    canonical = json.dumps(record, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return "run-" + hashlib.sha256(canonical.encode()).hexdigest()[:12]


def load_model(output_dir: Path) -> PreTrainedModel:
    """
    The model in `output_dir`, of the class that its configuration names; nothing but safetensors is read.

    Raises:
        PublishingError: If there is none, its class is not known, or weights are missing, left over or misshapen.
    """
    try:
        config = AutoConfig.from_pretrained(output_dir, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise PublishingError(f"{output_dir} holds no model that can be read: {in_one_line(error, 300)}") from error
    wanted = (config.architectures or ["nothing"])[0]
    model_class = next((known for _, known in auto_classes(type(config)) if known.__name__ == wanted), None)
    if model_class is None:
        raise PublishingError(f"{output_dir / 'config.json'} names the class {wanted}, which is not known here.")
    try:
        model, report = model_class.from_pretrained(
            output_dir, dtype="auto", use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise PublishingError(f"The weights in {output_dir} cannot be read: {in_one_line(error, 300)}") from error
    for kind, names in report.items():
        if names:
            raise PublishingError(
                f"The weights in {output_dir} do not fit its config.json ({kind.replace('_', ' ')}: "
                f"{sorted(map(str, names))[0]}): finish the run again."
            )
    return model


def save_model(model: PreTrainedModel, folder: Path, max_shard_size: int | str | None = None) -> None:
    """
    Save configuration, weights and, unless the class is one of transformers' own, its code: where seqnlp is not
    installed the saved class loads, and so do plain `AutoModel` and every other head of its family, with new weights.

    Raises:
        PublishingError: If what was written does not read back to the same weights.
    """
    model_class, config_class = type(model), type(model.config)
    auto_map = dict(auto_classes(config_class))
    options = {} if max_shard_size is None else {"max_shard_size": max_shard_size}
    vars(model.config).pop("auto_map", None)
    if model_class.__module__.startswith("transformers."):
        model.save_pretrained(folder, **options)
    else:
        model.config.auto_map = {
            name: f"{known.__module__.split('.')[-1]}.{known.__name__}" for name, known in auto_map.items()
        }
        before = model_class._auto_class, config_class._auto_class
        # While it saves alone: every later save_pretrained of the class would copy its code too.
        model_class.register_for_auto_class(next(name for name, known in auto_map.items() if known is model_class))
        config_class.register_for_auto_class()
        try:
            model.save_pretrained(folder, **options)
        finally:
            model_class._auto_class, config_class._auto_class = before
    again = model_class.from_pretrained(folder, dtype="auto", use_safetensors=True).state_dict()
    for name, weight in model.state_dict().items():
        if not torch.equal(weight, again[name]):
            raise PublishingError(f"{name} does not read back as it was written: is the disk full?")


def target_tokenizer_of(config: PreTrainedConfig) -> str | None:
    """
    The folder, beside a translator's files, of the tokenizer of its target; `None` if it has one tokenizer for both.

    Raises:
        PublishingError: For a name that leads out of there.
    """
    name = getattr(config, "target_tokenizer", None)
    if name is not None and not re.fullmatch(r"\w[\w-]*", str(name)):
        raise PublishingError(f"config.json: target_tokenizer {name!r} is no name of a folder beside it.")
    return name


def _copy_target_tokenizer(model: PreTrainedModel, output_dir: Path, folder: Path) -> list[str]:
    """The tokenizer of the target, in a folder of its own where a translator has two; gives the names of its files."""
    name = target_tokenizer_of(model.config)
    if name is None:
        return []
    (folder / name).mkdir()
    found = [file for file in TOKENIZER_FILES if (output_dir / name / file).is_file()]
    if not found:
        raise PublishingError(
            f"{output_dir / name} holds no tokenizer, and config.json names it: finish the run again."
        )
    _check_links(output_dir, [f"{name}/{file}" for file in found])
    for file in found:
        shutil.copy(output_dir / name / file, folder / name)
    return [f"{name}/{file}" for file in found]


def _add_export(model: PreTrainedModel, record: dict[str, Any], folder: Path, target: str) -> Export:
    """The model for another runtime, in a folder below, verified there."""
    processors = {"settings": record.get("hyperparameters")}
    if model.main_input_name == "pixel_values":
        processors["processor"] = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
    elif model.main_input_name == "input_ids":
        processors["processor"] = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        if name := target_tokenizer_of(model.config):
            options = {"subfolder": name, "trust_remote_code": False}
            processors["target_processor"] = AutoTokenizer.from_pretrained(folder, **options)
    try:
        export = create_export(model.float(), target, **processors)
        checks = export.save(folder / target)
    except ExportError as error:
        raise PublishingError(f"--with {target}: {error}") from error
    if failed := next((check for check in checks if not check.passed), None):
        raise PublishingError(
            f"--with {target}: what was exported is not what the model is ({failed.name}: {failed.found}, and not "
            f"{failed.limit}): leave it out."
        )
    return export


def _check(folder: Path, files: list[BundledFile], also_listed: list[str]) -> None:
    names = {file.name for file in files}
    code = {name for name in names if name.endswith(".py")}
    for name in sorted(code):
        text = (folder / name).read_text(encoding="utf-8")
        for imported in re.findall(r"^from \.(\w+) import", text, re.MULTILINE):
            if f"{imported}.py" not in names:
                raise PublishingError(f"{name} imports {imported}.py, which is not among the files to publish.")
    listed = (*MODEL_FILES, *COPIED_FILES, CARD, *code, *also_listed)
    for name in sorted(names, key=lambda name: (name == CARD, name)):  # the card repeats what others say
        if not any(fnmatch(name, pattern) for pattern in listed):
            raise PublishingError(f"{name} is not among the files that may be published.")
        # A vocabulary may hold words that look like paths, and code that of an interpreter.
        readable = name.endswith((".json", ".md", ".jinja")) and not name.endswith(
            ("tokenizer.json", "vocabulary.json")
        )
        refuse_private(find_private_in_file(folder / name) if readable else find_token_in_file(folder / name))
