"""The tour: its pictures are there and small, and a command stands before each."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from seqnlp.cli.main import app


DOCS = Path(__file__).parent.parent / "docs"
TOUR = (DOCS / "tour.md").read_text(encoding="utf-8")
PICTURE = r"!\[[^\]]+\]\(([^)]+)\)"
PICTURES = re.findall(PICTURE, TOUR)
COMMANDS = [block.replace("\\\n", " ") for block in re.findall(r"```bash\n(.*?)```", TOUR, re.DOTALL)]


@pytest.mark.parametrize("picture", PICTURES)
def test_every_picture_is_there_and_small_and_a_command_makes_it(picture):
    path = DOCS / picture
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert path.stat().st_size < 300_000
    made = "".join(COMMANDS)
    assert any(f"docs/images/{path.stem}.{suffix}" in made for suffix in ("png", "html"))


def test_every_picture_in_the_folder_is_shown():
    """On a page or in the README."""
    pages = [DOCS.parent / "README.md", *DOCS.rglob("*.md")]
    shown = {(page.parent / picture).resolve() for page in pages for picture in re.findall(PICTURE, page.read_text())}
    assert set((DOCS / "images").resolve().glob("*.png")) <= shown


def test_the_flags_of_its_commands_exist():
    verbs = get_command(app).commands
    seen = set()
    for line in "\n".join(COMMANDS).splitlines():
        if line.startswith("seqnlp "):
            verb = line.split()[1]
            seen.add(verb)
            known = {name for parameter in verbs[verb].params for name in parameter.opts}
            line = re.sub(r"--flags \"[^\"]*\"", "--flags", line)
            assert set(re.findall(r"--[a-z_]+", line)) <= known
    assert seen >= {"gradflow", "attention", "dependency", "compare"}
