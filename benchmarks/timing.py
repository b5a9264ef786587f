"""Two ways to do one thing, timed by turns.

Other work on the machine makes any single figure worthless and shifts within seconds. So both take turns in short
slices, the first of each pair changing, and a ratio is the median over the pairs. One thread is timed by the CPU time
of this process, which others on the machine cannot take away (though they share its caches and its memory); several
threads or processes by the clock on the wall.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch.utils.flop_counter import FlopCounterMode, mm_flop


Action = Callable[[], object]
PRODUCTS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Contest:
    """
    What is timed.

    Attributes:
        name: What is done, e.g. `lstm float32`.
        peer_name: By whom else.
        ours: Does it once.
        peer: Does the same.
        target: The ratio to reach; None where none is set.
        product_type: Type of the matrix products, whose rate is taken beside the times; None where that says nothing.
        calls: How often it is done in one slice.
        items: What one call makes, and how many of them, such as `("tokens", 64)`.
        remarks: What of ours is set otherwise than the peer's, for the reader.
    """

    name: str
    peer_name: str
    ours: Action
    peer: Action
    target: float | None = None
    product_type: str | None = None
    calls: int = 1
    items: tuple[str, int] | None = None
    remarks: str = ""


@dataclass
class Result:
    """
    What came out.

    Attributes:
        name: The contest's.
        peer_name: The contest's.
        unit: Of `ours` and `peer`; `ms` per call unless said otherwise.
        ours: One number per round.
        peer: One number per round.
        ratio: How many times better ours is; see [`ratio_of_pairs`].
        target: The ratio to reach, at least, or where `at_most` is set the most allowed of ours over peer's.
        at_most: Whether the target is a bound from above, on `1 / ratio`.
        product_share: The part of our time that products alone would take at the rate measured between the rounds.
        gflop: Products of one of our calls, in 10^9 multiplications and additions.
        product_rate: In 10^9 multiplications and additions per second.
        remarks: For the reader.
        kinds: Shares of our time by kind of operation, from a profile of its own.
    """

    name: str
    peer_name: str
    ours: list[float]
    peer: list[float]
    ratio: float
    target: float | None = None
    at_most: bool = False
    unit: str = "ms"
    gflop: float | None = None
    product_rate: float | None = None
    product_share: float | None = None
    remarks: str = ""
    kinds: dict[str, float] = field(default_factory=dict)

    @property
    def measured(self) -> float:
        """What is held against the target: the ratio, or its inverse where the target is a bound from above."""
        return 1 / self.ratio if self.at_most else self.ratio

    @property
    def is_reached(self) -> bool | None:
        """Whether the target is; None without one."""
        if self.target is None:
            return None
        return self.measured <= self.target if self.at_most else self.measured >= self.target


def clock() -> Callable[[], float]:
    """CPU seconds of this process where it has one thread, else seconds on the wall."""
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def ratio_of_pairs(ours: list[float], peer: list[float]) -> float:
    """Median over the rounds of the peer's time over ours: the two of a round met the same conditions."""
    return statistics.median(theirs / own for own, theirs in zip(ours, peer, strict=True))


def seconds_of(action: Action, calls: int = 1) -> float:
    """Seconds per call."""
    now = clock()
    start = now()
    for _ in range(calls):
        action()
    return (now() - start) / calls


def by_turns(
    ours: Action, peer: Action, rounds: int, seconds: Callable[[Action], float]
) -> Iterator[tuple[float, float]]:
    """
    Time two actions by turns, the first of each pair changing; gives the seconds of both, pair by pair.

    Args:
        ours: One of them.
        peer: The other.
        rounds: Pairs; one before them, to warm up, is not given.
        seconds: Takes the time of an action.
    """
    for index in range(-1, rounds):
        if index % 2:
            own, theirs = seconds(ours), seconds(peer)
        else:
            theirs, own = seconds(peer), seconds(ours)
        if index >= 0:
            yield own, theirs


def alternate(contest: Contest, rounds: int) -> Result:
    """
    Time a contest.

    Args:
        contest: What is timed.
        rounds: Pairs of slices.
    """
    ours, peer, rates = [], [], []
    pairs = by_turns(contest.ours, contest.peer, rounds, lambda action: seconds_of(action, contest.calls))
    for own, theirs in pairs:
        ours.append(1000 * own)
        peer.append(1000 * theirs)
        if contest.product_type:
            rates.append(product_rate(PRODUCTS[contest.product_type]))
    result = Result(contest.name, contest.peer_name, ours, peer, ratio_of_pairs(ours, peer), contest.target)
    result.remarks = contest.remarks
    if contest.items:
        what, number = contest.items
        speeds = [[1000 * number / milliseconds for milliseconds in times] for times in (ours, peer)]
        result.ours, result.peer, result.unit = *speeds, f"{what}/s"
    if rates:
        result.product_rate = statistics.median(rates)
        result.gflop = products_of(contest.ours) / 1e9
        result.product_share = result.gflop / result.product_rate / (statistics.median(ours) / 1000)
    return result


def product_rate(dtype: torch.dtype) -> float:
    """
    The rate of a product that fits the caches, (1024, 512) by (512, 1024), in 10^9 multiplications and additions per
    second: the fastest of five, since what is wanted is the limit.
    """
    left, right = torch.randn(1024, 512).to(dtype), torch.randn(512, 1024).to(dtype)
    seconds = min(seconds_of(lambda: left @ right) for _ in range(5))
    return 2 * 1024 * 512 * 1024 / seconds / 1e9


def products_of(action: Action) -> int:
    """Multiplications and additions in the matrix products of one call, those of fused kernels included."""

    def attention_flop(query, key, value, *args, is_backward=False, **kwargs):
        *rows, queries, size = query
        product = 2 * torch.Size(rows).numel() * queries * key[-2] * size
        return product * (5 if is_backward else 2)

    def attention_backward_flop(gradient, query, key, value, *args, **kwargs):
        return attention_flop(query, key, value, is_backward=True)

    def recurrent_flop(inputs, weight, recurrent_weight, *args, products=1, **kwargs):
        *tokens, _ = inputs
        numbers = torch.Size(weight).numel() + torch.Size(recurrent_weight).numel()
        return 2 * products * torch.Size(tokens).numel() * numbers

    def recurrent_backward_flop(*args, **kwargs):
        return recurrent_flop(*args, products=2)

    def in_place_flop(target, left, right, *args, **kwargs):
        return mm_flop(left, right)

    aten = torch.ops.aten
    own = {
        aten.addmm_: in_place_flop,
        aten.mkldnn_rnn_layer: recurrent_flop,
        aten.mkldnn_rnn_layer_backward: recurrent_backward_flop,
        aten._scaled_dot_product_flash_attention_for_cpu: attention_flop,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward_flop,
    }
    with FlopCounterMode(display=False, custom_mapping=own) as counter:
        action()
    return counter.get_total_flops()
