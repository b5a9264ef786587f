"""Notebooks on pytest's command line are for labs/grade.py to read, not for pytest to collect."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Take them off the arguments and keep them."""
    config.labs_notebooks = [argument for argument in config.args if argument.endswith(".ipynb")]
    config.args[:] = [argument for argument in config.args if not argument.endswith(".ipynb")]
