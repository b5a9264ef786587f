"""A run from its first line to its results: devices, folders, records, and errors in one line."""

import logging as standard_logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import broadcast_object_list, parse_flag_from_env, set_seed
from huggingface_hub import get_token
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.image_processing_base import ImageProcessingMixin
from transformers.utils import logging

from .arguments import TrainingArguments
from .checkpoints import CheckpointFolder
from .errors import ArgumentsError
from .flags import command_of, fields_of, role_of
from .precision import choose_precision
from .run_record import RunRecord, peak_memory


@dataclass
class Run:
    """
    What a recipe works with.

    Attributes:
        accelerator: Devices, processes and trackers.
        record: What becomes `run.json`.
        output_dir: Where the results go.
        roles: The role of each flag, see [`seqnlp.training.flags.ROLES`].
    """

    accelerator: Accelerator
    record: RunRecord
    output_dir: Path
    roles: dict[str, str]

    def tell(self, text: str) -> None:
        """Show the user a text, once however many processes there are."""
        if self.accelerator.is_main_process:
            sys.stdout.write(f"{text}\n")

    def on_main_process(self, function: Callable[[], Any]) -> Any:
        """
        Call `function` in the main process alone and hand its result to every process.

        Raises:
            Exception: What `function` raises, in every process.
        """
        outcome = [None, None]
        if self.accelerator.is_main_process:
            try:
                outcome[0] = function()
            except Exception as error:
                outcome[1] = error
        result, error = broadcast_object_list(outcome)
        if error is not None:
            raise error
        return result

    def save(
        self, model: PreTrainedModel, processor: PreTrainedTokenizerBase | ImageProcessingMixin | None
    ) -> PreTrainedModel:
        """
        Write model, processor and `run.json` to `output_dir`, in that order, by the main process; close the trackers.

        Args:
            model: What was trained.
            processor: What makes its inputs: a tokenizer, an image processor, or nothing where it reads numbers.

        Returns:
            The model without what Accelerate wrapped around it.
        """
        accelerator = self.accelerator
        state_dict = accelerator.get_state_dict(model)
        model = accelerator.unwrap_model(model)
        self.record.model = {
            "class": type(model).__name__,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "config": {name: value for name, value in model.config.to_diff_dict().items() if name[0] != "_"},
        }
        if isinstance(processor, PreTrainedTokenizerBase):
            self.record.tokenizer = {"class": type(processor).__name__, "vocab_size": len(processor)}
        self.record.memory = peak_memory(accelerator)
        if accelerator.is_main_process:
            results = self.output_dir / "checkpoints" / "tmp-results"
            model.save_pretrained(results, state_dict=state_dict)
            if processor is not None:
                processor.save_pretrained(results)
            for file in sorted(results.iterdir()):  # within one file system: each file appears whole
                os.replace(file, self.output_dir / file.name)
            results.rmdir()
        return model

    def attempt(self, what, function, everywhere=False):
        if everywhere or self.accelerator.is_main_process:
            return function()

    def finish(self) -> None:
        accelerator = self.accelerator
        if accelerator.is_main_process:
            self.record.write(self.output_dir / "run.json")
        if self.record.stopped is None:
            CheckpointFolder(self.output_dir).finish(accelerator)
        accelerator.wait_for_everyone()
        accelerator.end_training()


def start_run(task: str, architecture: str, training: TrainingArguments, *others: Any) -> Run:
    """
    Set up devices, processes, threads, seed, trackers and output folder.

    Args:
        task: Name of the recipe.
        architecture: Goes into the name of the output folder if none is given.
        training: The training arguments; `output_dir` is filled in, and `mixed_precision` where it is `auto`.
        *others: Further argument dataclasses, for the record.

    Raises:
        ArgumentsError: If the output folder holds the checkpoints of an unfinished run that nobody said to continue
            or to throw away, or a tracker is not known.
    """
    training.output_dir = training.output_dir or f"outputs/{task}-{architecture}"
    output_dir = Path(training.output_dir)
    log_with = [name for name in training.report_to.split(",") if name and name != "none"]
    on_cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    training.mixed_precision = choose_precision(training.mixed_precision, on_cpu)
    try:
        accelerator = Accelerator(
            # Where several processes are launched for GPUs that are not there, each would train for itself otherwise.
            cpu=on_cpu,
            mixed_precision=training.mixed_precision,
            log_with=log_with or None,
            project_dir=str(output_dir),
        )
    except ValueError as error:
        raise ArgumentsError(
            f"--report_to {training.report_to}, --mixed_precision {training.mixed_precision}: {error}"
        ) from error

    if training.push_to_hub and accelerator.is_main_process and get_token() is None:
        raise ArgumentsError(
            "--push_to_hub needs an access token that may write: log in by `hf auth login`, or set HF_TOKEN."
        )
    if accelerator.device.type == "cpu":
        local = int(os.environ.get("LOCAL_WORLD_SIZE", accelerator.num_processes))
        # `accelerate launch` asks for one thread unless told otherwise, and most of the machine would idle.
        torch.set_num_threads(training.num_threads or max(1, available_cores() // local))
    set_seed(training.seed)
    datasets.disable_progress_bars()
    logging.disable_progress_bar()
    # At each checkpoint it would say that tied weights are stored once, which is as it should be.
    standard_logging.getLogger("accelerate.utils.other").setLevel(standard_logging.ERROR)
    if not accelerator.is_main_process:
        logging.set_verbosity_error()

    checkpoints = CheckpointFolder(output_dir)
    if checkpoints.is_unfinished and not training.resume_from_checkpoint and not training.overwrite_output_dir:
        raise ArgumentsError(
            f"{output_dir} holds the checkpoints of an unfinished run: continue it by --resume_from_checkpoint "
            "latest, throw it away by --overwrite_output_dir, or choose another --output_dir."
        )
    accelerator.wait_for_everyone()  # nobody looks any more when the main process begins to write
    if accelerator.is_main_process:
        output_dir.mkdir(parents=True, exist_ok=True)
    fields = fields_of(type(training), *map(type, others))
    record = RunRecord(
        task=task, command=command_of(sys.argv, fields), seed=training.seed, num_processes=accelerator.num_processes
    )
    record.add_arguments(training, *others)
    if log_with:
        flat = {
            name: value if isinstance(value, int | float | str) else str(value)
            for name, value in record.hyperparameters.items()
        }
        accelerator.init_trackers("logs", config=flat)
    return Run(accelerator, record, output_dir, {name: role_of(field) for name, field in fields.items()})


def available_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_recipe(main: Callable[[], None]) -> None:
    """
    Run a recipe's `main`; an error that seqnlp raises for the user is printed as one line, without a traceback.

    Exits with 1 then. Other errors are bugs or the machine's, and keep their traceback.
    """
    try:
        main()
    except Exception as error:
        if not type(error).__module__.startswith("seqnlp."):
            raise
        # Every process stops at the same error; one line is enough.
        if PartialState._shared_state == {} or PartialState().is_local_main_process:
            sys.stderr.write(f"error: {error}\n")
        sys.exit(1)
