"""How a task starts from a model that exists: what every recipe does with `--model_name_or_path`."""

import inspect
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from transformers import CONFIG_MAPPING, PreTrainedConfig, PreTrainedModel
from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

from ...models import compile_generation
from ...tokenization import take_masks_literally
from ...training import ArgumentsError, Run
from ...training.flags import public_value, settled_flags
from ..arguments import ARCHITECTURES, WritingArguments
from .adapters import Adapter, read_adapter_config
from .starting_model import (
    LABELS,
    Source,
    StartingModel,
    check_vocabulary,
    described_start,
    give_ends,
    give_padding,
    keep_known_inputs,
    load_image_processor,
    load_tokenizer,
    positions_of,
)
from .word_vectors import begin_with_vectors, check_vectors, described_vectors


class FineTuning:
    """
    The part of a [`Task`] that starts from a model, or takes a tokenizer that exists.

    Attributes:
        starts_from_others: Whether it can start from a model that is not one of seqnlp.
        fields_of_data: Fields of a configuration that the data decides, whatever model a run starts from.
        has_ends: Whether its texts need a token that begins and one that ends them.
        asks_by_masks: Whether a `<mask>` in a text is a question to its models, and not six characters.
        start_model: The model that the run starts from; `None` where all weights are drawn anew.
        given_processor: What makes its inputs, where a model or a flag gives it; `None` where it is yet to be made.
        processor: What makes its inputs, once the data is prepared.
        adapter: What is trained in the place of the model's own weights, if `--peft` asks for it.
        remarks: One line for each thing that its user should know of what the run starts from.
    """

    starts_from_others: ClassVar[bool] = True
    fields_of_data: ClassVar[tuple[str, ...]] = LABELS
    has_ends: ClassVar[bool] = False
    asks_by_masks: ClassVar[bool] = False

    start_model: StartingModel | None = None
    given_processor: Any = None
    processor: Any = None
    adapter: Adapter | None = None
    remarks: list[str]

    @classmethod
    def settle(cls, model_args: Any, defaults: dict[str, Any]) -> None:
        """
        Set the flags that an existing model or tokenizer would settle, where there is none.

        Args:
            model_args: Holds `None` for those of which a user has said nothing.
            defaults: A recipe's own, by name.
        """
        names = vars(model_args)
        given = {"model": names["model_name_or_path"]}
        given["tokenizer"] = names.get("tokenizer_name") or given["model"]
        for name, by in settled_flags(type(model_args)).items():
            if names[name] is None and not given[by]:
                own = cls.fields()[name].default
                setattr(model_args, name, defaults.get(name, own))

    @classmethod
    def foreign_architecture(cls, record: dict[str, Any]) -> str | None:
        """
        What `run.json` says of a model that is none of ours where it says the architecture, such as `bert`.

        Raises:
            ArgumentsError: If transformers knows no such model.
        """
        architecture = (record.get("hyperparameters") or {}).get("architecture")
        if not record.get("base_model") or architecture in ARCHITECTURES:
            return None
        if not isinstance(architecture, str) or architecture not in CONFIG_MAPPING:
            raise ArgumentsError(f"transformers knows no models of the kind {architecture!r}.")
        return architecture

    def start_from(self) -> None:
        """
        Find the model and the tokenizer that the run starts from, if it does, and settle the flags by them.

        Raises:
            ArgumentsError: If they are not there, do not fit the task, or contradict other flags.
        """
        self.remarks = []
        arguments = self.model_args
        name, tokenizer_name = arguments.model_name_or_path, vars(arguments).get("tokenizer_name")
        if arguments.model_revision and not name:
            raise ArgumentsError(
                f"--model_revision {arguments.model_revision} does nothing without --model_name_or_path."
            )
        if arguments.trust_remote_code and not (name or tokenizer_name):
            raise ArgumentsError("--trust_remote_code does nothing without --model_name_or_path.")
        if path := vars(arguments).get("init_embeddings"):
            if name:
                raise ArgumentsError(f"--init_embeddings {path}: {name} brings embeddings. Leave out one of the two.")
            check_vectors(path)
        if name:
            source = Source("model_name_or_path", name, arguments.model_revision, arguments.trust_remote_code)
            self.start_model = StartingModel.find(source, self.auto_class, self.name)
            self._settle_by(self.start_model)
            self.remarks += self.start_model.remarks
        if name or tokenizer_name:
            self._refuse_trained_tokenizer()
            self.given_processor = self.load_given_processor()

    def _settle_by(self, start: StartingModel) -> None:
        arguments, name = self.model_args, start.source.name
        if not self.starts_from_others and start.architecture not in ARCHITECTURES:
            raise ArgumentsError(
                f"--model_name_or_path {name}: {self.name} trains models of seqnlp alone, and this is a "
                f"{start.architecture}."
            )
        if arguments.architecture not in (None, start.architecture):
            raise ArgumentsError(
                f"--architecture {arguments.architecture}: {name} is of the kind {start.architecture}. Leave the flag "
                "out, or start from another model."
            )
        arguments.architecture = start.architecture
        if "max_length" in vars(arguments):
            self._settle_length(start)

    def _settle_length(self, start: StartingModel) -> None:
        arguments, limit = self.model_args, positions_of(start.config)
        said = arguments.max_length
        arguments.max_length = wanted = said or self.fields()["max_length"].default
        needed = self.positions or wanted
        if limit is None or needed <= limit:
            return
        arguments.max_length = most = max(2, wanted - (needed - limit))
        name = start.source.name
        if said:
            raise ArgumentsError(
                f"--max_length {said}: {name} reads {limit} tokens at once, so that {most} is the most."
            )
        self.remarks.append(f"--max_length is {most}, the most that {name} allows.")

    def _refuse_trained_tokenizer(self) -> None:
        arguments = vars(self.model_args)
        for flag, by in settled_flags(self.model_arguments).items():
            if by == "tokenizer" and arguments[flag] is not None:
                raise ArgumentsError(
                    f"--{flag} {arguments[flag]} is for a tokenizer that is yet to be trained, and one is given. "
                    "Leave the flag out."
                )

    def load_given_processor(self) -> Any:
        """
        What makes the inputs of the model that the run starts from, or the tokenizer that a flag gives.

        Raises:
            ArgumentsError: If it is not there, or does not fit the model.
        """
        arguments, start = self.model_args, self.start_model
        if self.processor_name is None:
            return None
        if self.processor_name == "image_processor":
            return load_image_processor(start.source)
        source = start and start.source
        if arguments.tokenizer_name:
            source = Source("tokenizer_name", arguments.tokenizer_name, None, arguments.trust_remote_code)
        tokenizer = load_tokenizer(source)
        self.fit_tokenizer(tokenizer, f"--{source.flag} {source.name}")
        return tokenizer

    def fit_tokenizer(self, tokenizer: Any, flag: str) -> None:
        """
        See that a given tokenizer fits the model and the task.

        Args:
            tokenizer: The tokenizer.
            flag: What named it, with its value, for the error's line.

        Raises:
            ArgumentsError: If it does not.
        """
        start = self.start_model
        if start is not None:
            check_vocabulary(tokenizer, flag, start)
            # By this id a classifier of Llama's kind finds the end of a text.
            pad = getattr(start.config.get_text_config(), "pad_token_id", None)
            if tokenizer.pad_token is None and pad in range(len(tokenizer)):
                tokenizer.pad_token = tokenizer.convert_ids_to_tokens(pad)
        if not self.asks_by_masks:
            take_masks_literally(tokenizer)
        give_padding(tokenizer, start is not None, self.remarks)
        if self.has_ends:
            give_ends(tokenizer, self.remarks)
        keep_known_inputs(tokenizer, self.model_class)
        tokenizer.model_max_length = min(self.longest_text or VERY_LARGE_INTEGER, tokenizer.model_max_length)

    @property
    def longest_text(self) -> int | None:
        """Tokens to which a tokenizer may cut a text; `None` where it cuts none."""
        return self.positions

    def configure_start(self, fields: dict[str, Any]) -> PreTrainedConfig:
        """
        The configuration of the model that the run starts from: of the fields those alone that the data decides, and
        the special tokens and the parts of the loss that it lacks. Of several classes of its kind it is of one that
        computes a loss.

        Raises:
            ArgumentsError: As [`Task.build_config`].
        """
        own = self.start_model.config
        wanted = {name: value for name, value in fields.items() if name in self.fields_of_data}
        lacking = ("pad_token_id", "bos_token_id", "eos_token_id", "loss_chunk_size")
        wanted |= {name: fields[name] for name in lacking if name in fields and getattr(own, name, None) is None}
        if name := self._class_with_a_loss():
            wanted["architectures"] = [name]
        return self.start_model.configure(self.model_args.config_overrides, wanted)

    def _class_with_a_loss(self) -> str | None:
        """
        The class to take where transformers has several for a kind of model and the given one computes no loss, as
        those of DeiT and LeViT that were taught by another model; `None` where there is nothing to choose.
        """
        config = self.start_model.config
        known = self.auto_class._model_mapping.get(type(config), None)
        if not isinstance(known, tuple):
            return None
        learning = [one.__name__ for one in known if "labels" in inspect.signature(one.forward).parameters]
        given = (config.architectures or [None])[0]
        return given if given in learning or not learning else learning[0]

    def create_model(self, run: Run, config: PreTrainedConfig) -> PreTrainedModel:
        """
        The model that is trained, in each process of a run: a new one, or the one that the run starts from; what was
        taken over of that goes on record. Called once the data is prepared.

        Raises:
            ArgumentsError: If its weights cannot be read or do not fit.
        """
        start = self.start_model
        if start is None:
            return self._ready_to_write(run, self._new_model(run, config))
        model, described = run.main_process_first(lambda: start.load(config, self.model_args.config_overrides))
        self.check_model(model)
        if model.can_generate():
            names = ("pad_token_id", "bos_token_id", "eos_token_id")
            special = {name: getattr(model.config, name, None) for name in names}
            lacking = {name for name in special if getattr(model.generation_config, name) is None}
            model.generation_config.update(**{name: special[name] for name in lacking})
        name = public_value(start.source.name, self.fields()["model_name_or_path"])
        run.record.base_model = {**start.describe(name), **described}
        run.tell(described_start({**run.record.base_model, "name": start.source.name}))
        if self.model_args.peft:
            self._adapt(run, model, described["weights_new"])
        return self._ready_to_write(run, model)

    def _ready_to_write(self, run: Run, model: PreTrainedModel) -> PreTrainedModel:
        arguments, precision = self.generation_args, run.accelerator.mixed_precision
        if not isinstance(arguments, WritingArguments) or not arguments.compile_generation:
            return model
        if precision != "no":
            raise ArgumentsError(
                f"--compile_generation does nothing under --mixed_precision {precision}, where a compiled step would "
                "cast all weights for each token. Leave it out."
            )
        try:
            compile_generation(model)
        except ValueError as error:
            raise ArgumentsError(f"--compile_generation: {error}") from error
        return model

    def _adapt(self, run: Run, model: PreTrainedModel, new: Iterable[str]) -> None:
        if run.divides_weights:
            raise ArgumentsError(
                f"--peft {self.model_args.peft}: adapters are not merged into weights that are divided among processes"
                ". Train them in one process, or in several that each hold the model."
            )
        source, count = self.start_model.source, model.num_parameters()
        place = str(Path(source.name).absolute()) if source.is_folder else source.name
        self.adapter = Adapter(model, self._adapter_config(), new, (place, source.revision))
        run.record.base_model["adapter"] = self.adapter.described
        trained = self.adapter.described["trained_parameters"]
        run.tell(f"Adapters by {self.model_args.peft}: {trained:,} parameters are trained, {count:,} are the model's.")

    def _adapter_config(self) -> Any:
        return read_adapter_config(self.model_args.peft, self.model_args.peft_config, self.auto_class)

    def _new_model(self, run: Run, config: PreTrainedConfig) -> PreTrainedModel:
        model, name = self.model_class(config), "init_embeddings"
        if path := vars(self.model_args).get(name):
            described = begin_with_vectors(model.get_input_embeddings(), self.tokenizer_of_inputs(), path)
            run.record.embeddings = {"name": public_value(path, self.fields()[name]), **described}
            run.tell(described_vectors({**described, "name": path}))
        return model

    def tokenizer_of_inputs(self) -> Any:
        """The tokenizer of what the model reads."""
        return self.processor

    def check_model(self, model: PreTrainedModel) -> None:
        """
        Refuse a model that the run starts from and that cannot do the task, whatever its class is called.

        Raises:
            ArgumentsError: In one line that says why.
        """

    def check_start(self) -> None:
        """
        Refuse to write over the model that the run starts from, and adapters that cannot be.

        Raises:
            ArgumentsError: If `--output_dir` names its folder, or `--peft` does not fit.
        """
        start, output_dir, arguments = self.start_model, self.training_args.output_dir, self.model_args
        if arguments.peft_config and not arguments.peft:
            raise ArgumentsError(f"--peft_config {arguments.peft_config} does nothing without --peft.")
        if arguments.peft:
            if start is None:
                raise ArgumentsError(
                    f"--peft {arguments.peft} trains adapters of a model that exists: name it by --model_name_or_path."
                )
            self._adapter_config()
        if start is None or not start.source.is_folder or output_dir is None:
            return
        if os.path.realpath(output_dir) == os.path.realpath(start.source.name):
            raise ArgumentsError(
                f"--output_dir {output_dir} is the folder of the model that the run starts from: choose another."
            )
