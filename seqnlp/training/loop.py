"""The one training loop, on Accelerate, for every recipe."""

import gc
import math
import signal
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import DistributedType
from safetensors.torch import load_file
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, StoppingCriteriaList
from transformers.utils import logging

from ..signals import SIGNALS
from .arguments import ArgumentsError, TrainingArguments
from .bar import ProgressBar
from .batches import Batch, Collator, MicroBatch, SizedBatches, StreamedBatches, count_rows
from .carried_state import cache_to_tensors, tensors_to_cache
from .checkpoints import (
    Checkpoint,
    CheckpointError,
    CheckpointFolder,
    UnwrittenError,
    load_checkpoint,
    load_weights,
    read_checkpoint,
)
from .errors import TrainingError, in_one_line
from .evaluation import EndOfGeneration, EvaluationEnded, Evaluator
from .fingerprint import check_optimizer, describe_setup, differences, in_words
from .integrity import WEIGHTS, find_damage
from .kept_elsewhere import keep_state
from .optimization import create_average, create_optimizer, create_scheduler, go_to_step, settings_of, take_settings
from .parameters import freeze, freeze_unsaved
from .progress import BestModel, Clock, Meter, Place
from .run import Run
from .sharding import join_tied_embeddings, let_shards_generate
from .step_loss import StepLoss
from .stopping import Heartbeats, RunStopped, StopSignals, shared_store


logger = logging.get_logger(__name__)


def count_labels(batch: Batch) -> int:
    """Number of labels in a batch that enter the loss."""
    return int((batch["labels"] != -100).sum())


class TrainingLoop(Evaluator):
    """
    Trains a model: accumulation, clipping, schedule, evaluation, early stopping, checkpoints and records.

    The loss of an optimizer step is the sum over all its targets, divided by their number, over accumulated batches
    and processes alike; so the gradient does not depend on how a batch is divided. Where the model's `forward` divides
    its summed loss by `num_items_in_batch`, as many models of transformers do, that is all; where it gives the mean
    over a batch, as others do, that is weighed by the batch's share of the targets. Which it does is measured.

    The randomness of a step (dropout) is a function of seed, step and process alone, and the order of the data of seed
    and epoch: a resumed run does what an uninterrupted one would have done. A process that has no examples left takes
    part in the step with a gradient of zero, so that no example is read twice or left out.

    Args:
        run: From [`start_run`]; its record gets the history.
        arguments: The training arguments.
        model: What is trained, not yet prepared.
        train_dataset: A dataset with a length, or an iterable one such as a `datasets.IterableDataset`, of which each
            process reads its part; then `max_train_steps` must be given.
        batch_sampler: Gives the batches of an epoch, as many in each, e.g. [`seqnlp.data.LengthGroupedBatchSampler`]:
            it has `set_epoch` and `skip_once`. Batch `i` goes to process `i mod P`. None for an iterable dataset.
        collator: Makes a batch of examples.
        evaluate: Called with this loop; returns validation metrics by name, the same on every process.
        count_targets: Number of targets of a batch that enter its loss.
        carries_state: Hand the `cache` of a process's previous micro-batch, without its gradient, to the
            next forward, beginning afresh with each epoch: truncated backpropagation through time (Williams & Peng
            1990). Row `i` of a batch must then go on where row `i` of that process's previous batch ended.
        tokenizer: What the data was tokenized by, which a resumed run is checked for; the collator's by default.

    Raises:
        ArgumentsError: If streamed data is given without `max_train_steps`.
    """

    def __init__(
        self,
        run: Run,
        arguments: TrainingArguments,
        model: PreTrainedModel,
        train_dataset: Dataset | Iterable[Any],
        batch_sampler,
        collator: Collator,
        evaluate: Callable[["TrainingLoop"], dict[str, float]],
        count_targets: Callable[[Batch], int] = count_labels,
        carries_state: bool = False,
        tokenizer: PreTrainedTokenizerBase | None = None,
    ):
        self.run = run
        self.record = run.record
        self.accelerator = accelerator = run.accelerator
        self.arguments = arguments
        self.collator = collator
        self.train_dataset = train_dataset
        self.seed, self.eval_batch_size = arguments.seed, arguments.per_device_eval_batch_size
        self.device = accelerator.device
        self.num_processes, self.process_index = accelerator.num_processes, accelerator.process_index
        self.evaluate = evaluate
        self.setup = describe_setup(
            run.record, run.roles, model.config, tokenizer or getattr(collator, "tokenizer", None)
        )
        self.count_targets = count_targets
        self.loss = StepLoss(model, count_targets, arguments.r_drop)
        self.carries_state = carries_state
        if batch_sampler is None:
            self.batches = StreamedBatches(train_dataset, collator, accelerator, arguments)
        else:
            self.batches = SizedBatches(train_dataset, batch_sampler, collator, accelerator, arguments)
        self.steps_per_epoch = self.batches.steps_per_epoch
        freeze_unsaved(model)
        if arguments.freeze:
            count = sum(parameter.numel() for parameter in model.parameters())
            run.tell(f"Frozen: {freeze(model, arguments.freeze):,} of {count:,} parameters.")
        optimizer = create_optimizer(model, arguments)
        if arguments.layerwise_lr_decay != 1:
            rates = sorted(group["lr"] for group in optimizer.param_groups)
            run.tell(f"Learning rates from {rates[0]:.3g} at the bottom to {rates[-1]:.3g} at the top.")
        if accelerator.distributed_type == DistributedType.DEEPSPEED:
            # Accelerate would ask one of its own data loaders.
            config = accelerator.state.deepspeed_plugin.deepspeed_config
            config["train_micro_batch_size_per_gpu"] = arguments.per_device_train_batch_size
        is_sharded = accelerator.distributed_type == DistributedType.FSDP
        if is_sharded:
            join_tied_embeddings(model)
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        if is_sharded:
            let_shards_generate(self.model)
        # Only training calls the compiled one: what is evaluated, saved or unwrapped is the model, names and all.
        # Batches differ in length, and a graph for each, compiled as they come, would make resumed runs differ too.
        self._compiled = torch.compile(self.model, dynamic=True) if arguments.torch_compile else self.model
        self.max_steps = arguments.max_train_steps or math.ceil(arguments.num_train_epochs * self.steps_per_epoch)
        # Not prepared: Accelerate would step it once a process.
        self.scheduler = create_scheduler(optimizer, arguments, self.max_steps)
        self.average = create_average(self.unwrapped_model, self.optimizer, arguments)
        self.checkpoints = CheckpointFolder(arguments.output_dir, arguments.save_total_limit)
        self.on_step_begin: list[Callable[[TrainingLoop, list[MicroBatch]], None]] = []
        self.on_step_end: list[Callable[[TrainingLoop], None]] = []
        self.place, self.clock, self.best = Place(), Clock(), BestModel(arguments)
        self.meter = Meter(self.clock, accelerator.device)
        self._carried = None  # the cache after a process's last micro-batch
        self._carried_tensors: dict[str, torch.Tensor] | None = None  # the same, as a checkpoint holds it
        self._checkpointed = -1  # the step of the last checkpoint
        self._is_out_of_time = False
        self._signals, self._signal = StopSignals(), None

    @property
    def unwrapped_model(self) -> PreTrainedModel:
        """The model without what Accelerate wrapped around it."""
        return self.accelerator.unwrap_model(self.model)

    def let_go(self) -> None:
        """Give up what is around the model, which cannot be trained after that. Called by every process."""
        # Where torch's reducer is the last to hold the processes' connection, it waits for threads that wait for
        # Python, which waits for it: one run of thirty would never end.
        self.model = self._compiled = self.unwrapped_model
        self.accelerator.free_memory()
        gc.collect()

    def autocast(self) -> AbstractContextManager:
        """That of the run; a sharded model's is left to each forward pass, or every process would hold all weights."""
        return nullcontext() if self.run.divides_weights else self.accelerator.autocast()

    @property
    def step(self) -> int:
        """Optimizer steps so far."""
        return self.place.step

    @property
    def epoch(self) -> float:
        """Passes over the data so far."""
        return self.batches.epoch(self.step)

    @property
    def seconds(self) -> float:
        """Wall-clock time in training so far, evaluation and earlier runs of a resumed one included."""
        return self.clock.seconds

    def train(self) -> None:
        """
        Train to the end, then put the best model's weights into the model.

        Raises:
            ArgumentsError: If nobody said whether more of the metric for the best model is better.
            TrainingError: When the loss is no longer a number.
            CheckpointError: When the checkpoint to resume from is not there, is damaged, or was made with other
                arguments, data or tokenizer; or when a checkpoint cannot be written, where it says what is kept.
            RunStopped: When a signal ended it after a step or a batch of a validation; a checkpoint is written then.
        """
        if not isinstance(self.arguments.greater_is_better, bool):
            raise ArgumentsError(
                f"--metric_for_best_model {self.arguments.metric_for_best_model}: nobody said whether more of it is "
                "better; add --greater_is_better true or false."
            )
        self._begin()
        for callback in self.run.on_train_begin:
            callback(self)
        try:
            self._train_watched()
        except UnwrittenError as error:
            raise keep_state(self, error) from error
        if self._signal is not None:
            raise RunStopped(self._signal, self._told_of_signal())
        self.record.stopped = None
        if self._is_out_of_time and self.step < self.max_steps:
            self.record.stopped = {
                "reason": "max_train_minutes",
                "step": self.step,
                "planned_steps": self.max_steps,
            }
        self._load_best()
        self.record.kept = self._kept()
        self.record.seconds["training"] = round(self.seconds, 1)

    def optimizer_step(self, micro_batches: list[MicroBatch]) -> torch.Tensor:
        """
        One step of the optimizer, without records, evaluation and checkpoints. Called by every process.

        Args:
            micro_batches: What this process reads in the step.

        Returns:
            The loss of the step: the mean over the targets of all processes.

        Raises:
            TrainingError: When loss or gradient is no longer a number; the weights are those before the step.
        """
        accelerator = self.accelerator
        if self._carried_tensors is not None:
            self._restore_carried(micro_batches[0].batch)
        self.loss.measure(micro_batches[0].batch, self.device)
        torch.manual_seed((self.arguments.seed * 1_000_003 + self.step) * 4_099 + accelerator.process_index)
        targets, examples = self._agree(micro_batches)
        loss_sum = torch.zeros((), device=accelerator.device)
        for index, micro in enumerate(micro_batches):
            is_last = index == len(micro_batches) - 1
            accelerator.sync_gradients = is_last  # DeepSpeed's engine makes its step where this is true
            with nullcontext() if is_last else accelerator.no_sync(self.model):
                # A batch may have no target at all; its sum is 0, and 0 / 1 is too.
                loss = self._forward(micro, targets.clamp(min=1))
                # Gradients are averaged over the processes, and this loss is a share of one sum.
                accelerator.backward(loss * accelerator.num_processes)
            loss_sum += loss.detach()
        loss_sum = accelerator.reduce(loss_sum, reduction="sum")
        norm = None
        if self.arguments.max_grad_norm:
            norm = accelerator.clip_grad_norm_(self.model.parameters(), self.arguments.max_grad_norm)
            if isinstance(norm, DTensor):  # of weights divided among the processes
                norm = norm.full_tensor()
        # float16 overflows now and then, and its scaler skips such a step; there the loss alone tells.
        watched = loss_sum if norm is None or self.arguments.mixed_precision == "fp16" else loss_sum + norm
        if not bool(torch.isfinite(watched)):
            self._stop_diverged(float(loss_sum), None if norm is None else float(norm))
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()
        self.average.update()
        self.place.step += 1
        self.place.examples += examples
        self.meter.add(loss_sum, int(targets), None if norm is None else norm > self.arguments.max_grad_norm)
        return loss_sum

    def _begin(self) -> None:
        """Take up the checkpoint to resume from, if there is one."""
        resume = self.arguments.resume_from_checkpoint
        path = self.run.on_main_process(lambda: self.checkpoints.find(resume)) if resume else None
        checkpoint = read_checkpoint(self.accelerator, path) if path else None
        is_changed = checkpoint is not None and self._is_changed(path, checkpoint)
        self.checkpoints.begin(self.accelerator, goes_on=self.run.folder.is_resumed(resume))
        if checkpoint is not None:
            self._resume(path, checkpoint, is_changed)
        self.run.begin_logging(self.step)
        self.model.train()
        self._settle_gradient_buckets()

    def _train_watched(self) -> None:
        """Train, while signals, the other processes and the clock are attended to."""
        self.clock.start()
        self.meter.start()
        with (
            self._signals,
            Heartbeats(shared_store(), self.process_index, self.num_processes),
            ProgressBar(
                self.clock, self.max_steps, self.step, self.run.targets, self.device, self.is_main_process
            ) as progress,
        ):
            try:
                self._train(progress)
            finally:
                self.batches.close()
            self._agree_on_signals()  # one that has come after the last step
            if self._checkpointed != self.step:  # while a second signal does not end it yet
                self._checkpoint()

    def _train(self, progress: ProgressBar) -> None:
        progress.write(f"{self.max_steps} steps of training, {self._told_of_device()}")
        if self.place.owes_validation:
            self._evaluate(progress)
        # Patience may be over in a run that was ended between its last step and its results.
        stop = self._is_patience_over or self._signal is not None
        while self.step < self.max_steps and not stop:
            if self.batches.begins_epoch(self.step):
                self._carried = self._carried_tensors = None
                self.place.begin_epoch(int(self.epoch))
            for micro_batches in self.batches.rest_of_epoch(self.step):
                for callback in self.on_step_begin:
                    callback(self, micro_batches)
                self.optimizer_step(micro_batches)
                progress.update(self.step)
                stop = self._after_step(progress)
                for callback in self.on_step_end:
                    callback(self)
                if stop or self.step >= self.max_steps:
                    break

    def _told_of_device(self) -> str:
        each = f"in each of {self.num_processes} processes" if self.num_processes > 1 else ""
        if self.device.type != "cpu":
            return f"on {self.device.type} {each}".rstrip()
        threads = torch.get_num_threads()
        return f"on {threads} CPU thread{'s' if threads > 1 else ''} {each}".rstrip()

    def _agree(self, micro_batches: list[MicroBatch]) -> tuple[torch.Tensor, int]:
        """Targets and examples of the step; the one exchange of it also says whether all stop after it."""
        real = [micro.batch for micro in micro_batches if micro.is_real]
        own = [sum(map(self.count_targets, real)), sum(map(count_rows, real)), self._time_is_up()]
        agreed = torch.tensor([*own, *self._signals.counts()], device=self.device)
        targets, examples, out_of_time, *signals = self.accelerator.reduce(agreed, reduction="sum").unbind()
        self._is_out_of_time = bool(out_of_time)
        self._take_note(signals)
        return targets, int(examples)

    def _take_note(self, counts: Iterable[torch.Tensor]) -> None:
        """Of a signal that any process has received."""
        self._signal = next((number for number, count in zip(SIGNALS, counts, strict=True) if count), self._signal)

    def _agree_on_signals(self) -> bool:
        """Whether any process has been told to stop."""
        counts = torch.tensor(self._signals.counts(), device=self.device)
        self._take_note(self.accelerator.reduce(counts, reduction="sum").unbind())
        return self._signal is not None

    def must_end(self) -> bool:
        """Whether a signal asks for an end of training, and so of a validation."""
        return self._signals.is_in_force and self._agree_on_signals()

    def stopping_criteria(self) -> StoppingCriteriaList:
        """A signal ends a generation at a token, unless a sharded model's processes make each token together."""
        if self.run.divides_weights:
            return StoppingCriteriaList()
        return StoppingCriteriaList(
            [EndOfGeneration(lambda: self._signals.is_in_force and any(self._signals.counts()))]
        )

    def _settle_gradient_buckets(self) -> None:
        """
        A forward and backward whose gradients are dropped, before the first step of a run that begins or goes on.

        After its first backward DDP lays its buckets out anew, and where more than two processes add up, a gradient's
        place in a bucket decides in which order. Settled by the first step, the layout of the step after a resumption
        would be another than in the uninterrupted run, and so would the last bits of its gradients.
        """
        if not isinstance(self.model, DistributedDataParallel):
            return
        one = torch.ones((), dtype=torch.long, device=self.accelerator.device)
        stand_in = MicroBatch(self.batches.one_example(), is_real=False)
        self.accelerator.backward(self._forward(stand_in, one))
        self.optimizer.zero_grad()

    def _forward(self, micro: MicroBatch, targets: torch.Tensor) -> torch.Tensor:
        """This micro-batch's share of the step's loss."""
        carries = self.carries_state and micro.is_real
        carried = {"cache": self._carried, "use_cache": True} if carries else {}
        outputs = self._compiled(**self.loss.read(micro.batch), **carried, **self.loss.told(targets))
        if carries:
            self._carried = outputs.cache.detach_()
        return self.loss.share(outputs, micro, targets)

    def _restore_carried(self, batch: Batch) -> None:
        """Put the state that a checkpoint held into a cache of the model's own kind, which any forward makes."""
        with torch.no_grad():
            cache = self.model(**self.loss.read(batch), use_cache=True).cache
        try:
            self._carried = tensors_to_cache(self._carried_tensors, cache)
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(
                f"The carried state of the checkpoint does not fit: {in_one_line(error, 200)}."
            ) from error
        self._carried_tensors = None

    def _time_is_up(self) -> bool:
        minutes = self.arguments.max_train_minutes
        return minutes is not None and self.clock.seconds_of_this_run >= 60 * minutes

    def _after_step(self, progress: ProgressBar) -> bool:
        """Record, evaluate and checkpoint where it is due; true to stop early."""
        at_end = self.step >= self.max_steps
        epoch_ends = self.steps_per_epoch is not None and self.step % self.steps_per_epoch == 0
        if self.step % self.arguments.logging_steps == 0 or at_end:
            self._log_training(progress)
        stop = False
        every = self.arguments.eval_steps
        if at_end or (self.step % every == 0 if every else epoch_ends):
            stop = self._evaluate(progress)
        every = self.arguments.checkpointing_steps
        if epoch_ends if every == "epoch" else self.step % int(every) == 0:
            self._checkpoint()
        if self._is_out_of_time and not at_end:
            progress.write(
                f"--max_train_minutes {self.arguments.max_train_minutes:g}: time is up at step {self.step} of "
                f"{self.max_steps}; go on as planned by --resume_from_checkpoint latest"
            )
            return True
        return stop or self._signal is not None

    def _told_of_signal(self) -> str:
        return (
            f"{signal.Signals(self._signal).name}: stopped at step {self.step} of {self.max_steps}, with a checkpoint "
            f"in {self.checkpoints.root}; go on by the same command and --resume_from_checkpoint latest"
        )

    def _log_training(self, progress: ProgressBar) -> None:
        if self.meter.is_empty:
            return
        values = self.meter.read()
        values["learning_rate"] = self.scheduler.get_last_lr()[0]
        if not self.arguments.max_grad_norm:
            del values["clipped_share"]
        progress.show(values["train_loss"], values["targets_per_second"])
        self.record.log(self.step, self.epoch, **values)
        self.run.log(values, self.step)

    def _evaluate(self, progress: ProgressBar) -> bool:
        self.place.owes_validation = True
        try:
            with self.meter.paused(), progress.paused(), self.average.in_use():
                metrics = {f"validation_{name}": value for name, value in self.evaluate(self).items()}
                for callback in self.run.while_validating:
                    callback(self)
        except EvaluationEnded:
            return True
        self.place.owes_validation = False
        self.record.log(self.step, self.epoch, **metrics)
        self.run.log(metrics, self.step)
        for callback in self.run.on_validation:
            callback(self.record.history[-1])
        shown = ", ".join(f"{name.removeprefix('validation_')} {value:.4f}" for name, value in metrics.items())
        progress.write(f"epoch {self.epoch:.2f}, step {self.step}: validation {shown}")
        self.run.show_sample(progress.write, self.step)

        name = f"validation_{self.arguments.metric_for_best_model.removeprefix('validation_')}"
        if name not in metrics:
            known = ", ".join(metric.removeprefix("validation_") for metric in metrics)
            raise TrainingError(
                f"--metric_for_best_model {self.arguments.metric_for_best_model}: there is only {known}."
            )
        if self.best.offer(metrics[name], self.step):
            with self.average.in_use():
                self.checkpoints.save_weights(self.accelerator, self.model, self.checkpoints.best(self.step).name)
            return False
        if self._is_patience_over:
            patience = self.arguments.early_stopping_patience
            progress.write(f"no better model in {patience} validations: stopping at step {self.step}")
        return self._is_patience_over

    @property
    def _is_patience_over(self) -> bool:
        patience = self.arguments.early_stopping_patience
        return patience is not None and self.best.evaluations_without_gain >= patience

    def _checkpoint(self) -> None:
        self.checkpoints.save(self.accelerator, self.checkpoint_now())
        self._checkpointed = self.step

    def checkpoint_now(self) -> Checkpoint:
        """What a checkpoint would hold at this step."""
        parts = {name: part.state() for name, part in self._parts().items()}
        state = {"setup": self.setup, "history": self.record.history, **parts}
        carried = None if self._carried is None else cache_to_tensors(self._carried)
        return Checkpoint(state, self.batches.state(), carried, self.average.state())

    def _parts(self) -> dict[str, Place | Clock | Meter | BestModel]:
        return {"place": self.place, "clock": self.clock, "meter": self.meter, "best": self.best}

    def _resume(self, path: Path, checkpoint: Checkpoint, is_changed: bool) -> None:
        settings = settings_of(self.optimizer, self.arguments)
        try:
            self.average.load(self.unwrapped_model, checkpoint.average)
            self.batches.resume(checkpoint.position)
        except ValueError as error:
            raise CheckpointError(f"The checkpoint {path} does not fit this run: {error}.") from error
        load_checkpoint(self.accelerator, path)
        take_settings(self.optimizer, settings)
        for name, part in self._parts().items():
            part.load(checkpoint.state[name])
        self.record.history[:] = checkpoint.state["history"]
        there = self.step
        if is_changed:
            self._renumber()
        else:  # a state carried to other rows would be wrong
            self._carried_tensors = checkpoint.carried
        go_to_step(self.scheduler, self.step)
        self._checkpointed = self.step
        # Weights to be averaged go by the numbers of steps; where those are counted anew, none before are averaged.
        self._take_up_best(path, there if self.step == there else 0)

    def _is_changed(self, path: Path, checkpoint: Checkpoint) -> bool:
        """Whether the checkpoint was made with another setup than this run has, and that is as it should be."""
        then = checkpoint.state["setup"]
        if not (differing := differences(then, self.setup)):
            return False
        if not self.arguments.resume_with_changes:
            raise CheckpointError(
                f"The checkpoint {path} was made with another setup: {in_words(differing)}. Resume with the same, or "
                "go on all the same by --resume_with_changes."
            )
        if self.steps_per_epoch is None and then["num_processes"] != self.num_processes:
            raise CheckpointError(
                f"The checkpoint {path} was made by {then['num_processes']} processes; streamed data cannot be dealt "
                f"out to {self.num_processes} in the middle. Resume with as many."
            )
        check_optimizer(path, then, self.setup)
        logger.warning(f"Resuming {path} with another setup: {in_words(differing)}.")
        return True

    def _renumber(self) -> None:
        """
        Count the steps as if all had been taken with the present batches, so that as many examples are left to train
        on as were left there; where these batches have no such place, the last one before it is taken. The steps of
        the history, and of the best model, are counted in the same proportion.
        """
        if self.steps_per_epoch is None:
            return
        before, self.place.step = self.step, self.batches.step_at(self.place)
        left = max(0, self.max_steps - self.step)
        examples = self.batches.count_examples(self.step, self.max_steps)
        logger.warning(
            f"By the examples read, step {before} of the checkpoint is step {self.step} of {self.max_steps} with the "
            f"present batches; {left} steps are left, over {examples} examples."
        )
        for entry in self.record.history:  # rounded down: what came before this step stays before it
            entry["step"] = entry["step"] * self.step // max(before, 1)
        self.best.step = self.best.step * self.step // max(before, 1)

    def _take_up_best(self, path: Path, last: int) -> None:
        """See that the best model so far is whole and here, as weights to be averaged are; else go on without it."""
        best = self.checkpoints.best_of(path)
        damage = self.run.on_main_process(lambda: best and find_damage(best))
        self.checkpoints.take_over(self.accelerator, path, self.best.step, last)
        if damage:
            logger.warning(f"The best model so far, {best}, is damaged ({damage}): training goes on without it.")
            self.best.forget()

    def _load_best(self) -> None:
        if self.best.metric is not None and self.best.step != self.step:
            best = self.checkpoints.best(self.best.step)
            damage = self.run.on_main_process(lambda: find_damage(best))
            if damage is None:
                load_weights(self.unwrapped_model, load_file(best / WEIGHTS))
                return
            logger.warning(f"The best model, {best}, is damaged ({damage}): the one of the last step is taken.")
            self.best.forget()
        self.average.put_in()

    def _kept(self) -> dict[str, Any]:
        """Whose step's weights the model has, and by what they were chosen."""
        decay = {} if self.arguments.ema_decay is None else {"ema_decay": self.arguments.ema_decay}
        if self.best.metric is None:
            return decay
        metric = self.arguments.metric_for_best_model.removeprefix("validation_")
        epoch = next(entry["epoch"] for entry in reversed(self.record.history) if entry["step"] == self.best.step)
        return {"step": self.best.step, "epoch": epoch, "metric": metric, "value": self.best.metric, **decay}

    def _stop_diverged(self, loss: float, norm: float | None) -> None:
        """The weights are still those before this step: keep them, then stop."""
        self.optimizer.zero_grad()
        if self._checkpointed != self.step:
            self._checkpoint()
        last = self.checkpoints.steps()[-1]
        shown = "" if norm is None else f", norm of the gradient {norm:.4g}"
        raise TrainingError(
            f"Training diverged at step {self.step + 1}: loss {loss:.4g}{shown}. The last good checkpoint is {last}; "
            f"lower --learning_rate {self.arguments.learning_rate:g} or --max_grad_norm "
            f"{self.arguments.max_grad_norm:g}."
        )
