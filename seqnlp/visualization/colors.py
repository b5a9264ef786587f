"""
The colors of every picture and page: at most five in one, told apart with any color vision, and in gray by marks and
dashes. An architecture has the same one everywhere. Each has 3:1 at least on white and on a dark page (WCAG 2.1,
1.4.11), which a paler shade of it has not.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple


# Okabe & Ito 2008, "Color Universal Design", but for brown: their yellow, amber and sky blue are too pale for lines.
BLUE, ORANGE, GREEN, PURPLE, BROWN = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#A05030"
HUES = (BLUE, ORANGE, GREEN, PURPLE, BROWN)
GRAY = "#777777"
"""What is only there to compare with: the past, baselines."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":")


class Look(NamedTuple):
    """How a line looks."""

    color: str
    marker: str
    linestyle: str

    def line(self) -> dict[str, Any]:
        """As matplotlib takes it."""
        return self._asdict()


LOOKS = {
    "elman": Look(BROWN, "v", ":"),
    "gru": Look(GREEN, "s", "--"),
    "mingru": Look(GREEN, "P", "-."),
    "lstm": Look(BLUE, "o", "-"),
    "minlstm": Look(BLUE, "^", "-."),
    "ssru": Look(GREEN, "^", ":"),
    "transformer": Look(PURPLE, "D", "-."),
}
"""That of each architecture of seqnlp; a cell and its parallel kin share a color. All others are orange."""
OTHER = Look(ORANGE, "X", "-")
SCORES = (Look(ORANGE, "o", "-"), Look(GREEN, "s", "--"), Look(BLUE, "^", ":"), Look(PURPLE, "D", "-."))
"""Those of several scores of one model."""
TRAINING, VALIDATION = Look(BLUE, "", "-"), SCORES[0]
"""Those of the losses of one model."""


def looks_of(architectures: Sequence[str]) -> list[Look]:
    """
    How the lines of one picture look, by the architecture of each: the second of one architecture has its color, and
    other marks and dashes.
    """
    looks, taken = [], set()
    for architecture in architectures:
        look = LOOKS.get(architecture, OTHER)
        others = (
            Look(look.color, marker, dashes) for marker in MARKERS for dashes in DASHES if dashes != look.linestyle
        )
        look = next((one for one in (look, *others) if one not in taken), look)
        taken.add(look)
        looks.append(look)
    return looks
