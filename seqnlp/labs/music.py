"""Checks of lab 5: drawing from the likeliest only, and how much of a tune was copied."""

import torch

from .checking import Wrong, call, equal, exercise, randn, same, tensor


@exercise
def top_k(answer):
    """`top_k(logits, k)`: the logits of the `k` likeliest; minus infinity elsewhere."""
    logits = randn(3, 7)

    def kept(k, largest=True, rest=float("-inf")):
        places = logits.topk(k, largest=largest).indices
        return torch.full_like(logits, rest).scatter(1, places, logits.gather(1, places))

    for k in (2, 4):
        whole = logits.flatten().topk(k).values[-1]
        one = logits[:1].topk(k).values[:, -1:]
        right = kept(k)
        got = tensor(call(answer, logits, k), "the table of logits")
        same(
            got,
            right,
            {
                "the unlikely ones are kept.": kept(k, largest=False),
                "what is left out is set to zero, and exp(0) is one: it may still be drawn.": kept(k, rest=0.0),
                "one too few is kept: the smallest of the k counts too.": kept(k - 1),
                "one too many is kept.": kept(k + 1),
                "the k likeliest of the whole batch are kept: each row is to have its own.": logits.masked_fill(
                    logits < whole, float("-inf")
                ),
                "the threshold of the first row is used for all rows.": logits.masked_fill(
                    logits < one, float("-inf")
                ),
                "these are probabilities: logits are asked for.": right.softmax(-1),
                "nothing is left out.": logits,
                "what is left out is another number than minus infinity.": (
                    got.where(right.isinf(), right) if got.shape == right.shape else None
                ),
            },
            "the table of logits",
        )


_TEXTS = ("ABcd ABcd", "xyzABcx", "ab")
_TRAINING = ("zzABcdz", "cd ABx", "qqqqq")


def _runs(text, length):
    return [text[start : start + length] for start in range(len(text) - length + 1)]


@exercise
def runs(answer):
    """`runs(text, length)`: every piece of `length` characters of a text, from left to right."""
    for text, length in (("ababc", 2), ("abcdefg", 4), ("ab", 3)):
        got = call(answer, text, length)
        if not isinstance(got, (list, tuple)):
            raise Wrong(f"a list is asked for, and this is of type {type(got).__name__}: a set would lose repeats.")
        right = _runs(text, length)
        mistakes = {
            "the last run is missing: count how many starts there are.": right[:-1],
            "the runs do not overlap: one begins at every character.": right[::length],
            "a run that occurs twice is listed once.": list(dict.fromkeys(right)),
            "the last runs are shorter than `length`.": [text[start : start + length] for start in range(len(text))],
            "the runs are one character too long.": [
                text[start : start + length + 1] for start in range(len(text) - length)
            ],
            "the runs stand in another order.": sorted(right),
        }
        otherwise = f"it has {len(got)} entries, of {len(right)} that there are."
        equal(list(got), right, mistakes, f"the list of runs of {length} of {text!r} is not right: {otherwise}")


@exercise
def copied_share(answer):
    """`copied_share(texts, training, length)`: the share of runs that occur in a training text."""
    from ..metrics.tune_validity import copied_share as share_of_runs  # slow to import, and needed here alone

    length = 3
    texts, training = list(_TEXTS), list(_TRAINING)
    got = tensor(call(answer, texts, training, length), "the share")

    known = {run for text in training for run in _runs(text, length)}
    counted = [run for text in texts for run in _runs(text, length)]
    of_each = [share_of_runs([text], training, length) for text in texts if len(text) >= length]
    right = share_of_runs(texts, training, length)
    same(
        got.double(),
        torch.tensor(right).double(),
        {
            "each run is counted once, however often it occurs.": torch.tensor(
                len(set(counted) & known) / len(set(counted))
            ),
            "that is the mean over the texts: each run is to count the same.": torch.tensor(
                sum(of_each) / len(of_each)
            ),
            "runs go across the end of a text: each text is by itself.": torch.tensor(
                share_of_runs(["".join(texts)], training, length)
            ),
            "that is the share of the training runs that occur in the texts: it is turned round.": torch.tensor(
                share_of_runs(training, texts, length)
            ),
            "that is a number of runs: the share is asked for.": torch.tensor(sum(run in known for run in counted)),
            "that is what was *not* copied.": torch.tensor(1 - right),
            "that is in percent: a share between 0 and 1 is asked for.": torch.tensor(100 * right),
        },
        "the share",
    )
    try:
        nothing = answer(["ab"], training, length)
    except ZeroDivisionError:
        raise Wrong("for texts without a single run it divides by zero; nothing was copied then.") from None
    same(nothing, torch.tensor(0.0), {}, "the share for a text without a single run")


@exercise
def longest_copy(answer):
    """`longest_copy(text, training)`: the longest piece of a text that occurs in a training text."""
    for text, right in (
        ("xyABcd!cd ", "ABcd"),
        ("q cd ABy", "cd AB"),
        ("xABcd!cd A", "ABcd"),
        ("???", ""),
        ("zzABcdz", "zzABcdz"),
    ):
        got = call(answer, text, list(_TRAINING))
        if not isinstance(got, str):
            raise Wrong(f"a piece of text is asked for, and this is of type {type(got).__name__}.")
        begins = next((text[:n] for n in range(len(text), 0, -1) if any(text[:n] in t for t in _TRAINING)), "")
        only_first = _longest(text, _TRAINING[:1])
        across = _longest(text, ("".join(_TRAINING),))
        mistakes = {
            "one character is missing at its end.": right[:-1],
            "one character is missing at its start.": right[1:],
            "only pieces at the start of the text are looked at.": begins,
            "only the first training text is looked at.": only_first,
            "a piece that goes across two training texts occurs in none of them.": across,
            "of several longest pieces the first is asked for, not the last.": _longest(text, _TRAINING, last=True),
        }
        otherwise = f"for {text!r} it is not the longest: there is one of {len(right)} characters."
        equal(got, right, mistakes, otherwise)


def _longest(text, training, last=False):
    pieces = [text[a:b] for a in range(len(text)) for b in range(a + 1, len(text) + 1)]
    pieces = pieces[::-1] if last else pieces
    return max((piece for piece in pieces if any(piece in known for known in training)), key=len, default="")
