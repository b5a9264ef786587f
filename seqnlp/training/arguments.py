"""How a model is trained: the arguments that every recipe has."""

import re
from dataclasses import dataclass
from typing import Literal

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from ..models.requirements import Range
from .errors import ArgumentsError, in_one_line
from .flags import check_values, fields_of, flag, flags_with, open_home
from .optimizers import OPTIMIZERS, WITHOUT_WARMUP, Schedule, momenta, rates


@dataclass
class TrainingArguments:
    """How the model is trained; the names are those of the transformers examples."""

    output_dir: str | None = flag(
        None,
        "Where the results go; outputs/RECIPE-ARCHITECTURE if not given.",
        "harmless",
        of_one_run=True,
        is_path=True,
    )
    overwrite_output_dir: bool = flag(
        False,
        "Begin anew where output_dir holds a finished model, or the checkpoints of an unfinished run.",
        "harmless",
        of_one_run=True,
    )
    num_train_epochs: float = flag(3.0, "Passes over the training data.", "training", "[1e-6, inf)")
    max_train_steps: int | None = flag(
        None, "Optimizer steps in all; overrides num_train_epochs.", "training", "[1, inf)", "num_train_epochs"
    )
    max_train_minutes: float | None = flag(
        None, "Stop this run after this many minutes, with a checkpoint to go on from.", "harmless", "(0, inf)"
    )
    per_device_train_batch_size: int = flag(
        32, "Examples that a process takes in one forward pass.", "training", "[1, inf)"
    )
    per_device_eval_batch_size: int = flag(
        128, "Examples that a process takes in one forward pass of evaluation.", "training", "[1, inf)"
    )
    gradient_accumulation_steps: int = flag(1, "Forward passes per optimizer step.", "training", "[1, inf)")
    optimizer: str = flag(
        "adamw",
        f"What turns gradients into steps: {', '.join(f'{n}, {kind.title}' for n, kind in OPTIMIZERS.items())}.",
        "training",
        choices=tuple(OPTIMIZERS),
    )
    learning_rate: float = flag(1e-3, f"Highest learning rate. {rates()}.", "training", "(0, inf)")
    weight_decay: float = flag(
        0.01,
        "Decoupled weight decay; with sgd it is added to the gradient. Biases and norms have none.",
        "training",
        "[0, inf)",
    )
    momentum: float | None = flag(
        None,
        f"Momentum: the share of the last step that is added to the next one; {momenta()} if not given.",
        "training",
        "[0, 1)",
    )
    adam_beta1: float = flag(0.9, "AdamW's decay of the mean gradient.", "training", "[0, 1)")
    adam_beta2: float = flag(0.999, "AdamW's decay of the mean squared gradient.", "training", "[0, 1)")
    adam_epsilon: float = flag(1e-8, "AdamW's epsilon.", "training", "[0, inf)")
    max_grad_norm: float = flag(
        1.0, "Gradients are scaled down to this norm; 0 leaves them as they are.", "training", "[0, inf)"
    )
    lr_scheduler_type: Schedule = flag(
        "cosine",
        f"How the learning rate falls after the warm-up, which {', '.join(WITHOUT_WARMUP)} has none of.",
        "training",
    )
    freeze: list[str] | None = flag(
        None,
        "Modules that keep their weights, by their names or patterns of the shell, e.g. model.embed_tokens "
        "'model.layers.[01]'.",
        "training",
    )
    layerwise_lr_decay: float = flag(
        1.0,
        "Factor between the learning rate of a layer and that of the layer above it; the head has --learning_rate.",
        "training",
        "(0, 1]",
    )
    ema_decay: float | None = flag(
        None,
        "Decay per step of a moving average of the weights, which is then validated and saved, e.g. 0.999; no average "
        "if not given.",
        "training",
        "[0, 1)",
    )
    r_drop: float = flag(
        0.0,
        "Read each batch twice under two draws of dropout, and add to the loss half of this times the divergence of "
        "what they predict: R-Drop, e.g. 1 for classes and 5 for translations (Liang et al. 2021); 0 reads it once.",
        "training",
        "[0, inf)",
    )
    warmup_ratio: float = flag(0.1, "Share of the steps in which the learning rate rises.", "training", "[0, 1)")
    num_warmup_steps: int | None = flag(
        None,
        "Number of steps in which the learning rate rises; overrides warmup_ratio.",
        "training",
        "[0, inf)",
        "warmup_ratio",
    )
    seed: int = flag(
        42, "Fixes initialization, order of the data and dropout.", "training", "[0, 4294967296)", of_one_run=True
    )
    seeds: str | None = flag(
        None,
        "Seeds joined by commas, e.g. 1,2,3: one run for each, in a folder of its own below output_dir, and the mean "
        "and standard deviation of every score.",
        "harmless",
        excludes="seed",
        of_one_run=True,
    )
    eval_steps: int | None = flag(
        None, "Steps between two validations; each epoch if not given.", "training", "[1, inf)"
    )
    metric_for_best_model: str = flag(
        "loss", "Validation metric by which the best model is kept, e.g. accuracy.", "training"
    )
    greater_is_better: bool | None = flag(
        None, "Whether higher values of that metric are better; taken from the metric if not given.", "training"
    )
    early_stopping_patience: int | None = flag(
        None, "Stop after this many validations in a row without a better model.", "training", "[1, inf)"
    )
    logging_steps: int = flag(20, "Steps between two records of training loss and speed.", "harmless", "[1, inf)")
    checkpointing_steps: str = flag(
        "epoch", "Steps between two checkpoints, or 'epoch' for one at the end of each epoch.", "harmless"
    )
    save_total_limit: int = flag(2, "Checkpoints kept, besides the best model.", "harmless", "[1, inf)")
    resume_from_checkpoint: str | None = flag(
        None,
        "A checkpoint's folder, or 'latest' for the newest in output_dir.",
        "harmless",
        of_one_run=True,
        is_path=True,
    )
    resume_with_changes: bool = flag(
        False, "Resume even where arguments, data, tokenizer or model are not those of the checkpoint.", "harmless"
    )
    mixed_precision: Literal["no", "bf16", "fp16", "auto"] = flag(
        "no",
        "Format of the matrix products; 'auto' is the fastest that the hardware is made for, 'no' is float32, so that "
        "by default a result does not depend on the machine.",
        "training",
    )
    torch_compile: bool = flag(False, "Train through torch.compile, which takes minutes at the start.", "training")
    report_to: str = flag(
        "tensorboard",
        "Trackers that Accelerate knows, e.g. wandb, joined by commas; 'all' that are installed, or 'none'.",
        "harmless",
    )
    validation_log: str | None = flag(
        None, "File that gets a line of JSON for each validation, as soon as it is done.", "harmless", is_path=True
    )
    log_attention: bool = flag(
        False, "Draw the attention in one row of the validation data, at each validation, on TensorBoard.", "harmless"
    )
    log_embeddings: bool = flag(
        False, "Put the embeddings of the trained model into TensorBoard's projector.", "harmless"
    )
    num_threads: int | None = flag(
        None,
        "CPU threads per process; by default OMP_NUM_THREADS if it is set, or else the idle cores divided by "
        "the number of processes.",
        "harmless",
        "[1, 1024]",
    )
    dataloader_num_workers: int = flag(
        0, "Processes that prepare batches ahead of each training process; 0 for none.", "harmless", "[0, 256]"
    )
    push_to_hub: bool = flag(False, "Upload model, tokenizer and run.json to the Hub at the end.", "upload")
    hub_model_id: str | None = flag(
        None, "Repository on the Hub, NAME or ORGANIZATION/NAME; the folder's name if not given.", "upload"
    )
    hub_private_repo: bool = flag(False, "Make that repository private if it is created.", "upload")
    hub_revision: str | None = flag(
        None, "Branch of that repository, created if it does not exist; main if not given.", "upload"
    )
    create_pr: bool = flag(False, "Open a pull request there instead of committing.", "upload")

    def __post_init__(self):
        check_values(self)
        open_home(self)
        if self.optimizer not in OPTIMIZERS:
            raise ArgumentsError(f"--optimizer {self.optimizer}: there is {', '.join(OPTIMIZERS)}.")
        OPTIMIZERS[self.optimizer].check(self)
        if self.checkpointing_steps != "epoch" and not re.fullmatch(r"[1-9]\d{,17}", self.checkpointing_steps):
            raise ArgumentsError(
                f"--checkpointing_steps {self.checkpointing_steps} must be a number of steps or the word epoch."
            )
        for name in flags_with(type(self), role="upload"):
            if getattr(self, name) and not self.push_to_hub:
                raise ArgumentsError(f"--{name} {getattr(self, name)} does nothing without --push_to_hub.")
        if self.seeds is not None:
            self._check_seeds()
        if self.create_pr and self.hub_revision:
            raise ArgumentsError(f"--create_pr goes to the main branch: leave out --hub_revision {self.hub_revision}.")
        if self.hub_model_id:  # now, and not when the model is trained
            try:
                validate_repo_id(self.hub_model_id)
            except HFValidationError as error:
                reason = in_one_line(error)
                raise ArgumentsError(f"--hub_model_id cannot be the name of a model: {reason}") from error

    @property
    def each_seed(self) -> list[int]:
        """The seeds that `--seeds` lists."""
        return [int(part) for part in (self.seeds or "").split(",") if part]

    def _check_seeds(self) -> None:
        parts = [part.strip() for part in self.seeds.split(",")]
        allowed = Range(fields_of(type(self))["seed"].metadata["range"])
        wrong = [part for part in parts if not re.fullmatch("[0-9]+", part) or int(part) not in allowed]
        if wrong:
            raise ArgumentsError(f"--seeds {self.seeds}: {wrong[0]!r} is no seed; each must be a number {allowed}.")
        if len(set(map(int, parts))) < max(2, len(parts)):
            raise ArgumentsError(f"--seeds {self.seeds}: list at least two, each once; --seed is for a single run.")
        if self.resume_from_checkpoint not in (None, "latest"):
            raise ArgumentsError(
                f"--resume_from_checkpoint {self.resume_from_checkpoint}: with --seeds each run goes on from its own "
                "last checkpoint; say latest."
            )
        if self.push_to_hub:
            raise ArgumentsError(
                "--push_to_hub publishes one run, and --seeds makes several: leave it out, and publish the output "
                "folder by `seqnlp publish` when they are done."
            )
        if self.validation_log:
            raise ArgumentsError(
                f"--validation_log {self.validation_log} is one run's, and --seeds makes several: leave it out; the "
                "run.json of each has its validations as its history."
            )
        self.seeds = ",".join(str(int(part)) for part in parts)


ONE_RUN_FLAGS = flags_with(TrainingArguments, of_one_run=True)
"""Flags that each of several runs has of its own."""
