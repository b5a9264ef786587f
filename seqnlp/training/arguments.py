"""The arguments of the recipes: dataclasses read from flags and YAML files by one `HfArgumentParser`."""

import argparse
import copy
import dataclasses
import difflib
import re
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from transformers import HfArgumentParser, PreTrainedConfig


ConfigType = TypeVar("ConfigType", bound=PreTrainedConfig)


class ArgumentsError(ValueError):
    """An argument that does not exist or whose value does not fit; the message names it and where it came from."""


@dataclass
class ModelArguments:
    """What is trained: an architecture, its sizes, and its tokenizer."""

    architecture: Literal["elman", "gru", "lstm", "transformer"] = field(
        default="lstm", metadata={"help": "The kind of model."}
    )
    config_overrides: str | None = field(
        default=None,
        metadata={"help": "Fields of the model's configuration, e.g. hidden_size=256,num_hidden_layers=2."},
    )
    tokenizer_type: Literal["char", "word", "bpe", "wordpiece", "unigram"] = field(
        default="word", metadata={"help": "The kind of tokenizer trained on the training texts."}
    )
    vocab_size: int = field(
        default=10000, metadata={"help": "Size of the vocabulary at most, special tokens included."}
    )
    min_frequency: int = field(default=2, metadata={"help": "How often a unit must occur to enter the vocabulary."})
    lowercase: bool = field(default=True, metadata={"help": "Lower-case the text."})
    max_length: int = field(default=256, metadata={"help": "Tokens of a text that are read; the rest is cut off."})


@dataclass
class TrainingArguments:
    """How the model is trained; the names are those of the transformers examples."""

    output_dir: str | None = field(
        default=None, metadata={"help": "Where the results go; outputs/RECIPE-ARCHITECTURE if not given."}
    )
    overwrite_output_dir: bool = field(
        default=False, metadata={"help": "Begin anew where output_dir holds the checkpoints of an unfinished run."}
    )
    num_train_epochs: float = field(default=3.0, metadata={"help": "Passes over the training data."})
    max_train_steps: int | None = field(
        default=None, metadata={"help": "Optimizer steps in all; overrides num_train_epochs."}
    )
    max_train_minutes: float | None = field(
        default=None,
        metadata={"help": "Stop this run after so many minutes, with a checkpoint to go on from as planned."},
    )
    per_device_train_batch_size: int = field(
        default=32, metadata={"help": "Examples a process takes in one forward pass."}
    )
    per_device_eval_batch_size: int = field(default=128, metadata={"help": "The same for evaluation."})
    gradient_accumulation_steps: int = field(default=1, metadata={"help": "Forward passes to an optimizer step."})
    learning_rate: float = field(default=1e-3, metadata={"help": "Highest learning rate of AdamW."})
    weight_decay: float = field(default=0.01, metadata={"help": "Decoupled weight decay; biases and norms have none."})
    adam_beta1: float = field(default=0.9, metadata={"help": "AdamW's decay of the mean gradient."})
    adam_beta2: float = field(default=0.999, metadata={"help": "AdamW's decay of the mean squared gradient."})
    adam_epsilon: float = field(default=1e-8, metadata={"help": "AdamW's epsilon."})
    max_grad_norm: float = field(
        default=1.0, metadata={"help": "Gradients are scaled down to this norm; 0 to leave them."}
    )
    lr_scheduler_type: Literal[
        "linear", "cosine", "inverse_sqrt", "constant", "constant_with_warmup", "polynomial"
    ] = field(default="cosine", metadata={"help": "How the learning rate falls after the warm-up."})
    warmup_ratio: float = field(default=0.1, metadata={"help": "Share of the steps in which the learning rate rises."})
    num_warmup_steps: int | None = field(
        default=None, metadata={"help": "The same as a number; overrides warmup_ratio."}
    )
    seed: int = field(default=42, metadata={"help": "Fixes initialisation, order of the data and dropout."})
    eval_steps: int | None = field(
        default=None, metadata={"help": "Validate every so many steps; each epoch if not given."}
    )
    metric_for_best_model: str = field(
        default="loss", metadata={"help": "Validation metric by which the best model is kept, e.g. accuracy."}
    )
    greater_is_better: bool | None = field(
        default=None,
        metadata={"help": "Whether more of that metric is better; by default true unless its name ends in loss."},
    )
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "Stop after so many validations in a row without a better model."}
    )
    logging_steps: int = field(default=20, metadata={"help": "Steps between two records of training loss and speed."})
    checkpointing_steps: str = field(
        default="epoch", metadata={"help": "Write a checkpoint every so many steps, or at the end of each 'epoch'."}
    )
    save_total_limit: int = field(default=2, metadata={"help": "Checkpoints kept, besides the best model."})
    resume_from_checkpoint: str | None = field(
        default=None, metadata={"help": "A checkpoint's folder, or 'latest' for the newest in output_dir."}
    )
    resume_with_changes: bool = field(
        default=False,
        metadata={"help": "Resume even where arguments, data, tokenizer or model are not those of the checkpoint."},
    )
    mixed_precision: Literal["no", "bf16", "fp16", "auto"] = field(
        default="no",
        metadata={
            "help": (
                "Format of the matrix products; 'auto' is the fastest that the hardware is made for, 'no' is float32, "
                "so that by default a result is no matter of the machine."
            )
        },
    )
    torch_compile: bool = field(
        default=False,
        metadata={"help": "Train through torch.compile, which takes minutes at the start."},
    )
    report_to: str = field(
        default="tensorboard", metadata={"help": "Trackers that Accelerate knows, joined by commas, 'all' or 'none'."}
    )
    num_threads: int | None = field(
        default=None,
        metadata={"help": "CPU threads of a process; by default the cores, shared by its machine's processes."},
    )
    dataloader_num_workers: int = field(
        default=0, metadata={"help": "Processes that prepare batches ahead of each training process; 0 for none."}
    )
    push_to_hub: bool = field(
        default=False, metadata={"help": "Upload model, tokenizer and run.json to the Hub at the end."}
    )
    hub_model_id: str | None = field(
        default=None,
        metadata={"help": "Repository on the Hub, NAME or ORGANISATION/NAME; the folder's name if not given."},
    )
    hub_private_repo: bool = field(default=False, metadata={"help": "Make that repository private if it is created."})
    hub_revision: str | None = field(
        default=None, metadata={"help": "Branch of that repository, made if need be; main if not given."}
    )
    create_pr: bool = field(default=False, metadata={"help": "Open a pull request there instead of committing."})

    def __post_init__(self):
        positive = (
            "num_train_epochs",
            "per_device_train_batch_size",
            "per_device_eval_batch_size",
            "gradient_accumulation_steps",
            "learning_rate",
            "logging_steps",
            "save_total_limit",
        )
        for name in positive:
            if getattr(self, name) <= 0:
                raise ArgumentsError(f"--{name} {getattr(self, name)} must be above 0.")
        for name in ("max_train_steps", "eval_steps", "early_stopping_patience", "num_threads"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ArgumentsError(f"--{name} {getattr(self, name)} must be at least 1.")
        if self.max_train_minutes is not None and self.max_train_minutes <= 0:
            raise ArgumentsError(f"--max_train_minutes {self.max_train_minutes} must be above 0.")
        if self.dataloader_num_workers < 0:
            raise ArgumentsError(f"--dataloader_num_workers {self.dataloader_num_workers} must be at least 0.")
        if not 0 <= self.warmup_ratio < 1:
            raise ArgumentsError(f"--warmup_ratio {self.warmup_ratio} is a share: it must be at least 0 and below 1.")
        if self.checkpointing_steps != "epoch" and not re.fullmatch(r"[1-9]\d*", self.checkpointing_steps):
            raise ArgumentsError(
                f"--checkpointing_steps {self.checkpointing_steps} must be a number of steps or the word epoch."
            )
        if self.greater_is_better is None:
            self.greater_is_better = not self.metric_for_best_model.endswith("loss")
        for name in ("hub_model_id", "hub_private_repo", "hub_revision", "create_pr"):
            if getattr(self, name) and not self.push_to_hub:
                raise ArgumentsError(f"--{name} {getattr(self, name)} does nothing without --push_to_hub.")
        if self.create_pr and self.hub_revision:
            raise ArgumentsError(f"--create_pr goes to the main branch: leave out --hub_revision {self.hub_revision}.")
        if self.hub_model_id:  # now, and not when the model is trained
            try:
                validate_repo_id(self.hub_model_id)
            except HFValidationError as error:
                reason = " ".join(str(error).split())
                raise ArgumentsError(f"--hub_model_id cannot be the name of a model: {reason}") from error


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of a recipe's docstring, and says each flag's default."""


class _Parser(HfArgumentParser):
    """Says what is wrong in one line instead of printing every flag there is."""

    source_of = staticmethod(lambda flag: "")

    @staticmethod
    def _parse_dataclass_field(parser, field):
        # A field's metadata tells more of a flag than argparse takes. HfArgumentParser changes what it is given.
        field = copy.copy(field)
        field.metadata = {key: value for key, value in field.metadata.items() if key in ("help", "aliases")}
        HfArgumentParser._parse_dataclass_field(parser, field)

    def error(self, message):
        flag = re.match(r"argument (--\w+)", message)
        raise ArgumentsError(message + (self.source_of(flag.group(1)) if flag else "") + ". --help lists every flag.")


def parse_arguments(
    *dataclass_types: type, recipe: str, description: str | None = None, argv: list[str] | None = None
):
    """
    Read the arguments of a recipe from flags and, under them, from the file that `--config FILE.yaml` names.

    The YAML's keys are the flags' names; they are put in front of the user's flags, so that one parser converts and
    checks both and the user's win. Its key `recipe` names the recipe that the file is for. `config_overrides` may be
    a mapping.

    Args:
        *dataclass_types: The dataclasses to fill, whose fields become flags.
        recipe: Name of the recipe, as `recipe:` in a YAML gives it.
        description: The text above the flags in `--help`.
        argv: The flags; those of the process by default.

    Returns:
        An instance of each dataclass.

    Raises:
        ArgumentsError: For a flag, key or value that does not fit, in one line.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    path, argv = _take_config_flag(argv)
    names = [f.name for dataclass_type in dataclass_types for f in dataclasses.fields(dataclass_type) if f.init]
    from_yaml = _yaml_to_arguments(path, names, recipe) if path else []

    parser = _Parser(dataclass_types, description=description, allow_abbrev=False, formatter_class=_HelpFormatter)
    parser.add_argument("--config", metavar="FILE.yaml", help="A YAML file that sets any of these flags; flags win.")
    given = {
        argument.split("=")[0].replace("-", "_").replace("__", "--", 1) for argument in argv if argument[:2] == "--"
    }
    parser.source_of = lambda flag: f" (in {path})" if path and flag not in given else ""
    *parsed, _, unknown = parser.parse_args_into_dataclasses(from_yaml + argv, return_remaining_strings=True)
    if unknown:
        flag = unknown[0].split("=")[0]
        if not flag.startswith("--"):
            raise ArgumentsError(f"{unknown[0]!r} belongs to no flag. --help lists every flag.")
        raise ArgumentsError(f"There is no flag {flag}{_nearest(flag[2:], names, '--')}. --help lists every flag.")
    return tuple(parsed)


def _take_config_flag(argv: list[str]) -> tuple[str | None, list[str]]:
    path, rest = None, []
    arguments = iter(argv)
    for argument in arguments:
        if argument == "--config":
            path = next(arguments, None)
            if path is None or path.startswith("--"):
                raise ArgumentsError("--config needs the name of a YAML file.")
        elif argument.startswith("--config="):
            path = argument.removeprefix("--config=")
        else:
            rest.append(argument)
    return path, rest


def _yaml_to_arguments(path: str, names: list[str], recipe: str) -> list[str]:
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ArgumentsError(f"--config {path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ArgumentsError(f"--config {path} is not YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict):
        raise ArgumentsError(
            f"--config {path} must be a list of `key: value` lines, and holds a {type(content).__name__}."
        )
    meant_for = content.pop("recipe", recipe)
    if meant_for != recipe:
        raise ArgumentsError(f"--config {path} is for recipes/{meant_for}.py; this is {recipe}.")
    arguments = []
    for key, value in content.items():
        if key not in names:
            raise ArgumentsError(f"{path}: there is no argument {key!r}{_nearest(str(key), names)}.")
        if isinstance(value, dict):
            value = ",".join(f"{name}={yaml.safe_dump(item).splitlines()[0]}" for name, item in value.items())
        if isinstance(value, list):
            value = ",".join(str(item) for item in value)
        if value is not None:
            # One word: a value that begins with a dash would else be taken for a flag.
            arguments.append(f"--{key}={value}")
    return arguments


def _nearest(name: str, names, prefix: str = "") -> str:
    matches = difflib.get_close_matches(name.replace("-", "_"), list(names), n=1, cutoff=0.5)
    return f" (did you mean {prefix}{matches[0]}?)" if matches else ""


def build_config(config_class: type[ConfigType], overrides: str | None = None, **fields: Any) -> ConfigType:
    """
    A model configuration from a recipe's fields and what `--config_overrides` says, which wins.

    Args:
        config_class: The configuration's class.
        overrides: `name=value` pairs joined by commas, values written as in YAML; a number may also be `1e-3`.
        **fields: What the recipe sets.

    Raises:
        ArgumentsError: For a pair without `=`, a field that does not exist and a value that does not fit.
    """
    known = {f.name for f in dataclasses.fields(config_class)}
    for pair in re.split(r",(?=\s*\w+\s*=)", overrides) if overrides else []:
        name, equals, text = (part.strip() for part in pair.partition("="))
        if not equals or not text:
            raise ArgumentsError(f"--config_overrides {pair.strip()!r} must be name=value, e.g. hidden_size=256.")
        if name not in known:
            raise ArgumentsError(
                f"--config_overrides {pair.strip()}: {config_class.__name__} has no field {name!r}"
                f"{_nearest(name, known)}."
            )
        value = yaml.safe_load(text)
        if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
            value = float(value)  # YAML 1.1 takes 1e-3 for a string
        fields[name] = value
    try:
        return config_class(**fields)
    except Exception as error:  # strict dataclasses raise errors of their own, several lines long
        reason = " ".join(str(error.__cause__ or error).split())
        raise ArgumentsError(f"--config_overrides {overrides or ''}: {reason}") from error


DATA_FLAGS = ("dataset_name", "train_file", "validation_file", "test_file")


def command_of(argv: list[str]) -> str:
    """The command that ran, as it may be published: no path of the machine."""
    words, flag = [], ""
    for word in argv:
        name, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        if name and not equals:
            flag = name
            words.append(word)
        else:
            words.append(name + equals + public_path(value, (name or flag).lstrip("-").replace("-", "_")))
    return shlex.join(words)


def public_path(value: str, name: str = "") -> str:
    """
    The value of an argument without a path of the machine.

    A local dataset, and whatever lies outside of the working folder, becomes `<local:LAST_PART>`; other paths below
    the working folder (`recipes/configs/x.yaml`) say nothing about the machine and stay.

    Args:
        value: The value.
        name: The argument's name, which tells datasets from the rest.
    """
    path = Path(value).expanduser()
    if name in DATA_FLAGS and path.exists():
        return f"<local:{path.resolve().name}>"
    if path.is_absolute() and path != Path.cwd() and path.is_relative_to(Path.cwd()):
        return str(path.relative_to(Path.cwd()))
    if path.is_absolute() or ".." in path.parts:
        return f"<local:{path.resolve().name}>"
    return value
