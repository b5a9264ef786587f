"""Models of equal size: counting without memory, and searching the sizes that match."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedConfig

from .costs import class_of, count_flops


DERIVED = ("intermediate_size", "head_dim", "embedding_size")
"""Fields that follow from the width of a model, or are chosen with it."""
UNITS = {"parameters": "parameters", "seconds": "parameters", "flops": "operations"}  # what is counted, by --match


class SizesError(ValueError):
    """Sizes that cannot be matched; the message says how near they come."""


class Sizes(NamedTuple):
    """Fields of a configuration, and what they count to."""

    fields: dict[str, Any]
    count: float

    def instead_of(self, given: dict[str, Any]) -> dict[str, Any]:
        """Given fields with these in the place of all that say how wide a model is; the same where these are none."""
        return {name: value for name, value in given.items() if not self.fields or name not in DERIVED} | self.fields


def count_parameters(build: Callable[[], torch.nn.Module]) -> int:
    """Parameters of the model that `build` makes, tied ones once; nothing is allocated."""
    with torch.device("meta"):
        model = build()
    return sum(parameter.numel() for parameter in model.parameters())


def size_models(
    probes: dict[str, dict], match: str, length: int, target: float | None
) -> tuple[float, dict[str, Sizes]]:
    """
    Sizes for each architecture, so that all count to the target, or to what the first one counts to as it stands.

    Args:
        probes: A run record for each architecture, from which class and configuration are taken.
        match: What is to be equal, one of [`UNITS`].
        length: Tokens of a text, for the operations.
        target: The count to match.

    Raises:
        SizesError: If no sizes of an architecture come near enough.
    """
    sizes = {}
    for architecture, probe in probes.items():
        model_class = class_of(probe["model"]["class"])
        config = model_class.config_class(**probe["model"]["config"])

        def count(fields: dict[str, int], model_class=model_class, config=config) -> float:
            changed = with_fields(config, **fields) if fields else config
            if match == "flops":
                return count_flops(model_class, changed, length)
            return count_parameters(lambda: model_class(changed))

        if target is None:  # the first architecture stays as the YAML has it
            target = count({})
            sizes[architecture] = Sizes({}, target)
            continue
        is_tied = architecture != "transformer" and (
            getattr(config, "tie_word_embeddings", False) or not hasattr(config, "embedding_size")
        )
        heads = getattr(config, "num_attention_heads", 1)
        sizes[architecture] = match_sizes(architecture, count, target, heads, is_tied, unit=UNITS[match])
    return target, sizes


def candidate_widths(architecture: str, heads: int, widest: int = 4096) -> range:
    """Hidden sizes; those of a Transformer its heads divide into even parts, since rotary positions turn pairs."""
    return range(2 * heads, widest + 1, 2 * heads) if architecture == "transformer" else range(4, widest + 1)


def second_sizes(architecture: str, width: int, is_tied: bool) -> tuple[str | None, range, int]:
    """
    The size by which a count is fitted at a width, its range and its usual value: a Transformer's feed-forward,
    usually 8/3 of the width, and a recurrent net's embeddings, unless they are tied to its output.
    """
    if architecture == "transformer":
        usual = round(width * 8 / 3)
        return "intermediate_size", range(max(1, width // 2), 6 * width + 1), usual
    if is_tied:
        return None, range(0), width
    return "embedding_size", range(max(1, width - width // 3), width + width // 3 + 1), width


def match_sizes(
    architecture: str,
    count: Callable[[dict[str, int]], float],
    target: float,
    heads: int = 4,
    is_tied: bool = False,
    tolerance: float = 0.02,
    unit: str = "parameters",
) -> Sizes:
    """
    The sizes whose count is nearest to `target`.

    A count grows with the hidden size, so the search halves the range of hidden sizes. It is linear in the second
    size, so that one is solved for, unless its usual value comes within half the tolerance.

    Args:
        architecture: Which candidates there are.
        count: What a model of these sizes counts to.
        target: What is to be matched.
        heads: Number of attention heads, which divides the hidden size.
        is_tied: Whether the embeddings are the output matrix, so that they are as wide as the hidden state.
        tolerance: Largest relative difference.
        unit: What is counted, for the message.

    Raises:
        SizesError: If no candidate comes within the tolerance.
    """
    widths = candidate_widths(architecture, heads)

    def sizes_of(width: int, second: int | None = None) -> Sizes:
        name, _, usual = second_sizes(architecture, width, is_tied)
        fields = {"hidden_size": width} | ({} if name is None else {name: second or usual})
        return Sizes(fields, count(fields))

    low, high = 0, len(widths) - 1
    while low < high:  # the first width whose usual sizes reach the target
        middle = (low + high) // 2
        if sizes_of(widths[middle]).count < target:
            low = middle + 1
        else:
            high = middle
    around = [widths[index] for index in (low, low - 1) if index >= 0]
    counted = [sizes_of(width) for width in around]
    if min(abs(sizes.count / target - 1) for sizes in counted) > tolerance / 2:
        for width in around:
            _, choices, _ = second_sizes(architecture, width, is_tied)
            if len(choices) > 1:
                least, most = (sizes_of(width, choices[end]).count for end in (0, -1))
                share = (target - least) / (most - least)
                solved = choices[0] + round(share * (choices[-1] - choices[0]))
                counted.append(sizes_of(width, min(max(solved, choices[0]), choices[-1])))
    best = min(counted, key=lambda sizes: abs(sizes.count - target))
    if abs(best.count / target - 1) > tolerance:
        raise SizesError(
            f"No {architecture} has within {tolerance:.0%} of {target:,.0f} {unit}; the nearest has {best.count:,.0f} "
            f"with {_shown(best.fields)}. Choose another size to match."
        )
    return best


def _shown(fields: dict[str, Any]) -> str:
    return ",".join(f"{name}={value}" for name, value in fields.items())


def with_fields(config: PreTrainedConfig, **fields: Any) -> PreTrainedConfig:
    """A configuration of the same kind with other sizes, the derived ones derived anew."""
    kept = {name: value for name, value in config.to_diff_dict().items() if name[0] != "_"}
    return type(config)(**{name: value for name, value in kept.items() if name not in DERIVED} | fields)
