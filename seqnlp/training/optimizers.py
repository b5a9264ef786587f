"""
The optimizers that a model can be trained by, each with all that is known of it: `--optimizer NAME`.

Each is torch's own, or its authors'. `--learning_rate` is what the optimizer's paper calls it, and means something
else in each.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ..extras import install
from .errors import ArgumentsError
from .flags import fields_of
from .parameters import hidden_matrices
from .precision import emulates_bf16


if TYPE_CHECKING:
    from .arguments import TrainingArguments

Groups = list[dict[str, Any]]

Schedule = Literal["linear", "cosine", "inverse_sqrt", "constant", "constant_with_warmup", "polynomial"]
"""How the learning rate may go on after the warm-up: names of transformers."""
WITHOUT_WARMUP: tuple[Schedule, ...] = ("constant",)


class OptimizerKind:
    """
    What is known of an optimizer.

    Attributes:
        title: What it is called.
        source: Who proposed it.
        rate: What `--learning_rate` is.
        reads: The flags of `TrainingArguments` that it alone, or not every one, reads.
        momentum: Its momentum where `--momentum` says nothing; None if it has none.
        schedules: The names of `--lr_scheduler_type` that it may have.
        averages: Whether it keeps an average of the weights, which is validated and saved.
        progress: Entries of its groups of parameters that say how far it is, and are no settings.
        shardings: Accelerate's names of what may divide the weights among processes while it makes its steps.
    """

    title: ClassVar[str]
    source: ClassVar[str]
    rate: ClassVar[str]
    reads: ClassVar[tuple[str, ...]] = ()
    momentum: ClassVar[float | None] = None
    schedules: ClassVar[tuple[str, ...]] = get_args(Schedule)
    averages: ClassVar[bool] = False
    progress: ClassVar[tuple[str, ...]] = ()
    shardings: ClassVar[tuple[str, ...]] = ("FSDP", "DEEPSPEED")

    @classmethod
    def check(cls, arguments: TrainingArguments) -> None:
        """
        Whether it can be what these arguments ask for.

        Raises:
            ArgumentsError: If it cannot.
        """
        name = arguments.optimizer
        if arguments.momentum is not None and "momentum" not in cls.reads:
            raise ArgumentsError(f"--momentum {arguments.momentum} does nothing with --optimizer {name}.")
        if arguments.lr_scheduler_type not in cls.schedules:
            raise ArgumentsError(
                f"--lr_scheduler_type {arguments.lr_scheduler_type}: with --optimizer {name} it can be "
                f"{', '.join(cls.schedules)}."
            )
        if cls.averages and arguments.ema_decay is not None:
            raise ArgumentsError(
                f"--optimizer {name} and --ema_decay {arguments.ema_decay} both average the weights; leave out one."
            )

    @classmethod
    def create(cls, groups: Groups, arguments: TrainingArguments, model: nn.Module) -> torch.optim.Optimizer:
        """
        The optimizer over parameter groups, each with its `lr` and `weight_decay`.

        Raises:
            ArgumentsError: If the model has nothing that it is for.
        """
        raise NotImplementedError

    @classmethod
    def momentum_of(cls, arguments: TrainingArguments) -> float:
        """That of `--momentum`, or its own."""
        return cls.momentum if arguments.momentum is None else arguments.momentum


def adam_settings(arguments: TrainingArguments) -> dict[str, Any]:
    """What every AdamW is told."""
    return {
        "lr": arguments.learning_rate,
        "betas": (arguments.adam_beta1, arguments.adam_beta2),
        "eps": arguments.adam_epsilon,
    }


class AdamW(OptimizerKind):
    """A mean gradient divided by the root of the mean squared one, with decoupled weight decay."""

    title = "AdamW"
    source = "Loshchilov & Hutter 2019, arXiv 1711.05101"
    rate = "about how far each weight moves in a step"
    reads = ("adam_beta1", "adam_beta2", "adam_epsilon")

    @classmethod
    def create(cls, groups, arguments, model):
        """See [`OptimizerKind.create`]."""
        return torch.optim.AdamW(groups, **adam_settings(arguments), fused=True)


class SGD(OptimizerKind):
    """Stochastic gradient descent with momentum; weight decay is added to the gradient, as an L2 penalty is."""

    title = "SGD with momentum"
    source = "Polyak 1964; Sutskever et al. 2013, ICML"
    rate = "what gradients are multiplied by, often 0.1 and more"
    reads = ("momentum",)
    momentum = 0.9

    @classmethod
    def create(cls, groups, arguments, model):
        """See [`OptimizerKind.create`]."""
        return torch.optim.SGD(groups, lr=arguments.learning_rate, momentum=cls.momentum_of(arguments))


class Adafactor(OptimizerKind):
    """Squared gradients by the means of their rows and columns alone, and steps relative to the weights' size."""

    title = "Adafactor"
    source = "Shazeer & Stern 2018, arXiv 1804.04235"
    rate = "the step as a share of the weights' root mean square, often 0.01"
    shardings = ()  # torch's reads the norm of a whole weight

    @classmethod
    def create(cls, groups, arguments, model):
        """See [`OptimizerKind.create`]."""
        return torch.optim.Adafactor(groups, lr=arguments.learning_rate)


class Muon(OptimizerKind):
    """Orthogonalized momentum for the matrices between embeddings and head, AdamW for all other weights."""

    title = "Muon, and AdamW for embeddings, heads and vectors"
    source = "Jordan et al. 2024, kellerjordan.github.io/posts/muon; Liu et al. 2025, arXiv 2502.16982"
    rate = "that of AdamW, whose root mean square a matrix's step has"
    reads = (*AdamW.reads, "momentum")
    momentum = 0.95
    shardings = ("FSDP",)  # DeepSpeed lays the matrices out in one row

    @classmethod
    def create(cls, groups, arguments, model):
        """See [`OptimizerKind.create`]."""
        hidden = {id(parameter) for parameter in hidden_matrices(model)}
        divided = []
        for group in groups:
            for is_hidden in (True, False):
                params = [p for p in group["params"] if (id(p) in hidden) is is_hidden]
                divided.append({**group, "params": params, "is_hidden": is_hidden})
        divided = [group for group in divided if group["params"]]
        if not any(group["is_hidden"] for group in divided):
            raise ArgumentsError(
                f"--optimizer muon: no matrix of a layer is trained in a {type(model).__name__}; take adamw."
            )
        return MuonWithAdamW(divided, cls.momentum_of(arguments), adam_settings(arguments))


class MuonWithAdamW(torch.optim.Optimizer):
    """
    Torch's Muon for some groups of parameters and its AdamW for the others, as one optimizer: one list of groups for a
    schedule, one state for a checkpoint.

    A matrix's step is scaled to the root mean square that AdamW's steps have (Liu et al. 2025, arXiv 2502.16982,
    section 2.2, equation 4: `0.2 sqrt(max(rows, columns))`), so that both take one learning rate and one weight decay.
    A matrix in which several lie, as those of all gates of a cell do, is orthogonalized as it is stored, in one. Torch
    does so in bfloat16; where the hardware only emulates that, it is done in float32, many times as fast.

    Args:
        groups: Of parameters, each with `is_hidden`, whether it is Muon's; one is, at least.
        momentum: Muon's.
        adam: Arguments of AdamW.
    """

    def __init__(self, groups: Groups, momentum: float, adam: dict[str, Any]):
        hidden, others = ([group for group in groups if group["is_hidden"] is wanted] for wanted in (True, False))
        # Each completes its groups, which are the ones of `groups`.
        muon = torch.optim.Muon(hidden, lr=adam["lr"], momentum=momentum, adjust_lr_fn="match_rms_adamw")
        self._parts: list[tuple[bool, torch.optim.Optimizer]] = [(True, muon)]
        if others:
            self._parts.append((False, torch.optim.AdamW(others, **adam, fused=True)))
        super().__init__(groups, {"lr": adam["lr"]})  # which a polynomial schedule asks for

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of both."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for is_hidden, part in self._parts:
            # Those of now: a checkpoint, or what shards the model, has put others in their place.
            part.param_groups = [group for group in self.param_groups if group["is_hidden"] is is_hidden]
            part.state = self.state
            on_cpu = part.param_groups[0]["params"][0].device.type == "cpu"
            with _InFloat32() if is_hidden and emulates_bf16(on_cpu) else nullcontext():
                part.step()
        return loss


class _InFloat32(TorchFunctionMode):
    """
    Takes float32 for what is turned into bfloat16.

    `torch.optim.Muon` has no argument for the format of its iterations, and turns its matrices into bfloat16 by
    `bfloat16` up to torch 2.14, by `to` from 2.15 on.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        is_narrowed = func is torch.Tensor.bfloat16 or (
            func is torch.Tensor.to and any(value is torch.bfloat16 for value in (*args, *kwargs.values()))
        )
        # A copy, as the narrowed one is: it is divided in place.
        return args[0].to(torch.float32, copy=True) if is_narrowed else func(*args, **kwargs)


class ScheduleFree(OptimizerKind):
    """
    AdamW whose gradients are taken between its fast weights `z` and their mean `x`, which is what is validated and
    saved, so that the rate need not fall and the run may end at any step:

        y_t = (1 - beta1) z_t + beta1 x_t;  z_{t+1} = z_t - rate g(y_t);  x_{t+1} = (1 - c) x_t + c z_{t+1}

    with `c = 1 / (t + 1)` after the warm-up. Meta's package makes the steps.
    """

    title = "schedule-free AdamW"
    source = "Defazio et al. 2024, arXiv 2405.15682"
    rate = "that of AdamW, which stays after the warm-up, up to ten times as high"
    reads = AdamW.reads
    schedules = ("constant_with_warmup", "constant")
    averages = True
    progress = ("k", "weight_sum", "lr_max", "scheduled_lr", "train_mode")
    shardings = ()  # not tried with divided weights

    @classmethod
    def create(cls, groups, arguments, model):
        """See [`OptimizerKind.create`]."""
        try:
            from schedulefree import AdamWScheduleFree
        except ImportError:
            raise ArgumentsError(f"--optimizer {arguments.optimizer} needs {install('schedulefree')}") from None
        optimizer = AdamWScheduleFree(groups, **adam_settings(arguments))
        optimizer.train()
        return optimizer


OPTIMIZERS: dict[str, type[OptimizerKind]] = {
    "adamw": AdamW,
    "sgd": SGD,
    "adafactor": Adafactor,
    "muon": Muon,
    "schedule_free": ScheduleFree,
}
"""Every optimizer, by the name that `--optimizer` takes."""


def momenta() -> str:
    """The optimizers that have a momentum, each with its own."""
    return ", ".join(f"{kind.momentum:g} for {name}" for name, kind in OPTIMIZERS.items() if kind.momentum is not None)


def rates() -> str:
    """What the learning rate is, by optimizer."""
    return "; ".join(f"{name}: {kind.rate}" for name, kind in OPTIMIZERS.items())


def described(arguments: TrainingArguments) -> str:
    """
    An optimizer in one line: its name, what the learning rate is, and flags that were set and neither it nor the
    schedule reads.
    """
    kind, fields = OPTIMIZERS[arguments.optimizer], fields_of(type(arguments))
    line = f"{kind.title}; learning rate {arguments.learning_rate:g}, {kind.rate}"
    unread = dict.fromkeys(name for other in OPTIMIZERS.values() for name in other.reads if name not in kind.reads)
    if arguments.lr_scheduler_type in WITHOUT_WARMUP:
        unread |= dict.fromkeys(("warmup_ratio", "num_warmup_steps"))
    changed = [f"--{name}" for name in unread if vars(arguments)[name] != fields[name].default]
    return f"{line}; {', '.join(changed)} not read" if changed else line
