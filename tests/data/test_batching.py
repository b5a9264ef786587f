import pytest
import torch

from seqnlp.data import DataError, LengthGroupedBatchSampler, TokenBatchSampler


LENGTHS = torch.randint(1, 60, (503,), generator=torch.Generator().manual_seed(0)).tolist()


def test_every_example_once_and_the_small_batch_last():
    batches = list(LengthGroupedBatchSampler(LENGTHS, 16, seed=1))
    assert sorted(index for batch in batches for index in batch) == list(range(503))
    assert [len(batch) for batch in batches] == [16] * 31 + [7]
    assert len(LengthGroupedBatchSampler(LENGTHS, 16)) == 32


def test_order_is_a_function_of_seed_and_epoch():
    sampler, again = (LengthGroupedBatchSampler(LENGTHS, 16, seed=1) for _ in range(2))
    first = list(sampler)
    assert first == list(again) == list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert list(LengthGroupedBatchSampler(LENGTHS, 16, seed=2)) != first


def test_an_interrupted_epoch_goes_on_where_it_stopped():
    sampler = LengthGroupedBatchSampler(LENGTHS, 16, seed=1)
    whole = list(sampler)
    sampler.skip_once(20)
    assert list(sampler) == whole[20:]
    assert list(sampler) == whole


def test_grouping_saves_most_of_the_padding():
    def padded(batches):
        return sum(len(batch) * max(LENGTHS[index] for index in batch) for batch in batches)

    grouped = padded(LengthGroupedBatchSampler(LENGTHS, 16, seed=1))
    in_order = padded([range(start, min(start + 16, 503)) for start in range(0, 503, 16)])
    assert grouped < 1.1 * sum(LENGTHS) < 0.7 * in_order


PAIRS = [(length, max(1, length + shift % 7 - 3)) for shift, length in enumerate(LENGTHS)]


@pytest.mark.parametrize("lengths", [LENGTHS, PAIRS, [4] * 31], ids=["texts", "pairs", "equal"])
@pytest.mark.parametrize("processes", [1, 2, 4])
def test_token_batches_hold_every_example_once_within_the_budget(lengths, processes):
    sampler = TokenBatchSampler(lengths, 200, seed=1, num_processes=processes)
    longest = [max(length) if isinstance(length, tuple) else length for length in lengths]
    seen = set()
    for epoch in range(4):
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert len(batches) == len(sampler)
        assert len(batches) % processes == 0
        assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
        assert max(len(batch) * max(longest[index] for index in batch) for batch in batches) <= 200
        seen.add(str(batches))
    assert len(seen) == 4
    again = TokenBatchSampler(lengths, 200, seed=1, num_processes=processes)
    again.set_epoch(3)
    again.skip_once(2 * processes)
    assert list(again) == batches[2 * processes :]
    assert list(again) == batches


def test_token_batches_are_full_and_of_one_size_in_each_step():
    lengths = LENGTHS * 4
    batches = list(TokenBatchSampler(lengths, 600, num_processes=2))
    sizes = [len(batch) * max(lengths[index] for index in batch) for batch in batches]
    assert sum(lengths) > 0.9 * sum(sizes)
    assert sum(sizes) > 0.9 * 600 * len(sizes)
    unlike = [abs(a - b) / max(a, b) for a, b in zip(sizes[::2], sizes[1::2], strict=True)]
    assert sum(unlike) / len(unlike) < 0.1


def test_token_batches_of_fewer_examples_than_processes_and_of_too_long_ones():
    assert sorted(TokenBatchSampler([3, 5], 10, num_processes=4)) == [[0], [1]]
    with pytest.raises(DataError, match="An example is 59 tokens long, more than the 50 of a batch"):
        TokenBatchSampler(LENGTHS, 50)
