"""Checks of lab 2: Elman's step, the unrolled net, the next character and its loss, temperature."""

import torch
from torch.nn import functional

from .checking import Wrong, call, case, exercise, gradient_reaches, randn, same, tensor, unpack, with_gradients


@exercise
def elman_step(answer):
    """`elman_step(x, h, W, U, b)`: one step of Elman's net (1990)."""
    x, h, b = randn(2, 4), randn(2, 4, seed=1), randn(4, seed=4)
    W, U = randn(4, 4, seed=2) / 2, randn(4, 4, seed=3) / 2  # square, so that a missing transpose is no error of shape
    leaves = with_gradients(W=W, U=U, b=b)
    got = tensor(call(answer, x, h, *leaves.values()))
    total = x @ W.T + h @ U.T + b
    same(
        got,
        torch.tanh(total),
        {
            "the bias b is missing.": torch.tanh(total - b),
            "the activation is missing: without it the net is linear.": total,
            "the activation is a sigmoid; Elman's state lies between -1 and 1.": torch.sigmoid(total),
            "the state before is not used: there is no memory.": torch.tanh(x @ W.T + b),
            "the input is not used.": torch.tanh(h @ U.T + b),
            "W and U are swapped.": torch.tanh(x @ U.T + h @ W.T + b),
            "both matrices are turned: each of their rows makes one number of the new state.": torch.tanh(
                x @ W + h @ U + b
            ),
            "W is turned: each of its rows makes one number of the new state.": torch.tanh(x @ W + h @ U.T + b),
            "U is turned: each of its rows makes one number of the new state.": torch.tanh(x @ W.T + h @ U + b),
        },
        "the new state",
    )
    gradient_reaches(got, leaves)
    if tensor(call(answer, randn(2, 3), h, randn(4, 3), U, b)).shape != (2, 4):
        raise Wrong("it works only where inputs are as wide as states.")


@exercise
def unroll(answer):
    """`unroll(step, inputs, h)`: the states after every step, `(B, T, H)`, and the last one."""
    inputs, start, W, U = randn(2, 5, 3), randn(2, 4, seed=1), randn(4, 3, seed=2), 0.5 * randn(4, 4, seed=3)

    def step(x, h):
        return torch.tanh(x @ W.T + h @ U.T)

    h, states = start, []
    for t in range(5):
        h = step(inputs[:, t], h)
        states.append(h)
    right = torch.stack(states, dim=1)
    leaf = start.clone().requires_grad_()
    got, last = unpack(call(answer, step, inputs, leaf), ("states", "the last state"))
    got = tensor(got, "`states`")
    forgetful = torch.stack([step(inputs[:, t], start) for t in range(5)], dim=1)
    same(
        got,
        right,
        {
            "time stands first and the batch second: (batch, time, width) is asked for.": right.transpose(0, 1),
            "the states before each step are kept, not those after it.": torch.cat([start[:, None], right[:, :-1]], 1),
            "the first state is kept too: there is to be one state per input.": torch.cat([start[:, None], right], 1),
            "each step starts from the first state: the new one is to be carried on.": forgetful,
            "the states stand in reverse order.": right.flip(1),
        },
        "`states`",
    )
    same(last, h, {"the last state is not carried on: the first one is returned.": start}, "the last state")
    gradient_reaches(got[:, -1], {"the first state": leaf})


@exercise
def next_characters(answer):
    """`next_characters(ids, length)`: rows of a text, and for each character the one that follows."""
    ids = torch.randint(0, 50, (23,), generator=torch.Generator().manual_seed(3))
    length, rows = 5, 4
    inputs, targets = unpack(call(answer, ids, length), ("inputs", "targets"))
    right = ids[: rows * length].view(rows, length)
    within = torch.cat([right[:, 1:], right[:, :1]], dim=1)
    same(
        inputs,
        right,
        {
            "the text runs down the columns; it is to run along the rows.": ids[: rows * length].view(length, rows).T,
            "the rows overlap: each character is to be read once.": ids[:-1].unfold(0, length, 1),
            "the last full row is missing.": right[:-1],
        },
        "`inputs`",
    )
    same(
        targets,
        ids[1 : rows * length + 1].view(rows, length),
        {
            "the targets are the inputs themselves: the net would only have to copy.": right,
            "the last target of a row is its own first character; it is the first of the next row.": within,
            "the targets are two characters ahead.": ids[2 : rows * length + 2].view(rows, length),
            "the targets are the characters before.": ids.roll(1)[: rows * length].view(rows, length),
        },
        "`targets`",
    )
    missing = "where a text ends with a full row, the last target is missing."
    try:
        inputs, targets = unpack(call(answer, ids[: rows * length], length), ("inputs", "targets"))
    except Wrong as wrong:
        raise Wrong(missing) from wrong
    same(inputs, right[:-1], {missing: right}, "`inputs` of a text that ends with a full row,")


@exercise
def cross_entropy(answer):
    """`cross_entropy(logits, targets)`: the mean surprise, in nats."""
    logits, targets = randn(6, 5) * 2, torch.tensor([0, 4, 2, 2, 1, 3])
    logs = functional.log_softmax(logits, dim=-1)
    surprise = -logs.gather(1, targets[:, None]).squeeze(1)
    leaf = logits.clone().requires_grad_()
    got = tensor(call(answer, leaf, targets))
    same(
        got,
        surprise.mean(),
        {
            "the sign is wrong: a likely target is to cost little.": -surprise.mean(),
            "that is the sum over the targets: the mean is asked for.": surprise.sum(),
            "that is in bits: the natural logarithm is asked for.": surprise.mean() / torch.tensor(2.0).log(),
            "that is the negative mean probability: the logarithm is missing.": -surprise.neg().exp().mean(),
            "that is the mean probability: the logarithm is missing.": surprise.neg().exp().mean(),
            "the logits are no probabilities yet: the softmax is missing.": -logits.gather(1, targets[:, None]).mean(),
            "there is a softmax too many: it is taken of probabilities once more.": functional.cross_entropy(
                logits.softmax(-1), targets
            ),
            "the softmax runs over the rows, not over the characters.": -functional.log_softmax(logits, dim=0)
            .gather(1, targets[:, None])
            .mean(),
            "every character counts, not only the target.": -logs.mean(),
            "that is one number per target: the mean is asked for.": surprise,
        },
        "the loss",
    )
    gradient_reaches(got, {"the logits": leaf})
    with case("at logits of some hundreds, where `exp` overflows and small probabilities are rounded to zero"):
        same(call(answer, 200 * logits, targets), functional.cross_entropy(200 * logits, targets), what="the loss")


@exercise
def probabilities(answer):
    """`probabilities(logits, temperature)`: what to draw the next character from."""
    logits = randn(3, 6)
    for temperature in (0.5, 2.0):
        right = (logits / temperature).softmax(-1)
        same(
            call(answer, logits, temperature),
            right,
            {
                "the temperature is not used.": logits.softmax(-1),
                "hot and cold are swapped: a high temperature is to make the choice freer.": (
                    logits * temperature
                ).softmax(-1),
                "the probabilities are divided by the temperature; the logits are to be.": logits.softmax(-1)
                / temperature,
                "the numbers do not sum to one: divide by their sum.": (logits / temperature).exp(),
                "these are logarithms: probabilities are asked for.": right.log(),
                "the softmax runs over the rows, not over the characters.": (logits / temperature).softmax(0),
            },
            "the table of probabilities",
        )
    with case("at a low temperature, where `exp` overflows"):
        same(call(answer, 500 * logits, 0.5), (1000 * logits).softmax(-1), what="the table of probabilities")
