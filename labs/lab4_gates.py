# %% [markdown]
# # Lab 4: Gates
#
# **75 to 90 minutes.** You need: labs 2 and 3.
#
# In lab 3 the gradient had to pass through a matrix and a tanh at every step, and vanished. A gated cell keeps a
# memory to which things are *added*, and learns when to write, when to keep and when to read. In this lab you write an
# LSTM and a GRU from their equations, show that they are torch's, and measure what they remember.
#
# After this lab you can
#
# 1. write an LSTM and a GRU step, with the gates stacked as every library has them;
# 2. check an implementation against another one, to the sixth digit;
# 3. count the parameters of a cell;
# 4. say what the forget gate does to a gradient, and why its bias starts at one or more;
# 5. measure how far back a net remembers, and look at a gate while it does.
#
# **To hand in:** this notebook with all checks green, the table of section 5 with two sentences on it, and your
# answers to the two open questions.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from IPython.display import Image

from seqnlp import RecurrentConfig, RecurrentModel
from seqnlp.diagnostics import DEPENDENCY_TASKS, measure_dependency
from seqnlp.labs import check, size
from seqnlp.visualization.dependency import plot_dependency


torch.manual_seed(0)
torch.set_num_threads(1)

# %% [markdown]
# ## 1. The LSTM
#
# An LSTM has two states: the hidden state $h$, which others see, and the cell $c$, its memory. Three **gates** between
# 0 and 1 decide, for each component, what is written ($i$), kept ($f$) and let out ($o$); the **candidate** $g$ is
# what may be written:
#
# $$\begin{aligned}
# i &= \sigma(W_i x + U_i h + b_i) & f &= \sigma(W_f x + U_f h + b_f) \\
# g &= \tanh(W_g x + U_g h + b_g)  & o &= \sigma(W_o x + U_o h + b_o) \\
# c' &= f \odot c + i \odot g & h' &= o \odot \tanh(c')
# \end{aligned}$$
#
# Four products with $W$ and four with $U$ would be slow. So the four matrices are stacked into one of $4H$ rows, in
# the order **i, f, g, o** (torch's), and so are the biases. One product, then `chunk` the result into four.
#
# **Exercise 4.1.** Write the step. (torch has two biases, one beside $W$ and one beside $U$; only their sum matters,
# so here there is one.)


# %%
def lstm_cell(x, h, c, W, U, b):
    """
    Args:
        x: `(B, D)`, this step's input.
        h: `(B, H)`, the hidden state before.
        c: `(B, H)`, the cell before.
        W: `(4 * H, D)`, the blocks i, f, g, o one below the other.
        U: `(4 * H, H)`, likewise.
        b: `(4 * H,)`, likewise.

    Returns:
        The new hidden state and the new cell, both `(B, H)`.
    """
    ### BEGIN SOLUTION
    i, f, g, o = (x @ W.T + h @ U.T + b).chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return h, c
    ### END SOLUTION


# %%
check("lstm_cell", lstm_cell)

# %% [markdown] tags=["hint"]
# `(x @ W.T + h @ U.T + b)` is `(B, 4 * H)`; `.chunk(4, dim=-1)` gives four of `(B, H)`. Three of them go through
# `torch.sigmoid`, one through `torch.tanh`.

# %% [markdown]
# ### Is it really an LSTM?
#
# The best test of an implementation is another one. We give your step the weights of `torch.nn.LSTM`, run both over
# the same sequence, and compare outputs and gradients.

# %%
reference = torch.nn.LSTM(5, 8, batch_first=True)
inputs = torch.randn(3, 20, 5, requires_grad=True)


def run_lstm(inputs, W, U, b):
    h = c = torch.zeros(len(inputs), U.shape[1])
    outputs = []
    for x in inputs.unbind(dim=1):
        h, c = lstm_cell(x, h, c, W, U, b)
        outputs.append(h)
    return torch.stack(outputs, dim=1)


mine = run_lstm(inputs, reference.weight_ih_l0, reference.weight_hh_l0, reference.bias_ih_l0 + reference.bias_hh_l0)
theirs, _ = reference(inputs)
print(f"outputs differ by at most   {(mine - theirs).abs().max().item():.1e}")
gradients = [torch.autograd.grad(outputs.sum(), inputs)[0] for outputs in (mine, theirs)]
print(f"gradients differ by at most {(gradients[0] - gradients[1]).abs().max().item():.1e}")

# %% [markdown]
# ## 2. What it costs
#
# **Exercise 4.2.** How many numbers do $W$, $U$ and $b$ hold, for inputs of width $D$ and a state of width $H$?


# %%
def lstm_parameters(input_size, hidden_size):
    """The number of parameters of one LSTM layer with one bias."""
    ### BEGIN SOLUTION
    return 4 * hidden_size * (input_size + hidden_size + 1)
    ### END SOLUTION


# %%
check("lstm_parameters", lstm_parameters)

# %%
for width in (64, 256, 1024):
    print(f"width {width:5}: {lstm_parameters(width, width):10,} parameters, whatever the length of the text")

# %% [markdown]
# ## 3. The GRU
#
# The gated recurrent unit (Cho et al. 2014) does with one state and three blocks: a **reset** gate $r$, an **update**
# gate $z$ and a candidate $n$.
#
# $$\begin{aligned}
# r &= \sigma(W_r x + b_r + U_r h + c_r) \\
# z &= \sigma(W_z x + b_z + U_z h + c_z) \\
# n &= \tanh(W_n x + b_n + r \odot (U_n h + c_n)) \\
# h' &= (1 - z) \odot n + z \odot h
# \end{aligned}$$
#
# Here the two biases do *not* melt into one: $c_n$ stands inside the reset gate. (In the paper the gate multiplies $h$
# before $U_n$; torch and cuDNN multiply after, so that one product serves all three. We follow them.)
#
# **Exercise 4.3.** Write the step.


# %%
def gru_cell(x, h, W, U, b, c):
    """
    Args:
        x: `(B, D)`.
        h: `(B, H)`.
        W: `(3 * H, D)`, the blocks r, z, n.
        U: `(3 * H, H)`, likewise.
        b: `(3 * H,)`, the bias beside `W`.
        c: `(3 * H,)`, the bias beside `U`.

    Returns:
        The new state, `(B, H)`.
    """
    ### BEGIN SOLUTION
    from_input = (x @ W.T + b).chunk(3, dim=-1)
    from_state = (h @ U.T + c).chunk(3, dim=-1)
    r = torch.sigmoid(from_input[0] + from_state[0])
    z = torch.sigmoid(from_input[1] + from_state[1])
    n = torch.tanh(from_input[2] + r * from_state[2])
    return (1 - z) * n + z * h
    ### END SOLUTION


# %%
check("gru_cell", gru_cell)

# %% [markdown] tags=["hint"]
# Keep the part from the input and the part from the state apart until the gates are known: chunk each of them into
# three.

# %%
reference = torch.nn.GRUCell(5, 8)
x, h = torch.randn(3, 5), torch.randn(3, 8)
mine = gru_cell(x, h, reference.weight_ih, reference.weight_hh, reference.bias_ih, reference.bias_hh)
print(f"differs from torch by at most {(mine - reference(x, h)).abs().max().item():.1e}")

# %% [markdown]
# ## 4. The way back along the cell
#
# Along the cell the gradient passes no matrix and no tanh. It is multiplied by the forget gate alone:
#
# $$\frac{\partial c_T}{\partial c_t} = f_T \odot f_{T-1} \odot \cdots \odot f_{t+1} \quad
# \text{(along the cell; more comes through } h)$$
#
# With $f$ near one, it comes back whole. But a net that has not learned yet has gates near $\sigma(0) = 0.5$, and
# $0.5^{50} \approx 10^{-15}$. So one starts the forget gate's bias at 1 or more (Gers et al. 2000; Jozefowicz et al.
# 2015).
#
# **Exercise 4.4.** Set it.


# %%
def open_forget_gate(b, value):
    """A bias like `b`, `(4 * H,)` in the order i, f, g, o, whose forget gate's part is `value`; `b` stays as it is."""
    ### BEGIN SOLUTION
    b = b.clone()
    width = len(b) // 4
    b[width : 2 * width] = value
    return b
    ### END SOLUTION


# %%
check("open_forget_gate", open_forget_gate)

# %%
steps, width = 60, 32
W, U = torch.randn(4 * width, 8) * 0.2, torch.randn(4 * width, width) * 0.1
noise = torch.randn(1, steps, 8)
figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
for value, line in ((0.0, ":"), (1.0, "--"), (3.0, "-.")):
    bias = open_forget_gate(torch.zeros(4 * width), value)
    cells = [torch.zeros(1, width, requires_grad=True)]
    h = torch.zeros(1, width)
    for t in range(steps):
        h, c = lstm_cell(noise[:, t], h, cells[-1], W, U, bias)
        cells.append(c)
    gradients = torch.autograd.grad(cells[-1].sum(), cells)
    norms = torch.stack([gradient.norm() for gradient in reversed(gradients)])
    axis.plot(norms / norms[0], line, label=f"bias {value:.0f}: forget gate about {torch.tensor(value).sigmoid():.2f}")
axis.set(yscale="log", xlabel="steps back", ylabel="norm of the gradient by the cell, relative")
axis.set_title("An open forget gate lets the gradient pass")
axis.legend()
plt.show()

# %% [markdown]
# ## 5. Who remembers far back?
#
# A gradient that arrives is needed to learn, and is not enough. So we train nets on a task that needs memory: the
# **adding problem** (Hochreiter and Schmidhuber 1997). The net reads pairs of a number and a mark. Two of the numbers
# are marked, and at the end it is to say their sum. Everything else is noise that must *not* get in. Which numbers to
# keep the marks tell; this is work for gates.
#
# `measure_dependency` trains a net on several lengths and tests it on more. All nets have about as many parameters.


# %%
class Adder(torch.nn.Module):
    """A recurrent net of seqnlp with a linear map before it and one behind."""

    def __init__(self, cell_type, width):
        super().__init__()
        self.read = torch.nn.Linear(2, width)
        self.net = RecurrentModel(RecurrentConfig(input_size=2, hidden_size=width, cell_type=cell_type))
        self.answer = torch.nn.Linear(width, 1)

    def forward(self, inputs):
        return self.answer(self.net(inputs_embeds=self.read(inputs), use_cache=False).last_hidden_state)


widths = {"elman": 98, "gru": 56, "lstm": 48}
distances, unseen = (8, 16, 32), (64,)
results, nets = [], {}
for cell_type, width in widths.items():

    def build(task, cell_type=cell_type, width=width):
        nets[cell_type] = Adder(cell_type, width)
        return nets[cell_type]

    found = measure_dependency(
        build, DEPENDENCY_TASKS["adding"], distances, unseen, steps=size(1500, 10), learning_rate=5e-3
    )
    results += [{"architecture": cell_type, **entry} for entry in found]
    shown = ", ".join(f"{entry['distance']} steps: {entry['accuracy']:.0%}" for entry in found)
    print(f"{cell_type:6} ({found[0]['parameters']:,} parameters): right within 0.04: {shown}")

# %%
picture = Path(tempfile.mkdtemp()) / "adding.png"
plot_dependency(results, picture, "The adding problem")
Image(str(picture))

# %% [markdown]
# ### Look at a gate
#
# Does the net use its gates as the story says? We read one example with the LSTM and note its gates at every step.
# With `set_recurrence_implementation("eager")` the model runs its readable loop, and a hook on the cell sees what
# happens.

# %%
batch = DEPENDENCY_TASKS["adding"].make(1, 32, torch.Generator().manual_seed(4))
net = nets["lstm"]
net.net.set_recurrence_implementation("eager")
seen = []
cell = net.net.layers[0].cells[0]
hook = cell.register_forward_hook(lambda module, arguments, output: seen.append(output[1]))
with torch.no_grad():
    said = net(batch.inputs)[0, -1].item()
hook.remove()
marks = batch.inputs[0, :, 1]
print(f"target {batch.targets[0, -1].item():.3f}, the net says {said:.3f}")
figure, axes = plt.subplots(2, 1, figsize=(10, 5), sharex=True, layout="constrained")
for axis, gate in zip(axes, ("input_gate", "forget_gate"), strict=True):
    values = torch.stack([step[gate][0] for step in seen])  # (steps, width)
    difference = values[marks == 1].mean(dim=0) - values[marks == 0].mean(dim=0)
    order = difference.argsort()  # units that open at marks at the bottom
    shade = axis.imshow(values[:, order].T, aspect="auto", cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
    axis.set(ylabel="unit", title=gate.replace("_", " "))
    figure.colorbar(shade, ax=axis, label="0: shut, 1: open")
    for place in (marks == 1).nonzero().flatten():
        axis.axvline(place.item(), color="white", ls="--", lw=1.5)
axes[1].set_xlabel("step (white lines: the marked numbers)")
plt.show()

# %% [markdown]
# **Question.** What do you see at the white lines, and what does it mean?

# %% [markdown] tags=["answer"]
# At a mark some units open the input gate (or shut it) that do the opposite elsewhere: what is marked is written into
# the cell, the rest is not. The forget gates of many units stay near one in between: what was written is kept.
#
# (The answer depends on the run. If you see little, train longer: a net that is right in few cases has not found it
# yet.)

# %% [markdown]
# The whole picture, four tasks and four architectures, is one command. So is a language model whose cell has no matrix
# for its state at all (minGRU, Feng et al. 2024):
#
# ```bash
# seqnlp dependency --architectures elman,gru,lstm,transformer
# seqnlp train language_modeling --architecture mingru
# ```
#
# ## To hand in
#
# 1. This notebook, with the four checks green.
# 2. The accuracies of section 5, and two sentences on what they show.
# 3. Your answers to the open questions, half a page in all.
#
# **Open question 1.** The GRU has no output gate and no cell of its own. Name one thing that an LSTM can do with its
# state and a GRU cannot. Why may the GRU be better all the same?
#
# **Open question 2.** The forget gate may keep a number for a thousand steps. Does that mean an LSTM can *learn* to
# keep it for a thousand steps? What else is needed?
