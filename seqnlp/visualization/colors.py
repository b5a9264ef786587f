"""Colors and marks that are told apart with any color vision, and in gray by their marks and dashes."""

# Okabe & Ito 2008, "Color Universal Design". Yellow is left out: too pale for a line on white.
BLUE, ORANGE, GREEN, PURPLE, SKY, AMBER, BLACK = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#E69F00",
    "#000000",
)
COLOURS = (ORANGE, GREEN, BLUE, BLACK, PURPLE, AMBER, SKY)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":")


def style(index: int) -> dict:
    """Color, mark and dashes of the line with this number."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": DASHES[index % len(DASHES)],
    }
