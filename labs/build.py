"""Exercise and solution, two notebooks from one source.

A source is a percent script (jupytext's `py:percent`), `labs/lab*.py`. In it

- `### BEGIN SOLUTION` and `### END SOLUTION`, nbgrader's marks, stand around what students write: in the exercise
  that is a blank which raises NotImplementedError;
- a markdown cell tagged `hint` is folded in the exercise and left out of the solution;
- a markdown cell tagged `answer` is a text that students write: the exercise has room for it instead.

Behind the title goes the cell that installs seqnlp where it is missing.

The built notebooks have no outputs, and cells with ids that depend on their place alone, so that a build changes only
what the source changed.
"""

import re
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

from seqnlp.labs import LabsError


FOLDER = Path(__file__).parent
KINDS = ("exercises", "solutions")
BLANK = "# YOUR CODE HERE"
INSTALL = """# Run this cell first: it installs seqnlp where it is missing (in Colab, say), which takes some minutes.
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("seqnlp") is None:
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "seqnlp[labs]"], check=True)"""
_MARKED = re.compile(r"^([ \t]*)### BEGIN SOLUTION\n.*?^[ \t]*### END SOLUTION$", re.MULTILINE | re.DOTALL)
_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def sources() -> list[Path]:
    """The sources of the labs, in order."""
    return sorted(FOLDER.glob("lab*.py"))


def build(source: Path) -> dict[str, NotebookNode]:
    """
    The notebooks of a source: `exercises` and `solutions`.

    Raises:
        LabsError: If a mark has no partner, or the source does not begin with a title.
    """
    text = source.read_text(encoding="utf-8")
    marks = re.findall(r"### (BEGIN|END) SOLUTION", text)
    if marks != ["BEGIN", "END"] * (len(marks) // 2):
        raise LabsError(f"{source.name}: each `### BEGIN SOLUTION` needs its `### END SOLUTION`, one after the other.")
    notebook = jupytext.reads(text, fmt="py:percent")
    title = re.match(r"# (.+)", notebook.cells[0].source)
    if not title:
        raise LabsError(f"{source.name}: the first cell is to begin with a title, `# Lab N: ...`.")
    return {kind: _notebook(notebook.cells, kind == "exercises", source.stem, title.group(1)) for kind in KINDS}


def _notebook(cells: list[NotebookNode], is_exercise: bool, name: str, title: str) -> NotebookNode:
    made = [_cell(cell, is_exercise) for cell in cells]
    made.insert(1, nbformat.v4.new_code_cell(INSTALL))
    kind = "exercise" if is_exercise else "solution"
    metadata = {
        "kernelspec": _KERNEL,
        "language_info": {"name": "python"},
        "seqnlp": {"lab": name, "title": title, "kind": kind},
    }
    notebook = nbformat.v4.new_notebook(cells=[cell for cell in made if cell is not None], metadata=metadata)
    for index, cell in enumerate(notebook.cells):
        cell["id"] = f"{name.split('_')[0]}-{index:03d}"
    nbformat.validate(notebook)
    return notebook


def _cell(cell: NotebookNode, is_exercise: bool) -> NotebookNode | None:
    tags = cell.metadata.get("tags", [])
    if cell.cell_type == "code":
        blank = rf'\1{BLANK}\n\1raise NotImplementedError("This blank is yours to fill.")'
        marked = _MARKED.sub(blank, cell.source) if is_exercise else _without_marks(cell.source)
        return nbformat.v4.new_code_cell(marked)
    if "hint" in tags:
        folded = f"<details>\n<summary>Hint</summary>\n\n{cell.source}\n\n</details>"
        return nbformat.v4.new_markdown_cell(folded) if is_exercise else None
    if "answer" in tags and is_exercise:
        return nbformat.v4.new_markdown_cell("*Your answer:*")
    return nbformat.v4.new_markdown_cell(cell.source)


def _without_marks(code: str) -> str:
    return re.sub(r"^[ \t]*### (BEGIN|END) SOLUTION\n?", "", code, flags=re.MULTILINE).rstrip("\n")


def checks_of(source: Path) -> list[tuple[str, str]]:
    """The checks of a lab: the name of each, and the expression that is checked."""
    return re.findall(r'^check\("(\w+)", (\w+)\)', source.read_text(encoding="utf-8"), re.MULTILINE)


def write(folder: Path = FOLDER) -> list[Path]:
    """Build every notebook into `exercises/` and `solutions/` of a folder."""
    written = []
    for source in sources():
        for kind, notebook in build(source).items():
            path = folder / kind / f"{source.stem}.ipynb"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text_of(notebook), encoding="utf-8")
            written.append(path)
    for path in {old for kind in KINDS for old in (folder / kind).glob("lab*.ipynb")} - set(written):
        path.unlink()  # of a source that is gone
    return written


def text_of(notebook: NotebookNode) -> str:
    """The file's text."""
    return nbformat.writes(notebook) + "\n"
