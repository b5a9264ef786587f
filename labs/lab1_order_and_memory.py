# %% [markdown]
# # Lab 1: The ball, or why order and memory matter
#
# **60 to 75 minutes.** You need: tensors in PyTorch, a little linear algebra.
#
# A photograph shows where a ball is. It does not show where the ball is going. A few photographs *in order* do. In
# this lab you build forecasters with more and more memory, and measure what each bit of memory is worth.
#
# After this lab you can
#
# 1. turn a sequence into examples (a window of the past, a target in the future) without giving the answer away;
# 2. say what a model without memory, a fixed window and a recurrent net can and cannot know;
# 3. write the loop that every recurrent net is;
# 4. show by an experiment that a model uses the *order* of its inputs.
#
# **How it works.** Cells with `# YOUR CODE HERE` are yours. The cell below each of them runs a check, which says in
# one sentence what is wrong, as often as you like. Hints are folded: try without them first.
#
# **To hand in:** this notebook with all checks green, the table of errors of section 5, and your answers to the two
# open questions at the end.

# %%
import matplotlib.pyplot as plt
import torch

from seqnlp.data import BOX, simulate_balls
from seqnlp.labs import check, size


torch.manual_seed(0)
torch.set_num_threads(1)

# %% [markdown]
# ## 1. Balls in a box
#
# `simulate_balls` throws balls into a box of 4 by 3 meters. There is gravity, walls throw the ball back with a part of
# its speed, and each measurement is off by about a centimeter. Between two measurements lie 0.05 seconds.

# %%
STEP = 0.05  # seconds between two measurements
train = torch.tensor(simulate_balls(size(1500, 200), num_steps=30, seed=0), dtype=torch.float32)
test = torch.tensor(simulate_balls(size(500, 100), num_steps=30, seed=1), dtype=torch.float32)
print(train.shape, "(balls, time steps, coordinates: meters from the left wall and above the floor)")

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharex=True, sharey=True, layout="constrained")
path = test[(test[:, 12] - test[:, 0]).norm(dim=1).argmax()]
axes[0].plot(*path[9], "o", color="black")
axes[0].set_title("One photograph: where will it be in 0.15 seconds?")
axes[1].plot(*path[:10].T, "o-", color="gray", label="the past")
axes[1].plot(*path[9:13].T, "x--", color="tab:blue", label="what comes")
axes[1].set_title("Ten photographs in order")
axes[1].legend()
for axis in axes:
    axis.set(xlim=(0, BOX[0]), ylim=(0, BOX[1]), xlabel="meters from the left wall")
axes[0].set_ylabel("meters above the floor")
plt.show()

# %% [markdown]
# ## 2. From a path to examples
#
# A learner needs pairs: what is known (the input) and what is asked for (the target). From one path of $T$ places we
# cut a **window** of `length` places at every possible start $s$; the target is the place `ahead` steps after the
# *last* place of the window:
#
# $$\text{input}_s = (x_s, x_{s+1}, \dots, x_{s+\text{length}-1}), \qquad
# \text{target}_s = x_{s+\text{length}-1+\text{ahead}}$$
#
# The classic mistake is to be off by one, so that the target already lies in the window. The model then looks
# marvelous, until you use it.
#
# **Exercise 1.1.** Cut one path into windows and targets.


# %%
def windows(path, length, ahead):
    """
    Args:
        path: `(T, 2)`, the places of one ball.
        length: How many places a window has.
        ahead: How many steps after its last place the target lies.

    Returns:
        Windows `(N, length, 2)` and targets `(N, 2)`, one for each start at which both fit into the path.
    """
    ### BEGIN SOLUTION
    count = len(path) - length - ahead + 1
    inputs = torch.stack([path[start : start + length] for start in range(count)])
    targets = path[length - 1 + ahead :]
    return inputs, targets
    ### END SOLUTION


# %%
check("windows", windows)

# %% [markdown] tags=["hint"]
# The last start is the one at which the target is the last place of the path: `s + length - 1 + ahead = T - 1`. Solve
# for `s`, and mind that `range` leaves out its end.

# %%
AHEAD = 3  # 0.15 seconds
LONGEST = 12


def examples(paths):
    """Windows of all paths. A shorter window is the end of one of these, so every length gets the same targets."""
    parts = [windows(path, LONGEST, AHEAD) for path in paths]
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))


known, wanted = examples(train)
inputs, targets = examples(test)
print(f"{len(inputs):,} windows to test on, of shape {tuple(inputs.shape[1:])}")

# %% [markdown]
# ## 3. How good is a forecast?
#
# We measure in meters: the root of the mean squared *distance* between the place that was predicted and the place that
# came,
#
# $$\text{RMSE} = \sqrt{\frac1N \sum_{n=1}^N \lVert \hat y_n - y_n \rVert^2}, \qquad
# \lVert (a, b) \rVert^2 = a^2 + b^2.$$
#
# **Exercise 1.2.** Write it.


# %%
def rmse(predictions, targets):
    """Root of the mean squared distance of predictions and targets, both `(N, 2)`: one number, in meters."""
    ### BEGIN SOLUTION
    return ((predictions - targets) ** 2).sum(dim=1).mean().sqrt()
    ### END SOLUTION


# %%
check("rmse", rmse)

# %% [markdown]
# ### Without memory, and with the least memory there is
#
# A forecaster that sees one place can do little better than to say "it stays there". One that sees two places knows a
# speed, and can draw the straight line on:
#
# $$\hat x_{t+a} = x_t + a\,(x_t - x_{t-1})$$
#
# **Exercise 1.3.** Draw the line on.


# %%
def straight_line(window, ahead):
    """The line through the last two places of each window, `(N, length, 2)`, carried on by `ahead` steps: `(N, 2)`."""
    ### BEGIN SOLUTION
    last, before = window[:, -1], window[:, -2]
    return last + ahead * (last - before)
    ### END SOLUTION


# %%
check("straight_line", straight_line)

# %%
errors = {
    "the last place": float(rmse(inputs[:, -1], targets)),
    "the straight line": float(rmse(straight_line(inputs, AHEAD), targets)),
}
for name, error in errors.items():
    print(f"{name:20} {error:.3f} m")

# %% [markdown]
# Speed is worth a lot. But the line knows no gravity, and it trusts two noisy places fully.
#
# ## 4. A linear model over a window
#
# Let the data say how much each place of the window counts. Stack the window into one row $v$ and look for the matrix
# $A$ and the bias $b$ with the least squared error,
#
# $$\hat y = v A + b = (v, 1) \begin{pmatrix} A \\ b \end{pmatrix}, \qquad
# \min_{A, b} \sum_n \lVert \hat y_n - y_n \rVert^2 .$$
#
# `torch.linalg.lstsq` solves it in one line, once each row has a 1 at its end.
#
# **Exercise 1.4.** Find the weights.


# %%
def least_squares(features, targets):
    """The best weights for features `(N, D)` and targets `(N, K)`: a matrix `(D + 1, K)`, the bias in its last row."""
    ### BEGIN SOLUTION
    with_one = torch.cat([features, torch.ones(len(features), 1)], dim=1)
    return torch.linalg.lstsq(with_one, targets).solution
    ### END SOLUTION


# %%
check("least_squares", least_squares)

# %% [markdown] tags=["hint"]
# `torch.cat([..., ...], dim=1)` puts a column of ones beside the features. The result of `torch.linalg.lstsq` has an
# attribute `solution`.


# %%
def fit_linear(features, wanted):
    """
    In double precision: neighboring places are so alike that in single precision `lstsq` takes what tells them apart
    for rounding errors, and drops it.
    """
    return least_squares(features.double(), wanted.double()).float()


def apply_linear(weights, features):
    """What the linear model says."""
    return features @ weights[:-1] + weights[-1]


lengths = [1, 2, 3, 4, 6, 8, 12]
linear = {}
for length in lengths:
    weights = fit_linear(known[:, -length:].flatten(1), wanted)
    linear[length] = float(rmse(apply_linear(weights, inputs[:, -length:].flatten(1)), targets))
    print(f"linear, window of {length:2}: {linear[length]:.3f} m, {weights.numel()} weights")

# %% [markdown]
# Two things to see. The second place helps by much, since with it comes the speed; more places help by little. And
# each length is **another model**, with other weights: the model for twelve places cannot read three.
#
# **Question.** With a window of one place the linear model is better than "it stays there". Where does it get that
# from?

# %% [markdown] tags=["answer"]
# From the bias and from the place itself: gravity pulls every ball down by about the same distance in 0.15 seconds,
# and a ball near a wall can only come back. It knows averages over all balls, though nothing about the speed of this
# one.

# %% [markdown]
# ## 5. A state that is carried along
#
# A recurrent net does not get the window in one piece. It has a **state** $h$, a vector, and reads one place after the
# other; each place changes the state by the *same* function:
#
# $$h_t = \text{step}(x_t, h_{t-1}), \qquad h_0 = 0.$$
#
# What the step is we leave to lab 2 (here it is torch's). The loop around it is the heart of every recurrent net.
#
# **Exercise 1.5.** Read a sequence, and return the state after its last step.


# %%
def last_state(step, inputs, h):
    """
    Args:
        step: Takes one time step of all rows, `(B, D)`, and the state, `(B, H)`; gives the new state, `(B, H)`.
        inputs: `(B, T, D)`, any number of steps `T`.
        h: The state before the first step.

    Returns:
        The state after the last step, `(B, H)`.
    """
    ### BEGIN SOLUTION
    for t in range(inputs.shape[1]):
        h = step(inputs[:, t], h)
    return h
    ### END SOLUTION


# %%
check("last_state", last_state)

# %% [markdown] tags=["hint"]
# A `for` loop over `inputs.shape[1]` steps with two lines in it. `inputs[:, t]` is the step `t` of all rows.

# %% [markdown]
# The rest of the net is small: after the last place, a linear map says how far the ball will go from there. We train
# it on windows of *different* lengths, since the loop takes them all.


# %%
class Forecaster(torch.nn.Module):
    """Reads places one by one, and says where the ball will be `AHEAD` steps after the last of them."""

    def __init__(self, width=64):
        super().__init__()
        self.step = torch.nn.RNNCell(2, width)
        self.change = torch.nn.Linear(width, 2)

    def forward(self, places):
        start = torch.zeros(len(places), self.step.hidden_size)
        centered = places - torch.tensor(BOX) / 2  # small numbers around zero are easier to learn from
        return places[:, -1] + self.change(last_state(self.step, centered, start))


def fit(model, steps, seed=0):
    """Train on windows of random lengths; gives the mean loss of each tenth of the way."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses = []
    for _ in range(steps):
        rows = torch.randint(len(known), (128,), generator=generator)
        length = int(torch.randint(1, LONGEST + 1, (1,), generator=generator))
        loss = ((model(known[rows, -length:]) - wanted[rows]) ** 2).sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return [sum(part) / len(part) for part in torch.tensor(losses).chunk(10)]


forecaster = Forecaster()
print("loss, square meters:", " ".join(f"{loss:.3f}" for loss in fit(forecaster, size(4000, 60))))

# %%
with torch.no_grad():
    recurrent = {length: float(rmse(forecaster(inputs[:, -length:]), targets)) for length in lengths}
errors |= {
    "linear, 1 place": linear[1],
    "linear, 12 places": linear[12],
    "recurrent, 1 place": recurrent[1],
    "recurrent, 12 places": recurrent[12],
}
print("Table of errors")
for name, error in errors.items():
    print(f"{name:22} {error:.3f} m")

# %%
figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
axis.plot(lengths, [linear[n] for n in lengths], "s--", color="tab:green", label="linear: one model per length")
axis.plot(lengths, [recurrent[n] for n in lengths], "o-", color="tab:red", label="recurrent: one model for all")
axis.axhline(errors["the last place"], color="gray", ls=":", label="it stays where it is")
axis.axhline(errors["the straight line"], color="black", ls="-.", lw=1, label="straight line through two places")
axis.set(xlabel="places that the model is shown", ylabel="error after 0.15 s (RMSE, meters)", ylim=(0, None))
axis.set_title("What memory is worth")
axis.legend()
plt.show()

# %% [markdown]
# The recurrent net has one set of weights for all lengths. That has a price (shown two places, it is behind the linear
# model that was made for two) and a gain: from three places on it is ahead, and far ahead in the end. It goes
# where linear models cannot follow: no sum of places, however weighted, says that a ball turns round at a wall.

# %%
with torch.no_grad():
    said = forecaster(inputs)
weights = fit_linear(known.flatten(1), wanted)
linear_said = apply_linear(weights, inputs.flatten(1))
distances = (said - targets).norm(dim=1), (linear_said - targets).norm(dim=1)
rows = (distances[1] - distances[0]).argsort(descending=True)[:: max(1, len(inputs) // 40)][:3]
figure, axes = plt.subplots(1, 3, figsize=(11, 3.3), sharex=True, sharey=True, layout="constrained")
for axis, row in zip(axes, rows, strict=True):
    axis.plot(*inputs[row].T, "o-", color="gray", ms=3, label="shown")
    axis.plot(*targets[row], "*", color="tab:blue", ms=13, label="came")
    axis.plot(*said[row], "o", color="tab:red", label="recurrent")
    axis.plot(*linear_said[row], "s", color="tab:green", label="linear")
    axis.set(xlim=(-0.4, BOX[0] + 0.4), ylim=(-0.4, BOX[1] + 0.4), xlabel="meters from the left wall")
    axis.add_patch(plt.Rectangle((0, 0), *BOX, fill=False, lw=0.8))
axes[0].set_ylabel("meters above the floor")
axes[0].legend(fontsize=8, loc="lower right")
figure.suptitle("Where walls matter, a linear model walks through them")
plt.show()

# %% [markdown]
# ## 6. Does it read the order?
#
# "The dog bites the man" and "the man bites the dog" have the same words. A model that only *counts* what it sees
# cannot tell them apart. Let us test ours: we give the net the same twelve places, in another order.

# %%
orders = {
    "as it was": torch.arange(LONGEST),
    "backwards": torch.arange(LONGEST).flip(0),
    "shuffled": torch.randperm(LONGEST, generator=torch.Generator().manual_seed(1)),
}
average = fit_linear(known.mean(dim=1), wanted)
print(f"{'':12} {'recurrent':>12} {'linear over 12':>16} {'linear over their mean':>24}")
for name, order in orders.items():
    turned = inputs[:, order]
    with torch.no_grad():
        found = rmse(forecaster(turned), targets)
    over_window = rmse(apply_linear(weights, turned.flatten(1)), targets)
    over_mean = rmse(apply_linear(average, turned.mean(dim=1)), targets)
    print(f"{name:12} {found:10.3f} m {over_window:14.3f} m {over_mean:22.3f} m")

# %% [markdown]
# The model over the mean does not notice at all: it is a *bag* of places, and the best that a bag can do is poor. The
# other two had learned what comes after what; in another order they are lost.
#
# In seqnlp the same experiment, with an LSTM that predicts twenty steps, is one command:
#
# ```bash
# seqnlp train trajectory
# ```
#
# ## To hand in
#
# 1. This notebook, with the five checks green.
# 2. The table of errors, and one sentence on each of its rows.
# 3. Your answers to the open questions, half a page in all.
#
# **Open question 1.** The recurrent net keeps one vector of 64 numbers, however long the past is. Here that was
# enough. Describe a task with a sequence for which *no* vector of fixed size can be enough, and say why.
#
# **Open question 2.** A window of twelve places and a recurrent net that reads twelve places see the same numbers.
# What does the recurrent net assume about the world that the window does not? When is that assumption wrong?
