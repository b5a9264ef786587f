"""A run from its first line to its results: devices, folders, records, and errors in one line."""

import errno
import io
import logging as standard_logging
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import datasets
import torch
from accelerate import Accelerator, DistributedType, PartialState
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list, parse_flag_from_env, set_seed
from accelerate.utils.memory import should_reduce_batch_size
from huggingface_hub import get_token
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.image_processing_base import ImageProcessingMixin
from transformers.utils import logging

from ..inert import inert
from . import attempts
from .arguments import TrainingArguments
from .checkpoints import UnwrittenError
from .errors import ArgumentsError, in_one_line
from .flags import command_of, fields_of, role_of
from .integrity import WEIGHTS, WriteError, full_disk_behind, is_full_disk, weights_hash, write_together
from .kept_elsewhere import keep_results
from .optimizers import OPTIMIZERS
from .output_folder import RECORD, OutputFolder, folder_for
from .precision import choose_precision, precision_remark
from .run_record import RunRecord, peak_memory
from .stopping import EndOnSignals, RunStopped, follow_launcher
from .threads import choose_threads
from .trackers import Trackers, final_values, trackers_of
from .validation_log import ValidationLog


logger = logging.get_logger(__name__)

Processor = PreTrainedTokenizerBase | ImageProcessingMixin

LONGEST_ALONE = timedelta(hours=2)
"""
What one process of a run does alone, such as reading data or fitting baselines, while the others wait. By itself torch
ends those that wait after ten minutes on GPUs and thirty on CPUs.
"""


@dataclass
class Run:
    """
    What a recipe works with.

    Attributes:
        accelerator: Devices, processes and trackers.
        record: What becomes `run.json`.
        output_dir: Where the results go.
        folder: The same, with what may be done to it.
        arguments: The training arguments.
        roles: The role of each flag, see [`seqnlp.training.flags.ROLES`].
        targets: What is predicted, in the plural, for the speed of training.
        sample: What the model did at the last validation, to be shown; empty where there is nothing.
        on_train_begin: Called with the training loop, by every process, before its first step.
        while_validating: Called with the training loop by every process at each validation, while the weights that are
            validated are in the model.
        on_validation: Called with the entry of the history of each validation, by every process.
        validation_log: The file of `--validation_log`, in the main process.
    """

    accelerator: Accelerator
    record: RunRecord
    output_dir: Path
    arguments: TrainingArguments
    roles: dict[str, str]
    targets: str = "targets"
    sample: str = ""
    on_train_begin: list[Callable[[Any], None]] = field(default_factory=list)
    while_validating: list[Callable[[Any], None]] = field(default_factory=list)
    on_validation: list[Callable[[dict[str, Any]], None]] = field(default_factory=list)
    validation_log: ValidationLog | None = None

    def __post_init__(self):
        self.folder = OutputFolder(self.output_dir)
        self._results: tuple[PreTrainedModel, list[Callable[[Path], Any]]] | None = None

    def tell(self, text: str) -> None:
        """Show the user a text, once however many processes there are."""
        if self.accelerator.is_main_process:
            sys.stdout.write(f"{inert(text)}\n")

    @property
    def divides_weights(self) -> bool:
        """Whether each process holds no more than a part of the weights."""
        return _divides_weights(self.accelerator.distributed_type)

    def on_main_process(self, function: Callable[[], Any]) -> Any:
        """
        Call `function` in the main process alone and hand its result to every process.

        Raises:
            Exception: What `function` raises, in every process.
        """
        return on_main_process(self.accelerator, function)

    @property
    def trackers(self) -> Trackers:
        """Those of `--report_to` that are running; none but in the main process."""
        return Trackers(self.accelerator.trackers)

    def main_process_first(self, function: Callable[[], Any]) -> Any:
        """
        Call `function` in every process, first in the main one, so that the others find what it has put into a cache.

        Raises:
            Exception: What `function` raises; if it does in the main process, then in every process.
        """
        found: list[Any] = []
        self.on_main_process(lambda: found.append(function()))
        return found[0] if found else function()

    def begin_logging(self, step: int) -> None:
        """
        Start the trackers at a step; the logs of the run before go, unless this one goes on with it. A log of
        validations holds those of the history from now on.
        """
        names = trackers_of(self.arguments.report_to)
        if self.validation_log is not None:
            self.validation_log.take_up(self.record.history)
        if not names or not self.accelerator.is_main_process:
            return
        if not self.folder.is_resumed(self.arguments.resume_from_checkpoint):
            self.folder.remove_logs()
        self.trackers.start(names, self.record.task, self.output_dir, self.record.hyperparameters, step)

    def log(self, values: dict[str, float], step: int) -> None:
        """Tell the trackers; where one fails, training goes on without it."""
        self.trackers.log(values, step)

    def show_sample(self, write: Callable[[str], None], step: int) -> None:
        """Show what the model did at the validation of this step, by `write` and on TensorBoard."""
        text, self.sample = self.sample, ""
        if text:
            write(f"  {text}")
            # Between fences, or it would be read as Markdown.
            self.trackers.log({"validation_sample": f"```\n{text}\n```"}, step, only="tensorboard")

    def save(
        self,
        model: PreTrainedModel,
        processor: Processor | None = None,
        *others: Callable[[Path], Any],
    ) -> PreTrainedModel:
        """
        Put model and processors into `output_dir`, together or not at all, before anything that may fail.

        Called by every process, when training is over. [`Run.finish`] adds `run.json`, which holds the weights' hash.

        Args:
            model: What was trained.
            processor: What makes its inputs and saves itself by `save_pretrained`: a tokenizer, an image processor, or
                nothing where it reads numbers.
            *others: What else is saved beside them: each is given the folder.

        Returns:
            The model without what Accelerate wrapped around it.

        Raises:
            CheckpointError: If they cannot be written; the checkpoints stay.
        """
        saves = [] if processor is None else [processor.save_pretrained]
        staged = self._stage(model, [*saves, *others])
        model = self.accelerator.unwrap_model(model)
        self.record.model = {
            "class": type(model).__name__,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            **self._trained(model),
            "config": {name: value for name, value in model.config.to_diff_dict().items() if name[0] != "_"},
            "sha256": self.on_main_process(lambda: weights_hash(staged)),
        }
        if isinstance(processor, PreTrainedTokenizerBase):
            self.record.tokenizer = {"class": type(processor).__name__, "vocab_size": len(processor)}
        self._results = model, [*saves, *others]
        self._place(staged)
        return model

    def _stage(self, model: PreTrainedModel, saves: list[Callable[[Path], Any]]) -> Path:
        """Write the results into a folder of their own, or else among the temporary files, and say so."""
        try:
            return self.folder.checkpoints.save_weights(self.accelerator, model, "results", *saves)
        except UnwrittenError as error:
            raise keep_results(self.accelerator, model, saves, error) from error

    def _place(self, staged: Path) -> None:
        try:
            self._write("The model", lambda: self.folder.place(staged))
        except UnwrittenError as error:
            raise keep_results(self.accelerator, *self._results, error) from error

    def _place_again(self) -> None:
        """Put the results there once more where somebody has removed them since."""
        there = self.output_dir / WEIGHTS
        if self._results is None or self.divides_weights or self.on_main_process(there.is_file):
            return
        self._place(self._stage(*self._results))

    @staticmethod
    def _trained(model: PreTrainedModel) -> dict[str, int]:
        """How many parameters were trained, where those are not all."""
        trained = [parameter.numel() for parameter in model.parameters() if parameter.requires_grad]
        return {"trained_parameters": sum(trained)} if len(trained) < len(list(model.parameters())) else {}

    def attempt(self, what: str, function: Callable[[], Any], everywhere: bool = False) -> Any:
        """
        Do something that a finished model does not depend on; if it fails, one line says so and the run goes on.

        Args:
            what: What is made, for the line: "The baselines".
            function: Makes it; called in the main process alone.
            everywhere: Call it in every process, as what evaluates the model needs.

        Returns:
            What `function` returns; None where it failed or was not called.
        """
        if not (everywhere or self.accelerator.is_main_process):
            return None
        return attempts.attempt(what, function, is_told=self.accelerator.is_main_process)

    def finish(self) -> None:
        """
        Write `run.json`, mark the run as finished and close the trackers. Called by every process, after `save`.

        Raises:
            CheckpointError: If `run.json` cannot be written.
        """
        self.record.memory = peak_memory(self.accelerator)
        self._place_again()
        self._write("run.json", lambda: self.record.write(self.output_dir / RECORD))
        if self.accelerator.is_main_process:
            if self.record.stopped is None:
                self.folder.checkpoints.finish()
            self.folder.release()
        self.accelerator.wait_for_everyone()
        last = self.record.history[-1]["step"] if self.record.history else 0
        self.trackers.log(final_values(self.record.metrics), last)
        self.trackers.close()
        self.accelerator.end_training()

    def _write(self, what: str, write: Callable[[], None]) -> None:
        def keep_and_write() -> None:
            self.folder.lock.keep()
            write()

        try:
            part = keep_and_write if self.accelerator.is_main_process else None
            write_together(self.accelerator, part, self.output_dir)
        except WriteError as error:
            raise self.folder.checkpoints.failure(what, self.output_dir, error) from error


def on_main_process(accelerator: Accelerator, function: Callable[[], Any]) -> Any:
    """
    Call `function` in the main process alone and hand its result to every process.

    Raises:
        Exception: What `function` raises, in every process.
    """
    outcome = [None, None]
    if accelerator.is_main_process:
        try:
            outcome[0] = function()
        except Exception as error:
            outcome[1] = error
    result, error = broadcast_object_list(outcome)
    if error is not None:
        raise error
    return result


def start_run(task: str, architecture: str, training: TrainingArguments, *others: Any) -> Run:
    """
    Set up devices, processes, threads, seed, trackers and output folder.

    Args:
        task: Name of the recipe.
        architecture: Goes into the name of the output folder if none is given.
        training: The training arguments; `output_dir` is filled in, and `mixed_precision` where it is `auto`.
        *others: Further argument dataclasses, for the record.

    Raises:
        ArgumentsError: If the output folder cannot be written to, is in use, or holds a finished model or an
            unfinished run that nobody said to continue or to throw away; or a tracker is not known or not installed.
    """
    output_dir = folder_for(training.output_dir, task, architecture)
    training.output_dir = str(output_dir)
    on_cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    training.mixed_precision = choose_precision(training.mixed_precision, on_cpu)
    _check_trackers(training)  # now, and not when everything is ready
    try:
        accelerator = Accelerator(
            # Where several processes are launched for GPUs that are not there, each would train for itself otherwise.
            cpu=on_cpu,
            mixed_precision=training.mixed_precision,
            project_dir=str(output_dir),
            kwargs_handlers=[InitProcessGroupKwargs(timeout=LONGEST_ALONE)],
        )
    except ValueError as error:
        raise ArgumentsError(f"--mixed_precision {training.mixed_precision}: {error}") from error
    _check_sharding(training, accelerator.distributed_type)
    follow_launcher()

    def claim() -> None:
        if training.push_to_hub and get_token() is None:
            raise ArgumentsError(
                "--push_to_hub needs an access token that may write: log in by `hf auth login`, or set HF_TOKEN."
            )
        OutputFolder(output_dir).claim(training.resume_from_checkpoint, training.overwrite_output_dir)

    on_main_process(accelerator, claim)
    if accelerator.device.type == "cpu":
        local = int(os.environ.get("LOCAL_WORLD_SIZE", accelerator.num_processes))
        torch.set_num_threads(choose_threads(training.num_threads, local))
        # In bfloat16 oneDNN compiles a product for each shape and keeps 1,024 of them, megabytes each. Texts come in
        # ever new shapes. It reads this at the first product.
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    set_seed(training.seed)
    datasets.disable_progress_bars()
    logging.disable_progress_bar()
    # At each checkpoint it would say that tied weights are stored once, which is as it should be.
    standard_logging.getLogger("accelerate.utils.other").setLevel(standard_logging.ERROR)
    if not accelerator.is_main_process:
        logging.set_verbosity_error()

    fields = fields_of(type(training), *map(type, others))
    record = RunRecord(
        task=task, command=command_of(sys.argv, fields), seed=training.seed, num_processes=accelerator.num_processes
    )
    record.add_arguments(training, *others)
    run = Run(accelerator, record, output_dir, training, {name: role_of(field) for name, field in fields.items()})
    if remark := precision_remark(training.mixed_precision, on_cpu):
        run.tell(remark)
    if training.validation_log:
        log = ValidationLog(training.validation_log)
        run.on_main_process(lambda: log.begin(run.folder.is_resumed(training.resume_from_checkpoint)))
        if accelerator.is_main_process:
            run.validation_log = log
            run.on_validation.append(log.append)
    return run


def _divides_weights(kind: DistributedType) -> bool:
    return kind in (DistributedType.FSDP, DistributedType.DEEPSPEED)


def _check_trackers(training: TrainingArguments) -> None:
    """
    Refuse trackers that are not there, and what nobody would see.

    Raises:
        ArgumentsError: If there is such a flag.
    """
    is_seen = "tensorboard" in trackers_of(training.report_to)
    for name in ("log_attention", "log_embeddings"):
        if vars(training)[name] and not is_seen:
            raise ArgumentsError(
                f"--{name} is shown on TensorBoard, and --report_to {training.report_to} leaves it out."
            )


def _check_sharding(training: TrainingArguments, kind: DistributedType) -> None:
    """
    Refuse what cannot be done with the weights where they are divided among processes.

    Raises:
        ArgumentsError: If something cannot.
    """
    if kind == DistributedType.DEEPSPEED and training.ema_decay is not None:
        raise ArgumentsError(
            f"--ema_decay {training.ema_decay}: DeepSpeed keeps the weights to itself; train by DDP or FSDP, or leave "
            "it out."
        )
    if _divides_weights(kind) and kind not in OPTIMIZERS[training.optimizer].shardings:
        able = ", ".join(name for name, optimizer in OPTIMIZERS.items() if kind in optimizer.shardings)
        raise ArgumentsError(
            f"--optimizer {training.optimizer} cannot make steps with weights that {kind.value} has divided: train by "
            f"DDP, or take {able}."
        )


class RunElsewhere(BaseException):
    """
    What the command asks for was done by other processes: this one has nothing to train.

    Args:
        code: The exit code of the command.
    """

    def __init__(self, code: int = 0):
        super().__init__(code)
        self.code = code


def run_recipe(main: Callable[[], None]) -> None:
    """
    Run a recipe's `main`; an error that seqnlp raises for the user is printed as one line, without a traceback.

    Exits with 1 then, and with 128 plus the number of a signal that ended it. A full disk, memory that does not
    suffice and a working folder that was removed are one line too, wherever they were met. Other errors are bugs or
    the machine's, and keep their traceback.
    """
    lasting_output()
    before, threading.excepthook = threading.excepthook, lambda thread: _in_thread(thread, before)
    try:
        with EndOnSignals():
            main()
    except RunElsewhere as done:
        sys.exit(done.code)
    except RunStopped as stopped:
        _exit(str(stopped), 128 + stopped.number)
    except Exception as error:
        if type(error).__module__.startswith("seqnlp."):
            _exit(f"error: {error}", 1)
        if full := full_disk_behind(error):
            reason = in_one_line(full, 200)
            _exit(
                f"error: no space is left on the disk ({reason}). When there is room, go on by "
                "--resume_from_checkpoint latest if a checkpoint was written, else start again.",
                1,
            )
        if _working_folder_is_gone():
            _exit(
                f"error: the folder that the run was started in is gone ({in_one_line(error, 200)}). Start it in one "
                "that is there.",
                1,
            )
        if isinstance(error, MemoryError) or should_reduce_batch_size(error):
            reason = in_one_line(error, 200)
            _exit(
                f"error: the memory does not suffice ({reason}). Lower --per_device_train_batch_size and raise "
                "--gradient_accumulation_steps by as much, or lower --max_length or sizes in --config_overrides; a "
                "run that has checkpoints goes on by --resume_from_checkpoint latest --resume_with_changes.",
                1,
            )
        raise


def _working_folder_is_gone() -> bool:
    try:
        return not os.getcwd()
    except OSError:
        return True


def _in_thread(thread: threading.ExceptHookArgs, hook: Callable[[threading.ExceptHookArgs], None]) -> None:
    """A tracker's thread that cannot write needs no traceback: the main thread is told too, and says it."""
    is_trackers = type(thread.thread).__module__.startswith("tensorboard.") and isinstance(thread.exc_value, OSError)
    if not is_trackers and not is_full_disk(thread.exc_value):
        hook(thread)


def _exit(line: str, code: int) -> None:
    # Every process stops at the same error; one line is enough.
    if PartialState._shared_state == {} or PartialState().is_local_main_process:
        sys.stderr.write(f"{inert(line)}\n")
    sys.exit(code)


def lasting_output() -> None:
    """
    Let no reader's end and no character end a run: a closed pipe, terminal or stream swallows what is printed, and
    what the terminal's encoding lacks is shown as `?`.
    """
    for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr)):
        if stream is None:  # closed before Python began
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - until the process ends
            continue
        buffer = getattr(stream, "buffer", None)
        raw = getattr(buffer, "raw", buffer)  # the same where Python does not buffer
        if isinstance(raw, io.FileIO) and not isinstance(raw, _LastingFile) and raw.fileno() in (1, 2):
            stream.flush()
            raw = io.BufferedWriter(_LastingFile(os.dup(stream.fileno()), "wb"))
            settings = {"encoding": stream.encoding, "line_buffering": True, "errors": "replace"}
            setattr(sys, name, io.TextIOWrapper(raw, **settings))


class _LastingFile(io.FileIO):
    """A file that takes everything when its reader is gone."""

    def write(self, data) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):  # a pipe's and a terminal's
                raise
            return memoryview(data).nbytes
