"""Checks of lab 1: windows over a path, forecasts without memory, and a state that is carried along."""

import torch

from .checking import Wrong, call, case, exercise, gradient_reaches, randn, same, tensor, unpack


@exercise
def windows(answer):
    """`windows(path, length, ahead)`: pieces of a path, and the place `ahead` steps after the end of each."""
    path = randn(12, 2)
    for length, ahead in ((4, 1), (3, 2)):
        inputs, targets = unpack(call(answer, path, length, ahead), ("inputs", "targets"))
        count = 12 - length - ahead + 1
        right = torch.stack([path[start : start + length] for start in range(count)])
        last = length - 1 + ahead
        same(
            inputs,
            right,
            {
                "each window is turned round: time is to run forwards in it.": right.flip(1),
                "the windows do not overlap: a new one is to start at every step.": right[::length],
                "the last window is missing: count how often the range lets it start.": right[:-1],
            },
            "`inputs`",
        )
        same(
            targets,
            path[last : last + count],
            {
                "the target is the last place of its window: the answer is given away.": path[last - ahead :][:count],
                "the target comes one step too late.": path[last + 1 :],
                "the target comes one step too early.": path[last - 1 :][:count],
                "the target is always the next place, whatever `ahead` is.": path[length : length + count],
            },
            "`targets`",
        )
    return "right: each window knows its past, and its target lies in the future."


@exercise
def straight_line(answer):
    """`straight_line(window, ahead)`: the line through the last two places, carried on."""
    window, ahead = randn(3, 5, 2), 4
    last, before = window[:, -1], window[:, -2]
    same(
        call(answer, window, ahead),
        last + ahead * (last - before),
        {
            "that is the last place: the speed is missing.": last,
            "the speed has the wrong sign: the ball flies back.": last - ahead * (last - before),
            "that is one step ahead only: `ahead` is missing.": last + last - before,
            "the step starts from the place before the last one.": before + ahead * (last - before),
            "that is the way it goes, not where it ends: the last place is missing.": ahead * (last - before),
            "the first two places of the window are taken, not the last two.": window[:, 1]
            + ahead * (window[:, 1] - window[:, 0]),
        },
    )


@exercise
def rmse(answer):
    """`rmse(predictions, targets)`: the root of the mean squared distance, in meters."""
    predictions, targets = randn(6, 2), randn(6, 2, seed=1)
    squared = ((predictions - targets) ** 2).sum(1)
    same(
        call(answer, predictions, targets),
        squared.mean().sqrt(),
        {
            "the root is missing: these are square meters.": squared.mean(),
            "that is the mean over coordinates: a ball's distance has both of them, summed.": (squared / 2)
            .mean()
            .sqrt(),
            "that is the mean distance: square first, then take the mean, then the root.": squared.sqrt().mean(),
            "that is the root of the sum: the mean over the balls is missing.": squared.sum().sqrt(),
            "that is one number per ball: take the mean over the balls.": squared.sqrt(),
        },
    )


@exercise
def least_squares(answer):
    """`least_squares(features, targets)`: the weights of the best linear map, the bias in their last row."""
    features, targets = randn(40, 3), randn(40, 2, seed=1) + 5
    ones = torch.cat([features, torch.ones(40, 1)], dim=1)
    right = torch.linalg.lstsq(ones, targets).solution
    first = torch.linalg.lstsq(ones.roll(1, dims=1), targets).solution
    without = torch.linalg.lstsq(features, targets).solution
    same(
        call(answer, features, targets),
        right,
        {
            "the bias is missing: the map goes through the origin.": without,
            "the bias is missing: its row is zero.": torch.cat([without, torch.zeros(1, 2)]),
            "the bias stands in the first row; it is asked for in the last.": first,
            "the weights are transposed: a row for each feature is asked for.": right.T,
        },
        "the matrix of weights",
    )
    with case("in double precision, in which the lab calls it"):
        weights = tensor(call(answer, features.double(), targets.double()), "the matrix of weights")
        if weights.dtype != torch.float64:
            raise Wrong(f"the matrix of weights is of type {weights.dtype}: the last digits are lost.")
        same(weights, right, {}, "the matrix of weights")
    return "right: no linear map comes closer to these targets."


@exercise
def last_state(answer):
    """`last_state(step, inputs, h)`: the state after the last time step."""
    inputs, start, W, U = randn(2, 5, 3), randn(2, 4, seed=1), randn(4, 3, seed=2), 0.5 * randn(4, 4, seed=3)

    def step(x, h):
        if tensor(x, "what is given to `step`").shape != (2, 3):
            raise ValueError(f"x is to be one time step of all rows, of shape (2, 3), and is {tuple(x.shape)}")
        return torch.tanh(x @ W.T + h @ U.T)

    def run(order, first=start, restart=False):
        h = first
        for t in order:
            h = step(inputs[:, t], first if restart else h)
        return h

    leaf = inputs.clone().requires_grad_()
    got = tensor(call(answer, step, leaf, start))
    same(
        got,
        run(range(5)),
        {
            "the sequence is read backwards.": run(reversed(range(5))),
            "each step starts from the first state: the new one is to be carried on.": run(range(5), restart=True),
            "the last time step is left out.": run(range(4)),
            "the first time step is left out.": run(range(1, 5)),
            "the state does not start from `h`.": run(range(5), torch.zeros_like(start)),
            "that is the state after every step; the last one is asked for.": torch.stack(
                [run(range(t + 1)) for t in range(5)], dim=1
            ),
        },
        "the state",
    )
    gradient_reaches(got, {"the inputs": leaf})
    if not torch.allclose(tensor(call(answer, step, inputs[:, :2], start)), run(range(2)), atol=1e-5):
        raise Wrong("the number of steps is fixed; it is to be that of the inputs.")
    return "right: one step, again and again, at any length."
