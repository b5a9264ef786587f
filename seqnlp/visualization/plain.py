"""Words of users and models as matplotlib can show them."""


def plain(text: str) -> str:
    """For matplotlib, which takes what stands between dollars for mathematics and knows no control characters."""
    shown = "".join(character if character.isprintable() or character == "\n" else "·" for character in text)
    return shown.replace("$", r"\$")
