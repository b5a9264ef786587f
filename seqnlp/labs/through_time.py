"""Checks of lab 3: backpropagation through time by hand, the factors of its product, clipping."""

import torch

from .checking import Wrong, call, case, exercise, randn, same, tensor, unpack


def _small_net(steps=3):
    """Inputs `(T, D)`, states `(T + 1, H)` with the first one, a target and the weights of a net in float64."""
    xs, h, target = randn(steps, 2).double(), randn(4, seed=1).double() / 2, randn(4, seed=2).double()
    W, U, b = (randn(*shape, seed=seed).double() / 2 for shape, seed in (((4, 2), 3), ((4, 4), 4), ((4,), 5)))
    states = [h]
    for x in xs:
        states.append(torch.tanh(W @ x + U @ states[-1] + b))
    return xs, torch.stack(states), target, W, U, b


def _by_autograd(xs, states, target, W, U, b):
    leaves = [value.clone().requires_grad_() for value in (W, U, b)]
    h = states[0]
    for x in xs:
        h = torch.tanh(leaves[0] @ x + leaves[1] @ h + leaves[2])
    return torch.autograd.grad(((h - target) ** 2).sum() / 2, leaves)


def _backward(xs, states, target, U, steps=3, slope=True, transpose=True, before=True, turned=False):
    """The gradients, each mistake a flag."""
    delta = states[-1] - target
    dW, dU, db = torch.zeros(4, 2).double(), torch.zeros(4, 4).double(), torch.zeros(4).double()
    for t in reversed(range(3 - steps, 3)):
        if slope:
            delta = delta * (1 - states[t + 1] ** 2)
        dW = dW + torch.outer(delta, xs[t])
        product = torch.outer(delta, states[t if before else t + 1])
        dU = dU + (product.T if turned else product)
        db = db + delta
        delta = (U.T if transpose else U) @ delta
    return dW, dU, db


@exercise
def bptt(answer):
    """`bptt(xs, states, target, U)`: the gradients of `|h_T - target|^2 / 2` by W, U and b."""
    xs, states, target, W, U, b = _small_net()
    right = _by_autograd(xs, states, target, W, U, b)
    mistakes = {
        "the gradient stops after the last step: go back through all of them.": _backward(xs, states, target, U, 1),
        "the first step is left out.": _backward(xs, states, target, U, 2),
        "the slope of tanh is missing: each step back passes through it.": _backward(
            xs, states, target, U, slope=False
        ),
        "on the way back U is to be transposed.": _backward(xs, states, target, U, transpose=False),
        "the sign is wrong: a step against this gradient makes the loss larger.": [-g for g in right],
        "the gradient by U takes the state after the step; U was multiplied by the one before it.": _backward(
            xs, states, target, U, before=False
        ),
        "the gradient by U is transposed.": _backward(xs, states, target, U, turned=True),
        "there is a factor of 2 too much: the loss is half the square.": [2 * g for g in right],
    }
    got = unpack(call(answer, xs, states, target, U), ("dW", "dU", "db"))
    for index, name in enumerate(("dW", "dU", "db")):
        of_this = {sentence: value[index] for sentence, value in mistakes.items()}
        same(got[index], right[index], of_this, f"`{name}`", tolerance=1e-6)
    with case("over five steps, after three"):
        xs, states, target, W, U, b = _small_net(steps=5)
        got = unpack(call(answer, xs, states, target, U), ("dW", "dU", "db"))
        for name, part, right in zip(("dW", "dU", "db"), got, _by_autograd(xs, states, target, W, U, b), strict=True):
            same(part, right, what=f"`{name}`", tolerance=1e-6)
    return "right: autograd says the same to the sixth digit."


@exercise
def step_jacobian(answer):
    """`step_jacobian(h, U)`: the derivative of the new state `h = tanh(... + U h_before)` by the one before."""
    _, states, _, _, U, _ = _small_net()
    h = states[2]
    slope = 1 - h**2
    same(
        call(answer, h, U),
        slope[:, None] * U,
        {
            "the slope multiplies the columns of U; each row of U makes one number of the state.": U * slope,
            "the slope of tanh is missing.": U,
            "the result is transposed.": (slope[:, None] * U).T,
            "U is transposed.": slope[:, None] * U.T,
            "tanh was taken once more: h is the state after tanh already.": (1 - torch.tanh(h) ** 2)[:, None] * U,
            "the slope of tanh lacks a square.": (1 - h)[:, None] * U,
            "U is missing.": torch.diag(slope),
        },
        "the Jacobian",
        tolerance=1e-6,
    )


@exercise
def gradient_norms(answer):
    """`gradient_norms(jacobians, last)`: the norms of the gradient by h_T, h_(T-1), ... h_0."""
    jacobians, last = randn(5, 3, 3).double(), randn(3, seed=1).double()

    def norms(transpose=True, forwards=False):
        gradient, found = last, [last.norm()]
        for J in jacobians if forwards else jacobians.flip(0):
            gradient = (J.T if transpose else J) @ gradient
            found.append(gradient.norm())
        return torch.stack(found)

    got = call(answer, jacobians, last)
    if isinstance(got, (list, tuple)):
        got = torch.stack([tensor(norm, "each norm").double() for norm in got])
    right = norms()
    same(
        got,
        right,
        {
            "the first factor on the way back is that of the last step: go through the steps backwards.": norms(
                forwards=True
            ),
            "on the way back a Jacobian is to be transposed.": norms(transpose=False),
            "the norms stand in reverse order: that at the last state comes first.": right.flip(0),
            "the norm at the last state, before any factor, is missing.": right[1:],
            "the norm at the first state is missing.": right[:-1],
            "these are squares of norms.": right**2,
        },
        "the list of norms",
        tolerance=1e-6,
    )


@exercise
def clip(answer):
    """`clip(gradients, max_norm)`: the gradients, shortened together if they are too long."""
    gradients = [3 * randn(2, 3), 4 * randn(5, seed=1)]
    total = torch.sqrt(sum((g**2).sum() for g in gradients))

    def joined(parts):
        return torch.cat([part.flatten() for part in parts])

    def run(max_norm):
        copies = [g.clone() for g in gradients]
        got = unpack(call(answer, copies, max_norm), tuple(f"gradient {index + 1}" for index in range(2)))
        if any(tensor(part).shape != g.shape for part, g in zip(got, gradients, strict=True)):
            raise Wrong("a gradient has changed its shape.")
        return joined(got)

    same(
        run(1.5),
        joined([g * 1.5 / total for g in gradients]),
        {
            "nothing is clipped.": joined(gradients),
            "each gradient is clipped alone, which turns the direction: their norm together counts.": joined(
                [g * min(1.0, 1.5 / g.norm().item()) for g in gradients]
            ),
            "each number is clipped alone, which turns the direction: the norm counts.": joined(
                [g.clamp(-1.5, 1.5) for g in gradients]
            ),
            "they get length one, whatever `max_norm` is.": joined([g / total for g in gradients]),
            "they are divided by the square of their norm.": joined([g * 1.5 / total**2 for g in gradients]),
        },
        "the clipped gradient",
    )
    longer = 2 * total.item()
    same(
        run(longer),
        joined(gradients),
        {"gradients that are short enough are made longer; they are to stay.": joined([g * 2 for g in gradients])},
        "a gradient that is short enough",
    )
    zero = unpack(call(answer, [torch.zeros(2), torch.zeros(3)], 1.0), ("gradient 1", "gradient 2"))
    if any(not torch.equal(tensor(part), torch.zeros_like(part)) for part in zero):
        raise Wrong("gradients of zero do not stay zero: is something divided by their norm?")
    return "right: shorter where it must be, and never in another direction."
