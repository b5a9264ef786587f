"""Attention against loops and torch's kernel, and the layers' parts against their formulas."""

import math

import pytest
import torch
from torch import nn
from transformers import DynamicCache

import seqnlp.models.attention as attention_module
from seqnlp import TransformerDecoderConfig
from seqnlp.models.attention import (
    MultiHeadAttention,
    attention_weights,
    dot_product_similarity,
    eager_attention_forward,
    is_faster_in_stages,
    share_key_value_heads,
)
from seqnlp.models.heads import pool_tokens
from seqnlp.models.positions import LearnedPositions, RotaryPositions, SinusoidalPositions, count_positions, rotate
from seqnlp.models.projections import project
from seqnlp.models.transformer_layers import FeedForward, GatedFeedForward, RMSNorm


def attention(implementation="eager", **kwargs):
    config = TransformerDecoderConfig(hidden_size=16, num_attention_heads=4, **kwargs)
    config._attn_implementation = implementation
    return MultiHeadAttention(config, layer_idx=0, is_causal=True).eval()


def test_each_stage_against_a_loop():
    query, key, value = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 6, 5), torch.randn(2, 3, 6, 5)
    mask = torch.rand(2, 1, 4, 6) > 0.3
    mask[..., 0] = True
    scores = dot_product_similarity(query, key, scaling=5**-0.5)
    weights = attention_weights(scores, mask)
    output, returned = eager_attention_forward(attention(), query, key, value, mask, scaling=5**-0.5)
    assert torch.equal(returned, weights)
    for row, head, asking in ((0, 0, 0), (1, 2, 3)):
        allowed = [j for j in range(6) if mask[row, 0, asking, j]]
        fits = [float(query[row, head, asking] @ key[row, head, j]) / math.sqrt(5) for j in allowed]
        shares = [math.exp(fit) / sum(math.exp(other) for other in fits) for fit in fits]
        expected = sum(share * value[row, head, j] for share, j in zip(shares, allowed, strict=True))
        torch.testing.assert_close(scores[row, head, asking, allowed], torch.tensor(fits))
        torch.testing.assert_close(weights[row, head, asking, allowed], torch.tensor(shares))
        torch.testing.assert_close(output[row, asking, head], expected)
    assert (weights.masked_select(~mask.expand_as(weights)) == 0).all()


def test_bool_and_additive_masks_agree_and_a_query_that_sees_nothing_stays_finite():
    scores = torch.randn(1, 2, 3, 4)
    mask = torch.rand(1, 1, 3, 4) > 0.5
    mask[0, 0, 0] = False
    mask[0, 0, 1] = True
    added = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
    torch.testing.assert_close(attention_weights(scores, mask), attention_weights(scores, added), rtol=1e-5, atol=1e-6)
    assert attention_weights(scores, mask).isfinite().all()
    for narrow_or_wide in (torch.float16, torch.bfloat16, torch.float64):
        lowest = torch.zeros(mask.shape, dtype=narrow_or_wide).masked_fill(~mask, torch.finfo(narrow_or_wide).min)
        for given in (mask, lowest):
            weights = attention_weights(100 * scores.to(narrow_or_wide) - 200, given)
            assert weights.dtype == narrow_or_wide
            assert weights.isfinite().all()


def test_neighbouring_query_heads_share_keys():
    states = torch.randn(1, 2, 3, 4)
    shared = share_key_value_heads(states, 3)
    assert shared.shape == (1, 6, 3, 4)
    assert torch.equal(shared[:, 2], states[:, 0])
    assert torch.equal(shared[:, 3], states[:, 1])


def test_multi_head_attention_agrees_with_torch_outputs_and_gradients():
    ours = attention(use_bias=True, position_embedding_type="none")
    theirs = nn.MultiheadAttention(16, 4, batch_first=True).eval()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.q_proj.weight, ours.k_proj.weight, ours.v_proj.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.q_proj.bias, ours.k_proj.bias, ours.v_proj.bias]))
        theirs.out_proj.load_state_dict(ours.o_proj.state_dict())
    states, encoded = torch.randn(2, 5, 16, requires_grad=True), torch.randn(2, 7, 16, requires_grad=True)
    output, weights = ours(states, key_value_states=encoded)
    expected, expected_weights = theirs(states, encoded, encoded, average_attn_weights=False)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(weights, expected_weights)
    probe = torch.randn_like(output)
    for one, other in zip(
        torch.autograd.grad((output * probe).sum(), (states, encoded)),
        torch.autograd.grad((expected * probe).sum(), (states, encoded)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("num_key_value_heads", [4, 2, 1])
def test_sdpa_agrees_with_eager(num_key_value_heads):
    eager = attention(num_key_value_heads=num_key_value_heads)
    sdpa = attention("sdpa", num_key_value_heads=num_key_value_heads)
    sdpa.load_state_dict(eager.state_dict())
    states = torch.randn(2, 6, 16)
    causal = torch.ones(6, 6, dtype=torch.bool).tril()[None, None]
    angles = RotaryPositions(4, 10000.0)(torch.arange(6)[None], torch.float32)
    expected, weights = eager(states, causal, angles)
    output, none = sdpa(states, causal, angles)
    torch.testing.assert_close(output, expected)
    assert weights.shape == (2, 4, 6, 6)
    assert none is None


def test_rotary_scores_depend_on_distances_alone():
    query, key = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)
    rotary = RotaryPositions(8, 10000.0)

    def score(asking, asked):
        turned = [
            rotate(states, *rotary(torch.tensor([[position]]), torch.float32))
            for states, position in ((query, asking), (key, asked))
        ]
        return dot_product_similarity(*turned, scaling=1.0).item()

    assert score(7, 3) == pytest.approx(score(104, 100), abs=1e-4)
    assert score(7, 3) != pytest.approx(score(7, 4), abs=1e-4)
    assert score(0, 0) == pytest.approx(dot_product_similarity(query, key, 1.0).item(), abs=1e-5)


@pytest.mark.parametrize("size", [8, 64])
def test_rotation_goes_back_by_the_same_angles(size):
    cosines, sines = (each.double() for each in RotaryPositions(size, 10.0)(torch.arange(6).view(2, 3), torch.float64))
    states = torch.randn(2, 2, 3, size, dtype=torch.float64, requires_grad=True)
    half = size // 2
    a, b, cos, sin = states[..., :half], states[..., half:], cosines[:, None, :, :half], sines[:, None, :, half:]
    expected = torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)  # equation 34, for pairs (i, i + D / 2)
    turned = rotate(states, cosines, sines)
    torch.testing.assert_close(turned, expected)
    sent_back = torch.randn_like(turned)
    (found,), (wanted,) = (torch.autograd.grad(each, states, sent_back) for each in (turned, expected))
    torch.testing.assert_close(found, wanted)
    one = states.detach()[:1, :1, :1].requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: rotate(x, cosines[:1, :1], sines[:1, :1]), (one,))
    assert (type(turned.grad_fn).__name__ == "RotationBackward") == (size == 64)


@pytest.mark.parametrize("bias", [False, True])
def test_several_maps_are_one_product_unless_one_is_wrapped(bias):
    torch.manual_seed(0)
    maps = [nn.Linear(6, size, bias=bias) for size in (4, 2, 3)]
    states = torch.randn(2, 5, 6, requires_grad=True)
    weights = [states, *(parameter for each in maps for parameter in each.parameters())]
    expected = [each(states) for each in maps]
    gradients = torch.autograd.grad(sum(each.sin().sum() for each in expected), weights)

    def check(found):
        torch.testing.assert_close(list(found), expected)
        torch.testing.assert_close(torch.autograd.grad(sum(each.sin().sum() for each in found), weights), gradients)

    check(project(maps, states))
    assert {type(each.grad_fn).__name__ for each in project(maps, states)} == {"SplitWithSizesBackward0"}
    handle = maps[1].register_forward_hook(lambda module, inputs, output: 2 * output)
    torch.testing.assert_close(project(maps, states)[1], 2 * expected[1])
    handle.remove()
    with torch.no_grad():
        torch.testing.assert_close(list(project(maps, states)), [each.detach() for each in expected])


def test_sinusoidal_positions_are_those_of_section_3_5():
    table = SinusoidalPositions(6)(torch.tensor([[0, 1, 5000]]))[0]
    for row, position in enumerate((0, 1, 5000)):
        for i in range(3):
            angle = position / 10000 ** (2 * i / 6)
            assert table[row, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-3)
            assert table[row, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-3)


def test_positions_keep_float32_precision_in_half_precision_models():
    rotary = RotaryPositions(8, 10000.0).to(torch.bfloat16)
    cosines, _ = rotary(torch.tensor([[1000, 1001]]), torch.float32)
    assert cosines[0, 0, 0].item() == pytest.approx(math.cos(1000), abs=1e-3)
    assert cosines[0, 1, 0].item() == pytest.approx(math.cos(1001), abs=1e-3)


def test_learned_positions_end_with_a_message():
    with pytest.raises(ValueError, match="Position 7 is beyond max_position_embeddings=4"):
        LearnedPositions(4, 2)(torch.tensor([[0, 7]]))


def test_positions_count_valid_tokens():
    embeds = torch.zeros(3, 4, 1)
    mask = torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0]])
    counted = count_positions(mask, embeds)
    assert counted[0].tolist() == [0, 1, 2, 3]
    assert counted[1, 2:].tolist() == [0, 1]
    assert counted[2, :2].tolist() == [0, 1]
    assert (counted >= 0).all()
    assert count_positions(None, embeds, past_length=5).tolist() == [[5, 6, 7, 8]]
    longer = torch.cat([torch.tensor([[0, 1]] * 3), mask], dim=1)
    assert count_positions(longer, embeds, past_length=2)[0].tolist() == [1, 2, 3, 4]
    with pytest.raises(ValueError, match=r"attention_mask of shape \(3, 2\) does not fit 4 tokens in 3 rows"):
        count_positions(mask[:, :2], embeds)
    # A mask of the new tokens alone, or of more tokens than there are, would be read against others.
    for unfit in (mask, torch.cat([longer, mask], dim=1)):
        for given in (None, torch.arange(4)[None]):
            with pytest.raises(ValueError, match=r"does not fit 4 tokens in 3 rows behind 2 in the cache: .* cached"):
                count_positions(unfit, embeds, 2, given)
    given = torch.tensor([[3, 1, 4, 1]])
    assert count_positions(longer, embeds, 2, given) is given


def test_last_valid_token_wherever_the_padding_is():
    states = torch.arange(12.0).view(3, 4, 1)
    mask = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]])
    assert pool_tokens(states, mask, "last").squeeze(1).tolist() == [1.0, 7.0, 0.0]
    assert pool_tokens(states, None, "last").squeeze(1).tolist() == [3.0, 7.0, 11.0]


def test_rms_norm_and_feed_forwards_are_their_formulas():
    states = torch.randn(2, 3, 16)
    norm = RMSNorm(16, eps=0.0)
    nn.init.normal_(norm.weight)
    torch.testing.assert_close(norm(states), norm.weight * states / states.pow(2).mean(-1, keepdim=True).sqrt())

    gated = GatedFeedForward(TransformerDecoderConfig(hidden_size=16, use_bias=True)).eval()
    gate = gated.gate_proj(states)
    torch.testing.assert_close(gated(states), gated.down_proj(gate * gate.sigmoid() * gated.up_proj(states)))
    for name, function in (("relu", torch.relu), ("gelu", nn.functional.gelu)):
        plain = FeedForward(TransformerDecoderConfig(hidden_size=16, hidden_act=name)).eval()
        torch.testing.assert_close(plain(states), plain.down_proj(function(plain.up_proj(states))))


@pytest.mark.parametrize("masked", [False, True])
def test_bfloat16_trains_in_stages_what_sdpa_would_give(masked, monkeypatch):
    torch.manual_seed(0)
    states = torch.randn(2, 6, 16)
    mask = (torch.arange(6) < torch.tensor([[6], [4]]))[:, None, None].expand(2, 1, 6, 6).tril() if masked else None
    module = attention("sdpa").bfloat16()
    called = []

    def run():
        called.clear()
        own = states.bfloat16().requires_grad_()
        output, weights = module(own, mask)
        called.append(weights is not None)
        output.float().square().sum().backward()
        return output.detach().float(), own.grad.float()

    in_stages = run()
    assert called == [True]
    monkeypatch.setattr(attention_module, "is_faster_in_stages", lambda query, key: False)
    by_kernel = run()
    assert called == [False]
    for ours, theirs in zip(in_stages, by_kernel, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.02)


def test_in_stages_a_single_query_sees_all_that_was_cached():
    torch.manual_seed(0)
    states = torch.randn(2, 5, 16).bfloat16()
    module = attention("sdpa").bfloat16()
    whole, _ = module(states)
    cache = DynamicCache()
    module(states[:, :4], cache=cache)
    last, weights = module(states[:, 4:], cache=cache)
    assert weights.shape == (2, 4, 1, 5)
    torch.testing.assert_close(last, whole[:, 4:], rtol=0.05, atol=0.02)


@pytest.mark.parametrize(("tiles", "longest"), [(True, 320), (False, 512)])
def test_only_training_in_half_precision_on_a_cpu_goes_in_stages(tiles, longest, monkeypatch):
    monkeypatch.setattr(attention_module, "has_tiles", lambda: tiles)
    query = torch.zeros(1, 1, 4, 2)
    for length in (longest, longest + 1):
        states = torch.zeros(1, 1, length, 2).bfloat16()
        assert is_faster_in_stages(states, states) == (length == longest)

    assert is_faster_in_stages(query.bfloat16(), query)
    assert not is_faster_in_stages(query, query)
    assert not is_faster_in_stages(torch.zeros(1, 1, 600, 2).bfloat16(), torch.zeros(1, 1, 600, 2))
    with torch.no_grad():
        assert not is_faster_in_stages(query.bfloat16(), query)
