"""What a task is: all that is known of it in one class, and what every recipe does once training is over."""

import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from ..data import DataArguments, LoadedData, unread_flags
from ..data.loading import named_as_typed
from ..metrics import Score
from ..models.cells import CELLS
from ..models.heads import LanguageModel
from ..models.losses import labels_per_chunk
from ..training import (
    ArgumentsError,
    Run,
    TrainingArguments,
    TrainingLoop,
    build_config,
    parse_arguments,
    start_run,
)
from ..training.evaluation import Evaluator
from ..training.flags import fields_of, role_of, settled_flags
from ..training.parsing import read_overrides, typed_flags
from ..visualization import plot_learning_curves
from .arguments import ARCHITECTURES, TRANSFORMER, GenerationArguments, ModelArguments
from .prepared import Outcome, PreparedData
from .reporting.results import Headline, Link, Record, dataset_of, reported_split, results_table, sample_of
from .reporting.run_page import CURVES, write_run_page
from .reporting.telling import Telling, described_kept
from .reporting.watching import show_embeddings, watch_attention
from .seeds import run_seeds
from .starting.fine_tuning import FineTuning


TASKS: dict[str, type["Task"]] = {}
"""Every task by its name."""

Scores = dict[str, dict[str, Any]]

OF_ITS_DATA = "It has seen nothing but its training data, and repeats the slant and the errors of that data."


class Task(FineTuning, Telling):
    """
    All that is known of a task. An instance holds the flags of a run.

    A subclass is registered under its `name`. It says what its data, its models and its scores are, how a row is
    predicted and how predictions are scored; recipes, `verify`, cards and the tables of results ask it.

    Attributes:
        name: The name of its recipe, and of its file here.
        title: What a card calls it.
        pipeline_tag: The Hub's name of it.
        use: What its models are for.
        limits: What they are not for, and what was not measured.
        longest_input: What `--max_length` means for texts that are longer, with a place for its value.
        widget: What a visitor of a model's page may try, where the data has nothing that fits better.
        data_arguments, model_arguments, training_arguments, generation_arguments: Its flags.
        processor_name: What makes its models' inputs: `tokenizer`, `image_processor`, or nothing.
        example_flags: Flags of a run of one's own, for the end of `--help`.
        default_dataset: What it is trained on where nothing is said.
        auto_class: The Auto class that loads its models.
        model_classes: The class of a recurrent model and of a Transformer.
        scores: Every number that it may report.
        validated: Keys of those that each validation gives: by one the best model is kept, by loss or else the first.
        compared_by: Key of the one that ranks models which read other tokens, where the chosen one cannot; "": none.
        written: The "splits" of what models write by themselves, each with why it may not be judged here.
        published: What others reported of a dataset, by its name and configuration, with who did.
        loss_name: Key of the score that is the loss of training too.
        loss_unit, score_unit: Of the learning curves.
        own_fields: Fields of configurations that mean something in its models alone.
        pictures: What each picture on the page of a run shows, by the file's name, for those who do not see it.
        losses_of: Of what the losses of training and validation are and their units, where that is not the same.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    pipeline_tag: ClassVar[str]
    use: ClassVar[str]
    limits: ClassVar[tuple[str, ...]] = (OF_ITS_DATA,)
    longest_input: ClassVar[str] = ""
    widget: ClassVar[tuple[str, ...]] = ()

    data_arguments: ClassVar[type] = DataArguments
    model_arguments: ClassVar[type] = ModelArguments
    training_arguments: ClassVar[type[TrainingArguments]] = TrainingArguments
    generation_arguments: ClassVar[type] = GenerationArguments
    processor_name: ClassVar[str | None] = "tokenizer"
    example_flags: ClassVar[str] = ""
    default_dataset: ClassVar[str]

    auto_class: ClassVar[type]
    model_classes: ClassVar[dict[str, type[PreTrainedModel]]]
    scores: ClassVar[tuple[Score, ...]]
    validated: ClassVar[tuple[str, ...]]
    compared_by: ClassVar[str | None] = None
    written: ClassVar[dict[str, str]] = {}
    published: ClassVar[dict[str, str]] = {}
    loss_name: ClassVar[str] = "loss"
    loss_unit: ClassVar[str] = "nats per example"
    score_unit: ClassVar[str] = "%"
    own_fields: ClassVar[tuple[str, ...]] = ()
    pictures: ClassVar[Mapping[str, str]] = {}
    losses_of: ClassVar[tuple[tuple[str, str], tuple[str, str]] | None] = None

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "name" in vars(cls):
            TASKS[cls.name] = cls

    def __init__(self, data_args: Any, model_args: Any, training_args: TrainingArguments, generation_args: Any = None):
        self.data_args = data_args
        self.model_args = model_args
        self.training_args = training_args
        self.generation_args = generation_args or self.generation_arguments()
        wants_sample = self.data_args.dataset_name is None and getattr(self.data_args, "train_file", None) is None
        if wants_sample:
            self.data_args.dataset_name = self.default_dataset
        self._choose_direction()
        self.start_from()

    @classmethod
    def argument_types(cls) -> tuple[type, ...]:
        """The dataclasses of its flags."""
        return cls.data_arguments, cls.model_arguments, cls.training_arguments, cls.generation_arguments

    @classmethod
    def fields(cls) -> dict[str, dataclasses.Field]:
        """The field of each of its flags, by name."""
        return fields_of(*cls.argument_types())

    @classmethod
    def score_of(cls, key: str) -> Score | None:
        """What is known of a number of `run.json`; `None` for one that is not defined."""
        return next((score for score in cls.scores if score.key == key), None)

    @classmethod
    def from_command_line(cls, description: str | None = None, argv: list[str] | None = None, **defaults: Any):
        """
        The task as the flags of the process, and the YAML that they name, ask for it.

        Args:
            description: The text above the flags in `--help`.
            argv: The flags; those of the process by default.
            **defaults: A recipe's own defaults, by the names of the flags.

        Raises:
            ArgumentsError: For what does not fit, in one line.
        """
        argv = list(sys.argv[1:] if argv is None else argv)
        task = cls._from_flags(description, argv, defaults)
        task._refuse_unread(typed_flags(argv))
        return task

    @classmethod
    def _from_flags(cls, description: str | None, argv: list[str], defaults: dict[str, Any]):
        if cls.fields()["metric_for_best_model"].default not in (None, *cls.validated):
            defaults = {"metric_for_best_model": cls.validated[0], **defaults}
        parsed = parse_arguments(
            *cls.argument_types(),
            recipe=cls.name,
            description=description,
            # What an existing model or tokenizer settles is not set unless a user has said it.
            defaults={**defaults, **dict.fromkeys(settled_flags(cls.model_arguments))},
            argv=argv,
            example=cls.example_flags,
            recipes_own=defaults,
        )
        cls.settle(parsed[1], defaults)
        return cls(*parsed)

    @classmethod
    def from_record(cls, record: dict[str, Any], **changes: Any):
        """
        The task as a run had it, from the arguments in its `run.json`, which are checked as flags are.

        Args:
            record: The content of `run.json`; nothing in it is trusted. Arguments that are no flags any more,
                those by which the run was uploaded, and what it started from, are left out.
            **changes: Arguments that take the place of recorded ones.

        Raises:
            ArgumentsError: For values that no flag takes.
        """
        argv, defaults = [], {}
        if foreign := cls.foreign_architecture(record):  # no value that a user may give
            changes["architecture"], defaults["architecture"] = None, foreign
        for name, value in {**(record.get("hyperparameters") or {}), **changes}.items():
            left_out = name not in cls.fields() or role_of(cls.fields()[name]) in ("upload", "model source")
            if left_out or value is None or value == []:
                continue
            values = [str(item) for item in value] if isinstance(value, list) else [str(value)]
            if isinstance(value, list) and any(item.startswith("-") for item in values):
                raise ArgumentsError(f"--{name} {' '.join(values)}: these are no values of that flag.")
            argv += [f"--{name}", *values] if isinstance(value, list) else [f"--{name}={values[0]}"]
        return cls._from_flags(None, argv, defaults)

    @classmethod
    def unit_of(cls, key: str, hyperparameters: dict[str, Any]) -> str:
        """The unit of a score of a run, where its name does not say it; that of the data, for errors of series."""
        return ""

    @classmethod
    def title_of(cls, record: dict[str, Any]) -> str:
        """What a card calls the task of a run."""
        return cls.title

    @classmethod
    def scores_of(cls, record: dict[str, Any]) -> tuple[Score, ...]:
        """The scores as a card shows them of a run: what says most of it first."""
        return cls.scores

    @classmethod
    def reported_key(cls, record: dict[str, Any], key: str) -> str:
        """Under which key a run reports, after training, the score that its validations gave under this one."""
        return key

    @classmethod
    def meaningless_fields(cls) -> set[str]:
        """Fields of configurations that change nothing in its models: those that are another task's own."""
        return {name for task in TASKS.values() if not issubclass(cls, task) for name in task.own_fields}

    @classmethod
    def headline(cls, record: Record) -> Headline | None:
        """
        The score that stands for a run: the one by which its weights were chosen, on the first test split if one was
        looked at; where it is not reported, the first one that is.

        Args:
            record: The content of `run.json`.
        """
        split = reported_split(record)
        score = cls.chosen_score(record, split)
        if score is None:
            return None
        value = record["metrics"][split][score.key]
        unit = cls.unit_of(score.key, record["hyperparameters"]) or score.unit
        shown = score.shown(value) if score.is_share else f"{score.shown(value)} {unit}".rstrip()
        return Headline(split, score.key, value, f"{score.name} {shown}")

    @classmethod
    def chosen_score(cls, record: Record, split: str) -> Score | None:
        """
        Of the scores that a run reports of a split the one by which its weights were chosen, or else the first one;
        `None` if it reports none.
        """
        wanted = str(record["hyperparameters"].get("metric_for_best_model")).removeprefix("validation_")
        reported = record["metrics"].get(split, {})
        known = map(cls.score_of, (wanted, *(score.key for score in cls.scores_of(record))))
        return next((one for one in known if one and isinstance(reported.get(one.key), int | float)), None)

    @classmethod
    def terms_of(cls, record: Record, split: str, key: str) -> dict[str, Any]:
        """What the places in the definition of a score of a run stand for: by default, what its labels say."""
        labels = record.get("model", {}).get("config", {}).get("id2label") or {}
        average = f"of the class {labels.get('1', '1')}" if len(labels) == 2 else "its mean over the classes"
        return {"classes": len(labels), "average": average}

    def rivals(self, baselines: Scores) -> Scores:
        """Those of some baselines, by name, that are not the model itself under other conditions."""
        return baselines

    @classmethod
    def samples_of(cls, record: dict[str, Any]) -> int | None:
        """How many samples the shares of what a model wrote were computed over."""
        return None

    @classmethod
    def examples_of(cls, record: dict[str, Any], split: str) -> int | None:
        """How many examples of a split were decided; its rows, where a record says them."""
        return record.get("dataset", {}).get("splits", {}).get(split, {}).get("rows")

    @classmethod
    def example(cls, record: dict[str, Any], revision: str) -> str:
        """
        Lines of a card that use `model`, and the processor of the name [`processor_name`], once they are loaded.

        Args:
            record: The content of `run.json`.
            revision: What a call of `from_pretrained` says of the revision; with a comma in front, or empty.
        """
        text = json.dumps((cls.widget_of(record) or ["The"])[0], ensure_ascii=False)
        processor = f"{cls.processor_name}={cls.processor_name}"
        return f'print(pipeline("{cls.pipeline_tag}", model=model, {processor})({text}))'

    @classmethod
    def widget_of(cls, record: dict[str, Any]) -> list[str]:
        """What a visitor of the model's page may try: what fits its data, or else its task."""
        sample = sample_of(record)
        return list((sample and sample.widget) or cls.widget)

    def _refuse_unread(self, typed: set[str]) -> None:
        """Flags that say nothing of the data are refused; those of a YAML give way to data that a user has typed."""
        for name, line in unread_flags(self.data_args).items():
            gives_way = f"--{name}" not in typed and typed & {"--dataset_name", "--train_file"}
            if not gives_way:
                raise ArgumentsError(f"{line}: leave --{name} out.")
            setattr(self.data_args, name, self.fields()[name].default)
            self.remarks.append(f"{line}: it is left out.")

    def _choose_direction(self) -> None:
        """The metric knows whether more of it is better."""
        key = self.training_args.metric_for_best_model.removeprefix("validation_")
        if key not in self.validated:
            raise ArgumentsError(
                f"--metric_for_best_model {self.training_args.metric_for_best_model}: each validation of {self.name} "
                f"gives {', '.join(self.validated)}. Choose one of them."
            )
        if self.training_args.greater_is_better is None:
            self.training_args.greater_is_better = self.score_of(key).greater_is_better

    @property
    def architecture(self) -> str:
        """What `--architecture` says; the type of a model of others that the run starts from, such as `bert`."""
        return self.model_args.architecture

    @property
    def label(self) -> str:
        """The model's name in reports."""
        start = self.start_model
        return f"{self.architecture} (seqnlp)" if start is None else f"{start.short_name}, fine-tuned"

    @property
    def is_recurrent(self) -> bool:
        """Whether the model is recurrent, and carries a state of ours."""
        return self.architecture in ARCHITECTURES and self.architecture != TRANSFORMER

    @property
    def model_class(self) -> type[PreTrainedModel]:
        """The class that is trained."""
        if self.start_model is not None:
            return self.start_model.model_class
        return self.model_classes["recurrent" if self.is_recurrent else TRANSFORMER]

    def build_config(self, **fields: Any) -> PreTrainedConfig:
        """
        The configuration of the model: a recipe's fields, and `--config_overrides`, which wins. A Transformer has the
        positions that the task needs, and a model over a vocabulary computes its loss in as large parts as are fast.
        Of a recipe's fields, a model that the run starts from has only those that the data decides.

        Raises:
            ArgumentsError: For a field that does not exist, a value that does not fit, and too few positions.
        """
        if issubclass(self.model_class or object, LanguageModel) and "vocab_size" in fields:
            # A card fills itself with products of more rows; 512 is what its speed was measured with.
            at_least = 512 if torch.cuda.is_available() else 64
            fields.setdefault("loss_chunk_size", labels_per_chunk(fields["vocab_size"], at_least))
        if self.start_model is not None:
            return self.configure_start(fields)
        if self.is_recurrent:
            fields = {**self.frame(), **fields, "cell_type": self.architecture}
        elif self.positions is not None:
            fields.setdefault("max_position_embeddings", self.positions)
        config = build_config(self.model_class.config_class, self.model_args.config_overrides, **fields)
        is_learned = getattr(config, "position_embedding_type", None) == "learned"
        if is_learned and self.positions is not None and config.max_position_embeddings < self.positions:
            raise ArgumentsError(
                f"--config_overrides max_position_embeddings={config.max_position_embeddings} are fewer than the "
                f"{self.positions} positions that {self.longest_flag} needs: raise the one or lower the other."
            )
        return config

    def frame(self) -> Mapping[str, Any]:
        """What surrounds the cell of a stack of cells, unless `--config_overrides` says which block does."""
        config_class = self.model_class.config_class
        is_given = "block" in read_overrides(config_class, self.model_args.config_overrides)
        return {} if is_given or not hasattr(config_class, "block") else CELLS[self.architecture].frame

    @property
    def positions(self) -> int | None:
        """Tokens or steps of the longest row that a model reads at once; `None` where the task does not bound it."""
        return None

    @property
    def longest_flag(self) -> str:
        """The flag that says so, with its value."""
        return f"--max_length {self.model_args.max_length}"

    def special_tokens(self, tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
        """The fields of a model's configuration that follow from its tokenizer."""
        ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
        return {"vocab_size": len(tokenizer), **ids}

    def start(self) -> Run:
        """Set up devices, processes, seed, trackers and the output folder, see [`seqnlp.training.start_run`]."""
        self.check_start()
        kind = self.architecture if self.start_model is None else self.start_model.short_name
        if self.training_args.seeds:
            run_seeds(self, kind)
        run = start_run(self.name, kind, self.training_args, self.data_args, self.model_args, self.generation_args)
        run.targets = self.targets
        for remark in self.remarks:
            run.tell(remark)
        return run

    def load_data(self, run: Run) -> LoadedData:
        """The data that the flags name, in each process of a run; what it is, and was made of it, goes on record."""
        source = self.data_args.dataset_name or self.data_args.train_file
        run.tell(f"Reading {source} ...")
        with named_as_typed(source):
            loaded = run.main_process_first(self.load)
        run.record.dataset = loaded.describe()
        for remark in loaded.remarks:
            run.tell(remark.replace(loaded.source.name, source))
        run.tell("Preparing it for the model ...")
        return loaded

    def prepare_data(self, run: Run, loaded: LoadedData, processor: Any) -> PreparedData:
        """The data as models read it, in each process of a run; what is to be known of it goes on record."""
        self.processor = processor
        data = run.main_process_first(lambda: self.prepare(loaded, processor))
        run.record.dataset |= data.details
        for remark in data.remarks:
            run.tell(remark)
        run.on_train_begin.append(lambda loop: run.tell(self.introduce(loop, data)))
        watch_attention(run, data)
        return data

    # What a task has to say of its data and its scores.

    def load(self) -> LoadedData:
        """
        The data that the flags name.

        Raises:
            DataError: For data that does not fit, in one line that says what was found.
        """
        raise NotImplementedError

    def load_processor(self, folder: Path) -> Any:
        """
        What makes a model's inputs, from the folder of a run or of a published model; its code is not run. By
        default a tokenizer.
        """
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)

    def prepare(self, loaded: LoadedData, processor: Any, splits: Iterable[str] | None = None) -> PreparedData:
        """
        The data as models read it.

        Args:
            loaded: What [`Task.load`] gave.
            processor: What makes a model's inputs.
            splits: Those that are wanted; all by default.
        """
        raise NotImplementedError

    def predict(self, evaluator: Evaluator, data: PreparedData, split: str) -> Any:
        """What the model says of each row of a split. Called by every process."""
        raise NotImplementedError

    def score(self, predictions: Any, data: PreparedData, split: str) -> dict[str, Any]:
        """The scores of predictions."""
        raise NotImplementedError

    def baselines(self, data: PreparedData, split: str) -> dict[str, Scores]:
        """The scores, by split, of what needs no such model, by name. Called by the main process."""
        return {}

    def report(self, outcome: Outcome) -> str:
        """What is printed of the reported split. Called by the main process."""
        raise NotImplementedError

    @classmethod
    def results_row(cls, records: list[Record], split: str) -> dict[str, str]:
        """Cells of the task's table of results by column, four at most, for runs that differ by their seed alone."""
        raise NotImplementedError

    @classmethod
    def in_short(cls, records: list[Record], split: str) -> tuple[str, str]:
        """
        The score that says most of runs that differ by their seed alone; and what it is to be held against. By default
        the first column of [`Task.results_row`] after validation, and the others with what was published.
        """
        row = cls.results_row(records, split)
        (name, score), *others = ((column, cell) for column, cell in row.items() if column != "validation")
        beside = [f"{cell} ({column})" for column, cell in others]
        return f"{name}: {score}", ", ".join(filter(None, [*beside, cls.published.get(dataset_of(records[0]))]))

    @classmethod
    def results(cls, records: list[Record], link: Link) -> str:
        """What docs/results.md says of the task's runs: a table, or several with a line before each."""
        return results_table(records, cls.results_row, link)

    @classmethod
    def draw_results(cls, records: list[Record], folder: Path) -> dict[str, str]:
        """Draw what docs/results.md shows of these runs. Gives what each picture shows, by its name in the folder."""
        return {}

    def draw(self, outcome: Outcome) -> None:
        """Pictures of it. Called by the main process."""

    def page_parts(self, outcome: Outcome) -> list[str]:
        """What else the page of a run shows, as HTML, behind the pictures. Called by the main process."""
        return []

    def texts(self, outcome: Outcome) -> dict[str, str]:
        """What the model wrote, for the page of its run, by headings. Called by the main process."""
        return {}

    def use_model(self, evaluator: Evaluator, outcome: Outcome) -> None:
        """What the trained model is used for: texts, tunes. Called by every process, before baselines."""

    # What follows from it.

    def held_out(self, splits: Iterable[str], stopped: Any = None) -> list[str]:
        """
        The splits that are evaluated after training: validation, and the test splits if it came to its planned end.

        Models are chosen by validation. A test split is looked at once; not after a run that was stopped by time,
        since that one may go on.
        """
        tests = [] if stopped else [split for split in splits if split not in ("train", "validation")]
        return ["validation", *tests]

    def validate(self, loop: TrainingLoop, data: PreparedData) -> dict[str, float]:
        """The scores of the validation split during training."""
        predictions, found = self.predict_and_score(loop, data, "validation")
        loop.run.sample = self.sample(loop, data, predictions)
        return {key: found[key] for key in self.validated if key in found}

    def predict_and_score(self, evaluator: Evaluator, data: PreparedData, split: str) -> tuple[Any, dict[str, Any]]:
        """
        What the model says of each row of a split, and the scores of that. Every score is computed here, whoever asks:
        validation in training, the end of a recipe, or `verify`.
        """
        predictions = self.predict(evaluator, data, split)
        return predictions, self.score(predictions, data, split)

    def evaluate(self, evaluator: Evaluator, data: PreparedData, splits: Sequence[str]) -> Scores:
        """The scores of each split, by a training loop or, of a model alone, by [`seqnlp.training.ModelEvaluator`]."""
        return {split: self.predict_and_score(evaluator, data, split)[1] for split in splits}

    def conclude(self, run: Run, loop: TrainingLoop, data: PreparedData) -> None:
        """
        What every recipe does once training is over: save the model, evaluate it once, compare, report, publish.

        What was trained is saved before anything that may fail; of the rest each part fails alone.
        """
        run.tell(described_kept(run.record.kept, self.score_of(run.record.kept.get("metric")), loop.step))
        self.save(run, loop, data)
        splits = self.held_out(data.examples, run.record.stopped)
        outcome = Outcome(run, data, split=splits[1] if len(splits) > 1 else "validation")
        run.tell(f"Evaluating it on {' and '.join(splits)} ...")
        for split in splits:
            outcome.predictions[split], scores = self.predict_and_score(loop, data, split)
            run.record.metrics.setdefault(split, {}).update(scores)
        run.attempt("What the model writes", lambda: self.use_model(loop, outcome), everywhere=True)
        if self.compared_with:
            run.tell(f"Computing its baselines, {self.compared_with} ...")
        run.attempt("The baselines", lambda: self._compare(outcome))
        report = run.attempt("The report", lambda: self.report(outcome))
        if report:
            run.tell(f"\n{self.name_of(data)}\n\n{report}")
        run.attempt("The pictures", lambda: self._draw(outcome))
        run.attempt("The embeddings", lambda: show_embeddings(run, loop.unwrapped_model, self.tokenizer_of_inputs()))
        loop.let_go()
        run.finish()
        commands = self.next_commands(data, run.output_dir, loop.unwrapped_model.config)
        if run.record.stopped is not None:
            commands = "Next: the same command with --resume_from_checkpoint latest goes on with it."
        run.attempt("The page", lambda: write_run_page(self, outcome, report or "", commands))
        run.tell(f"\nModel, run.json and what belongs to them are in {run.output_dir}; report.html shows all of it.")
        run.tell(commands)

    def save(self, run: Run, loop: TrainingLoop, data: PreparedData) -> None:
        """
        Write model and processor, see [`seqnlp.training.Run.save`]. Called by every process. Adapters are merged into
        the model first, and written beside it.
        """
        run.save(loop.model, data.processor, *([self.adapter.merge()] if self.adapter else []))

    def name_of(self, data: PreparedData) -> str:
        """The data as its user has named it; records have `<local:NAME>` for a path."""
        name, config = self.data_args.dataset_name or self.data_args.train_file, data.loaded.source.config
        return f"Data: {name}{f', {config}' if config else ''}"

    def _compare(self, outcome: Outcome) -> None:
        found = self.baselines(outcome.data, outcome.split)
        if self.compared_with and not found:
            outcome.run.tell("None of them fits this data.")
        for name, scores in found.items():
            outcome.run.record.baselines.setdefault(name, {}).update(scores)

    def _draw(self, outcome: Outcome) -> None:
        record, path = outcome.run.record, outcome.file(CURVES)
        title, units = f"{self.title}, {self.architecture}", (self.loss_unit, self.score_unit)
        shares = [key for key in self.validated if self.score_of(key).is_share]
        epoch = record.kept.get("epoch")
        taught = record.teacher and (self.training_args.taught_by(self.loss_unit), ("the data", self.loss_unit))
        losses_of = taught or self.losses_of
        plot_learning_curves(record.history, path, title, *units, shares, epoch, losses_of, self.loss_name)
        self.draw(outcome)
