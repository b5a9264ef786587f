"""Music, the Hub, adaptation: right answers and wrong ones with their sentences."""

import torch
from torch.nn import functional


# Lab 5.


def top_k(logits, k):
    keep = logits.argsort(-1, descending=True)[:, :k]
    return torch.full_like(logits, -torch.inf).scatter(1, keep, logits.gather(1, keep))


def runs(text, length):
    return [text[i : i + length] for i in range(len(text)) if i + length <= len(text)]


def copied_share(texts, training, length):
    known = set().union(*(runs(text, length) for text in training))
    found = [run in known for text in texts for run in runs(text, length)]
    return sum(found) / max(1, len(found))


def unique_share(texts, training, length):
    known = set().union(*(runs(text, length) for text in training))
    found = {run for text in texts for run in runs(text, length)}
    return len(found & known) / max(1, len(found))


def longest_copy(text, training):
    for length in range(len(text), 0, -1):
        for run in runs(text, length):
            if any(run in known for known in training):
                return run
    return ""


def last_longest_copy(text, training):
    """The last of the longest pieces: the first one of the reversed texts."""
    return longest_copy(text[::-1], [known[::-1] for known in training])[::-1]


# Lab 8.


def plain(text):
    return " ".join(text.lower().split())


def leaks(training, test):
    return [text for text in test if plain(text) in {plain(known) for known in training}]


def wilson(right, total):
    """The ends solve (p - right/total)^2 = z^2 p (1 - p) / total, by bisection."""
    z, share = 1.959964, right / total

    def end(inside, outside):
        for _ in range(100):
            middle = (inside + outside) / 2
            is_inside = (middle - share) ** 2 <= z * z * middle * (1 - middle) / total
            inside, outside = (middle, outside) if is_inside else (inside, middle)
        return inside

    return end(share - 1e-9, 0.0) if share > 0 else 0.0, end(share, 1.0) if share < 1 else 1.0


def normal(right, total):
    share = right / total
    spread = 1.96 * (share * (1 - share) / total) ** 0.5
    return share - spread, share + spread


def card(facts, **changes):
    shown = {**facts, **changes}
    return (
        f"---\nlicense: {shown['license']}\nlanguage: {shown['language']}\npipeline_tag: text-classification\n---\n"
        f"# {shown['name']}\n\nAccuracy {shown['accuracy']:.1%} ({shown['low']:.1%} to {shown['high']:.1%}) on "
        f"{shown['dataset']}, test.\n\n{shown['limits']}\n"
    )


# Lab 9.


def lora(x, W, A, B, alpha):
    return functional.linear(x, W) + functional.linear(functional.linear(x, A), B) * (alpha / A.shape[0])


def distillation_loss(student, teacher, temperature):
    with torch.no_grad():
        wanted = functional.softmax(teacher / temperature, dim=-1)
    said = functional.log_softmax(student / temperature, dim=-1)
    return (wanted * (wanted.log() - said)).sum(-1).mean() * temperature**2


RIGHT = {
    "top_k": top_k,
    "runs": runs,
    "copied_share": copied_share,
    "longest_copy": longest_copy,
    "leaks": leaks,
    "wilson": wilson,
    "card": card,
    "lora": lora,
    "merge": lambda W, A, B, alpha: torch.addmm(W, B, A, alpha=alpha / A.shape[0]),
    "lora_parameters": lambda i, o, r: r * i + o * r,
    "distillation_loss": distillation_loss,
}

WRONG = [
    ("top_k", lambda x, k: -top_k(-x, k).nan_to_num(neginf=torch.inf), "unlikely ones"),
    ("top_k", lambda x, k: top_k(x, k).nan_to_num(neginf=0.0), "exp(0) is one"),
    ("top_k", lambda x, k: top_k(x, k).nan_to_num(neginf=-1e9), "another number than minus infinity"),
    ("top_k", lambda x, k: top_k(x, k - 1), "one too few"),
    ("top_k", lambda x, k: x.masked_fill(x < x.flatten().topk(k).values[-1], -torch.inf), "whole batch"),
    ("runs", lambda t, n: [t[i : i + n] for i in range(len(t) - n)], "last run is missing"),
    ("runs", lambda t, n: [t[i : i + n] for i in range(len(t))], "shorter than"),
    ("runs", lambda t, n: list(dict.fromkeys(runs(t, n))), "listed once"),
    ("runs", lambda t, n: set(runs(t, n)), "a list is asked for"),
    ("copied_share", unique_share, "counted once"),
    ("copied_share", lambda a, b, n: copied_share(b, a, n), "turned round"),
    ("copied_share", lambda a, b, n: copied_share(["".join(a)], b, n), "across the end"),
    ("copied_share", lambda a, b, n: 100 * copied_share(a, b, n), "in percent"),
    (
        "copied_share",
        lambda a, b, n: copied_share(a, b, n) if any(runs(t, n) for t in a) else 1 / 0,
        "divides by zero",
    ),
    ("longest_copy", lambda t, known: longest_copy(t, known)[:-1], "at its end"),
    ("longest_copy", lambda t, known: longest_copy(t, known[:1]), "first training text"),
    ("longest_copy", lambda t, known: len(longest_copy(t, known)), "piece of text is asked for"),
    ("longest_copy", lambda t, known: longest_copy(t, known)[:2], "there is one of 4 characters"),
    ("longest_copy", last_longest_copy, "the first is asked for"),
    ("leaks", lambda a, b: [t for t in b if t in a], "equal to the letter"),
    ("leaks", lambda a, b: [t for t in a if plain(t) in set(map(plain, b))], "training texts"),
    ("leaks", lambda a, b: list(dict.fromkeys(leaks(a, b))), "counts twice"),
    ("leaks", lambda a, b: [t for t in b if any(plain(t) in plain(k) for k in a)], "part of a training text"),
    ("leaks", lambda a, b: len(leaks(a, b)), "list of texts"),
    ("leaks", lambda a, b: [plain(text) for text in leaks(a, b)], "as they stand"),
    (
        "leaks",
        lambda a, b: [t for t in b if plain(t).replace(" ", "") in [plain(k).replace(" ", "") for k in a]],
        "run together",
    ),
    ("leaks", lambda a, b: leaks(a, b) if a.sort() is None else None, "in place"),
    ("wilson", normal, "normal approximation"),
    ("wilson", lambda r, n: tuple(100 * end for end in wilson(r, n)), "in percent"),
    ("wilson", lambda r, n: wilson(r, n)[::-1], "swapped"),
    ("wilson", lambda r, n: r / n, "returns one value"),
    ("card", lambda facts: card(facts).split("---\n")[2], "first line"),
    ("card", lambda facts: card(facts).replace("license", "licence"), "`license`"),
    ("card", lambda facts: card(facts, accuracy=0.8731), "the accuracy is missing"),
    ("card", lambda facts: card(facts, limits=""), "not good for"),
    ("card", lambda facts: card(facts).replace("\n---\n", "\n"), "not closed"),
    ("card", lambda facts: card(facts).replace(": text-cl", ": [text-cl"), "no YAML"),
    ("lora", lambda x, W, A, B, alpha: lora(x, W, A, B, len(A)), "not scaled"),
    ("lora", lambda x, W, A, B, alpha: lora(x, W, A, B, alpha * len(A)), "rank is missing"),
    ("lora", lambda x, W, A, B, alpha: lora(x, 0 * W, A, B, alpha), "frozen map W"),
    ("lora", lambda x, W, A, B, alpha: lora(x, W, A.detach(), B, alpha), "no gradient reaches A"),
    ("merge", lambda W, A, B, alpha: W + B @ A, "not scaled"),
    ("merge", lambda W, A, B, alpha: alpha / len(A) * B @ A, "W is missing"),
    ("merge", lambda W, A, B, alpha: W.add_(B @ A, alpha=alpha / len(A)), "in place"),
    ("lora_parameters", lambda i, o, r: i * o, "whole matrix"),
    ("lora_parameters", lambda i, o, r: r * i, "only A"),
    ("lora_parameters", lambda i, o, r: i * o + r * (i + o), "frozen matrix is counted"),
    ("distillation_loss", lambda s, t, T: distillation_loss(s, t, T) / T**2, "square is missing"),
    ("distillation_loss", lambda s, t, T: distillation_loss(t, s, T), "swapped"),
    ("distillation_loss", lambda s, t, T: distillation_loss(s, t, 1.0), "temperature is not used"),
    ("distillation_loss", lambda s, t, T: functional.mse_loss(s, t), "logits are compared"),
    (
        "distillation_loss",
        lambda s, t, T: functional.kl_div((s / T).log_softmax(-1), (t / T).softmax(-1), reduction="batchmean") * T**2,
        "reaches the teacher",
    ),
    (
        "distillation_loss",
        lambda s, t, T: functional.cross_entropy(s / T, (t / T).softmax(-1)) * T**2,
        "that is the cross-entropy",
    ),
]
