"""How the extras of seqnlp, groups of packages that not everybody needs, are installed where this seqnlp came from."""

from pathlib import Path


_CLONE = Path(__file__).parents[1]


def install(extra: str) -> str:
    """The command that installs an extra: of the clone that is run, or of the package."""
    is_clone = (_CLONE / "pyproject.toml").is_file()
    return f"pip install -e '.[{extra}]'" if is_clone else f"pip install 'seqnlp[{extra}]'"
