# %% [markdown]
# # Lab 6: The bottleneck, and attention
#
# **75 to 90 minutes.** You need: labs 2 and 4.
#
# To translate, one recurrent net reads a text and a second one writes another. All that passes between them is one
# vector. In this lab you measure what that costs, build attention from its equations, first Bahdanau's and then the
# form with queries, keys and values, and look at where a translator looks.
#
# After this lab you can
#
# 1. measure a bottleneck: right answers by length, with attention and without;
# 2. write scores, masked softmax and context, and say what each is for;
# 3. explain query, key and value by the analogy of a search;
# 4. write scaled dot-product attention, and say why it is scaled;
# 5. read an alignment, and say what it does not prove.
#
# **To hand in:** this notebook with all checks green, the picture of section 1, two alignments of your choice with one
# sentence on each, and your answers to the two open questions.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from IPython.display import Image, display

from seqnlp import RecurrentSeq2SeqConfig, RecurrentSeq2SeqForConditionalGeneration
from seqnlp.data import PairCollator, load_sample, tokenize_pairs, train_pair_tokenizers
from seqnlp.diagnostics import attention_maps
from seqnlp.labs import check, size
from seqnlp.visualization import plot_attention


torch.manual_seed(0)
torch.set_num_threads(1)
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## 1. The bottleneck, measured
#
# The task could not be simpler: write a row of symbols backwards. An encoder (a GRU) reads the row, a decoder (a GRU)
# writes. Once the decoder gets the encoder's last state alone, once it may look back at all of the encoder's states.
# Same width, same number of steps, rows of 2 to 12 symbols.

# %%
PAD, START, END, FIRST = 0, 1, 2, 3
SYMBOLS = 20


def rows_to_reverse(count, length, generator):
    """Sources, and the same backwards; both end with END."""
    symbols = torch.randint(FIRST, FIRST + SYMBOLS, (count, length), generator=generator)
    end = torch.full((count, 1), END)
    return torch.cat([symbols, end], dim=1), torch.cat([symbols.flip(1), end], dim=1)


def encoder_decoder(attention_type, vocab_size=FIRST + SYMBOLS, width=64, **more):
    torch.manual_seed(1)
    config = RecurrentSeq2SeqConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        cell_type="gru",
        attention_type=attention_type,
        pad_token_id=PAD,
        bos_token_id=START,
        eos_token_id=END,
        decoder_start_token_id=START,
        **more,
    )
    return RecurrentSeq2SeqForConditionalGeneration(config)


def train_to_reverse(model, steps):
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        length = int(torch.randint(2, 13, (1,), generator=generator))
        source, target = rows_to_reverse(64, length, generator)
        loss = model(input_ids=source, labels=target).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def share_right(model, length):
    """Symbols that are right where the model reads the true ones before."""
    source, target = rows_to_reverse(200, length, torch.Generator().manual_seed(length))
    with torch.no_grad():
        said = model(input_ids=source, labels=target).logits.argmax(dim=-1)
    return (said == target)[:, :-1].float().mean().item()


lengths = [2, 4, 6, 8, 10, 12, 14, 16, 20]
reversers, right = {}, {}
for attention_type in ("none", "additive"):
    reversers[attention_type] = encoder_decoder(attention_type).train()
    train_to_reverse(reversers[attention_type], size(1000, 20))
    reversers[attention_type].eval()
    right[attention_type] = [share_right(reversers[attention_type], length) for length in lengths]
    print(
        f"{attention_type:9}",
        " ".join(f"{length}: {share:.0%}" for length, share in zip(lengths, right[attention_type], strict=True)),
    )

# %%
figure, axis = plt.subplots(figsize=(7, 3.8), layout="constrained")
axis.plot(lengths, [100 * share for share in right["none"]], "s--", color="tab:blue", label="one vector between them")
axis.plot(lengths, [100 * share for share in right["additive"]], "o-", color="tab:red", label="attention")
axis.axhline(100 / SYMBOLS, color="gray", ls=":", label="chance")
axis.axvspan(12, lengths[-1], color="black", alpha=0.06, label="longer than in training")
axis.set(xlabel="symbols to write backwards", ylabel="symbols right (%)", ylim=(0, 103), title="The bottleneck")
axis.legend()
plt.show()

# %% [markdown]
# The vector is as wide for 2 symbols as for 12. What has to pass grows, and the door does not.
#
# ## 2. Attention, Bahdanau's way
#
# Bahdanau, Cho and Bengio (2015) keep *all* states of the encoder, $k_1, \dots, k_S$. Before each symbol the decoder
# asks with its own state $q$: how well does it fit each of them? The answer becomes weights, and the weights an
# average:
#
# $$e_s = v^\top \tanh(W q + U k_s), \qquad a_s = \frac{\exp e_s}{\sum_{s'} \exp e_{s'}}, \qquad
# c = \sum_s a_s k_s .$$
#
# **Exercise 6.1.** The scores $e$: a small net reads query and key side by side.


# %%
def additive_scores(query, keys, W, U, v):
    """
    Args:
        query: `(B, Q)`, one per text.
        keys: `(B, S, K)`, one per source token.
        W: `(A, Q)`.
        U: `(A, K)`.
        v: `(A,)`.

    Returns:
        Scores, `(B, S)`.
    """
    ### BEGIN SOLUTION
    compared = torch.tanh((query @ W.T).unsqueeze(1) + keys @ U.T)
    return compared @ v
    ### END SOLUTION


# %%
check("additive_scores", additive_scores)

# %% [markdown] tags=["hint"]
# `query @ W.T` is `(B, A)` and `keys @ U.T` is `(B, S, A)`. `unsqueeze(1)` gives the first a time dimension of one,
# over which the sum is repeated.

# %% [markdown]
# **Exercise 6.2.** The weights. Texts in a batch have different lengths, and the shorter ones are filled up with
# padding. Nobody may look there: its weight is to be *exactly* zero, and the others are to sum to one.


# %%
def masked_softmax(scores, mask):
    """
    Args:
        scores: `(..., S)`.
        mask: `(..., S)`, true where a key may be looked at; at least one in each row.

    Returns:
        Weights of the shape of the scores.
    """
    ### BEGIN SOLUTION
    return scores.masked_fill(~mask, float("-inf")).softmax(dim=-1)
    ### END SOLUTION


# %%
check("masked_softmax", masked_softmax)

# %% [markdown] tags=["hint"]
# What must a score be so that its exponential is zero? `masked_fill(condition, value)` puts it there, *before* the
# softmax.

# %% [markdown]
# **Exercise 6.3.** The context: the average of the values, by these weights.


# %%
def context(weights, values):
    """From weights `(B, S)` and values `(B, S, V)` to the weighted average, `(B, V)`."""
    ### BEGIN SOLUTION
    return (weights.unsqueeze(1) @ values).squeeze(1)
    ### END SOLUTION


# %%
check("context", context)

# %% [markdown]
# ### Is that what the trained model does?
#
# We run the model that learned to reverse, note what goes into its attention, and let *your* functions compute the
# same with the model's own weights.

# %%
source, target = rows_to_reverse(1, 9, torch.Generator().manual_seed(3))
layer = reversers["additive"].model.decoder.attention
seen = {}
hook = layer.register_forward_hook(
    lambda module, given, named, output: seen.update(
        zip(("query", "keys", "values"), given, strict=False), **named, output=output
    ),
    with_kwargs=True,
)
with torch.no_grad():
    reversers["additive"](input_ids=source, labels=target)
hook.remove()
weights_of_model = seen["output"][1][0]  # (written, read)
mine = torch.cat(
    [
        masked_softmax(
            additive_scores(query, seen["keys"], layer.q_proj.weight, layer.k_proj.weight, layer.score_vector),
            torch.ones(1, source.shape[1], dtype=torch.bool),
        )
        for query in seen["query"].unbind(dim=1)
    ]
)
print(f"your weights and the model's differ by at most {(mine - weights_of_model).abs().max().item():.1e}")

# %%
figure, axis = plt.subplots(figsize=(4.6, 4.2), layout="constrained")
shade = axis.imshow(mine.detach(), cmap="Blues", vmin=0, vmax=1)
names = [chr(ord("a") + symbol - FIRST) if symbol >= FIRST else "end" for symbol in source[0].tolist()]
written = [chr(ord("a") + symbol - FIRST) if symbol >= FIRST else "end" for symbol in target[0].tolist()]
axis.set_xticks(range(len(names)), names)
axis.set_yticks(range(len(written)), written)
axis.set(
    xlabel="the symbol that is looked at", ylabel="the symbol that is written", title="Nobody told it where to look"
)
figure.colorbar(shade, label="weight")
plt.show()

# %% [markdown]
# ## 3. Query, key, value: a search
#
# You type a **query** into a search box. It is compared with the **keys** of all videos (title, description), and you
# are given the **value** of the best one, the video itself. Attention does the same, but softly: it gives an average
# of all values, the better the key fits the more of it, and so a gradient passes through.
#
# The Transformer (Vaswani et al. 2017) compares by a plain dot product, for all queries at once:
#
# $$\text{Attention}(Q, K, V) = \text{softmax}\left(\frac{Q K^\top}{\sqrt{d}}\right) V$$
#
# **Exercise 6.4.** Write it, with a mask that may be `None`.


# %%
def attention(Q, K, V, mask=None):
    """
    Args:
        Q: `(B, T, D)`, queries.
        K: `(B, S, D)`, keys.
        V: `(B, S, E)`, values.
        mask: `(B, T, S)`, true where a query may look; `None` for everywhere.

    Returns:
        The output, `(B, T, E)`, and the weights, `(B, T, S)`.
    """
    ### BEGIN SOLUTION
    scores = Q @ K.transpose(-2, -1) / Q.shape[-1] ** 0.5
    weights = scores.softmax(dim=-1) if mask is None else masked_softmax(scores, mask)
    return weights @ V, weights
    ### END SOLUTION


# %%
check("attention", attention)

# %% [markdown] tags=["hint"]
# `K.transpose(-2, -1)` is `(B, D, S)`. The width $d$ is that of a query, the last dimension of `Q`.

# %%
library = {"cat": [1.0, 0.0, 0.0], "dog": [0.9, 0.3, 0.0], "car": [0.0, 0.0, 1.0]}  # made up: alike things, alike keys
keys = torch.tensor([list(library.values())]) * 6
values = torch.tensor([[[10.0], [20.0], [300.0]]])
for name, query in (("cat", [1.0, 0.0, 0.0]), ("an animal", [0.95, 0.15, 0.0]), ("car", [0.0, 0.0, 1.0])):
    found, weights = attention(torch.tensor([[query]]), keys, values)
    shown = ", ".join(f"{key} {weight:.2f}" for key, weight in zip(library, weights[0, 0].tolist(), strict=True))
    print(f"query {name:10} weights: {shown:32} value: {found.item():.1f}")

# %% [markdown]
# ### Why divide by the root of the width?
#
# A dot product of two random vectors of width $d$ has a standard deviation of $\sqrt d$. Without the division, wide
# vectors have large scores, the softmax picks one key whatever it is, and its slope is nearly zero.

# %%
print("width   largest weight not scaled   scaled")
for width in (4, 64, 1024):
    Q, K = torch.randn(200, 1, width), torch.randn(200, 16, width)
    raw = (Q @ K.transpose(1, 2)).softmax(-1).amax(-1).mean()
    scaled = attention(Q, K, K)[1].amax(-1).mean()
    print(f"{width:5} {raw.item():22.2f} {scaled.item():13.2f}")

# %% [markdown]
# ## 4. A small translator
#
# English strings of an interface and their French, about 2,300 pairs: little, but real. A GRU with additive attention
# reads English and writes French.

# %%
data = load_sample("sample:jupyterlab_fr").rename_columns({"en": "source", "fr": "target"})
pairs = data["train"].select(range(size(len(data["train"]), 100)))
english, french = train_pair_tokenizers(pairs, "word", 8000, lowercase=True, min_frequency=1, joint=False)
tokenized = tokenize_pairs(pairs, english, french)
tokenized = tokenized.filter(lambda row: max(len(row["input_ids"]), len(row["labels"])) <= 20)
collate = PairCollator(english)
translator = encoder_decoder(
    "additive",
    max(len(english), len(french)),
    width=128,
    share_embeddings=False,
    head_dropout=0.3,
    embedding_dropout=0.3,
)
for name in ("pad", "bos", "eos"):
    setattr(translator.config, f"{name}_token_id", getattr(french, f"{name}_token_id"))
    setattr(translator.generation_config, f"{name}_token_id", getattr(french, f"{name}_token_id"))
translator.config.decoder_start_token_id = translator.generation_config.decoder_start_token_id = french.bos_token_id
print(f"{len(tokenized)} pairs of up to 20 tokens, {len(english):,} English and {len(french):,} French words")

# %%
epochs = size(20, 10)
generator = torch.Generator().manual_seed(0)
rows = [tokenized[index] for index in range(len(tokenized))]
translator.train()
steps = epochs * -(-len(rows) // 64)
optimizer = torch.optim.AdamW(translator.parameters(), lr=4e-3, weight_decay=0.01)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=0.1)
for epoch in range(epochs):
    losses = []
    for chosen in torch.randperm(len(rows), generator=generator).split(64):
        loss = translator(**collate([rows[index] for index in chosen.tolist()])).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(translator.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    if epoch % 5 == 4:
        print(f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.2f}")


# %%
def alignment(text):
    """Translate, and draw where the decoder looked."""
    translator.eval()
    read = english(text, return_tensors="pt").input_ids
    with torch.no_grad():
        out = translator.generate(read, num_beams=1, do_sample=False, max_new_tokens=20)
    print(f"{text}  ->  {french.decode(out[0], skip_special_tokens=True)}")
    (found,) = attention_maps(
        translator,
        {"input_ids": read, "decoder_input_ids": out[:, :-1]},
        english.convert_ids_to_tokens(read[0]),
        french.convert_ids_to_tokens(out[0, :-1]),
        french.convert_ids_to_tokens(out[0, 1:]),
    )
    path = folder / "alignment.png"
    plot_attention(found, path, text)
    display(Image(str(path), width=520))


for text in size(["Open the selected file", "The current text editor", "Could not save the file"], ["Open file"]):
    alignment(text)

# %% [markdown]
# The picture's colors go by the root of the weight, so that small weights are seen too. French puts "sélectionné"
# behind the noun: where the translator has learned that, the dark places leave the diagonal. With 2,300 pairs it has
# not learned it everywhere.
#
# The whole recipe, with beams, BLEU and chrF, and the picture for any model:
#
# ```bash
# seqnlp train translation --architecture gru
# seqnlp attention outputs/translation-gru --text "Open the selected file"
# ```
#
# ## To hand in
#
# 1. This notebook, with the four checks green.
# 2. The picture of section 1, and one sentence on the shaded part.
# 3. Two alignments of sentences of your own, with one sentence on each.
# 4. Your answers to the open questions, half a page in all.
#
# **Open question 1.** A weight of 0.9 on a word: does it show that the word *caused* the output? Plan an experiment
# that would tell.
#
# **Open question 2.** Attention compares every query with every key. What does that cost for a text of $n$ tokens, in
# time and in memory? A recurrent net needs $n$ steps and one state. When would you take which?
