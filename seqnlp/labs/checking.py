"""What says in one sentence what is wrong with an answer, and never what would be right.

A check calls the answer on small inputs and compares with what the equation gives. Where the answer is wrong, what
common mistakes would give is compared too, so that the sentence names the mistake.
"""

import difflib
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .errors import LabsError


CHECKS: dict[str, Callable[[Any], str | None]] = {}
"""Every check by its name."""

QUICK = "SEQNLP_LABS_QUICK"
"""The environment variable that makes the labs small: `1` for a run that only shows that everything works."""


class Wrong(Exception):
    """An answer is wrong; the message says why, in one sentence."""


@dataclass(frozen=True)
class Verdict:
    """
    What a check found; true where the answer is right.

    Attributes:
        name: The check.
        is_right: Whether the answer is right.
        sentence: What is wrong, or that nothing is.
    """

    name: str
    is_right: bool
    sentence: str

    def __bool__(self) -> bool:
        return self.is_right

    def __repr__(self) -> str:
        return f"{'✓' if self.is_right else '✗'} {self.name}: {self.sentence}"


@contextmanager
def case(name: str) -> Iterator[None]:
    """Say in front of what is wrong in which of several cases it is."""
    try:
        yield
    except Wrong as wrong:
        raise Wrong(f"{name}: {wrong}") from wrong


def exercise(function: Callable[[Any], str | None]) -> Callable[[Any], str | None]:
    """Enter a check under its function's name. It raises [`Wrong`], or returns what is worth saying of a right one."""
    CHECKS[function.__name__] = function
    return function


def check(name: str, answer: Any) -> Verdict:
    """
    Check an answer to an exercise of the labs.

    Args:
        name: The exercise, e.g. `"lstm_cell"`.
        answer: What you wrote: a function or a class.

    Returns:
        The verdict. A notebook shows it where it is the last line of a cell.

    Raises:
        LabsError: If there is no check of that name.
    """
    if name not in CHECKS:
        near = difflib.get_close_matches(name, CHECKS, n=1)
        raise LabsError(f"There is no check {name!r}; there is {repr(near[0]) if near else ', '.join(CHECKS)}.")
    random_state = torch.get_rng_state()
    try:
        if not callable(answer):
            raise Wrong(f"a function or class is asked for, and this is {_kind(answer)}.")
        praise = CHECKS[name](answer)
    except Wrong as wrong:
        return Verdict(name, False, " ".join(str(wrong).split()))
    except Exception as error:  # of an answer that returns what nobody thought of
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        return Verdict(name, False, f"the check can make nothing of what it returns ({said}).")
    finally:
        torch.set_rng_state(random_state)
    return Verdict(name, True, praise or "right.")


def size(full: Any, quick: Any) -> Any:
    """The size of a lab's experiment: `full`, or `quick` where the environment variable `SEQNLP_LABS_QUICK` is 1."""
    return quick if os.environ.get(QUICK, "0") not in ("", "0") else full


def call(answer: Callable, *args: Any) -> Any:
    """
    Call an answer.

    Raises:
        Wrong: If it is not written yet, raises, returns nothing, or changes an argument in place.
    """
    before = [_copied(arg) for arg in args]
    try:
        result = answer(*args)
    except NotImplementedError:
        raise Wrong("it is not written yet: it comes to the line `raise NotImplementedError`.") from None
    except Exception as error:
        said = " ".join(str(error).split())[:160]
        raise Wrong(f"it raises {type(error).__name__}: {said}") from error
    if result is None:
        raise Wrong("it returns nothing: does it end with `return`?")
    for position, (arg, old) in enumerate(zip(args, before, strict=True)):
        if not _unchanged(arg, old):
            raise Wrong(f"it changes its argument{_name_of(answer, position)} in place; the caller still needs it.")
    return result


def _copied(arg: Any) -> Any:
    if isinstance(arg, torch.Tensor):
        return arg.detach().clone()
    return [_copied(part) for part in arg] if isinstance(arg, list) else arg


def _unchanged(arg: Any, old: Any) -> bool:
    if isinstance(arg, torch.Tensor):
        return torch.equal(arg.detach(), old)
    if isinstance(arg, list):
        return len(arg) == len(old) and all(_unchanged(*parts) for parts in zip(arg, old, strict=True))
    return arg == old


def _name_of(answer: Callable, position: int) -> str:
    try:
        return f" `{list(inspect.signature(answer).parameters)[position]}`"
    except (ValueError, TypeError, IndexError):
        return ""


def _kind(value: Any) -> str:
    return f"of type {type(value).__name__}"


def unpack(result: Any, names: tuple[str, ...]) -> tuple:
    """The parts of an answer that returns several; [`Wrong`] if they are not as many as `names`."""
    wanted = f"({', '.join(names)})"
    if not isinstance(result, (tuple, list)):
        raise Wrong(f"it is to return {wanted}, and returns one value {_kind(result)}.")
    if len(result) != len(names):
        raise Wrong(f"it is to return {wanted}, and returns {len(result)} values.")
    return tuple(result)


def tensor(value: Any, what: str = "the result") -> torch.Tensor:
    """A result as a tensor; [`Wrong`] if it is none and no number either."""
    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, (int, float, np.ndarray, np.generic)):
        return torch.as_tensor(value)
    raise Wrong(f"{what} is to be a tensor, and is {_kind(value)}.")


def same(
    got: Any,
    right: torch.Tensor,
    mistakes: dict[str, torch.Tensor | None] | None = None,
    what: str = "the result",
    tolerance: float = 1e-4,
) -> None:
    """
    Compare a result with the right one.

    Args:
        got: What the answer returned.
        right: What it is to be.
        mistakes: A sentence for each common mistake, and what that mistake gives; `None` where it gives nothing.
        what: Its name in the sentences.
        tolerance: How far numbers may differ, relative and absolute.

    Raises:
        Wrong: If it is not the right one.
    """
    got = tensor(got, what)
    if _close(got, right, tolerance):
        return
    for sentence, value in (mistakes or {}).items():
        if value is not None and _close(got, value, tolerance):
            raise Wrong(sentence)
    if got.shape != right.shape:
        raise Wrong(f"{what} has the shape {_shape(got)}; {_shape(right)} is asked for.")
    if not torch.equal(torch.isfinite(got), torch.isfinite(right)):
        others = "" if torch.isfinite(right).all() else " in other places than it is to have"
        raise Wrong(f"{what} has numbers that are infinite or not a number{others}.")
    difference = (got.detach().double() - right.detach().double()).abs().nan_to_num(posinf=0).max().item()
    raise Wrong(f"{what} has the right shape, but not the right numbers: they differ by up to {difference:.2g}.")


def equal(got: Any, right: Any, mistakes: dict[str, Any], otherwise: str) -> None:
    """
    Compare a text or a list with the right one, as [`same`] compares tensors.

    Raises:
        Wrong: If it is not the right one, with the sentence of the mistake that gives it, or else with `otherwise`.
    """
    if got != right:
        raise Wrong(next((sentence for sentence, value in mistakes.items() if got == value), otherwise))


def _shape(value: torch.Tensor) -> str:
    return str(tuple(value.shape)) if value.dim() else "() (one number)"


def _close(got: torch.Tensor, right: torch.Tensor, tolerance: float) -> bool:
    if got.shape != right.shape:
        return False
    got, right = (value.detach().cpu().to(torch.float64) for value in (got, right))
    return torch.allclose(got, right, rtol=tolerance, atol=tolerance)


def gradient_reaches(result: torch.Tensor, leaves: dict[str, torch.Tensor]) -> None:
    """[`Wrong`] if no gradient goes from a result back to one of the named leaves."""
    advice = "is it cut by `detach`, `item`, `no_grad` or a new tensor made of numbers?"
    if not result.requires_grad:
        raise Wrong(f"the numbers are right, but no gradient passes: {advice}")
    found = torch.autograd.grad(result.sum(), list(leaves.values()), allow_unused=True)
    for name, gradient in zip(leaves, found, strict=True):
        if gradient is None or not gradient.abs().sum() > 0:
            raise Wrong(f"the numbers are right, but no gradient reaches {name}: {advice}")


def with_gradients(**tensors: torch.Tensor) -> dict[str, torch.Tensor]:
    """Copies of named tensors, for which gradients are computed."""
    return {name: value.clone().requires_grad_() for name, value in tensors.items()}


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal random numbers of a shape, the same in each call."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
