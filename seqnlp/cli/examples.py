"""What a visitor may try: rows of a run's own validation data, or what its task has."""

from typing import Any

from ..demo import Answerer
from ..tasks import TASKS
from ..training.errors import in_one_line
from .models import NamedModel


def examples_of(named: NamedModel, answerer: Answerer, of_public_data: bool = False) -> tuple[list[Any], str]:
    """
    Some inputs for a model, spread evenly over the validation split of its run: texts, images or arrays of numbers.

    A model that goes on with texts gets the prompts of its run, one that fills gaps the texts of its task, and a model
    without a run nothing.

    Args:
        named: The model.
        answerer: What answers for it.
        of_public_data: Whether rows of local data are left out, since others will see them.

    Returns:
        The inputs, and a line where they are not rows of the run's data; empty if they are.
    """
    task = TASKS.get(named.run.get("task", ""))
    if task is None:
        return [], ""
    prompts = [answerer.as_typed(prompt) for prompt in task.widget_of(named.run)]
    if answerer.column is None:
        return prompts, ""
    name = str((named.run.get("dataset") or {}).get("name") or "")
    if of_public_data and name.startswith("<local:"):
        return prompts, "Examples: those of the task, since the run's data is not public."
    try:
        rows = task.from_record(named.run).load().splits["validation"]
        return answerer.examples(rows[answerer.column]), ""
    except (ValueError, OSError, ImportError) as error:  # data that is gone, or needs the network
        remark = f"Examples: those of the task, since the run's data cannot be read ({in_one_line(error, 160)})."
        return prompts, remark
