"""The runs of `seqnlp scale`: one recipe at several sizes, and what each costs in operations."""

from itertools import pairwise
from typing import Any, NamedTuple

from transformers import PreTrainedConfig

from ..tasks import TASKS
from .compare_runs import Comparison, launch_run, stopped_early
from .costs import class_of, count_flops
from .sizes import Sizes, size_models, with_fields


PASSES = 3
"""Forward passes that a forward and a backward pass cost together (Kaplan et al. 2020, section 2.1)."""


class ScaleError(ValueError):
    """Sizes, a budget or a recipe that cannot be scaled; the message says why and what would do."""


class Cost(NamedTuple):
    """
    What training costs at a size.

    Attributes:
        per_token: Floating-point operations of training per token of the training data.
        tokens: Tokens of the training data in one epoch.
    """

    per_token: float
    tokens: int

    def of(self, epochs: float) -> float:
        """Of this number of epochs."""
        return self.per_token * self.tokens * epochs


class ScaledRun(NamedTuple):
    """
    A run at a size.

    Attributes:
        place: Which of the sizes, from 0.
        seed: Its seed.
        cost: What it costs.
        record: The content of its `run.json`.
    """

    place: int
    seed: int
    cost: Cost
    record: dict[str, Any]

    @property
    def losses(self) -> list[tuple[float, float]]:
        """`(epoch, loss)` of each validation."""
        name = f"validation_{TASKS[self.record['task']].loss_name}"
        return [(e["epoch"], e[name]) for e in self.record["history"] if isinstance(e.get(name), int | float)]

    @property
    def loss(self) -> float:
        """
        The least loss of any validation.

        Raises:
            ScaleError: If no validation gave a loss.
        """
        if not self.losses:
            raise ScaleError(f"The run with seed {self.seed} has no validation loss: it may have diverged.")
        return min(loss for _, loss in self.losses)

    @property
    def points(self) -> list[tuple[float, float]]:
        """`(operations so far, loss)` of each validation."""
        return [(self.cost.of(epoch), loss) for epoch, loss in self.losses]


def parse_sizes(text: str) -> list[int]:
    """
    Numbers of parameters in a list with commas, such as `1e5,300000,1M`.

    Raises:
        ScaleError: For anything else, and for fewer than three different ones.
    """
    units, sizes = {"k": 10**3, "m": 10**6, "b": 10**9}, []
    for part in (part.strip().lower() for part in text.split(",")):
        try:
            factor = units.get(part[-1:], 1)
            size = float(part[:-1] if factor > 1 else part) * factor
        except ValueError:
            size = 0.0
        if not 1 <= size < 1e13:
            raise ScaleError(f"--sizes {text}: {part!r} is no number of parameters; write e.g. 100k,300k,1M,3M.")
        sizes.append(round(size))
    if len(set(sizes)) < 3:
        raise ScaleError(f"--sizes {text}: a law needs three different sizes, better five.")
    return sorted(set(sizes))


def find_sizes(probe: dict[str, Any], sizes: list[int]) -> list[Sizes]:
    """
    The widths at which models of a run's kind have these numbers of parameters; the depth stays.

    Raises:
        SizesError: If one of them cannot be reached within 2 %.
        ScaleError: If two of them lead to the same width.
    """
    architecture = probe["hyperparameters"]["architecture"]
    found = [size_models({architecture: probe}, "parameters", 1, size)[1][architecture] for size in sizes]
    for one, other in pairwise(found):
        if one.count == other.count:
            raise ScaleError(f"Two of the sizes lead to {one.count:,.0f} parameters: take them farther apart.")
    return found


def costs_of(probe: dict[str, Any], sizes: list[Sizes]) -> list[Cost]:
    """What training costs at each size, from the record of a run at another."""
    config = class_of(probe["model"]["class"]).config_class(**probe["model"]["config"])
    return [cost_of(probe, with_fields(config, **one.fields)) for one in sizes]


def cost_of(record: dict[str, Any], config: PreTrainedConfig | None = None) -> Cost:
    """
    What training a model of a run costs: three forward passes per token, counted by [`count_flops`].

    A language model is counted at the length of its windows, others at the mean length of a training text. Where a row
    is one text instead, as a tune is, attention over `--max_length` tokens is an upper bound.

    Args:
        record: The content of `run.json`.
        config: That of the model; the run's own by default.

    Raises:
        ScaleError: If the run's record does not say how many tokens it is trained on.
    """
    tokens = next((n for name, n in record["dataset"].get("tokens", {}).items() if name.startswith("train")), None)
    if not tokens:
        raise ScaleError(
            f"{record['task']}: operations are counted per token of the training data, whose number is not known here "
            "(images, series, streamed texts)."
        )
    model_class = class_of(record["model"]["class"])
    if model_class.__name__.endswith(("ForCausalLM", "ForMaskedLM")):
        length = record["hyperparameters"]["max_length"]
    else:
        length = max(1, round(tokens / record["dataset"]["splits"]["train"]["rows"]))
    config = config or model_class.config_class(**record["model"]["config"])
    flops = count_flops(model_class, config, length)
    return Cost(PASSES * flops / length, tokens)


def epochs_within(budget: float, costs: list[Cost], seeds: int) -> float:
    """
    Epochs of each run, so that all of them together keep to a budget of operations.

    Raises:
        ScaleError: If that is less than a hundredth of an epoch.
    """
    whole = seeds * sum(cost.of(1.0) for cost in costs)
    if budget < 0.01 * whole:
        raise ScaleError(
            f"--budget {budget:.3g}: one epoch of all runs takes {whole:.3g} operations; give at least a hundredth of "
            "that, or take smaller sizes."
        )
    return budget / whole


def run_size(comparison: Comparison, sizes: Sizes, seed: int, words: list[str]) -> dict[str, Any]:
    """
    Train the recipe at a size, unless that is done; gives its record.

    Raises:
        CompareError: If the run fails.
        ScaleError: If the model that it trained has another size, or it was stopped by time.
    """
    name = f"{sizes.count:,.0f} parameters, seed {seed}"
    folder = comparison.folder / f"size-{sizes.count:.0f}-seed-{seed}"
    more = [f"--seed={seed}", "--evaluate_test=false", *words]
    record = launch_run(comparison, {}, sizes.instead_of(comparison.overrides), folder, more, name)
    if record.get("stopped"):
        raise ScaleError(
            f"{comparison.recipe.stem}, {name}: {stopped_early(record)}. Remove {folder}, and give the same command."
        )
    found = record["model"]["parameters"]
    if abs(found / sizes.count - 1) > 0.02:
        raise ScaleError(
            f"{comparison.recipe.stem}: a model of {sizes.count:,.0f} parameters was asked for and has {found:,}."
        )
    return record
