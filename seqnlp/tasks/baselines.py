"""What models are held against, each made by itself."""

from collections.abc import Callable, Mapping
from typing import Any

from ..training import attempts


def each_by_itself(ways: Mapping[str, Callable[[], dict[str, Any]]], split: str) -> dict[str, dict[str, Any]]:
    """
    The scores of baselines on a split: of one that cannot be made there is a line, and the others are made.

    Args:
        ways: By name, what gives the scores; none where a baseline does not fit the data.
        split: The split that is scored.
    """
    made = {name: attempts.attempt(f"The baseline {name}", way) for name, way in ways.items()}
    return {name: {split: scores} for name, scores in made.items() if scores}
