"""Numbers of any size for readers."""


def significant(value: float, digits: int = 4) -> str:
    """So many significant digits, but all before the point: 0.0001235 and 65,432 of 0.00012346 and 65432.1."""
    is_whole = 10 ** (digits - 1) <= abs(value) < 1e15
    return f"{value:,.0f}" if is_whole else f"{value:.{digits}g}"
