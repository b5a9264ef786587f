import torch

from seqnlp.data import LengthGroupedBatchSampler


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
