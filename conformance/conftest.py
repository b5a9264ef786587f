"""Puts the suite in place before the test files import it."""

import importlib.util
import os
import shutil
import tempfile
from pathlib import Path


# Before transformers is imported: it reads these once. Nothing in the suite that applies to us is on the Hub.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Where the suite's pipeline tests look for small models, instead of the Hub.
os.environ["TRANSFORMERS_TINY_MODEL_PATH"] = tempfile.mkdtemp(prefix="seqnlp-conformance-")

import pytest
import torch

from . import suite


ROOT = Path(os.environ["TRANSFORMERS_TINY_MODEL_PATH"])
collect_ignore = ["standins"]  # imported as parts of the suite, never collected by themselves
MARKERS = (
    "generate",
    "is_pipeline_test",
    "is_training_test",
    "accelerate_tests",
    "slow",
    "torch_compile_test",
    "torch_export_test",
    "onnx_export_test",
    "executorch_export_test",
    "timeout",
    "flash_attn_test",
    "flash_attn_3_test",
    "flash_attn_4_test",
    "all_flash_attn_test",
    "run_first",
    "bitsandbytes",
)


def pytest_configure(config):
    for marker in MARKERS:
        config.addinivalue_line("markers", f"{marker}: of transformers' test suite")
    if importlib.util.find_spec("parameterized") is None:
        raise pytest.UsageError('The suite needs the package parameterized: pip install -e ".[conformance]".')
    try:
        folder = suite.suite_folder()
    except suite.SuiteError as error:
        raise pytest.UsageError(str(error)) from error
    (ROOT / "reports").mkdir()
    (ROOT / "reports" / "tiny_model_summary.json").write_text("{}")  # each family adds its models
    suite.install_suite(ROOT / "suite", folder)
    torch.set_num_threads(1)  # the models are tiny: more threads wait for each other


def pytest_unconfigure():
    shutil.rmtree(ROOT, ignore_errors=True)
