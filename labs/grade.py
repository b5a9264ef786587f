"""`pytest labs/grade.py STUDENT.ipynb ...`: the checks of a lab on students' notebooks, one test per exercise.

Of a notebook its imports, functions, classes and assignments that call nothing (constants, a lambda, another name for
a function) are executed, in a fresh namespace, and nothing else: no training, no pictures, no shell commands. The last
definition of a name counts, as in a notebook that was run from top to bottom. Which checks there are says the lab's
source, not the notebook, in which a check may have been changed.

What is executed is the student's code: grade where it may do no harm, in a container or on a machine kept for it.
"""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from labs.build import checks_of, sources
from seqnlp.labs import LabsError, Verdict, check


def lab_of(notebook: dict[str, Any], path: Path) -> Path:
    """
    The source of the lab that a notebook was made of, by its metadata or else by its name.

    Raises:
        LabsError: If neither tells.
    """
    named = str(notebook.get("metadata", {}).get("seqnlp", {}).get("lab", ""))
    found = re.search(r"lab\d+", named) or re.search(r"lab\d+", path.name)
    for source in sources():
        if found and source.stem.split("_")[0] == found.group():
            return source
    raise LabsError(
        f"{path}: which lab is it? Its metadata do not say; give it a name that does, such as lab2_{path.name}."
    )


def definitions(notebook: dict[str, Any]) -> list[ast.stmt]:
    """The imports, functions, classes and assignments that call nothing of its code cells, in order; what cannot be
    parsed is left out, cell by cell."""
    kept = []
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        lines = [line for line in source.splitlines() if not line.lstrip().startswith(("%", "!"))]
        try:
            tree = ast.parse("\n".join(lines))
        except SyntaxError:
            continue
        kept += [node for node in tree.body if _is_definition(node)]
    return kept


def _is_definition(node: ast.stmt) -> bool:
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        return node.value is not None and not _calls(node.value)
    return isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef))


def _calls(node: ast.AST) -> bool:
    """Whether an expression calls something now; what a lambda calls, it calls later."""
    if isinstance(node, (ast.Call, ast.Lambda)):
        return isinstance(node, ast.Call)
    return any(_calls(child) for child in ast.iter_child_nodes(node))


def namespace_of(notebook: dict[str, Any]) -> dict[str, Any]:
    """What the definitions of a notebook make; one that raises (a missing import, say) is left out."""
    names: dict[str, Any] = {"__name__": "student"}
    for node in definitions(notebook):
        try:
            exec(compile(ast.Module([node], []), "notebook", "exec"), names)
        except Exception as error:
            if not isinstance(node, (ast.Assign, ast.AnnAssign)):  # these follow from what is not executed here
                names.setdefault("__errors__", []).append(f"{type(error).__name__}: {error}")
    return names


def read(path: Path) -> dict[str, Any]:
    """
    A notebook.

    Raises:
        LabsError: If it is not there or is none.
    """
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        notebook["cells"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabsError(f"{path} is no notebook: {type(error).__name__}: {' '.join(str(error).split())}") from error
    return notebook


def grade(path: Path) -> list[Verdict]:
    """The verdict on each exercise of a notebook."""
    notebook = read(path)
    names = namespace_of(notebook)
    verdicts = []
    for name, expression in checks_of(lab_of(notebook, path)):
        if expression in names:
            verdicts.append(check(name, names[expression]))
        else:
            errors = (
                "; ".join(names.get("__errors__", []))
                or "the cell is gone, Python cannot parse it, or it is the result of a call"
            )
            verdicts.append(Verdict(name, False, f"there is no {expression} in the notebook ({errors})."))
    return verdicts


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test per exercise and notebook named on the command line (labs/conftest.py keeps them)."""
    paths = [Path(path) for path in metafunc.config.labs_notebooks]
    if not paths:
        raise pytest.UsageError("Name the notebooks to grade: pytest labs/grade.py STUDENT.ipynb")
    try:
        graded = [(path, verdict) for path in paths for verdict in grade(path)]
    except LabsError as error:
        raise pytest.UsageError(str(error)) from error
    ids = [f"{path.stem}-{verdict.name}" for path, verdict in graded]
    metafunc.parametrize("verdict", [verdict for _, verdict in graded], ids=ids)


def test_exercise(verdict: Verdict) -> None:
    """Right, or the sentence that the student saw."""
    if not verdict:
        pytest.fail(verdict.sentence, pytrace=False)
