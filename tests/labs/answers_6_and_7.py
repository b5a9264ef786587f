"""Attention and the Transformer: right answers of torch's own, and wrong ones with their sentences."""

import torch
from torch.nn import functional


# Lab 6.


def masked_softmax(scores, mask):
    return scores.masked_fill(~mask, -float("inf")).softmax(-1)


def additive_scores(query, keys, W, U, v, act=torch.tanh):
    rows = [act(functional.linear(query, W) + functional.linear(key, U)) @ v for key in keys.unbind(1)]
    return torch.stack(rows, dim=1)


def attention_masked_late(Q, K, V, mask=None):
    weights = attention(Q, K, V)[1] * mask
    return weights @ V, weights


def attention(Q, K, V, mask=None, scale=None):
    weights = torch.einsum("btd,bsd->bts", Q, K) * (Q.shape[-1] ** -0.5 if scale is None else scale)
    weights = weights.softmax(-1) if mask is None else masked_softmax(weights, mask)
    return torch.einsum("bts,bse->bte", weights, V), weights


# Lab 7.


def sinusoids(length, width, base=10000.0, first=0):
    table = torch.zeros(length, width)
    for t in range(length):
        for i in range(width // 2):
            angle = torch.tensor((t + first) / base ** (2 * i / width))
            table[t, 2 * i], table[t, 2 * i + 1] = angle.sin(), angle.cos()
    return table


def multi_head(x, Wq, Wk, Wv, Wo, num_heads, mask=None):
    """torch's own."""
    weight, bias = torch.cat([Wq, Wk, Wv]), torch.zeros(3 * x.shape[-1])
    forbidden = None if mask is None else ~mask
    turned = x.transpose(0, 1)
    output, _ = functional.multi_head_attention_forward(
        turned, turned, turned, x.shape[-1], num_heads, weight, bias, None, None, False, 0.0, Wo, None,
        attn_mask=forbidden, need_weights=False,
    )  # fmt: skip
    return output.transpose(0, 1)


def cut_heads(x, Wq, Wk, Wv, Wo, num_heads, mask=None, cut=True, join=True, scale=None, late=False):
    B, T, D = x.shape
    parts = [x @ W.T for W in (Wq, Wk, Wv)]
    if cut:
        q, k, v = (part.view(B, T, num_heads, -1).transpose(1, 2) for part in parts)
    else:
        q, k, v = (part.view(B, num_heads, T, -1) for part in parts)
    scores = q @ k.mT * (scale or (D // num_heads) ** -0.5)
    weights = (scores if mask is None or late else scores.masked_fill(~mask, -1e9)).softmax(-1)
    heads = (weights * mask if late else weights) @ v
    return (heads.transpose(1, 2) if join else heads).reshape(B, T, D) @ Wo.T


def block(x, attend, feed_forward, norm_1, norm_2):
    y = x + attend(norm_1(x))
    return y + feed_forward(norm_2(y))


def post_norm(x, attend, feed_forward, norm_1, norm_2):
    y = norm_1(x + attend(x))
    return norm_2(y + feed_forward(y))


def patches(images, size):
    squares = [
        images[:, row : row + size, column : column + size].flatten(1)
        for row in range(0, images.shape[1], size)
        for column in range(0, images.shape[2], size)
    ]
    return torch.stack(squares, dim=1)


def norm(x, gain, bias):
    return functional.layer_norm(x, x.shape[-1:], gain, bias)


RIGHT = {
    "masked_softmax": masked_softmax,
    "additive_scores": additive_scores,
    "context": lambda w, v: torch.einsum("bs,bsv->bv", w, v),
    "attention": attention,
    "sinusoids": sinusoids,
    "causal_mask": lambda n: ~torch.nn.Transformer.generate_square_subsequent_mask(n).isinf(),
    "multi_head": multi_head,
    "layer_norm": norm,
    "block": block,
    "patches": patches,
}

WRONG = [
    ("masked_softmax", lambda s, m: s.softmax(-1), "mask is not used"),
    ("masked_softmax", lambda s, m: s.softmax(-1) * m, "left out before the sum"),
    ("masked_softmax", lambda s, m: (s * m).softmax(-1), "exp(0) is one"),
    ("masked_softmax", lambda s, m: masked_softmax(s, ~m).nan_to_num(0.2), "mask is turned round"),
    ("masked_softmax", lambda s, m: s.exp() * m / (s.exp() * m).sum(-1, keepdim=True), "overflow"),
    ("masked_softmax", lambda s, m: s.masked_fill(~m, -20.0).softmax(-1), "none at all"),
    ("masked_softmax", lambda s, m: s.masked_fill(~m, -1e9).softmax(1), "over the queries"),
    ("additive_scores", lambda q, k, W, U, v: additive_scores(q, k, W, U, v).squeeze(), "batch of one text"),
    ("additive_scores", lambda q, k, W, U, v: additive_scores(q, k, W, U, v, act=lambda x: x), "tanh is missing"),
    ("additive_scores", lambda q, k, W, U, v: additive_scores(0 * q, k, W, U, v), "query is not used"),
    ("additive_scores", lambda q, k, W, U, v: additive_scores(q, k, U, W, v), "swapped"),
    ("additive_scores", lambda q, k, W, U, v: additive_scores(q, k, W, U, v).softmax(-1), "weights already"),
    ("context", lambda w, v: (w[:, None] @ v).squeeze(), "batch of one text"),
    ("context", lambda w, v: v.mean(1), "plain mean"),
    ("context", lambda w, v: w[..., None] * v, "not summed yet"),
    ("context", lambda w, v: v[torch.arange(2), w.argmax(1)], "largest weight"),
    ("context", lambda w, v: (w[..., None] * v).mean(1), "sum to one already"),
    ("context", lambda w, v: (w.detach()[..., None] * v).sum(1), "no gradient"),
    ("attention", lambda Q, K, V, m=None: attention(Q, K, V, m, scale=1.0), "not scaled"),
    ("attention", lambda Q, K, V, m=None: attention(Q, K, V, m, scale=1 / Q.shape[-1]), "its root"),
    ("attention", lambda Q, K, V, m=None: attention(Q, K, V), "what comes after"),
    ("attention", attention_masked_late, "do not sum to one"),
    ("attention", lambda Q, K, V, m=None: attention(Q, K, K, m), "keys are averaged"),
    ("attention", lambda Q, K, V, m=None: attention(Q, K, V, m)[0], "returns one value"),
    ("attention", lambda Q, K, V, m=None: attention(Q, K, V, m, scale=1 / 3), "without a mask"),
    ("sinusoids", lambda n, d: torch.cat([sinusoids(n, d)[:, ::2], sinusoids(n, d)[:, 1::2]], 1), "take turns"),
    ("sinusoids", lambda n, d: sinusoids(n, d).view(n, -1, 2).flip(2).flatten(1), "sine and cosine are swapped"),
    ("sinusoids", lambda n, d: sinusoids(n, d, base=100.0), "i / width"),
    ("sinusoids", lambda n, d: sinusoids(n, d, first=1), "first position is 0"),
    ("sinusoids", lambda n, d: sinusoids(n, d).double(), "of type torch.float64"),
    ("causal_mask", lambda n: torch.ones(n, n).triu().bool(), "into the future"),
    ("causal_mask", lambda n: torch.ones(n, n).tril(-1).bool(), "may not see itself"),
    ("causal_mask", lambda n: torch.ones(n, n).triu(1).bool(), "swapped"),
    ("causal_mask", lambda n: torch.ones(n, n).tril(), "of type torch.float32"),
    ("multi_head", lambda x, q, k, v, o, n, m=None: multi_head(x, q, k, v, o, 1, m), "one head only"),
    ("multi_head", lambda x, q, k, v, o, n, m=None: multi_head(x, q, k, v, o, n), "not causal"),
    ("multi_head", lambda x, q, k, v, o, n, m=None: multi_head(x, q, k, v, torch.eye(8), n, m), "Wo is missing"),
    ("multi_head", lambda x, *a: cut_heads(x, *a, cut=False), "cut across the tokens"),
    ("multi_head", lambda x, *a: cut_heads(x, *a, join=False), "joined across the tokens"),
    ("multi_head", lambda x, *a: cut_heads(x, *a, scale=8**-0.5), "whole width"),
    ("multi_head", lambda x, *a: cut_heads(x, *a, late=True), "do not sum to one"),
    ("layer_norm", lambda x, g, b: (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True) * g + b, "less one"),
    ("layer_norm", lambda x, g, b: norm(x, None, b), "gain is missing"),
    ("layer_norm", lambda x, g, b: norm(x, g, None), "the bias is missing"),
    (
        "layer_norm",
        lambda x, g, b: functional.batch_norm(x.flatten(0, 1), None, None, g, b, True).view(x.shape),
        "batch",
    ),
    ("block", post_norm, "norms stand behind"),
    ("block", lambda x, a, f, n, m: f(m(a(n(x)))), "both residual"),
    ("block", lambda x, a, f, n, m: block(x, a, f, n, n), "first norm is used twice"),
    ("block", lambda x, a, f, n, m: x + a(n(x)), "feed-forward part is missing"),
    ("patches", lambda x, n: x.reshape(len(x), -1, n * n), "strips"),
    ("patches", lambda x, n: patches(x, 2), "squares of 3 by 3"),
    ("patches", lambda x, n: patches(x.mT, n), "read transposed"),
    ("patches", lambda x, n: patches(x, n).unflatten(2, (n, n)).mT.flatten(2), "within a square"),
    ("patches", lambda x, n: patches(x, n).unflatten(2, (n, n)), "two-dimensional"),
]
