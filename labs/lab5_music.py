# %% [markdown]
# # Lab 5: Music
#
# **75 to 90 minutes.** You need: labs 2 and 4; ears.
#
# Tunes can be written as text. So a language model of characters can write tunes. In this lab you train an LSTM on
# fiddle tunes, let it write, listen, and then ask the uncomfortable question: how much of it is copied?
#
# After this lab you can
#
# 1. read a tune in ABC notation;
# 2. train a language model on documents with a start and an end, and ask it for a key and a metre;
# 3. draw from the likeliest characters only, and say what that changes;
# 4. measure what a model copies, and compare it with what people copy from each other.
#
# **To hand in:** this notebook with all checks green, your best and your worst tune (as text), the table of section 5,
# and your answers to the two open questions.

# %%
import tempfile
from pathlib import Path

import torch
from IPython.display import Audio, Image, display

from seqnlp import RecurrentConfig, RecurrentForCausalLM
from seqnlp.data import ReadTune, TuneArguments, load_tunes, notes_of, prompt_for, to_abc
from seqnlp.labs import check, size
from seqnlp.metrics.tune_validity import check_tune
from seqnlp.tokenization import train_tokenizer
from seqnlp.visualization.music import save_tune


torch.manual_seed(0)
torch.set_num_threads(1)
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## 1. Tunes as text
#
# About 4,000 traditional tunes from three old collections. `M:` is the metre, `L:` the unit of length, `K:` the key;
# then, in half of them, `R:`, the form: jig, reel, hornpipe. Then come the notes: letters are pitches, `|` ends a bar,
# a number behind a note makes it longer. The title `T:` stands last, so that a tune can be *asked for* by metre and
# key.

# %%
tunes = load_tunes(TuneArguments(dataset_name="sample:music21"))
training = list(tunes.splits["train"]["text"])
held_out = list(tunes.splits["validation"]["text"])
print(f"{len(training):,} tunes to learn from, {len(held_out)} held out. One of them:\n")
print(to_abc(held_out[1]))


# %%
def play(text, name):
    """Hear a tune and see it: time to the right, pitch upwards."""
    files = save_tune(ReadTune(to_abc(text)), folder / name)
    display(Image(str(files[3]), width=700))
    display(Audio(str(files[2])))


play(held_out[1], "held_out")

# %% [markdown]
# ## 2. A model of tunes
#
# Each tune is one row: a start token, its characters, an end token. So the model learns to begin and to end. Rows of a
# batch are filled up with padding, whose labels are -100: they do not count in the loss.

# %%
tokenizer = train_tokenizer(training, "char", 200, add_bos_token=True, add_eos_token=True)
rows = [row for row in tokenizer(training)["input_ids"] if len(row) <= 320]
print(f"{len(tokenizer)} characters; {len(rows):,} tunes of up to 320 characters are used")
config = RecurrentConfig(
    vocab_size=len(tokenizer),
    hidden_size=size(192, 32),
    embedding_size=48,
    cell_type="lstm",
    head_dropout=0.1,
    pad_token_id=tokenizer.pad_token_id,
    bos_token_id=tokenizer.bos_token_id,
    eos_token_id=tokenizer.eos_token_id,
)
model = RecurrentForCausalLM(config)


def batch_of(chosen):
    longest = max(len(row) for row in chosen)
    ids = torch.full((len(chosen), longest), tokenizer.pad_token_id)
    for index, row in enumerate(chosen):
        ids[index, : len(row)] = torch.tensor(row)
    mask = torch.arange(longest) < torch.tensor([[len(row)] for row in chosen])
    return {"input_ids": ids, "attention_mask": mask.long(), "labels": ids.masked_fill(~mask, -100)}


steps = size(1000, 10)
generator = torch.Generator().manual_seed(0)
optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=0.2)
model.train()
losses = []
for step in range(steps):
    start = torch.randint(len(rows), (16,), generator=generator).tolist()
    loss = model(**batch_of([rows[index] for index in start])).loss
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    losses.append(loss.item())
    if (step + 1) % (steps // 5) == 0:
        print(f"step {step + 1}: {sum(losses[-50:]) / len(losses[-50:]) / 0.6931:.2f} bits per character")
model.eval()
with torch.no_grad():
    known = [row for row in tokenizer(held_out)["input_ids"] if len(row) <= 320]
    loss = model(**batch_of(known[: size(100, 10)])).loss.item()
print(f"held out: {loss / 0.6931:.2f} bits per character")

# %% [markdown]
# ## 3. Write
#
# From lab 2 you know the temperature. There is a second knob: leave out everything but the $k$ likeliest characters. A
# single very unlikely character, drawn once in a hundred, is enough to break a bar.
#
# **Exercise 5.1.** Keep the $k$ largest logits of each row, and set the others to minus infinity.


# %%
def top_k(logits, k):
    """From `(B, V)` to `(B, V)`: the `k` largest of each row as they are, minus infinity elsewhere."""
    ### BEGIN SOLUTION
    smallest = logits.topk(k, dim=-1).values[:, -1:]
    return logits.masked_fill(logits < smallest, float("-inf"))
    ### END SOLUTION


# %%
check("top_k", top_k)

# %% [markdown] tags=["hint"]
# `torch.topk` gives the values in order, the largest first. What is smaller than the last of them goes.


# %%
def write(prompt, temperature=0.8, k=None, seed=0):
    """A tune that begins with a prompt, up to its end token or 320 characters."""
    generator = torch.Generator().manual_seed(seed)
    ids = tokenizer(prompt)["input_ids"][:-1]  # without the end token
    read, cache = torch.tensor([ids]), None
    with torch.no_grad():
        while len(ids) < size(320, 60):
            out = model(input_ids=read, cache=cache, use_cache=True)
            cache = out.cache
            logits = out.logits[:, -1] / temperature
            logits = logits if k is None else top_k(logits, k)
            drawn = torch.multinomial(logits.softmax(-1), 1, generator=generator)
            if drawn.item() == tokenizer.eos_token_id:
                break
            ids.append(drawn.item())
            read = drawn
    return tokenizer.decode(ids, skip_special_tokens=True)


jig = prompt_for("G", "6/8", training)  # six eighths, in G
settings = {
    "temperature 0.8": {},
    "temperature 1.3": {"temperature": 1.3},
    "1.3, best 5": {"temperature": 1.3, "k": 5},
}
for name, setting in settings.items():
    print(f"--- {name}\n{write(jig, **setting)}\n")

# %% [markdown]
# Hear one. music21 reads the tune; where it cannot, the tune is broken (try another seed).

# %%
for seed in range(10):
    tune = write(jig, seed=seed)
    if check_tune(ReadTune(to_abc(tune))).parses:
        play(tune, f"tune{seed}")
        break

# %% [markdown]
# ## 4. Does it keep time?
#
# A jig has six eighths in each bar. Nobody told the model to count. `check_tune` counts for us: a tune is *valid* if
# music21 reads it and 95 % of its inner bars are full.

# %%
prompts = [prompt_for(key, metre, training) for key in ("G", "D", "Am") for metre in ("6/8", "4/4")]
written = [write(prompts[index % len(prompts)], seed=100 + index) for index in range(size(24, 4))]
for name, some in (("the model's", written), ("people's", held_out[: len(written)])):
    found = [check_tune(ReadTune(to_abc(tune))) for tune in some]
    print(f"{name:12} {sum(one.parses for one in found):3} of {len(found)} can be read,"
          f" {sum(one.is_valid for one in found):3} keep time")  # fmt: skip

# %% [markdown]
# ## 5. How much is copied?
#
# A model that wrote training tunes word for word would have a fine loss, and would be worthless. So we look at all
# **runs**, pieces of 12 characters or so, and ask which of them occur in a training tune.
#
# **Exercise 5.2.** List the runs of a text.


# %%
def runs(text, length):
    """A list of every piece of `length` characters, from left to right, repeats included; empty for a shorter text."""
    ### BEGIN SOLUTION
    return [text[start : start + length] for start in range(len(text) - length + 1)]
    ### END SOLUTION


# %%
check("runs", runs)

# %% [markdown]
# **Exercise 5.3.** The share of the runs of some texts that occur in any training text. Every run counts the same,
# each within one text; a set makes the search fast.


# %%
def copied_share(texts, training, length):
    """A number between 0 and 1; 0 where there is no run at all."""
    ### BEGIN SOLUTION
    known = {run for text in training for run in runs(text, length)}
    found = [run in known for text in texts for run in runs(text, length)]
    return sum(found) / len(found) if found else 0.0
    ### END SOLUTION


# %%
check("copied_share", copied_share)

# %% [markdown] tags=["hint"]
# First a set of all training runs. Then a list of true and false, one per run of the texts: its mean is the share.
# What if the list is empty?

# %% [markdown]
# A share alone says nothing: traditional tunes borrow from each other all the time. So measure the same for *held-out*
# tunes, which people wrote, and which are certainly not copied from our training set by a machine.

# %%
print("share of runs that occur in training tunes")
print("length   the model's   people's (held out)")
known_notes, model_notes, people_notes = notes_of(training), notes_of(written), notes_of(held_out)
for length in (6, 9, 12, 16, 24):
    shares = [copied_share(some, known_notes, length) for some in (model_notes, people_notes)]
    print(f"{length:6} {shares[0]:12.1%} {shares[1]:14.1%}")

# %% [markdown]
# **Exercise 5.4.** The longest copy: the longest piece of a text that occurs in one training text (the first of them,
# if there are several).


# %%
def longest_copy(text, training):
    """The longest piece of `text` that occurs in one of the training texts, `""` if there is none."""
    ### BEGIN SOLUTION
    best = ""
    for start in range(len(text)):
        # A piece is worth a look only if it is longer than the best so far.
        while start + len(best) < len(text):
            piece = text[start : start + len(best) + 1]
            if not any(piece in known for known in training):
                break
            best = piece
    return best
    ### END SOLUTION


# %%
check("longest_copy", longest_copy)

# %% [markdown] tags=["hint"]
# For each start, make the piece longer as long as it occurs. To be fast, begin at one character more than the best so
# far.

# %%
for tune in model_notes[: size(4, 1)]:
    found = longest_copy(tune, known_notes)
    print(f"{len(found):3} of {len(tune):3} characters: {found!r}")

# %% [markdown]
# The whole recipe, with 100 tunes, transpositions, and a model that keeps time nearly always, takes longer:
#
# ```bash
# seqnlp train music_generation --metre 6/8 --key G
# ```
#
# ## To hand in
#
# 1. This notebook, with the four checks green.
# 2. The best and the worst tune that your model wrote, and why you think so.
# 3. The table of section 5, and two sentences on it.
# 4. Your answers to the open questions, half a page in all.
#
# **Open question 1.** Traditional tunes share many short runs, and your model shares some with them. Is its music its
# own? Name a measurement that would change your mind, and what it would have to show.
#
# **Open question 2.** The tunes are free of rights. Imagine the same model trained on songs of living people. What
# would you want to know of it before you publish it, and whom would you ask?
