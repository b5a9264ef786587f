"""Puts transformers' common test suite in place, as the package `tests`.

The suite is no part of the installed library. It comes from a checkout of transformers that the environment variable
`CONFORMANCE_TESTS` names, or else from the source distribution of the installed version, downloaded once. The
distribution lacks the folders `exporters`, `generation`, `pipelines` and `utils` of the suite; `standins/` holds ours,
which are used for what is missing and for nothing else.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import transformers


STANDINS = Path(__file__).parent / "standins"


class SuiteError(Exception):
    """The suite cannot be had; the message says why and what would do."""


def suite_folder() -> Path:
    """
    The `tests/` folder of transformers: of the checkout that `CONFORMANCE_TESTS` names, or of the source distribution.

    Raises:
        SuiteError: If `CONFORMANCE_TESTS` names a folder without the suite, or the download fails.
    """
    named = os.environ.get("CONFORMANCE_TESTS")
    if not named:
        return _downloaded_suite(transformers.__version__)
    for folder in (Path(named), Path(named) / "tests"):
        if (folder / "test_modeling_common.py").is_file():
            return folder.resolve()
    raise SuiteError(
        f"CONFORMANCE_TESTS={named} is no checkout of transformers: it has no tests/test_modeling_common.py."
    )


def _downloaded_suite(version: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seqnlp" / "conformance"
    unpacked = cache / f"transformers-{version}"
    if not unpacked.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        # Unpacked beside its place and renamed: an interrupted download leaves nothing that looks complete.
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            requirement = f"transformers=={version}"
            download = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", requirement]
            if subprocess.run([*download, "--dest", folder]).returncode != 0:
                raise SuiteError(f"pip cannot download {requirement}: name a checkout of it by CONFORMANCE_TESTS=DIR.")
            with tarfile.open(next(Path(folder).glob("*.tar.gz"))) as archive:
                archive.extractall(folder, filter="data")
            (Path(folder) / unpacked.name).rename(unpacked)
    return unpacked / "tests"


def install_suite(root: Path, suite: Path) -> None:
    """
    Lay out below `root`, by links, what the suite expects to find around itself, and make `tests` importable there.

    `root/tests` holds the suite, with stand-ins for what it lacks; `root/utils` is the checkout's, if it has one; and
    `root/src/transformers` is the installed library, of which the suite reads some sources.
    """
    tests = root / "tests"
    tests.mkdir(parents=True)
    for folder in (suite, STANDINS):
        for path in folder.iterdir():
            link = tests / path.name
            if not link.exists() and path.name != "__pycache__":
                link.symlink_to(path)
    if (suite.parent / "utils").is_dir():
        (root / "utils").symlink_to(suite.parent / "utils")
    (root / "src").mkdir()
    (root / "src" / "transformers").symlink_to(Path(transformers.__file__).parent)
    sys.path.insert(0, str(root))
