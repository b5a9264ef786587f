"""Faults to put into a file, made by mutmut's operators."""

import ast
import difflib
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import libcst
from mutmut.mutation.file_mutation import create_mutations


@dataclass(frozen=True)
class Mutant:
    """
    A file with one fault.

    Attributes:
        path: The file, relative to the repository.
        original: Its text.
        text: The text with the fault.
    """

    path: Path
    original: str
    text: str

    @property
    def diff(self) -> str:
        """The fault as a unified diff."""
        lines = (text.splitlines(keepends=True) for text in (self.original, self.text))
        return "".join(difflib.unified_diff(*lines, f"a/{self.path}", f"b/{self.path}", n=2))


def source_files(root: Path, targets: Sequence[str]) -> list[Path]:
    """
    The Python files of the targets, files or folders relative to the root; those that are missing are left out, and so
    is what only gathers names, `__init__.py`.
    """
    found = set()
    for target in targets:
        path = root / target
        found |= set(path.rglob("*.py")) if path.is_dir() else {path} & set(path.parent.glob("*.py"))
    return sorted(path.relative_to(root) for path in found if path.name != "__init__.py")


class Source:
    """
    A file and the places where a fault can be put.

    Args:
        root: The repository.
        path: The file, relative to it.
    """

    def __init__(self, root: Path, path: Path):
        self.path = path
        self.original = (root / path).read_text(encoding="utf-8")
        self.module, mutations, *_ = create_mutations(str(path), self.original)
        # Texts in quotes are left alone: most are words for people.
        self.mutations = [one for one in mutations if not isinstance(one.original_node, libcst.BaseString)]

    def mutant(self, number: int) -> Mutant | None:
        """The mutant with the fault of this number, unless it is no program or plainly the same one."""
        mutation = self.mutations[number]
        text = self.module.deep_replace(mutation.original_node, mutation.mutated_node).code
        return Mutant(self.path, self.original, text) if _is_other_program(self.original, text) else None


def _is_other_program(original: str, text: str) -> bool:
    """Whether a text is a program, and another one even if `None` counts as `False`, which hardly ever matters."""
    try:
        programs = [ast.dump(_NoneForFalse().visit(ast.parse(source))) for source in (original, text)]
    except SyntaxError:
        return False
    return programs[0] != programs[1]


class _NoneForFalse(ast.NodeTransformer):
    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        return ast.Constant(None) if node.value is False else node


def draw(root: Path, targets: Sequence[str], count: int, seed: int) -> list[Mutant]:
    """The same `count` mutants of all targets together for the same seed and code, in the order of the files."""
    sources = [Source(root, path) for path in source_files(root, targets)]
    places = [(source, number) for source in sources for number in range(len(source.mutations))]
    random.Random(seed).shuffle(places)
    found = (source.mutant(number) for source, number in places)
    mutants = itertools.islice((mutant for mutant in found if mutant is not None), count)
    return sorted(mutants, key=lambda mutant: (mutant.path, mutant.text))
