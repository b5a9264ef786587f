"""Batches of texts of similar length, the same in every run and resumable at any batch."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler


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
        """Begin the next pass, and only that one, after so many batches: where an interrupted epoch goes on."""
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
