"""What the documentation points to is there."""

import ast
import re
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[1]
PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "benchmarks").glob("*.md"),
    *(ROOT / "labs").glob("*.md"),
    *(ROOT / "model_cards").glob("*.md"),
]


def name_of(page):
    return str(page.relative_to(ROOT))


def prose_of(page):
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors_of(page):
    """What the site and the repository's page make of the headings."""
    headings = re.findall(r"^#+ (.+)$", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_and_section_that_a_page_links_to_is_there(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", prose_of(page)):
        if not target.startswith(("http", "mailto")):
            place = page.parent / target if target else page
            assert place.exists(), target
            assert not anchor or anchor in anchors_of(place), f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_module_that_a_page_names_is_there(page):
    for named in re.findall(r"`((?:seqnlp|recipes|tests|benchmarks)/[\w/]+\.(?:py|yaml|md))`", page.read_text()):
        assert (ROOT / named).exists() or "NAME" in named, named


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_formulas_of_several_lines_are_gathered(page):
    """GitHub breaks no line outside of an environment."""
    for formulas in re.findall(r"^```math\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        lines = formulas.splitlines()
        assert len(lines) == 1 or (lines[0], lines[-1]) == (r"\begin{gathered}", r"\end{gathered}"), formulas


def test_every_function_of_the_table_of_equations_is_in_the_file_beside_it():
    rows = (ROOT / "docs" / "architecture.md").read_text().split("## From an equation")[1].split("\n## ")[0]
    found = re.findall(r"\| ([^|]+) in \[[\w.]+\]\(\.\./([\w/.]+)\) \|", rows)
    assert len(found) >= 10
    for names, file in found:
        defined = {node.name for node in ast.walk(ast.parse((ROOT / file).read_text())) if hasattr(node, "name")}
        assert set(re.findall(r"`(\w+)`", names)) <= defined, (names, file)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_table_that_people_read_has_at_most_seven_columns(page):
    for line in page.read_text().splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", re.sub(r"`[^`]*`", "", line))) <= 8, line
