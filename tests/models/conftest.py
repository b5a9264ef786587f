import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    # The models are tiny: more threads only wait for each other, and on a busy machine for long.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
