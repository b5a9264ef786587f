"""`python -m labs build` writes the notebooks; `python -m labs run lab1` executes a solution and takes the time."""

import argparse
import os
import resource
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from seqnlp.labs import QUICK, LabsError

from .build import build, sources, text_of, write


def run(names: list[str], folder: Path) -> None:
    """Execute solutions in a fresh kernel each; the notebooks with their outputs are kept in a folder."""
    chosen = [source for source in sources() if not names or any(source.stem.startswith(name) for name in names)]
    if not chosen:
        raise LabsError(f"There is no lab {names[0]!r}; there is {', '.join(source.stem for source in sources())}.")
    folder.mkdir(parents=True, exist_ok=True)
    for source in chosen:
        notebook = build(source)["solutions"]
        begin, computed = time.perf_counter(), _seconds_of_kernels()
        try:
            place = {"metadata": {"path": folder}}
            NotebookClient(notebook, timeout=1200, kernel_name="python3", resources=place).execute()
        except CellExecutionError as error:
            raise LabsError(f"{source.stem}: {error.ename}: {error.evalue}") from error
        finally:
            path = folder / f"{source.stem}.ipynb"
            path.write_text(text_of(notebook), encoding="utf-8")
        wrong = [verdict for verdict in verdicts_of(notebook) if verdict.startswith("✗")]
        if wrong:
            raise LabsError(f"{source.stem}: {wrong[0]}")
        seconds = f"{_seconds_of_kernels() - computed:.0f} s of CPU, {time.perf_counter() - begin:.0f} s in all"
        print(f"{source.stem}: {seconds}, {len(verdicts_of(notebook))} checks, {path}", flush=True)


def _seconds_of_kernels() -> float:
    """What the kernels that have ended computed; unlike the clock it does not count what else the machine does."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def verdicts_of(notebook: nbformat.NotebookNode) -> list[str]:
    """What the checks of an executed notebook said."""
    shown = (output for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output)
    texts = (output.data.get("text/plain", "") for output in shown)
    return [text for text in texts if text.startswith(("✓", "✗"))]


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m labs", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("build", help="write labs/exercises and labs/solutions from the sources")
    runner = verbs.add_parser("run", help="execute solutions")
    runner.add_argument("names", nargs="*", help="how their names begin, e.g. lab1; all if none is given")
    runner.add_argument("--quick", action="store_true", help="small sizes, which only show that everything works")
    runner.add_argument("--folder", type=Path, default=Path("outputs/labs"), help="where the executed notebooks go")
    arguments = parser.parse_args()
    try:
        if arguments.verb == "build":
            for path in write():
                print(path)
        else:
            os.environ[QUICK] = "1" if arguments.quick else "0"  # the kernels inherit it
            run(arguments.names, arguments.folder)
    except LabsError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
