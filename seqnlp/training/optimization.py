"""The optimizer, its schedule and the average of the weights."""

from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

from .arguments import TrainingArguments
from .errors import ArgumentsError, in_one_line
from .moving_average import AverageOfOptimizer, MovingAverage
from .optimizers import OPTIMIZERS
from .parameters import depths


def create_optimizer(model: nn.Module, arguments: TrainingArguments) -> torch.optim.Optimizer:
    """
    The optimizer that `arguments` name, with weight decay on matrices alone.

    Biases, gains and other vectors are left out of the decay: shrinking them towards zero is no simpler a model. With
    `layerwise_lr_decay` each layer has a rate of its own (Howard & Ruder 2018, arXiv 1801.06146, section 3.2,
    discriminative fine-tuning): that of what stands on the last layer, times the decay for each step down.

    Raises:
        ArgumentsError: If a model without layers is to have a rate for each, or has nothing that the optimizer is for.
    """
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    decay = arguments.layerwise_lr_decay
    depth_of = depths(model) if decay != 1 else dict.fromkeys((name for name, _ in trained), 0)
    top = max(depth_of.values())
    groups = []
    for depth in range(top, -1, -1):  # the head first, whose rate is logged
        rate = arguments.learning_rate * decay ** (top - depth)
        parameters = [parameter for name, parameter in trained if depth_of[name] == depth]
        groups += [
            {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": arguments.weight_decay, "lr": rate},
            {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0, "lr": rate},
        ]
    return OPTIMIZERS[arguments.optimizer].create([group for group in groups if group["params"]], arguments, model)


def create_average(
    model: nn.Module, optimizer: torch.optim.Optimizer, arguments: TrainingArguments
) -> MovingAverage | AverageOfOptimizer:
    """The average of the weights that is validated and saved: the optimizer's own, or that of `--ema_decay`."""
    if OPTIMIZERS[arguments.optimizer].averages:
        return AverageOfOptimizer(optimizer)
    return MovingAverage(model, arguments.ema_decay)


def settings_of(optimizer: torch.optim.Optimizer, arguments: TrainingArguments) -> list[dict[str, Any]]:
    """What each group of parameters is trained with."""
    others = {"params", *OPTIMIZERS[arguments.optimizer].progress}
    return [{name: value for name, value in group.items() if name not in others} for group in optimizer.param_groups]


def take_settings(optimizer: torch.optim.Optimizer, settings: list[dict[str, Any]]) -> None:
    """
    Train each group with what a run says of it, not with what a checkpoint, loaded since, does: a setting such as the
    weight decay may be what has changed.
    """
    for group, own in zip(optimizer.param_groups, settings, strict=True):
        group.update(own)


def create_scheduler(optimizer: torch.optim.Optimizer, arguments: TrainingArguments, num_steps: int) -> LRScheduler:
    """
    The schedule that `arguments` name, over `num_steps` optimizer steps.

    Args:
        optimizer: What is scheduled.
        arguments: Give type and warm-up.
        num_steps: Optimizer steps of the whole run.

    Raises:
        ArgumentsError: If the schedule cannot begin at the learning rate, as one that falls to more than it.
    """
    warmup = arguments.num_warmup_steps
    if warmup is None:
        warmup = round(arguments.warmup_ratio * num_steps)
    kind, steps = arguments.lr_scheduler_type, {"num_warmup_steps": min(warmup, num_steps)}
    try:
        return get_scheduler(kind, optimizer, **steps, num_training_steps=num_steps)
    except ValueError as error:
        rate, reason = f"--learning_rate {arguments.learning_rate:g}", in_one_line(error).rstrip(".")
        raise ArgumentsError(f"{rate} with --lr_scheduler_type {kind}: {reason}. Change one of them.") from error


def go_to_step(scheduler: LRScheduler, step: int) -> None:
    """Set the learning rates to those before this step: a function of the arguments and the step alone."""
    rates = [base * factor(step) for base, factor in zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)]
    for group, rate in zip(scheduler.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    position = {"last_epoch": step, "_step_count": step + 1, "_last_lr": rates, "lr_lambdas": [None] * len(rates)}
    scheduler.load_state_dict({**scheduler.state_dict(), **position})
