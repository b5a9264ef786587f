"""Checks of lab 6: masked softmax, Bahdanau's scores, the context, and attention from queries, keys and values."""

import torch

from .checking import Wrong, call, case, exercise, gradient_reaches, randn, same, tensor, unpack, with_gradients


@exercise
def masked_softmax(answer):
    """`masked_softmax(scores, mask)`: weights that sum to one over the keys that may be looked at."""
    scores = randn(3, 5)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 1, 1, 0, 1]]).bool()
    plain = scores.softmax(-1)
    leaf = scores.clone().requires_grad_()
    got = tensor(call(answer, leaf, mask), "the table of weights")
    right = scores.masked_fill(~mask, -1e9).softmax(-1)
    same(
        got,
        right,
        {
            "the mask is not used: padding gets weight.": plain,
            "the mask is turned round: where it is true a query may look.": scores.masked_fill(mask, -1e9).softmax(-1),
            "the weights do not sum to one: what is masked must be left out before the sum.": plain * mask,
            "the scores are set to zero, and exp(0) is one: padding gets weight still.": (scores * mask).softmax(-1),
            "the softmax runs over the rows, not over the keys.": scores.masked_fill(~mask, -1e9).softmax(0),
            "the numbers do not sum to one: divide by their sum.": scores.exp() * mask,
        },
        "the table of weights",
    )
    gradient_reaches(got.square(), {"the scores": leaf})
    if (got[~mask] != 0).any():
        raise Wrong("what is masked has little weight; it is to have none at all.")
    with case("at scores of some hundreds, where `exp` overflows"):
        right = (500 * scores).masked_fill(~mask, -1e9).softmax(-1)
        same(call(answer, 500 * scores, mask), right, what="the table of weights")
    with case("for several queries of each text"):
        scores, mask = randn(2, 3, 5, seed=1), mask.expand(2, 3, 5)
        hidden = scores.masked_fill(~mask, -1e9)
        mistakes = {"the softmax runs over the queries, not over the keys.": hidden.softmax(1)}
        same(call(answer, scores, mask), hidden.softmax(-1), mistakes, "the table of weights")


@exercise
def additive_scores(answer):
    """`additive_scores(query, keys, W, U, v)`: how well a query fits each key (Bahdanau et al. 2015)."""
    query, keys = randn(2, 4), randn(2, 6, 4, seed=1)
    W, U, v = randn(4, 4, seed=2), randn(4, 4, seed=3), randn(4, seed=4)
    leaves = with_gradients(W=W, U=U, v=v)
    got = tensor(call(answer, query, keys, *leaves.values()), "the table of scores")
    asked, told = (query @ W.T).unsqueeze(1), keys @ U.T
    right = torch.tanh(asked + told) @ v
    same(
        got,
        right,
        {
            "the tanh is missing.": (asked + told) @ v,
            "the query is not used: every query would look at the same places.": torch.tanh(told) @ v,
            "the keys are not used.": (torch.tanh(asked) @ v).expand(2, 6),
            "W and U are swapped: W is for the query.": torch.tanh((query @ U.T).unsqueeze(1) + keys @ W.T) @ v,
            "a matrix is turned: each of its rows makes one number.": torch.tanh((query @ W).unsqueeze(1) + keys @ U)
            @ v,
            "v is missing: one number per key is asked for, not a vector.": torch.tanh(asked + told),
            "v is missing: the components are summed as they are.": torch.tanh(asked + told).sum(-1),
            "these are weights already: the softmax comes later.": right.softmax(-1),
            "that is a product of query and key; here they are added, inside the tanh.": (torch.tanh(asked) * told)
            @ v,
        },
        "the table of scores",
    )
    gradient_reaches(got, leaves)
    with case("for a batch of one text"):
        same(call(answer, query[:1], keys[:1], W, U, v), right[:1], what="the table of scores")


@exercise
def context(answer):
    """`context(weights, values)`: the weighted average of the values."""
    weights, values = randn(2, 5).softmax(-1), randn(2, 5, 3, seed=1)
    weighted = weights.unsqueeze(-1) * values
    leaf = weights.clone().requires_grad_()
    got = tensor(call(answer, leaf, values), "the context")
    same(
        got,
        weighted.sum(1),
        {
            "the weighted values are not summed yet.": weighted,
            "the weights are not used: that is the plain mean.": values.mean(1),
            "that is the mean of the weighted values: the weights sum to one already.": weighted.mean(1),
            "that is the value with the largest weight: no gradient passes such a choice.": values[
                torch.arange(2), weights.argmax(1)
            ],
            "the sum runs over the components, not over the places.": weighted.sum(2),
        },
        "the context",
    )
    gradient_reaches(got, {"the weights": leaf})
    with case("for a batch of one text"):
        same(call(answer, weights[:1], values[:1]), weighted[:1].sum(1), what="the context")


@exercise
def attention(answer):
    """`attention(Q, K, V, mask)`: scaled dot-product attention (Vaswani et al. 2017), with its weights."""
    Q, K, V = 2 * randn(2, 4, 9), randn(2, 4, 9, seed=1), randn(2, 4, 9, seed=2)
    mask = torch.ones(4, 4).tril().bool().expand(2, 4, 4)

    def run(scale=1 / 3, dim=-1, hidden=~mask, keys=K, values=V):
        weights = (Q @ keys.transpose(1, 2) * scale).masked_fill(hidden, -1e9).softmax(dim)
        return weights @ values, weights

    def masked_late():
        weights = (Q @ K.transpose(1, 2) / 3).softmax(-1) * mask
        return weights @ V, weights

    leaves = with_gradients(Q=Q, K=K, V=V)
    got, weights = unpack(call(answer, *leaves.values(), mask), ("the output", "the weights"))
    right, right_weights = run()
    mistakes = {
        "the scores are not scaled: with wide vectors the softmax is saturated.": run(scale=1),
        "the scores are divided by the width; its root is asked for.": run(scale=1 / 9),
        "the scores are multiplied by the root of the width; they are to be divided.": run(scale=3),
        "the softmax runs over the queries: each query's weights are to sum to one.": run(dim=1),
        "the mask is not used: a query sees what comes after it.": run(hidden=torch.zeros_like(mask)),
        "the weights do not sum to one: what is masked must be left out before the softmax.": masked_late(),
        "keys and values are swapped: values are what is averaged.": run(keys=V, values=K),
        "the keys are averaged; it is the values that are told.": run(values=K),
        "the mask is turned round: where it is true a query may look.": run(hidden=mask),
    }
    same(weights, right_weights, {sentence: value[1] for sentence, value in mistakes.items()}, "the table of weights")
    same(got, right, {sentence: value[0] for sentence, value in mistakes.items()}, "the output")
    gradient_reaches(tensor(got), leaves)
    narrow, fewer, told = Q[..., :4], K[:, :3, :4], randn(2, 3, 5, seed=3)
    found, _ = unpack(call(answer, narrow, fewer, told, None), ("the output", "the weights"))
    right = (narrow @ fewer.transpose(1, 2) / 2).softmax(-1) @ told
    same(found, right, {}, "the output without a mask, for queries of width 4, three keys and values of width 5,")
    return "right: queries ask, keys are compared, values are told."
