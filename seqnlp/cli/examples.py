"""What a visitor may try: rows of a run's own validation data, or what its task has."""

from typing import Any

import numpy as np

from ..demo import GAP, Answerer, GapFiller, TextWriter, TuneWriter
from ..tasks import TASKS, Task
from ..training.errors import in_one_line
from .models import NamedModel


COUNT = 5
LONGEST = 200
"""Characters of an example text: one that is shown whole."""


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
    if isinstance(answerer, TuneWriter):
        fields = [dict(line.split(":", 1) for line in text.splitlines()) for text in task.widget_of(named.run)]
        return [f"{found['M']} {found['K']}" for found in fields], ""
    if isinstance(answerer, TextWriter):
        return task.widget_of(named.run), ""
    if isinstance(answerer, GapFiller):  # with gaps as the page asks for them
        gap = answerer.tokenizer.mask_token or GAP
        return [text.replace(gap, GAP) for text in task.widget_of(named.run)], ""
    name = str((named.run.get("dataset") or {}).get("name") or "")
    if of_public_data and name.startswith("<local:"):
        return task.widget_of(named.run), "Examples: those of the task, since the run's data is not public."
    try:
        return _rows(task, named.run, answerer), ""
    except (ValueError, OSError, ImportError) as error:  # data that is gone, or needs the network
        remark = f"Examples: those of the task, since the run's data cannot be read ({in_one_line(error, 160)})."
        return task.widget_of(named.run), remark


def _rows(task: type[Task], record: dict[str, Any], answerer: Answerer) -> list[Any]:
    loaded = task.from_record(record).load()
    split = loaded.splits["validation"]
    if answerer.reads == "series":
        length = int(record["hyperparameters"]["context_length"])
        windows = [(series, start) for series in split["values"] for start in range(len(series) - length + 1)]
        found = [(series, start) for series, start in windows if _is_whole(series[start : start + length])]
        return [series[start : start + length] for series, start in _spread(found or windows, COUNT)]
    if answerer.reads == "image":
        return list(_spread(split["image"], 2 * COUNT))
    if "tokens" in split.column_names:
        texts = [" ".join(words) for words in split["tokens"]]
    else:
        texts = split["source" if "source" in split.column_names else "text"]
    return _spread([text for text in texts if 0 < len(text) <= LONGEST] or list(texts), COUNT)


def _spread(rows: Any, count: int) -> list[Any]:
    count = min(count, len(rows))
    return [rows[round(place * (len(rows) - 1) / max(1, count - 1))] for place in range(count)]


def _is_whole(steps: list[list[float]]) -> bool:
    """Whether there are no gaps."""
    return bool(np.isfinite(np.array(steps, dtype=np.float64)).all())
