"""Which tests are nearest to a file: told by their names and by what they import, never by a list."""

import ast
from collections import deque
from pathlib import Path


PACKAGE, TESTS = "seqnlp", "tests"
FARTHEST = 2  # imports between a test and a file that it may be expected to know


class ImportGraph:
    """
    Which file of a repository imports names of which other.

    An import from a package is followed to the file that defines the name, so that what stands in one `__init__.py`
    is not all one thing.

    Args:
        root: The repository.
    """

    def __init__(self, root: Path):
        self.root = root
        paths = [path for folder in (PACKAGE, TESTS) for path in sorted((root / folder).rglob("*.py"))]
        self.trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}
        self.of_package = {path for path in paths if path.is_relative_to(root / PACKAGE)}
        self.reexported = {
            path: _names_imported_by(tree) for path, tree in self.trees.items() if path.name == "__init__.py"
        }
        self.imported = {path: self._files_imported_by(path) for path in paths}
        tests = [path for path in paths if path not in self.of_package and path.name.startswith("test_")]
        self.distances = {test: self._distances_from(test) for test in tests}

    def _distances_from(self, test: Path) -> dict[Path, int]:
        """By file of the package how many imports it is away from a test; what helps the test counts as part of it."""
        helpers = [test, *(path / "conftest.py" for path in test.parents if path / "conftest.py" in self.trees)]
        found = dict.fromkeys(helpers, 0)
        queue = deque(helpers)
        while queue:
            path = queue.popleft()
            for other in self.imported[path]:
                step = int(other in self.of_package)
                if found[path] + step < found.get(other, len(self.trees)):
                    found[other] = found[path] + step
                    queue.append(other)
        return {path: distance for path, distance in found.items() if path in self.of_package}

    def _files_imported_by(self, path: Path) -> set[Path]:
        found = set()
        for node in ast.walk(self.trees[path]):
            if isinstance(node, ast.Import):
                found |= {self._module(path, alias.name, 0) for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found |= {self._definition(path, node, alias.name) for alias in node.names}
        return found - {None, path}

    def _module(self, path: Path, name: str, level: int) -> Path | None:
        """The file of a module as a file names it, if it is one of the repository's."""
        parts = name.split(".") if name else []
        bases = [path.parents[level - 1]] if level else [self.root, path.parent]  # pytest finds a test's neighbors
        for base in bases:
            place = base.joinpath(*parts)
            for candidate in (place.with_suffix(".py"), place / "__init__.py"):
                if candidate in self.trees and candidate != path:
                    return candidate
        return None

    def _definition(self, path: Path, node: ast.ImportFrom, name: str) -> Path | None:
        """The file that defines a name which another one imports."""
        submodule = self._module(path, ".".join(filter(None, (node.module, name))), node.level)
        if submodule is not None:
            return submodule
        module = self._module(path, node.module or "", node.level)
        if module is None or module.name != "__init__.py":
            return module
        if name in self.reexported[module]:
            other, original = self.reexported[module][name]
            return self._definition(module, other, original) or module
        return module


def _names_imported_by(tree: ast.Module) -> dict[str, tuple[ast.ImportFrom, str]]:
    """By name that a file takes from another: where it does so, and what the name is there; the first of several."""
    found: dict[str, tuple[ast.ImportFrom, str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                found.setdefault(alias.asname or alias.name, (node, alias.name))
    return found


def nearest_tests(graph: ImportGraph, source: Path) -> list[Path]:
    """
    The test files that may be expected to notice a fault in a file, the nearest first: those named like it in the
    folder that mirrors its own, then by the number of imports between them, neighbors before others.

    Args:
        graph: Of the repository.
        source: The file, relative to the repository.
    """
    folder = graph.root / TESTS / source.parent.relative_to(PACKAGE)
    ranked = []
    for test, distances in graph.distances.items():
        distance = distances.get(graph.root / source, FARTHEST + 1)
        is_neighbor = test.parent == folder
        is_namesake = is_neighbor and source.stem in test.stem
        if distance <= FARTHEST or is_namesake:
            rank = (not is_namesake, distance, not is_neighbor)
            ranked.append((rank, test.relative_to(graph.root)))
    return [test for _, test in sorted(ranked)]
