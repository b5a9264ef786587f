"""`report.html`: its table of results."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from seqnlp.tasks import TASKS
from seqnlp.tasks.reporting.run_page import _results


KEPT = Path(__file__).parents[2] / "benchmarks" / "results"


def page_of_kept_run(name):
    """The results of a kept run, as its page has them, and its record."""
    record = json.loads((KEPT / f"{name}.json").read_text())
    outcome = SimpleNamespace(run=SimpleNamespace(record=SimpleNamespace(**record)))
    return _results(TASKS[record["task"]], outcome), record


@pytest.mark.parametrize(
    ("name", "tables"),
    [
        ("trajectory-sample_glucose-lstm_student_t-1", 3),
        ("trajectory-simulated_ball-lstm-1", 3),
        ("music_generation-irish_abc-lstm-42-bf16", 1),
    ],
)
def test_people_read_at_most_seven_columns_and_every_score(name, tables):
    page, record = page_of_kept_run(name)
    heads = re.findall(r"<thead>(.*?)</thead>", page)
    assert len(heads) == tables
    assert max(head.count("<th ") for head in heads) <= 7
    task, cells = TASKS[record["task"]], re.findall(r"<td>(.*?)</td>", page)
    for splits in (record["metrics"], *record["baselines"].values()):
        for values in splits.values():
            for score in task.scores:
                assert score.key not in values or score.shown(values[score.key]) in cells


def test_rows_of_baselines_stand_back_where_they_are_rows():
    page, _ = page_of_kept_run("trajectory-sample_glucose-lstm_student_t-1")
    assert '<tr class=""><td>this model</td><td>test</td>' in page
    assert '<tr class="baseline"><td>ets</td><td>test</td>' in page
    page, _ = page_of_kept_run("music_generation-irish_abc-lstm-42-bf16")
    assert "baseline" not in page.replace("of its baselines", "")
    assert '<th scope="col">training tunes, test</th>' in page
