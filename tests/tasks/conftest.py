"""Tasks run in this process; each test begins without what Accelerate remembers."""

import sys
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState, GradientState, PartialState


sys.path.insert(0, str(Path(__file__).parents[1] / "training"))  # tiny_runs


@pytest.fixture(autouse=True)
def _fresh_state():
    yield
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()
