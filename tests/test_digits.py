"""Numbers of any size for readers."""

import math

import pytest

from seqnlp.digits import significant


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (65432.1, 4, "65,432"),
        (-65432.6, 4, "-65,433"),
        (1234.56, 4, "1,235"),
        (9999.7, 4, "10,000"),
        (123.456, 4, "123.5"),
        (0.00012346, 4, "0.0001235"),
        (1693.2, 3, "1,693"),
        (0, 4, "0"),
        (3e20, 4, "3e+20"),
        (math.inf, 4, "inf"),
    ],
)
def test_a_number_keeps_the_digits_that_matter(value, digits, shown):
    assert significant(value, digits) == shown
