"""How far back can a model remember? Tasks whose answer lies a known number of steps in the past.

A model here is any module that maps inputs, `(batch_size, length)` token ids or `(batch_size, length, 2)` numbers, to
`(batch_size, length, num_outputs)`; a factory makes one for a task.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


class DependencyError(ValueError):
    """A task, distance or model that cannot be measured; the message says which and what would do."""


@dataclass(frozen=True)
class Batch:
    """
    Examples of a task.

    Attributes:
        inputs: `(B, T)` token ids, or `(B, T, 2)` numbers.
        targets: `(B, T)` class ids or numbers.
        asked: `(B, T)` bool, where an answer is asked for.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    asked: torch.Tensor


@dataclass(frozen=True)
class DependencyTask:
    """
    A task of any distance.

    Attributes:
        name: Its name.
        vocab_size: Number of tokens; 0 where the inputs are numbers.
        num_outputs: Number of classes; 1 where the answer is a number.
        chance: Accuracy of the best answer that does not look at the inputs.
        make: Makes examples: their number, the distance and a random generator are given, on whose device they lie.
        published: What is known from the literature, with its source.
        longest: Of a distance, the steps of its longest example: more where lengths are drawn.
    """

    name: str
    vocab_size: int
    num_outputs: int
    chance: float
    make: Callable[[int, int, torch.Generator], Batch]
    published: str
    longest: Callable[[int], int] = int


COPIED = 5
SYMBOLS = 8
MARGIN = 0.04


def make_copy(num_examples: int, distance: int, generator: torch.Generator) -> Batch:
    """
    Five symbols, `distance` blanks, and then the symbols again (Arjovsky et al. 2016, arXiv 1511.06464, with ten).

    Tokens: 0 is the blank, 1 asks for the next symbol, 2 and up are the symbols; class 0 is the first symbol.
    """
    symbols = torch.randint(SYMBOLS, (num_examples, COPIED), generator=generator, device=generator.device)
    blanks = symbols.new_zeros(num_examples, distance)
    inputs = torch.cat([symbols + 2, blanks, torch.ones_like(symbols)], dim=1)
    targets = torch.cat([torch.zeros_like(symbols), blanks, symbols], dim=1)
    asked = torch.zeros_like(inputs, dtype=torch.bool)
    asked[:, -COPIED:] = True
    return Batch(inputs, targets, asked)


def longest_adding(distance: int) -> int:
    """The most numbers in an example of [`make_adding`]."""
    return distance + distance // 10


def make_adding(num_examples: int, distance: int, generator: torch.Generator) -> Batch:
    """
    The sum of two marked numbers among `distance` to `1.1 * distance` of them (Hochreiter & Schmidhuber 1997, section
    5.4): numbers in [-1, 1]; one of the first ten is marked by 1, and another one of the first half; the first and the
    last have the mark -1, and the first counts 0 if it is marked. The target at the end is 0.5 + (a + b) / 4.

    The examples of a batch share their length.
    """
    on = {"generator": generator, "device": generator.device}
    length = int(torch.randint(distance, longest_adding(distance) + 1, (1,), **on))
    numbers = torch.rand(num_examples, length, **on) * 2 - 1
    marks = torch.zeros_like(numbers)
    marks[:, 0] = marks[:, -1] = -1.0
    rows = torch.arange(num_examples, device=generator.device)
    first = torch.randint(min(10, length // 2 - 1), (num_examples,), **on)
    second = torch.randint(length // 2 - 2, (num_examples,), **on)
    second = second + (second >= first).long()  # one of the others
    numbers[first == 0, 0] = 0.0
    numbers[second == 0, 0] = 0.0
    marks[rows, first] = marks[rows, second] = 1.0
    targets = torch.zeros_like(numbers)
    targets[:, -1] = 0.5 + (numbers[rows, first] + numbers[rows, second]) / 4
    asked = torch.zeros_like(numbers, dtype=torch.bool)
    asked[:, -1] = True
    return Batch(torch.stack([numbers, marks], dim=-1), targets, asked)


KEYS, VALUES = 32, 32


def make_recall(num_examples: int, distance: int, generator: torch.Generator) -> Batch:
    """
    Multi-query associative recall (Arora et al. 2023, arXiv 2312.04927, section 4): pairs of key and value, and then,
    anywhere in the rest of `distance` tokens, each key once more, where its value is asked for.

    As in the paper's first settings there is a pair for every 16 tokens, two at least. Departures: 32 keys and 32
    values instead of thousands, and thus no more than 32 pairs, which 512 tokens have; queries in equally likely
    places, and a blank between them. Tokens: 0 is the blank, 1 to 32 the keys, 33 to 64 the values; class 0 is the
    first value.
    """
    on = {"generator": generator, "device": generator.device}
    pairs = min(KEYS, max(2, distance // 16))  # each key comes once
    keys = torch.rand(num_examples, KEYS, **on).argsort(dim=1)[:, :pairs]
    values = torch.randint(VALUES, (num_examples, pairs), **on)
    places = torch.rand(num_examples, distance - 2 * pairs, **on).argsort(dim=1)[:, :pairs]
    return _recall(keys, values, places, distance, KEYS)


MQAR_VOCABULARY = 8192  # a blank, 4,095 keys, 4,096 values
MQAR_POWER = 0.01


def make_mqar(num_examples: int, distance: int, generator: torch.Generator) -> Batch:
    """
    Multi-query associative recall with the sizes of its paper (Arora et al. 2023, arXiv 2312.04927, section 4 and
    figure 2): a vocabulary of 8,192, half of them values, and `distance / 16` different keys, each with a value of its
    own, in `distance` tokens. Each key comes once more behind them, an even number of tokens after the last pair: the
    `k`-th of these places with a probability in proportion to `k^(0.01 - 1)`, none twice; the other places are blank.

    Tokens: 0 is the blank, 1 to 4,095 the keys, 4,096 to 8,191 the values; class 0 is the first value. There are two
    pairs at least.
    """
    on = {"generator": generator, "device": generator.device}
    pairs = max(2, distance // 16)
    half = MQAR_VOCABULARY // 2
    keys = torch.rand(num_examples, half - 1, **on).topk(pairs, dim=1).indices
    values = torch.rand(num_examples, half, **on).topk(pairs, dim=1).indices
    places = torch.arange(1, (distance - 2 * pairs) // 2 + 1, device=generator.device)
    odds = (places.float() ** (MQAR_POWER - 1)).expand(num_examples, -1)
    gaps = torch.multinomial(odds, pairs, generator=generator)
    return _recall(keys, values, 2 * gaps, distance, half - 1)


def _recall(keys, values, places, distance: int, num_keys: int) -> Batch:
    """Keys and values `(B, pairs)`, both from 0, and then each key at its place in the rest of `distance` tokens."""
    told = torch.stack([keys + 1, values + 1 + num_keys], dim=-1).flatten(1)  # (B, 2 * pairs)
    rest = keys.new_zeros(len(keys), distance - told.shape[1])
    asked_inputs = rest.scatter(1, places, keys + 1)
    inputs = torch.cat([told, asked_inputs], dim=1)
    targets = torch.cat([torch.zeros_like(told), rest.scatter(1, places, values)], dim=1)
    asked = torch.cat([torch.zeros_like(told, dtype=torch.bool), asked_inputs > 0], dim=1)
    return Batch(inputs, targets, asked)


def make_parity(num_examples: int, distance: int, generator: torch.Generator) -> Batch:
    """
    Whether the number of ones among the bits so far is odd (Delétang et al. 2023, arXiv 2207.02098). Every bit
    matters, however long ago. The answer is asked for at each of `distance` bits.
    """
    bits = torch.randint(2, (num_examples, distance), generator=generator, device=generator.device)
    return Batch(bits, bits.cumsum(dim=1) % 2, torch.ones_like(bits, dtype=torch.bool))


DEPENDENCY_TASKS = {
    task.name: task
    for task in (
        DependencyTask(
            "copy",
            SYMBOLS + 2,
            SYMBOLS,
            1 / SYMBOLS,
            make_copy,
            "Arjovsky et al. 2016 (arXiv 1511.06464): with ten symbols over T blanks the best answer without memory, "
            "blanks and then a guess, costs 10 ln 8 / (T + 20) nats per step; it is right for one symbol in eight.",
        ),
        DependencyTask(
            "adding",
            0,
            1,
            1 - (1 - 2 * MARGIN) ** 2,  # always 0.5: the sum of two uniform numbers is triangular
            make_adding,
            "Hochreiter & Schmidhuber 1996 (NIPS 9), experiment 1: an LSTM learns it, and no other recurrent net "
            "that they knew of did in reasonable time; right is an error below 0.04, as here.",
            longest_adding,
        ),
        DependencyTask(
            "recall",
            1 + KEYS + VALUES,
            VALUES,
            1 / VALUES,
            make_recall,
            "Arora et al. 2023 (arXiv 2312.04927), abstract: at recalling what stands earlier in a text, attention "
            "with 70 M parameters beats a gated convolution with 1.4 B.",
        ),
        DependencyTask(
            "mqar",
            MQAR_VOCABULARY,
            MQAR_VOCABULARY // 2,
            2 / MQAR_VOCABULARY,
            make_mqar,
            "Arora et al. 2023 (arXiv 2312.04927), figure 2: the longer the text, the wider gated convolutions have "
            "to be to solve it; attention does not.",
        ),
        DependencyTask(
            "parity",
            2,
            2,
            0.5,
            make_parity,
            "Delétang et al. 2023 (arXiv 2207.02098), abstract: LSTMs solve regular languages, of which parity is "
            "one, at lengths they were not trained on.",
        ),
    )
}


def check_distances(task: DependencyTask, distances: Sequence[int], unseen_distances: Sequence[int] = ()) -> None:
    """
    Refuse distances that leave a task no room, and unseen ones that training sees.

    Raises:
        DependencyError: If there is none, one is below 8, or an unseen one has examples as long as training's.
    """
    together = [*distances, *unseen_distances]
    if not distances or min(together) < 8:
        raise DependencyError(f"Distances {together} of the task {task.name}: give some, each at least 8.")
    for unseen in unseen_distances:
        for seen in distances:
            if unseen <= task.longest(seen) and seen <= task.longest(unseen):
                raise DependencyError(
                    f"Unseen distance {unseen} of the task {task.name}: training at distance {seen} sees it, with "
                    f"examples of up to {task.longest(seen)} steps. Give another one, or leave it out."
                )


def is_right(outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
    """
    Which answers are right, one entry for each that is asked for: the likeliest class is the target, or the number is
    within 0.04 of it (Hochreiter & Schmidhuber 1997, section 5.4). Of a net that has diverged, whose outputs are no
    numbers, none is.
    """
    outputs, targets = outputs[batch.asked], batch.targets[batch.asked]
    if outputs.shape[-1] == 1:
        return (outputs.squeeze(-1) - targets).abs() < MARGIN
    return (outputs.argmax(dim=-1) == targets) & outputs.isfinite().all(dim=-1)


def task_loss(outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Cross-entropy of the classes asked for, or the mean squared error of the numbers."""
    outputs, targets = outputs[batch.asked], batch.targets[batch.asked]
    if outputs.shape[-1] == 1:
        return nn.functional.mse_loss(outputs.squeeze(-1), targets)
    return nn.functional.cross_entropy(outputs, targets)


def measure_dependency(
    build: Callable[[DependencyTask], nn.Module],
    task: DependencyTask,
    distances: Sequence[int],
    unseen_distances: Sequence[int] = (),
    steps: int = 600,
    batch_size: int = 32,
    learning_rate: float = 3e-3,
    num_test: int = 256,
    seed: int = 0,
    device: str = "cpu",
) -> list[dict[str, Any]]:
    """
    Train a model on a task at all distances in turn, and test it at each.

    Training goes from the shortest distance to all of them over the first half of the steps: what is learned near by
    helps far away. AdamW with a linear warm-up and a cosine to zero; gradients are clipped at 1. Training examples are
    drawn anew all the time, so no test example has been seen except by accident.

    Args:
        build: Makes an untrained model for the task.
        task: One of [`DEPENDENCY_TASKS`].
        distances: Distances to train on.
        unseen_distances: Further distances to test at.
        steps: Optimizer steps.
        batch_size: Examples of one distance in a step.
        learning_rate: Highest learning rate.
        num_test: Test examples for each distance.
        seed: Fixes weights and examples, on each kind of device others.
        device: Where the examples and the model lie.

    Returns:
        An entry for each distance: `task`, `distance`, `trained` (whether it was trained on), `accuracy` (share of
        right answers), `chance`, `parameters`, `steps`, `batch_size`, `learning_rate`, `device`,
        `seconds` and `seed`.
    """
    check_distances(task, distances, unseen_distances)
    torch.manual_seed(seed)
    generator = torch.Generator(device).manual_seed(seed)
    model = build(task).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01, fused=True)
    warmup = max(1, steps // 20)

    def rate(step: int) -> float:
        return min((step + 1) / warmup, 0.5 * (1 + math.cos(math.pi * step / steps)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    ordered = sorted(distances)
    started = time.perf_counter()
    for step in range(steps):
        reached = min(len(ordered), 1 + step * 2 * len(ordered) // steps)
        distance = ordered[int(torch.randint(reached, (1,), generator=generator, device=device))]
        batch = task.make(batch_size, distance, generator)
        optimizer.zero_grad()
        task_loss(model(batch.inputs), batch).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    seconds = time.perf_counter() - started

    model.eval()
    generator = torch.Generator(device).manual_seed(seed + 1_000_003)
    common = {
        "task": task.name,
        "chance": task.chance,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "device": device,
        "seconds": round(seconds, 1),
        "seed": seed,
    }
    results = []
    for distance in sorted({*distances, *unseen_distances}):
        batch = task.make(num_test, distance, generator)
        with torch.no_grad():
            right = is_right(model(batch.inputs), batch)
        if task.name == "parity":
            right = right.view(num_test, -1)[:, -1]  # the answer that needs all the bits
        accuracy = right.float().mean().item()
        results.append({**common, "distance": distance, "trained": distance in distances, "accuracy": accuracy})
    return results
