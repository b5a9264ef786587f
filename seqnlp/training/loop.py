"""The one training loop, on Accelerate, for every recipe."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_model
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from .arguments import TrainingArguments
from .checkpoints import CheckpointFolder, load_checkpoint
from .optimization import create_optimizer, create_scheduler
from .run import Run


Batch = dict[str, torch.Tensor]


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and where the last good checkpoint is."""


class Predictions(NamedTuple):
    """What a classifier says of a dataset, in the dataset's order, each example once."""

    logits: np.ndarray
    labels: np.ndarray


def count_labels(batch: Batch) -> int:
    """Number of labels in a batch that enter the loss."""
    return int((batch["labels"] != -100).sum())


class TrainingLoop:
    """
    Trains a model: accumulation, clipping, schedule, evaluation, early stopping, checkpoints and records.

    The loss of an optimizer step is the sum over all its targets, divided by their number, over accumulated batches
    and processes alike; so the gradient does not depend on how a batch is divided. The model's `forward` must take
    `num_items_in_batch` and divide its summed loss by it, as the models of transformers do.

    The randomness of a step (dropout) is a function of seed, step and process alone, and the order of the data of seed
    and epoch: a resumed run does what an uninterrupted one would have done.

    Args:
        run: From [`start_run`]; its record gets the history.
        arguments: The training arguments.
        model: What is trained, not yet prepared.
        train_dataset: A dataset with a length.
        batch_sampler: Gives the batches of an epoch, e.g. [`seqnlp.data.LengthGroupedBatchSampler`]: it has
            `set_epoch` and `skip_once`.
        collator: Makes a batch of examples.
        evaluate: Called with this loop; returns validation metrics by name, the same on every process.
        count_targets: Number of targets of a batch that enter its loss.
    """

    def __init__(
        self,
        run: Run,
        arguments: TrainingArguments,
        model: PreTrainedModel,
        train_dataset: Dataset,
        batch_sampler,
        collator: Callable[[list[Any]], Batch],
        evaluate: Callable[["TrainingLoop"], dict[str, float]],
        count_targets: Callable[[Batch], int] = count_labels,
    ):
        self.accelerator = accelerator = run.accelerator
        self.arguments = arguments
        self.collator = collator
        self.evaluate = evaluate
        self.record = run.record
        self.count_targets = count_targets
        self.batch_sampler = batch_sampler
        loader = DataLoader(train_dataset, batch_sampler=batch_sampler, collate_fn=collator)
        self.model, self.optimizer, self.loader = accelerator.prepare(
            model, create_optimizer(model, arguments), loader
        )
        self.steps_per_epoch = math.ceil(len(self.loader) / arguments.gradient_accumulation_steps)
        self.max_steps = arguments.max_train_steps or math.ceil(arguments.num_train_epochs * self.steps_per_epoch)
        # Not prepared: Accelerate would step it once a process.
        self.scheduler = create_scheduler(self.optimizer.optimizer, arguments, self.max_steps)
        self.checkpoints = CheckpointFolder(arguments.output_dir, arguments.save_total_limit)
        self.step = 0
        self.best_metric: float | None = None
        self.best_step = 0
        self.evaluations_without_gain = 0
        self.seconds_before = 0.0
        self._evaluation_loaders: dict[int, tuple[Dataset, DataLoader]] = {}
        # Since the last record:
        self._loss_sum = torch.zeros((), device=accelerator.device)
        self._logged_step, self._targets_since, self._logged_at = 0, 0, 0.0

    @property
    def epoch(self) -> float:
        """Passes over the data so far."""
        return self.step / self.steps_per_epoch

    def train(self) -> None:
        """
        Train to the end, then put the best model's weights into the model.

        Raises:
            TrainingError: When the loss is no longer a number.
            CheckpointError: When the checkpoint to resume from is not there or does not fit.
        """
        resume = self.arguments.resume_from_checkpoint
        path = self.checkpoints.find(resume) if resume else None
        self.checkpoints.begin(self.accelerator, resume=resume is not None)
        if path is not None:
            self._resume(load_checkpoint(self.accelerator, path))
        self._checkpointed = self.step if path is not None else -1
        self._started = self._logged_at = time.perf_counter()

        self.model.train()
        stop = False
        with tqdm(
            total=self.max_steps,
            initial=self.step,
            desc="training",
            unit="step",
            disable=not self.accelerator.is_main_process,
            dynamic_ncols=True,
        ) as progress:
            while self.step < self.max_steps and not stop:
                for micro_batches in self._epoch_batches():
                    self._optimizer_step(micro_batches)
                    progress.update()
                    stop = self._after_step(progress)
                    if stop or self.step >= self.max_steps:
                        break
        if self._checkpointed != self.step:
            self._checkpoint()
        self._load_best()
        self.record.seconds["training"] = round(self._elapsed(), 1)

    def predict(self, dataset: Dataset) -> Predictions:
        """Logits and labels of every example of `dataset` exactly once, in its order, the same on every process."""
        loader = self._evaluation_loader(dataset)
        logits, labels = [], []
        was_training = self.model.training
        self.model.eval()
        for batch in loader:
            with torch.no_grad():
                outputs = self.model(**{name: value for name, value in batch.items() if name != "labels"})
            batch_logits, batch_labels = self.accelerator.gather_for_metrics((outputs.logits, batch["labels"]))
            logits.append(batch_logits.float().cpu().numpy())
            labels.append(batch_labels.cpu().numpy())
        self.model.train(was_training)
        predictions = Predictions(np.concatenate(logits), np.concatenate(labels))
        if len(predictions.labels) != len(dataset):
            raise TrainingError(f"Evaluated {len(predictions.labels)} examples of a dataset of {len(dataset)}.")
        return predictions

    def _evaluation_loader(self, dataset: Dataset) -> DataLoader:
        # Made once a dataset: Accelerate keeps every loader that it prepares.
        if id(dataset) not in self._evaluation_loaders:
            batch_size = self.arguments.per_device_eval_batch_size
            loader = DataLoader(dataset, batch_size=batch_size, collate_fn=self.collator, shuffle=False)
            # With the dataset, whose id belongs to another once it is gone.
            self._evaluation_loaders[id(dataset)] = dataset, self.accelerator.prepare_data_loader(loader)
        return self._evaluation_loaders[id(dataset)][1]

    def _epoch_batches(self) -> Iterator[list[Batch]]:
        """The rest of the current epoch, in groups of the batches of one optimizer step."""
        epoch, done = divmod(self.step, self.steps_per_epoch)
        accumulation = self.arguments.gradient_accumulation_steps
        self.loader.set_epoch(epoch)
        self.batch_sampler.set_epoch(epoch)
        self.batch_sampler.skip_once(done * accumulation * self.accelerator.num_processes)
        group = []
        for batch in self.loader:
            group.append(batch)
            if len(group) == accumulation:
                yield group
                group = []
        if group:
            yield group

    def _optimizer_step(self, micro_batches: list[Batch]) -> None:
        accelerator = self.accelerator
        torch.manual_seed((self.arguments.seed * 1_000_003 + self.step) * 4_099 + accelerator.process_index)
        local_targets = sum(self.count_targets(batch) for batch in micro_batches)
        targets = accelerator.reduce(torch.tensor(local_targets, device=accelerator.device), reduction="sum")
        loss_sum = torch.zeros((), device=accelerator.device)
        for index, batch in enumerate(micro_batches):
            is_last = index == len(micro_batches) - 1
            with nullcontext() if is_last else accelerator.no_sync(self.model):
                loss = self.model(**batch, num_items_in_batch=targets).loss
                # Gradients are averaged over the processes, and this loss is a share of one sum.
                accelerator.backward(loss * accelerator.num_processes)
            loss_sum += loss.detach()
        loss_sum = accelerator.reduce(loss_sum, reduction="sum")
        norm = None
        if self.arguments.max_grad_norm:
            norm = accelerator.clip_grad_norm_(self.model.parameters(), self.arguments.max_grad_norm)
        # float16 overflows now and then, and its scaler skips such a step; there the loss alone tells.
        watched = loss_sum if norm is None or self.arguments.mixed_precision == "fp16" else loss_sum + norm
        if not bool(torch.isfinite(watched)):
            self._stop_diverged(float(loss_sum), None if norm is None else float(norm))
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()
        self.step += 1
        self._loss_sum += loss_sum
        self._targets_since += int(targets)

    def _after_step(self, progress) -> bool:
        """Record, evaluate and checkpoint where it is due; true to stop early."""
        at_end = self.step >= self.max_steps
        epoch_ends = self.step % self.steps_per_epoch == 0
        if self.step % self.arguments.logging_steps == 0 or at_end:
            self._log_training(progress)
        stop = False
        every = self.arguments.eval_steps
        if at_end or (self.step % every == 0 if every else epoch_ends):
            stop = self._evaluate(progress)
        every = self.arguments.checkpointing_steps
        if epoch_ends if every == "epoch" else self.step % int(every) == 0:
            self._checkpoint()
        return stop

    def _log_training(self, progress) -> None:
        steps = self.step - self._logged_step
        if steps == 0:
            return
        now = time.perf_counter()
        values = {
            "train_loss": float(self._loss_sum) / steps,
            "learning_rate": self.scheduler.get_last_lr()[0],
            "targets_per_second": round(self._targets_since / (now - self._logged_at), 1),
        }
        self._loss_sum.zero_()
        self._logged_step, self._targets_since, self._logged_at = self.step, 0, now
        progress.set_postfix(loss=f"{values['train_loss']:.3f}", refresh=False)
        self.record.log(self.step, self.epoch, **values)
        self.accelerator.log(values, step=self.step)

    def _evaluate(self, progress) -> bool:
        before = time.perf_counter()
        metrics = {f"validation_{name}": value for name, value in self.evaluate(self).items()}
        self._logged_at += time.perf_counter() - before  # so that it does not count as slow training
        self.record.log(self.step, self.epoch, **metrics)
        self.accelerator.log(metrics, step=self.step)
        if self.accelerator.is_main_process:
            shown = ", ".join(f"{name.removeprefix('validation_')} {value:.4f}" for name, value in metrics.items())
            progress.write(f"epoch {self.epoch:.2f}, step {self.step}: validation {shown}")

        name = f"validation_{self.arguments.metric_for_best_model.removeprefix('validation_')}"
        if name not in metrics:
            known = ", ".join(metric.removeprefix("validation_") for metric in metrics)
            raise TrainingError(
                f"--metric_for_best_model {self.arguments.metric_for_best_model}: there is only {known}."
            )
        value = metrics[name]
        sign = 1 if self.arguments.greater_is_better else -1
        if self.best_metric is None or sign * value > sign * self.best_metric:
            self.best_metric, self.best_step, self.evaluations_without_gain = value, self.step, 0
            self.checkpoints.save_best(self.accelerator, self.model, self.step)
            return False
        self.evaluations_without_gain += 1
        patience = self.arguments.early_stopping_patience
        if patience is not None and self.evaluations_without_gain >= patience:
            if self.accelerator.is_main_process:
                progress.write(f"no better model in {patience} validations: stopping at step {self.step}")
            return True
        return False

    def _checkpoint(self) -> None:
        state = {
            "step": self.step,
            "scheduler": {k: v for k, v in self.scheduler.state_dict().items() if k != "lr_lambdas"},
            "best_metric": self.best_metric,
            "best_step": self.best_step,
            "evaluations_without_gain": self.evaluations_without_gain,
            "since_record": {"step": self._logged_step, "loss_sum": float(self._loss_sum)},
            "seconds": self._elapsed(),
            "history": self.record.history,
        }
        self.checkpoints.save(self.accelerator, state)
        self._checkpointed = self.step

    def _resume(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.scheduler.load_state_dict({**state["scheduler"], "lr_lambdas": [None] * len(self.scheduler.lr_lambdas)})
        self.best_metric = state["best_metric"]
        self.best_step = state["best_step"]
        self.evaluations_without_gain = state["evaluations_without_gain"]
        self._logged_step = state["since_record"]["step"]
        self._loss_sum += state["since_record"]["loss_sum"]
        self.seconds_before = state["seconds"]
        self.record.history[:] = state["history"]

    def _load_best(self) -> None:
        if self.best_metric is not None and self.best_step != self.step:
            weights = self.checkpoints.best(self.best_step) / "model.safetensors"
            # Not strict, since tied weights are stored once.
            load_model(self.accelerator.unwrap_model(self.model), weights, strict=False)

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

    def _elapsed(self) -> float:
        return self.seconds_before + time.perf_counter() - self._started
