"""Batches of texts of similar length, the same in every run and resumable at any batch."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

from .errors import DataError


class LengthGroupedBatchSampler(Sampler[list[int]]):
    """
    Shuffled batches in which texts of similar length stand together, so that little is computed at padding.

    The examples are shuffled, cut into pools of `pool_batches` batches, sorted by length within a pool and cut into
    batches, whose order is shuffled (bucketing, Khomenko et al. 2016, arXiv 1708.05604). A batch smaller than the
    others comes last. The order is a function of `seed` and epoch alone.

    Args:
        lengths: Length of each example, in tokens.
        batch_size: Examples in a batch.
        seed: Fixes the order.
        pool_batches: Batches in a pool: more group better, fewer shuffle better.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int = 0, pool_batches: int = 50):
        self.lengths = torch.as_tensor(lengths)
        self.batch_size = batch_size
        self.drop_last = False
        self.seed = seed
        self.pool_batches = pool_batches
        self.epoch = 0
        self._skip = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch."""
        self.epoch = epoch

    def skip_once(self, batches: int) -> None:
        """Begin the next pass, and only that one, after this number of batches: where an interrupted epoch goes on."""
        self._skip = batches

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        skip, self._skip = self._skip, 0
        yield from self._batches()[skip:]

    def _batches(self) -> list[list[int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        shuffled = torch.randperm(len(self.lengths), generator=generator)
        batches = []
        for pool in shuffled.split(self.batch_size * self.pool_batches):
            by_length = pool[self.lengths[pool].argsort(descending=True, stable=True)]
            batches.extend(by_length.split(self.batch_size))
        full = [batch for batch in batches if len(batch) == self.batch_size]
        ragged = [batch for batch in batches if len(batch) < self.batch_size]
        order = torch.randperm(len(full), generator=generator).tolist()
        return [full[index].tolist() for index in order] + [batch.tolist() for batch in ragged]


class TokenBatchSampler(Sampler[list[int]]):
    """
    Shuffled batches of at most `max_tokens` tokens, padding included: many short texts or few long ones.

    The examples are divided by their length into buckets whose longest is at most `bucket_growth` times as long as
    their shortest. Within a bucket they are shuffled, cut into pools of `pool_batches` batches, sorted within a pool
    and cut into batches of as many rows as the bucket's longest example allows. What is left over joins the next
    bucket. (Vaswani et al. 2017, section 5.1, also batch by approximate length, to a number of tokens.)

    The composition changes with each epoch, the number of batches does not. It is a multiple of `num_processes`
    wherever there are examples enough, some batches being cut in two for it; `num_processes` neighbors, which are of
    about the same size, stand together, so that no process waits long for another. The order is a function of `seed`
    and epoch alone, each example in it exactly once.

    Args:
        lengths: Tokens of each example; or several numbers each, such as `(source, target)`, of which the longest
            counts.
        max_tokens: Rows of a batch times its longest text are at most that.
        seed: Fixes the order.
        num_processes: Processes to which the batches are dealt out, one after the other.
        pool_batches: Batches in a pool: more group better, fewer shuffle better.
        bucket_growth: Longest over shortest length of a bucket.

    Raises:
        DataError: If an example alone is longer than `max_tokens`.
    """

    def __init__(
        self,
        lengths: Sequence[int] | Sequence[Sequence[int]],
        max_tokens: int,
        seed: int = 0,
        num_processes: int = 1,
        pool_batches: int = 50,
        bucket_growth: float = 1.1,
    ):
        lengths = torch.as_tensor(lengths)
        self._sides = lengths[:, None] if lengths.dim() == 1 else lengths
        self.lengths = self._sides.amax(1)
        if int(self.lengths.max()) > max_tokens:
            raise DataError(
                f"An example is {int(self.lengths.max())} tokens long, more than the {max_tokens} of a batch: raise "
                "the tokens of a batch or cut the examples shorter."
            )
        self.max_tokens = max_tokens
        self.seed = seed
        self.num_processes = num_processes
        self.pool_batches = pool_batches
        self._buckets = self._divide(bucket_growth)
        self.epoch = 0
        self._skip = 0
        self._num_batches = len(self._batches())

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch."""
        self.epoch = epoch

    def skip_once(self, batches: int) -> None:
        """Begin the next pass, and only that one, after this number of batches: where an interrupted epoch goes on."""
        self._skip = batches

    def __len__(self) -> int:
        return self._num_batches

    def __iter__(self) -> Iterator[list[int]]:
        skip, self._skip = self._skip, 0
        yield from self._batches()[skip:]

    def _divide(self, growth: float) -> list[tuple[torch.Tensor, int]]:
        """The buckets, shortest first: their examples and the length of their longest."""
        buckets, order = [], self.lengths.argsort(stable=True)
        in_order = self.lengths[order]
        first = 0
        while first < len(order):
            longest = max(1, int(in_order[first] * growth))
            end = int(torch.searchsorted(in_order, longest, right=True))
            buckets.append((order[first:end], max(1, int(in_order[end - 1]))))
            first = end
        return buckets

    def _batches(self) -> list[list[int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        batches, left_over = [], torch.empty(0, dtype=torch.long)
        for number, (examples, longest) in enumerate(self._buckets):
            rows = self.max_tokens // longest
            shuffled = torch.cat([left_over, examples[torch.randperm(len(examples), generator=generator)]])
            # In a bucket of much longer texts what is left over would take more batches, not fewer.
            is_last = number + 1 == len(self._buckets) or self._buckets[number + 1][1] > 1.5 * longest
            keep = len(shuffled) if is_last else len(shuffled) // rows * rows
            shuffled, left_over = shuffled[:keep], shuffled[keep:]
            for pool in shuffled.split(rows * self.pool_batches) if keep else ():
                sums = self._sides[pool].sum(1)
                batches.extend(pool[sums.argsort(stable=True)].split(rows))
        batches = self._round_up([batch.tolist() for batch in batches])
        groups = [batches[first : first + self.num_processes] for first in range(0, len(batches), self.num_processes)]
        ragged = [groups.pop()] if len(groups[-1]) < self.num_processes else []
        order = torch.randperm(len(groups), generator=generator).tolist()
        return [batch for group in [*(groups[index] for index in order), *ragged] for batch in group]

    def _round_up(self, batches: list[list[int]]) -> list[list[int]]:
        """Cut the batches of most rows in two until their number divides by the number of processes."""
        while len(batches) % self.num_processes and max(map(len, batches)) > 1:
            largest = max(range(len(batches)), key=lambda index: len(batches[index]))
            batch, half = batches[largest], (len(batches[largest]) + 1) // 2
            batches[largest : largest + 1] = [batch[:half], batch[half:]]
        return batches
