"""Order, recurrence, time and gates: right answers, many of torch's own, and wrong ones with their sentences."""

import torch
from torch.nn import functional


# Lab 1.


def windows(path, length, ahead):
    starts = range(len(path) - length - ahead + 1)
    return torch.stack([path[s : s + length] for s in starts]), torch.stack(
        [path[s + length - 1 + ahead] for s in starts]
    )


def windows_with(select):
    return lambda path, length, ahead: (windows(path, length, ahead)[0], select(path, length, ahead))


def append_ones(features):
    return torch.cat([features, torch.ones(len(features), 1)], dim=1)


def least_squares_in_single_precision(features, targets):
    with_one = torch.ones(len(features), features.shape[1] + 1)
    with_one[:, :-1] = features
    return torch.linalg.pinv(with_one) @ targets.float()


def last_state(step, inputs, h):
    for x in inputs.unbind(1):
        h = step(x, h)
    return h


def states_of(step, inputs, h, restart=False):
    states = []
    for x in inputs.unbind(1):
        new = step(x, h)
        states.append(new)
        h = h if restart else new
    return torch.stack(states, 1), h


def only_the_last(step, inputs, h):
    return step(inputs[:, -1], h)


def overwrite(window, ahead):
    window[:, -1] += ahead * (window[:, -1] - window[:, -2])
    return window[:, -1]


# Lab 2.


def elman_step(x, h, W, U, b):
    return torch.tanh(functional.linear(x, W) + functional.linear(h, U, b))


def next_characters(ids, length):
    return next_characters_of(ids, length, (len(ids) - 1) // length)


def next_characters_of(ids, length, rows):
    return ids[: rows * length].view(rows, length), ids[1 : rows * length + 1].view(rows, length)


def clamped_probabilities(logits, temperature):
    scores = (logits / temperature).clamp(max=50).exp()
    return scores / scores.sum(-1, keepdim=True)


# Lab 3.


def bptt(xs, states, target, U, slope=lambda h: 1 - h * h, turn=lambda U: U.T, steps=None, sign=1):
    d = sign * (states[-1] - target)
    dW, dU, db = torch.zeros(len(d), xs.shape[1]).to(xs), torch.zeros_like(U), torch.zeros_like(d)
    for t in list(range(len(xs), 0, -1))[:steps]:
        d = d * slope(states[t])
        dW, dU, db = dW + d[:, None] * xs[t - 1], dU + d[:, None] * states[t - 1], db + d
        d = turn(U) @ d
    return dW, dU, db


def gradient_norms(jacobians, last):
    norms = [last.norm()]
    for J in reversed(list(jacobians)):
        last = last @ J
        norms.append(last.norm())
    return norms


def norm(gradients):
    return torch.cat([g.flatten() for g in gradients]).norm()


def clip_in_place(gradients, max_norm):
    for gradient, clipped in zip(gradients, clip(gradients, max_norm), strict=True):
        gradient.copy_(clipped)
    return gradients


def clip(gradients, max_norm):
    return [g * min(1.0, (max_norm / norm(gradients)).item()) for g in gradients]


# Lab 4: torch's own cells are the right answers.


def lstm_cell(x, h, c, W, U, b):
    gates = functional.linear(x, W, b) + functional.linear(h, U)
    i, f, g, o = gates.chunk(4, dim=1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def torch_lstm(x, h, c, W, U, b):
    return torch.lstm_cell(x, (h, c), W, U, b, torch.zeros_like(b))


def with_blocks(order, num_gates):
    def swap(value):
        blocks = value.chunk(num_gates)
        return torch.cat([blocks[index] for index in order])

    return swap


def swapped_lstm(order):
    swap = with_blocks(order, 4)
    return lambda x, h, c, W, U, b: lstm_cell(x, h, c, swap(W), swap(U), swap(b))


def torch_gru(x, h, W, U, b, c):
    return torch.gru_cell(x, h, W, U, b, c)


def swapped_gru(order):
    swap = with_blocks(order, 3)
    return lambda x, h, W, U, b, c: torch_gru(x, h, swap(W), swap(U), swap(b), swap(c))


def gru_as_in_the_paper(x, h, W, U, b, c):
    (wr, wz, wn), (ur, uz, _) = (x @ W.T + b).chunk(3, 1), (h @ U.T + c).chunk(3, 1)
    n = torch.tanh(wn + functional.linear((wr + ur).sigmoid() * h, U.chunk(3)[2], c.chunk(3)[2]))
    return (wz + uz).sigmoid() * h + (1 - (wz + uz).sigmoid()) * n


def turned_gru(x, h, W, U, b, c):
    sign = torch.ones(len(b), 1)
    sign[len(b) // 3 : 2 * len(b) // 3] = -1  # sigmoid(-a) = 1 - sigmoid(a)
    return torch_gru(x, h, W * sign, U * sign, b * sign[:, 0], c * sign[:, 0])


def open_gate(block):
    def opened(b, value):
        b = b.clone()
        b.view(4, -1)[block] = value
        return b

    return opened


RIGHT = {
    "windows": windows,
    "straight_line": lambda w, ahead: (1 + ahead) * w[:, -1] - ahead * w[:, -2],
    "rmse": lambda p, t: torch.linalg.vector_norm(p - t) / len(p) ** 0.5,
    "least_squares": lambda x, y: torch.linalg.pinv(append_ones(x)) @ y,
    "last_state": last_state,
    "elman_step": elman_step,
    "unroll": states_of,
    "next_characters": next_characters,
    "cross_entropy": functional.cross_entropy,
    "probabilities": lambda logits, t: functional.softmax(logits / t, dim=-1),
    "bptt": bptt,
    "step_jacobian": lambda h, U: torch.diag(1 - h * h) @ U,
    "gradient_norms": gradient_norms,
    "clip": clip,
    "lstm_cell": torch_lstm,
    "gru_cell": torch_gru,
    "lstm_parameters": lambda i, h: sum(p.numel() for p in torch.nn.LSTM(i, h).parameters()) - 4 * h,
    "open_forget_gate": open_gate(1),
}

WRONG = [
    ("windows", windows_with(lambda p, n, a: p[n - 1 : n - 1 + len(p) - n - a + 1]), "given away"),
    ("windows", windows_with(lambda p, n, a: p[n : n + len(p) - n - a + 1]), "one step too early"),
    ("windows", lambda p, n, a: (windows(p, n, a)[0].flip(1), windows(p, n, a)[1]), "turned round"),
    ("windows", lambda p, n, a: tuple(part[:-1] for part in windows(p, n, a)), "last window is missing"),
    ("windows", lambda p, n, a: windows(p, n, a)[0], "returns one value"),
    ("straight_line", lambda w, a: w[:, -1], "speed is missing"),
    ("straight_line", lambda w, a: w[:, -1] - a * (w[:, -1] - w[:, -2]), "wrong sign"),
    ("straight_line", lambda w, a: 2 * w[:, -1] - w[:, -2], "`ahead` is missing"),
    ("straight_line", overwrite, "argument `window` in place"),
    ("rmse", lambda p, t: functional.mse_loss(p, t).sqrt(), "mean over coordinates"),
    ("rmse", lambda p, t: (p - t).norm(dim=1).mean(), "mean distance"),
    ("rmse", lambda p, t: ((p - t) ** 2).sum(1).mean(), "root is missing"),
    ("least_squares", lambda x, y: torch.linalg.pinv(x) @ y, "bias is missing"),
    ("least_squares", lambda x, y: (torch.linalg.pinv(append_ones(x)) @ y).T, "transposed"),
    ("least_squares", lambda x, y: torch.linalg.pinv(append_ones(x).flip(1)) @ y, "not the right numbers"),
    ("least_squares", lambda x, y: torch.linalg.pinv(append_ones(x).roll(1, 1)) @ y, "first row"),
    ("least_squares", least_squares_in_single_precision, "in double precision"),
    ("last_state", lambda s, x, h: last_state(s, x.flip(1), h), "backwards"),
    ("last_state", only_the_last, "carried on"),
    ("last_state", lambda s, x, h: last_state(s, x[:, :-1], h), "last time step is left out"),
    ("last_state", lambda s, x, h: last_state(s, x, h).detach(), "no gradient"),
    ("last_state", lambda s, x, h: states_of(s, x, h)[0], "after every step"),
    ("last_state", lambda s, x, h: last_state(s, x, torch.zeros_like(h)), "does not start from `h`"),
    ("last_state", lambda s, x, h: last_state(s, x.transpose(0, 1), h), "raises ValueError: x is to be one time step"),
    ("elman_step", lambda x, h, W, U, b: elman_step(x, h, W, U, 0 * b), "bias b is missing"),
    ("elman_step", lambda x, h, W, U, b: elman_step(x, 0 * h, W, U, b), "no memory"),
    (
        "elman_step",
        lambda x, h, W, U, b: functional.linear(x, W) + functional.linear(h, U, b),
        "activation is missing",
    ),
    ("elman_step", lambda x, h, W, U, b: elman_step(x, h, W, U.T, b), "U is turned"),
    ("elman_step", lambda x, h, W, U, b: elman_step(x, h, W, U, b).detach(), "no gradient"),
    ("elman_step", lambda x, h, W, U, b: elman_step(x, h, W, U.detach(), b), "no gradient reaches U"),
    ("unroll", lambda s, x, h: (states_of(s, x, h)[0].transpose(0, 1), states_of(s, x, h)[1]), "time stands first"),
    ("unroll", lambda s, x, h: states_of(s, x, h, restart=True), "carried on"),
    ("unroll", lambda s, x, h: (states_of(s, x, h)[0], h), "first one is returned"),
    ("unroll", lambda s, x, h: states_of(s, x, h.detach()), "no gradient"),
    ("next_characters", lambda ids, n: (next_characters(ids, n)[0],) * 2, "only have to copy"),
    (
        "next_characters",
        lambda ids, n: (next_characters(ids, n)[0], next_characters(ids, n)[0].roll(-1, 1)),
        "next row",
    ),
    ("next_characters", lambda ids, n: (ids[:20].view(n, -1).T, next_characters(ids, n)[1]), "down the columns"),
    ("next_characters", lambda ids, n: (ids.unfold(0, n, 1)[:-1], ids.unfold(0, n, 1)[1:]), "overlap"),
    ("next_characters", lambda ids, n: next_characters_of(ids, n, len(ids) // n), "the last target is missing"),
    ("cross_entropy", lambda x, y: functional.cross_entropy(x, y, reduction="sum"), "sum over the targets"),
    ("cross_entropy", lambda x, y: -functional.cross_entropy(x, y), "sign is wrong"),
    ("cross_entropy", lambda x, y: functional.nll_loss(x, y), "softmax is missing"),
    ("cross_entropy", lambda x, y: functional.cross_entropy(x, y) / 0.6931471805599453, "in bits"),
    ("cross_entropy", lambda x, y: functional.nll_loss(x.softmax(-1).log(), y), "overflow"),
    ("cross_entropy", lambda x, y: functional.cross_entropy(x.softmax(-1), y), "a softmax too many"),
    ("cross_entropy", lambda x, y: functional.nll_loss((x.softmax(-1) + 1e-9).log(), y), "logits of some hundreds"),
    ("probabilities", lambda x, t: (x * t).softmax(-1), "hot and cold"),
    ("probabilities", clamped_probabilities, "at a low temperature"),
    ("probabilities", lambda x, t: x.softmax(-1), "temperature is not used"),
    ("probabilities", lambda x, t: torch.exp(x / t), "sum to one"),
    ("probabilities", lambda x, t: torch.exp(x / t) / torch.exp(x / t).sum(-1, keepdim=True), "overflows"),
    ("bptt", lambda xs, s, y, U: bptt(xs, s, y, U, slope=lambda h: 1), "slope of tanh is missing"),
    ("bptt", lambda xs, s, y, U: bptt(xs, s, y, U, steps=1), "stops after the last step"),
    ("bptt", lambda xs, s, y, U: bptt(xs, s, y, U, turn=lambda U: U), "transposed"),
    ("bptt", lambda xs, s, y, U: bptt(xs, s, y, U, sign=-1), "sign is wrong"),
    ("bptt", lambda xs, s, y, U: (lambda g: (g[0], g[1].T, g[2]))(bptt(xs, s, y, U)), "by U is transposed"),
    ("bptt", lambda xs, s, y, U: bptt(xs, s, y, U, steps=3), "over five steps"),
    ("step_jacobian", lambda h, U: U * (1 - h * h), "columns"),
    ("step_jacobian", lambda h, U: U, "slope of tanh is missing"),
    ("step_jacobian", lambda h, U: (torch.diag(1 - h * h) @ U).T, "result is transposed"),
    ("gradient_norms", lambda J, g: gradient_norms(J.flip(0), g), "backwards"),
    ("gradient_norms", lambda J, g: gradient_norms(J.transpose(1, 2), g), "transposed"),
    ("gradient_norms", lambda J, g: gradient_norms(J, g)[::-1], "reverse order"),
    ("gradient_norms", lambda J, g: gradient_norms(J, g)[1:], "before any factor"),
    ("clip", lambda g, m: [clip([part], m)[0] for part in g], "each gradient is clipped alone"),
    ("clip", lambda g, m: [part.clamp(-m, m) for part in g], "each number"),
    ("clip", lambda g, m: [part * m / norm(g) for part in g], "made longer"),
    ("clip", lambda g, m: g, "nothing is clipped"),
    ("clip", clip_in_place, "argument `gradients` in place"),
    ("clip", lambda g, m: [q / norm(g) * min(norm(g), m) for q in g], "stay zero"),
    ("lstm_cell", swapped_lstm((1, 0, 2, 3)), "gates i and f are swapped"),
    ("lstm_cell", swapped_lstm((0, 1, 3, 2)), "gates g and o are swapped"),
    ("lstm_cell", lambda x, h, c, W, U, b: lstm_cell(x, h, c, W, U, 0 * b), "bias b is missing"),
    ("lstm_cell", lambda x, h, c, W, U, b: lstm_cell(x, 0 * h, c, W, U, b), "h, is not used"),
    ("lstm_cell", lambda x, h, c, W, U, b: lstm_cell(x, h, c, W, U, b)[::-1], "wrong order"),
    ("lstm_cell", lambda x, h, c, W, U, b: lstm_cell(x, h, c, W, U, b)[0], "returns one value"),
    ("lstm_cell", lambda x, h, c, W, U, b: tuple(s.detach() for s in lstm_cell(x, h, c, W, U, b)), "no gradient"),
    ("gru_cell", turned_gru, "turned round"),
    ("gru_cell", swapped_gru((1, 0, 2)), "gates r and z are swapped"),
    ("gru_cell", gru_as_in_the_paper, "reset gate multiplies h"),
    ("gru_cell", lambda x, h, W, U, b, c: torch_gru(x, h, W, U, b, 0 * c), "bias c is missing"),
    ("lstm_parameters", lambda i, h: 4 * h * (i + h), "bias is missing"),
    ("lstm_parameters", lambda i, h: h * (i + h + 1), "one gate"),
    ("lstm_parameters", lambda i, h: sum(p.numel() for p in torch.nn.LSTM(i, h).parameters()), "one bias too many"),
    ("open_forget_gate", open_gate(0), "input gate's block"),
    ("open_forget_gate", lambda b, value: torch.full_like(b, value), "all gates"),
    ("open_forget_gate", lambda b, value: b, "nothing is changed"),
    ("open_forget_gate", lambda b, value: b.view(4, -1)[1].fill_(value), "changes its argument `b` in place"),
]
