import pytest
from accelerate.state import AcceleratorState, GradientState, PartialState


@pytest.fixture(autouse=True)
def _fresh_state():
    yield
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()
