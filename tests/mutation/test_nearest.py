"""Which tests are near, in a repository made up and in ours."""

from pathlib import Path

import pytest

from mutation.nearest import ImportGraph, nearest_tests


FILES = {
    "seqnlp/__init__.py": "from .models import Net\n",
    "seqnlp/models/__init__.py": "from .nets import Net\nfrom .losses import loss as our_loss\n",
    "seqnlp/models/nets.py": "from .cells import Cell\nclass Net: cell = Cell\n",
    "seqnlp/models/cells.py": "class Cell: pass\n",
    "seqnlp/models/losses.py": "def loss(): pass\n",
    "seqnlp/training/__init__.py": "from .loop import Loop\n",
    "seqnlp/training/loop.py": "from ..models.losses import loss\nclass Loop: pass\n",
    "seqnlp/training/alone.py": "",
    "tests/conftest.py": "",
    "tests/models/test_cells.py": "def test_by_subprocess(): pass\n",
    "tests/models/test_nets.py": "from seqnlp import Net\n",
    "tests/models/test_all.py": "import seqnlp.models\n",
    "tests/training/helpers.py": "from seqnlp.training import Loop\n",
    "tests/training/test_loop.py": "from helpers import Loop\n",
    "tests/training/test_names.py": "from seqnlp.models import our_loss\n",
}


@pytest.fixture
def made_up(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return ImportGraph(tmp_path)


@pytest.mark.parametrize(
    ("source", "tests"),
    [
        # By its name though it imports nothing, over one file between, over the package's front door.
        ("models/cells.py", ["models/test_cells.py", "models/test_nets.py"]),
        ("models/nets.py", ["models/test_nets.py", "models/test_all.py"]),
        # A name is followed to where it is defined, under another name too; what helps a test is part of it.
        ("models/losses.py", ["training/test_names.py", "models/test_all.py", "training/test_loop.py"]),
        ("training/loop.py", ["training/test_loop.py"]),
        ("training/alone.py", []),
    ],
)
def test_by_name_and_by_imports(made_up, source, tests):
    assert nearest_tests(made_up, Path("seqnlp", source)) == [Path("tests", test) for test in tests]


def test_every_file_of_ours_that_faults_are_put_into_has_a_test_near():
    root = Path(__file__).parents[2]
    graph = ImportGraph(root)
    for folder in ("training", "metrics"):
        for path in (root / "seqnlp" / folder).glob("[!_]*.py"):
            assert nearest_tests(graph, path.relative_to(root)), path
    first = {"metrics/perplexity.py": "metrics/test_perplexity.py", "models/losses.py": "models/test_losses.py"}
    for source, test in first.items():
        assert nearest_tests(graph, Path("seqnlp", source))[0] == Path("tests", test)
