"""What no code of the repository does, by reading all of it."""

import ast
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent
SOURCES = sorted([*(ROOT / "seqnlp").rglob("*.py"), *(ROOT / "recipes").glob("*.py")])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_of_strangers_is_never_trusted_and_nothing_is_unpickled(path):
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
            assert not isinstance(node.value, ast.Constant) or node.value.value is False
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "trust_remote_code":
                    assert not isinstance(value, ast.Constant) or value.value is False
        if isinstance(node, ast.FunctionDef):
            names = node.args.args + node.args.kwonlyargs
            defaults = [None] * (len(node.args.args) - len(node.args.defaults)) + node.args.defaults
            for argument, default in zip(names, defaults + node.args.kw_defaults, strict=True):
                if argument.arg == "trust_remote_code" and default is not None:
                    assert default.value is False
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert not {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"} & set(modules)
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) != "torch.load"
            if ast.unparse(node.func).endswith("np.load"):
                assert not any(keyword.arg == "allow_pickle" for keyword in node.keywords)
