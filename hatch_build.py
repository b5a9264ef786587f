"""
What the distributions say of themselves that pyproject.toml cannot: the address of the repository, and a README whose
links lead there.

The address is known where GitHub builds: `GITHUB_SERVER_URL` and `GITHUB_REPOSITORY` are set there, and
`GITHUB_REF_NAME` is the tag. Elsewhere nothing is made up: a relative link becomes its text, and a picture goes.
"""

import os
import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface


# Code, or a link within the repository, whose words may be code.
CODE = r"^```.*?^```$|`[^`\n]*`"
LINK = r"(!?)\[((?:`[^`\n]*`|[^\]`])*)\]\((?!https?://|mailto:|#)([^)\s]+)\)"
CODE_OR_LINK = re.compile(f"{CODE}|{LINK}", re.MULTILINE | re.DOTALL)


def readme_for_an_index(text: str, address: str | None, revision: str) -> str:
    """
    A README as it reads outside the repository.

    Args:
        text: In Markdown, with links relative to the root of the repository.
        address: Of the repository, e.g. `https://github.com/alice/seqnlp`; `None` where it is not known.
        revision: The tag or branch that links lead to.
    """

    def absolute(found: re.Match) -> str:
        is_picture, words, target = found.groups()
        if target is None:  # code is left as it is: `[a](b)` there is no link
            return found.group()
        if address is None:
            return "" if is_picture else words
        return f"{is_picture}[{words}]({address}/{'raw' if is_picture else 'blob'}/{revision}/{target})"

    return CODE_OR_LINK.sub(absolute, text)


def repository() -> tuple[str | None, str]:
    """The address of the repository where it is known, and the tag or branch that is built."""
    server, name = os.environ.get("GITHUB_SERVER_URL"), os.environ.get("GITHUB_REPOSITORY")
    return f"{server}/{name}" if server and name else None, os.environ.get("GITHUB_REF_NAME", "main")


class CustomMetadataHook(MetadataHookInterface):
    """Fills in `readme` and `urls`, which pyproject.toml declares as dynamic."""

    def update(self, metadata: dict) -> None:
        """Called by hatchling with the project's table."""
        address, revision = repository()
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": readme_for_an_index(text, address, revision),
        }
        metadata["urls"] = {} if address is None else addresses(address, revision)


def addresses(address: str, revision: str) -> dict[str, str]:
    """What an index shows beside the description."""
    return {
        "Repository": address,
        "Documentation": f"{address}/blob/{revision}/docs/tour.md",
        "Changelog": f"{address}/blob/{revision}/CHANGELOG.md",
        "Issues": f"{address}/issues",
    }
