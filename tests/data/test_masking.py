"""Hidden tokens: how many, which, and what stands in their place."""

import pytest
import torch

from seqnlp.data import DataError, MaskedBlocks, Masking, MaskingCollator, masking_of


MASK, SPECIAL = 4, (0, 1, 2, 3, 4)


def masking(**changes):
    return Masking(**{"mask_token_id": MASK, "special_ids": SPECIAL, "vocab_size": 1000, **changes})


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("spans", [False, True])
def test_a_share_of_the_tokens_is_to_be_predicted_and_no_special_one(spans):
    tokens = torch.randint(5, 1000, (400,), generator=seeded())
    tokens[::10] = 2
    inputs, labels = masking(spans=spans).hide(tokens, seeded(1))
    chosen = labels != -100
    assert int(chosen.sum()) == 54  # 15 % of 360
    assert torch.equal(labels[chosen], tokens[chosen])
    assert torch.equal(inputs[~chosen], tokens[~chosen])
    assert (inputs[::10] == 2).all()
    assert (tokens == MASK).sum() == 0
    assert masking(spans=spans).hide(tokens[:3], seeded())[1].ne(-100).sum() == 1
    assert masking(spans=spans, share=1.0).hide(tokens, seeded())[1].ne(-100).sum() == 360
    assert masking(spans=spans).hide(torch.tensor([2, 2]), seeded())[1].tolist() == [-100, -100]


@pytest.mark.parametrize("spans", [False, True])
def test_80_10_10(spans):
    tokens = torch.randint(5, 1000, (60_000,), generator=seeded())
    inputs, labels = masking(spans=spans).hide(tokens, seeded(1))
    chosen = labels != -100
    read, right = inputs[chosen], labels[chosen]
    count = len(right)
    # Four standard errors; of spans there are 3.8 times fewer than of tokens.
    slack = 4 * (0.8 * 0.2 / (count / (3.8 if spans else 1))) ** 0.5
    assert abs((read == MASK).float().mean() - 0.8) < slack
    assert abs((read == right).float().mean() - 0.1) < slack  # of 995 tokens one replaces itself
    others = read[(read != MASK) & (read != right)]
    assert abs(len(others) / count - 0.1) < slack
    assert others.min() >= 5
    assert len(others.unique()) > 0.3 * min(995, len(others))


def test_the_lengths_of_spans_are_geometric_and_cut_at_ten():
    """`p (1 - p)^(n - 1)`, normalized over 1 to 10: a mean of 3.8 tokens (Joshi et al. 2020, section 3.1)."""
    tokens = torch.arange(5, 1000).repeat(200)
    _, labels = masking(spans=True, share=0.01).hide(tokens, seeded())  # so few that spans hardly touch
    places = (labels != -100).nonzero().squeeze(1)
    breaks = (places.diff() > 1).nonzero().squeeze(1) + 1
    lengths = torch.tensor([len(span) for span in places.tensor_split(breaks)]).float()
    shares = torch.tensor([0.2 * 0.8 ** (n - 1) for n in range(1, 11)])
    shares /= shares.sum()
    mean = float((shares * torch.arange(1, 11)).sum())
    assert mean == pytest.approx(3.8, abs=0.05)
    assert abs(float(lengths.mean()) - mean) < 0.5
    assert abs(float((lengths == 1).float().mean()) - float(shares[0])) < 0.08
    assert (lengths > 10).float().mean() < 0.1  # two that touch


def test_a_span_has_one_fate():
    tokens = torch.randint(5, 1000, (20_000,), generator=seeded())
    inputs, labels = masking(spans=True, share=0.02).hide(tokens, seeded())
    places = (labels != -100).nonzero().squeeze(1)
    spans = places.tensor_split((places.diff() > 1).nonzero().squeeze(1) + 1)
    same = [len(set((inputs[span] == MASK).tolist())) == 1 for span in spans]
    assert sum(same) / len(same) > 0.9  # but for those that touch


def test_held_out_blocks_hide_the_same_tokens_wherever_they_are_read():
    tokens = torch.randint(5, 1000, (300,), generator=seeded())
    blocks = MaskedBlocks(tokens, 128, masking())
    assert [len(example["labels"]) for example in blocks] == [128, 128, 44]
    assert blocks.num_targets == 19 + 19 + 7
    torch.manual_seed(5)
    torch.rand(3)
    again = MaskedBlocks(tokens, 128, masking())
    elsewhere = MaskedBlocks(torch.cat([tokens[128:256], tokens[:128]]), 128, masking())
    for name in ("input_ids", "labels"):
        assert all(torch.equal(a[name], b[name]) for a, b in zip(blocks, again, strict=True))
        assert torch.equal(elsewhere[0][name], blocks[1][name])
        assert torch.equal(elsewhere[1][name], blocks[0][name])
    with pytest.raises(DataError, match="no tokens that may be hidden"):
        MaskedBlocks(torch.tensor([2, 2]), 128, masking())
    with pytest.raises(DataError, match="All 3 tokens of the vocabulary are special ones"):
        masking_of(3, 2, [0, 1, 2], 0.15, False)


def test_a_collator_hides_anew_and_pads():
    examples = [
        {"input_ids": torch.arange(5, 105), "labels": torch.arange(100)},
        {"input_ids": torch.tensor([7]), "labels": torch.tensor([7])},
    ]
    collate = MaskingCollator(masking(), 0)
    torch.manual_seed(0)
    first, second = collate(examples), collate(examples)
    assert not torch.equal(first["labels"], second["labels"])
    torch.manual_seed(0)
    assert torch.equal(collate(examples)["input_ids"], first["input_ids"])
    assert first["attention_mask"].sum(1).tolist() == [100, 1]
    assert (first["input_ids"][1, 1:] == 0).all()
    assert (first["labels"] != -100).sum(1).tolist() == [15, 1]
    kept = MaskingCollator(None, 0)(examples)
    assert kept["labels"][0].tolist() == list(range(100))
    assert kept["input_ids"][0].tolist() == list(range(5, 105))
