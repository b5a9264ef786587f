"""Which folder of seqnlp may import which, and what a published file may import at all."""

import ast
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "seqnlp"
ALLOWED = {
    "models": {"pipelines"},  # the package; its files stand alone
    "tokenization": set(),
    "metrics": {"data.melody"},
    "data": {"tokenization"},
    "diagnostics": set(),
    "visualization": {"diagnostics", "data.melody"},
    "training": {"metrics", "models.losses", "models.requirements"},
    "pipelines": set(),
    "labs": {"models", "metrics"},
    "tasks": {"models", "tokenization", "data", "metrics", "training", "diagnostics", "visualization"},
    "export": {"models", "pipelines"},
    "conversion": {"models"},
    "demo": {"data", "metrics", "diagnostics", "visualization", "pipelines"},
    "publishing": {"tasks", "training", "visualization", "export"},
    "cli": {
        "models",
        "tokenization",
        "metrics",
        "data",
        "diagnostics",
        "visualization",
        "training",
        "tasks",
        "pipelines",
        "export",
        "conversion",
        "publishing",
        "demo",
        "labs",
    },
}
EVERYWHERE = {"digits", "extras", "inert", "signals"}  # but in models, whose files stand alone
PUBLISHED = [path for path in sorted((PACKAGE / "models").glob("*.py")) if path.name != "__init__.py"]


def imports(path):
    """Every import as (absolute name, level, names)."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.level, [alias.name for alias in node.names]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_directions(path):
    folder = path.relative_to(PACKAGE).parts[0]
    if path.parent == PACKAGE:
        return
    assert folder in ALLOWED, f"{folder} is in no row of the table of directions"
    for module, level, _ in imports(path):
        assert level or not module.startswith("recipes")
        to_package = len(path.relative_to(PACKAGE).parts)  # the level of an import from seqnlp itself
        assert level <= to_package
        is_relative = level == to_package
        target = module.removeprefix("seqnlp.") if module.startswith("seqnlp") else module if is_relative else None
        if target and target.split(".")[0] != folder:
            allowed = ALLOWED[folder] | (EVERYWHERE if folder != "models" else set())
            assert target in allowed or target.split(".")[0] in allowed, f"{folder} imports {target}"


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.name)
def test_published_files_import_siblings_by_name_and_little_else(path):
    for module, level, _ in imports(path):
        if level:
            assert level == 1, module
            assert (path.parent / f"{module}.py").is_file(), f"from .{module} import name"
        else:
            allowed = {"torch", "transformers", "huggingface_hub"} | sys.stdlib_module_names
            assert module.split(".")[0] in allowed, module


def test_the_models_folder_is_flat():
    assert [path for path in (PACKAGE / "models").iterdir() if path.is_dir() and path.name != "__pycache__"] == []
