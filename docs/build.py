"""
The site, from the pages of the repository: collected into `build/docs/`, completed, built by Zensical into `site/`.

A page is completed in four ways, each of which leaves the source readable where no site is: a comment
`<!-- fill: KIND ... -->` becomes the part of that kind ([`docs.parts`]), code blocks that name a `tab` and follow each
other become tabs, a link to another page leads to its place on the site, and one to any other file of the repository
to a page that shows that file.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from docs.parts import api_pages, part
from seqnlp.publishing.markdown import fence


ROOT = Path(__file__).parents[1]
WORK, SITE = ROOT / "build" / "docs", ROOT / "site"
PLACES = {
    "README.md": "index.md",
    "benchmarks/README.md": "performance.md",
    "labs/README.md": "labs.md",
    "labs/teachers.md": "labs_teachers.md",
    "model_cards/README.md": "model_cards.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CODE_OF_CONDUCT.md": "code_of_conduct.md",
}
"""Pages that lie outside of `docs/`, with their places on the site."""

FENCE = re.compile(r"(^```.*?^```[^\S\n]*$)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\])\((?!https?://|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")
FILL = re.compile(r"<!-- fill: (.+?) -->")
TABS = re.compile(r'(?:^```\w+ tab="[^"\n]+"\n.*?^```\n+)+', re.MULTILINE | re.DOTALL)
TAB = re.compile(r'^```(\w+) tab="([^"\n]+)"\n(.*?)^```\n', re.MULTILINE | re.DOTALL)
UNSEARCHED = "---\nsearch:\n  exclude: true\n---\n"
LANGUAGES = {".py": "python", ".yaml": "yaml", ".sh": "bash", ".toml": "toml", ".cff": "yaml", ".md": "markdown"}


def pages() -> dict[str, str]:
    """Every source of a page, relative to the root of the repository, with its place on the site."""
    own = {f"docs/{path}": path for path in _below(ROOT / "docs", "*.md")}
    cards = {f"model_cards/{path}": f"cards/{path}" for path in _below(ROOT / "model_cards", "*.md")}
    return own | cards | PLACES


def _below(folder: Path, pattern: str) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in sorted(folder.rglob(pattern))]


class Page:
    """
    One page on its way to the site.

    Args:
        source: Its file, relative to the root of the repository.
        places: Every page's place, as [`pages`] gives them.
        shown: Takes the files that pages link to and that are no pages.
    """

    def __init__(self, source: str, places: dict[str, str], shown: set[str]):
        self.source, self.places, self.shown = source, places, shown

    def completed(self) -> str:
        """Its text as the generator reads it."""
        text = (ROOT / self.source).read_text(encoding="utf-8")
        if text.startswith("---\n"):  # a card, whose metadata are the Hub's
            text = UNSEARCHED + text.split("\n---\n", 1)[1]
        text = FILL.sub(lambda found: part(*found.group(1).split()), text)
        parts = FENCE.split(text)
        text = "".join(piece if piece.startswith("```") else LINK.sub(self._link, piece) for piece in parts)
        return TABS.sub(_as_tabs, text)

    def _link(self, found: re.Match) -> str:
        words, target, anchor = found.groups()
        path = os.path.normpath(os.path.join(os.path.dirname(self.source), target))
        if (ROOT / path).is_dir():
            path = f"{path}/README.md"
            if path not in self.places:
                return words[1:-1]  # a folder without a page of its own
        if path in self.places:
            place = self.places[path]
        elif words.startswith("!") or path.startswith("docs/images/"):
            place = path.removeprefix("docs/")
        else:
            self.shown.add(path)
            place = f"source/{path}.md"
        here = os.path.dirname(self.places[self.source])
        return f"{words}({os.path.relpath(place, here or '.')}{anchor or ''})"


def _as_tabs(found: re.Match) -> str:
    blocks = []
    for language, name, code in TAB.findall(found.group()):
        lines = "".join(f"    {line}\n" if line else "\n" for line in f"```{language}\n{code}```".split("\n"))
        blocks.append(f'=== "{name}"\n\n{lines}\n')
    return "".join(blocks)


def shown_file(path: str) -> str:
    """A page that shows a file of the repository."""
    code = (ROOT / path).read_text(encoding="utf-8").rstrip()
    ticks, language = fence(code), LANGUAGES.get(Path(path).suffix, "text")
    return f"{UNSEARCHED}# {path}\n\n{ticks}{language}\n{code}\n{ticks}\n"


def collect() -> None:
    """Write every page, and what they show, to `build/docs/`."""
    shutil.rmtree(WORK, ignore_errors=True)
    places, shown = pages(), set()
    texts = {place: Page(source, places, shown).completed() for source, place in places.items()}
    texts |= {f"source/{path}.md": shown_file(path) for path in sorted(shown)} | api_pages()
    for place, text in texts.items():
        path = WORK / "pages" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    shutil.copytree(ROOT / "docs" / "images", WORK / "pages" / "images", ignore=shutil.ignore_patterns("*.html"))
    shutil.copytree(ROOT / "docs" / "style", WORK / "pages" / "style")
    shutil.copy(ROOT / "docs" / "zensical.toml", WORK)


def build() -> int:
    """
    Build the site, which a warning stops.

    Returns:
        The exit code of the generator.
    """
    collect()
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    done = subprocess.run([*command, "--config-file", str(WORK / "zensical.toml")], cwd=ROOT)
    if done.returncode == 0:
        shutil.rmtree(SITE, ignore_errors=True)
        shutil.move(WORK / "site", SITE)
    return done.returncode
