"""Checks of lab 7: positions, the causal mask, many heads, the norm, the residual block, and patches of an image."""

import torch
from torch.nn import functional

from .checking import Wrong, call, case, exercise, gradient_reaches, randn, same, tensor, with_gradients


@exercise
def sinusoids(answer):
    """`sinusoids(length, width)`: sines and cosines of the position (Vaswani et al. 2017, section 3.5)."""
    length, width = 11, 8
    positions, even = torch.arange(length).float()[:, None], torch.arange(0, width, 2).float()
    angles = positions / 10000 ** (even / width)
    right = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
    single = positions / 10000 ** (torch.arange(width // 2) / width)
    later = (positions + 1) / 10000 ** (even / width)
    got = tensor(call(answer, length, width), "the table of positions")
    same(
        got,
        right,
        {
            "all sines come first and then all cosines; they are to take turns.": torch.cat(
                [angles.sin(), angles.cos()], 1
            ),
            "sine and cosine are swapped: the even components are sines.": torch.stack(
                [angles.cos(), angles.sin()], dim=-1
            ).flatten(1),
            "the exponent is i / width; it is 2 i / width.": torch.stack([single.sin(), single.cos()], -1).flatten(1),
            "the first position is 0, not 1.": torch.stack([later.sin(), later.cos()], dim=-1).flatten(1),
            "all components are sines.": torch.stack([angles.sin(), angles.sin()], dim=-1).flatten(1),
            "the table is transposed: a row for each position is asked for.": right.T,
        },
        "the table of positions",
    )
    if got.dtype != torch.float32:
        raise Wrong(f"the table has the right entries, but is of type {got.dtype}; it is added to vectors of float32.")


@exercise
def causal_mask(answer):
    """`causal_mask(length)`: true where a query (row) may look at a key (column): at itself and what stands before."""
    got = tensor(call(answer, 5), "the mask")
    lower = torch.ones(5, 5).tril()
    same(
        got.float(),
        lower,
        {
            "it looks into the future: a row may see the columns up to its own.": lower.T,
            "a query may not see itself: with nothing to see the first row cannot sum to one.": lower - torch.eye(5),
            "a query sees the next token too: the answer is given away.": torch.ones(5, 5).tril(1),
            "every query sees everything.": torch.ones(5, 5),
            "true and false are swapped: true is where a query may look.": 1 - lower,
        },
        "the mask",
    )
    if got.dtype != torch.bool:
        raise Wrong(f"the mask has the right entries, but is of type {got.dtype}: true and false are asked for.")


def _heads(x, Wq, Wk, Wv, Wo, num_heads, mask, cut=True, join=True, scale=None, output=True, late=False):
    """The output of all heads: `cut` and `join` by head, else across the tokens; `late` masks the weights."""
    B, T, width = x.shape
    q, k, v = (x @ W.T for W in (Wq, Wk, Wv))
    if cut:
        q, k, v = (part.view(B, T, num_heads, -1).transpose(1, 2) for part in (q, k, v))
    else:
        q, k, v = (part.reshape(B, num_heads, T, -1) for part in (q, k, v))
    scores = q @ k.transpose(-2, -1) * ((width // num_heads) ** -0.5 if scale is None else scale)
    if mask is not None and not late:
        scores = scores.masked_fill(~mask, -1e9)
    mixed = (scores.softmax(-1) * mask if late else scores.softmax(-1)) @ v
    joined = (mixed.transpose(1, 2) if join else mixed).reshape(B, T, width)
    return joined @ Wo.T if output else joined


@exercise
def multi_head(answer):
    """`multi_head(x, Wq, Wk, Wv, Wo, num_heads, mask)`: several heads side by side, and the map that joins them."""
    x = randn(2, 5, 8)
    Wq, Wk, Wv, Wo = (randn(8, 8, seed=seed) / 2 for seed in (1, 2, 3, 4))
    mask = torch.ones(5, 5).tril().bool()
    leaves = with_gradients(Wq=Wq, Wk=Wk, Wv=Wv, Wo=Wo)
    got = tensor(call(answer, x, *leaves.values(), 4, mask), "the output")
    weights = Wq, Wk, Wv, Wo
    same(
        got,
        _heads(x, *weights, 4, mask),
        {
            "there is one head only: the scores of all heads are added.": _heads(x, *weights, 1, mask),
            "the heads are cut across the tokens: cut the width first, then swap heads and time.": _heads(
                x, *weights, 4, mask, cut=False
            ),
            "the heads are joined across the tokens: swap heads and time back before joining.": _heads(
                x, *weights, 4, mask, join=False
            ),
            "the output map Wo is missing.": _heads(x, *weights, 4, mask, output=False),
            "the scores are scaled by the whole width; a head has only its part of it.": _heads(
                x, *weights, 4, mask, scale=8**-0.5
            ),
            "the scores are not scaled.": _heads(x, *weights, 4, mask, scale=1.0),
            "the mask is not used: it is not causal.": _heads(x, *weights, 4, None),
            "the weights do not sum to one: what is masked must be left out before the softmax.": _heads(
                x, *weights, 4, mask, late=True
            ),
            "queries and keys are swapped.": _heads(x, Wk, Wq, Wv, Wo, 4, mask),
            "the mask is turned round: where it is true a query may look.": _heads(x, *weights, 4, ~mask),
        },
        "the output",
    )
    gradient_reaches(got, leaves)
    same(
        call(answer, x, *weights, 2, None), _heads(x, *weights, 2, None), {}, "the output of two heads without a mask"
    )
    return "right: as many attentions as heads, in one product."


@exercise
def layer_norm(answer):
    """`layer_norm(x, gain, bias)`: each token's vector with mean 0 and variance 1, then gain and bias."""
    x, gain, bias = 3 * randn(2, 5, 8) + 1, randn(8, seed=1), randn(8, seed=2)
    right = functional.layer_norm(x, (8,), gain, bias)
    centered = x - x.mean(-1, keepdim=True)
    deviation = (centered**2).mean(-1, keepdim=True).sqrt()
    over_batch = (x - x.mean((0, 1))) / x.var((0, 1), unbiased=False).sqrt()
    same(
        call(answer, x, gain, bias),
        right,
        {
            "the variance divides by the width less one; it divides by the width.": centered
            / x.std(-1, keepdim=True)
            * gain
            + bias,
            "the mean is taken over the batch and time: that is another norm. Each token is alone here.": over_batch
            * gain
            + bias,
            "the mean is taken over all numbers; each token is alone.": functional.layer_norm(x, x.shape) * gain
            + bias,
            "it is divided by the variance; its root is asked for.": centered / deviation**2 * gain + bias,
            "the mean is not taken off.": x / deviation * gain + bias,
            "gain and bias are missing.": centered / deviation,
            "the bias is missing.": centered / deviation * gain,
            "the gain is missing.": centered / deviation + bias,
        },
        "the result",
        tolerance=1e-3,
    )
    if not torch.isfinite(tensor(call(answer, torch.ones(1, 2, 8), gain, bias))).all():
        raise Wrong("a vector whose components are all equal has variance 0: add a small number before dividing.")


@exercise
def block(answer):
    """`block(x, attend, feed_forward, norm_1, norm_2)`: a Transformer block with the norm in front."""
    x = randn(2, 3, 4)
    A, B = randn(4, 4, seed=1), randn(4, 4, seed=2)

    def attend(value):
        return torch.tanh(value @ A)

    def feed_forward(value):
        return torch.relu(value @ B)

    def norm_1(value):
        return functional.layer_norm(value, (4,)) * 2

    def norm_2(value):
        return functional.layer_norm(value, (4,)) * 3

    first = x + attend(norm_1(x))
    leaf = x.clone().requires_grad_()
    got = tensor(call(answer, leaf, attend, feed_forward, norm_1, norm_2), "the output")
    behind = norm_1(x + attend(x))
    plain = feed_forward(norm_2(attend(norm_1(x))))
    bare = x + attend(x)
    same(
        got,
        first + feed_forward(norm_2(first)),
        {
            "both residual ways are missing: the input is to be added after each part.": plain,
            "the second residual way is missing.": feed_forward(norm_2(first)),
            "the first residual way is missing.": attend(norm_1(x)) + feed_forward(norm_2(attend(norm_1(x)))),
            "the norms stand behind the sums; here they stand in front of each part.": norm_2(
                behind + feed_forward(behind)
            ),
            "the norms are missing.": bare + feed_forward(bare),
            "the first norm is used twice.": first + feed_forward(norm_1(first)),
            "the second residual way starts from the input of the block: what attention found is lost.": x
            + feed_forward(norm_2(first)),
            "the second norm is missing.": first + feed_forward(first),
            "the feed-forward part reads the input of the block, not what attention gave.": first
            + feed_forward(norm_2(x)),
            "the feed-forward part is missing.": first,
        },
        "the output",
    )
    gradient_reaches(got, {"the input": leaf})


@exercise
def patches(answer):
    """`patches(images, size)`: images cut into squares, row by row, each as one vector."""
    images, size = randn(2, 4, 6), 2
    right = functional.unfold(images[:, None], size, stride=size).transpose(1, 2)
    down = images.transpose(1, 2)
    columns = functional.unfold(down[:, None], size, stride=size).transpose(1, 2)
    turned = right.view(2, 6, 2, 2).transpose(2, 3).flatten(2)
    same(
        call(answer, images, size),
        right,
        {
            "these are strips of rows, not squares: cut height and width both.": images.reshape(2, 6, 4),
            "the squares come column by column; row by row is asked for.": columns.view(2, 6, 2, 2)
            .transpose(2, 3)
            .flatten(2),
            "within a square the pixels come column by column; row by row is asked for.": turned,
            "the image is read transposed.": columns,
            "each square is still two-dimensional: one vector each is asked for.": right.view(2, 6, 2, 2),
            "there is a row of squares per row of the result: one list of squares is asked for.": right.view(
                2, 2, 3, 4
            ),
        },
        "the patches",
    )
    with case("for squares of 3 by 3 pixels"):
        right = functional.unfold(images[:, None, :3], 3, stride=3).transpose(1, 2)
        same(call(answer, images[:, :3], 3), right, what="the patches")
