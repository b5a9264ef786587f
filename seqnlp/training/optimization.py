"""The optimizer and its schedule."""

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

from .arguments import TrainingArguments


def create_optimizer(model: nn.Module, arguments: TrainingArguments) -> torch.optim.AdamW:
    """
    AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) with weight decay on matrices alone.

    Biases, gains and other vectors are left out of the decay: shrinking them towards zero is no simpler a model.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": arguments.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=arguments.learning_rate,
        betas=(arguments.adam_beta1, arguments.adam_beta2),
        eps=arguments.adam_epsilon,
        fused=True,
    )


def create_scheduler(optimizer: torch.optim.Optimizer, arguments: TrainingArguments, num_steps: int) -> LRScheduler:
    """
    The schedule that `arguments` name, over `num_steps` optimizer steps.

    Args:
        optimizer: What is scheduled.
        arguments: Give type and warm-up.
        num_steps: Optimizer steps of the whole run.
    """
    warmup = arguments.num_warmup_steps
    if warmup is None:
        warmup = round(arguments.warmup_ratio * num_steps)
    return get_scheduler(
        arguments.lr_scheduler_type, optimizer, num_warmup_steps=min(warmup, num_steps), num_training_steps=num_steps
    )


def go_to_step(scheduler: LRScheduler, step: int) -> None:
    """Set the learning rates to those before this step: a function of the arguments and the step alone."""
    rates = [base * factor(step) for base, factor in zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)]
    for group, rate in zip(scheduler.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    position = {"last_epoch": step, "_step_count": step + 1, "_last_lr": rates, "lr_lambdas": [None] * len(rates)}
    scheduler.load_state_dict({**scheduler.state_dict(), **position})
