import os
import signal
import sys


# Before transformers and datasets are imported: they read these once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import datasets
import pytest
import torch
from transformers.utils import logging


# What runs in the background of a shell is started deaf to Ctrl-C, and so would be all that the tests start.
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _handler)

# The models of the tests are so small that threads only wait for each other.
torch.set_num_threads(1)
datasets.disable_progress_bars()
logging.disable_progress_bar()


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _compiles_anew():
    """torch counts the graphs of a piece of code over the whole process, and from a certain number on refuses it."""
    torch.compiler.reset()


@pytest.fixture(autouse=True)
def _nothing_is_left_unmade(request, monkeypatch):
    """A run goes on without a picture that fails. A test does not, but for what the mark `goes_on_without` names."""
    attempts, failed = sys.modules.get("seqnlp.training.attempts"), {}
    if attempts is not None:
        attempt = attempts.attempt

        def watched(what, function, is_told=True):
            def called():
                try:
                    return function()
                except Exception as error:
                    failed[what] = error
                    raise

            return attempt(what, called, is_told)

        monkeypatch.setattr(attempts, "attempt", watched)
    yield
    named = {name for mark in request.node.iter_markers("goes_on_without") for name in mark.args}
    assert failed.keys() <= named, failed
