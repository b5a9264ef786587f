"""The site: every page is complete, and what is made of the code says what the code says."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import seqnlp
from docs import build as building
from docs.build import Page, collect, pages
from docs.parts import API, defaults_of, part, to_latex
from seqnlp.cli.verbs import VERBS
from seqnlp.data import SAMPLES
from seqnlp.models.cells import CELLS
from seqnlp.tasks import TASKS


ROOT = Path(__file__).parents[2]
NAVIGATION = (ROOT / "docs" / "zensical.toml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    """The pages as the generator reads them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "WORK", tmp_path_factory.mktemp("site"))
        collect()
        yield building.WORK / "pages"


def test_every_page_is_in_the_navigation_and_the_other_way_round(collected):
    named = set(re.findall(r'"([\w/]+\.md)"', NAVIGATION))
    there = {path.relative_to(collected).as_posix() for path in collected.rglob("*.md")}
    assert named <= there
    assert {page for page in there - named if not page.startswith(("source/", "cards/"))} == set()


def test_nothing_is_left_to_fill_and_every_link_leads_to_a_page_or_a_picture(collected):
    for page in collected.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        if page.is_relative_to(collected / "source"):
            continue
        assert "<!-- fill:" not in text, page
        prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)", prose):
            if not target.startswith(("http", "mailto")):
                assert (page.parent / target).is_file(), f"{page}: {target}"


def test_every_recipe_has_a_page_with_each_of_its_flags_and_scores(collected):
    for name, task in TASKS.items():
        text = (collected / "recipes" / f"{name}.md").read_text(encoding="utf-8")
        assert {f"--{flag}" for flag in task.fields()} <= set(re.findall(r"\| `(--\w+)` \|", text))
        assert {score.key for score in task.scores} <= set(re.findall(r"\| `(\w+)` \|", text))
        for title in ("Ready configurations", "The flags that matter", "How to change it", "When something is wrong"):
            assert f"## {title}" in text


def test_a_recipes_own_defaults_are_shown():
    assert defaults_of("trajectory") == {
        "num_train_epochs": 30.0,
        "per_device_train_batch_size": 64,
        "learning_rate": 3e-3,
    }
    row = next(line for line in part("flags", "trajectory").split("\n") if "`--learning_rate`" in line)
    assert row.split(" | ")[2:4] == ["`0.003`", "above 0"]
    row = next(line for line in part("flags", "tagging").split("\n") if "`--word_dropout`" in line)
    assert row.split(" | ")[2:4] == ["`0.25`", "at least 0 and below 1"]


def test_every_cell_sample_verb_and_module_has_its_place(collected):
    cells = (collected / "cells.md").read_text(encoding="utf-8")
    assert all(f"## {cell.title}" in cells and f"`{name}`" in cells for name, cell in CELLS.items())
    recipes = (collected / "recipes" / "index.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in recipes for name in (*SAMPLES, *TASKS))
    start = (collected / "start.md").read_text(encoding="utf-8")
    assert set(VERBS) == set(re.findall(r"\| `seqnlp (\w+)` \|", start))
    for name in API:
        assert f"::: seqnlp.{name}." in (collected / "api" / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name in seqnlp.models.__all__ if name.endswith("Config")])
def test_every_option_of_a_family_is_told(name):
    told = set(re.findall(r"^\| `(\w+)` \|", part("options", name), re.MULTILINE))
    of_all = {"pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id", "is_encoder_decoder"}
    assert set(getattr(seqnlp, name).__annotations__) - of_all <= told | {"model_type"}


def test_equations_become_latex():
    assert to_latex("c_t = f_t * c_{t-1} + i_t * g_t") == r"c_t = f_t \odot c_{t-1} + i_t \odot g_t"
    line = "r_t = sigmoid(W_r x_t + b_r)      reset gate"
    assert to_latex(line) == r"r_t = \sigma(W_r x_t + b_r)\qquad\text{reset gate}"
    assert to_latex("h_t = o_t * tanh(c_t)") == r"h_t = o_t \odot \tanh(c_t)"
    assert to_latex("a_t = exp(l)^(8 * r_t)") == r"a_t = \operatorname{exp}(l)^{8 \odot r_t}"


def test_a_cell_whose_candidate_has_no_tanh_names_none():
    sections = dict(zip(CELLS, part("cells").split("\n\n## "), strict=True))
    assert "| `hidden_act` | `tanh`, `relu` |" in sections["elman"]
    for name in ("mingru", "minlstm", "ssru"):
        assert "tanh" not in sections[name]
        assert "| `hidden_act` | none |" in sections[name]


def test_each_line_of_gathered_formulas_is_a_block():
    fence = pytest.importorskip("docs.formulas", exc_type=ImportError).fence
    one, two = (fence(line, "math", "", {}, None) for line in ("a = 1", "b = 2"))
    assert fence("\\begin{gathered}\na = 1 \\\\\nb = 2\n\\end{gathered}", "math", "", {}, None) == one + two


def test_links_and_tabs_are_those_of_the_site(tmp_path, monkeypatch):
    monkeypatch.setattr(building, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "model.py").touch()
    (tmp_path / "folder").mkdir()
    text = """[a](../benchmarks/README.md#speed), [b](../model.py), [c](../folder)
[`d`](x.md), ![e](images/e.png), [f](#g)

```bash tab="One"
[a](b)
```

```python tab="Two"
2
```
"""
    (tmp_path / "docs" / "page.md").write_text(text)
    shown = set()
    places = {"docs/page.md": "page.md", "docs/x.md": "deep/x.md", "benchmarks/README.md": "performance.md"}
    found = Page("docs/page.md", places, shown).completed()
    links, rest = found.split("\n\n", 1)
    assert links.split("\n") == [
        "[a](performance.md#speed), [b](source/model.py.md), c",
        "[`d`](deep/x.md), ![e](images/e.png), [f](#g)",
    ]
    assert shown == {"model.py"}
    one, two = "```bash\n    [a](b)\n    ```", "```python\n    2\n    ```"
    assert rest.strip() == f'=== "One"\n\n    {one}\n\n=== "Two"\n\n    {two}'


def test_all_files_that_describe_the_project_agree_on_its_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\nversion: {seqnlp.__version__}\n" in citation
    released, date = re.findall(r"^## (\d[\d.]*) - (\d{4}-\d\d-\d\d)$", changelog, re.MULTILINE)[0]
    assert released == seqnlp.__version__
    assert f'\ndate-released: "{date}"\n' in citation


def test_pages_beside_docs_that_exist_are_all_taken():
    assert set(pages()) >= {path.name for path in ROOT.glob("*.md")}


@pytest.mark.long
def test_the_site_is_built_without_a_warning_and_fetches_nothing():
    pytest.importorskip("zensical")
    pytest.importorskip("mkdocstrings")
    done = subprocess.run([sys.executable, "-m", "docs"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout + done.stderr
    site = ROOT / "site"
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r'(?:src=|<link[^>]+href=)"(?:https?:)?//[^"]+', text), page
    assert (site / "cells.html").read_text().count("<math") > len(CELLS)
    assert 'id="seqnlp.models.RecurrentModel"' in (site / "api" / "models.html").read_text()
    assert tomllib.loads(NAVIGATION)["project"]["use_directory_urls"] is False


def test_the_readme_is_a_screen_and_a_half():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 80
