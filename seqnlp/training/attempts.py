"""What a finished model does not depend on: where it fails, one line says so, and the run goes on."""

from collections.abc import Callable
from typing import Any

from transformers.utils import logging

from .integrity import named


logger = logging.get_logger(__name__)


def attempt(what: str, function: Callable[[], Any], is_told: bool = True) -> Any:
    """
    What `function` returns; None where it fails.

    Args:
        what: What is made, for the line: "The baselines".
        function: Makes it.
        is_told: Whether there is a line if it fails: one process tells it for all.
    """
    try:
        return function()
    except Exception as error:
        if is_told:
            logger.warning(f"{what} could not be made: {named(error)}")
        return None
