"""What is said of each place in a text, on texts short enough to count by hand."""

import pytest

from seqnlp.diagnostics.text_properties import (
    PROPERTIES,
    bracket_depth,
    inside_brackets,
    inside_quotes,
    line_length,
    measure_properties,
    position_in_line,
)


def marked(text):
    """The characters that are quoted, the marks left out, in one string."""
    values = inside_quotes(text).values
    return "".join(c if values[i] and values[i + 1] else " " for i, c in enumerate(text))


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ('a "b c" d', "   b c   "),
        ("it's 'one' and 'two'", "      one       two "),
        ("'it's one' now", " it's one     "),
        ("the dogs' bowl, 'full'", "                 full "),
        ("“so” and \u2018it\u2019s so\u2019 «oui»", " so       it\u2019s so   oui "),
        ("„so“ not", " so     "),
        ('f("a\\"b", r"c\\\\")', '   a\\"b     c\\\\  '),
        ('"""a "b" c"""', '   a "b" c   '),
        ("''' a ''' 'b'", "    a      b "),
        ("x = b'y' + f'z'", "      y      z "),
        ("'' \"\" 'a'", "       a "),
    ],
)
def test_what_is_quoted(text, quoted):
    assert marked(text) == quoted
    assert not inside_quotes(text).remark


def test_a_quotation_mark_that_never_closes_is_left_out_and_counted():
    found = inside_quotes('5\' tall\nand "a\n\nb" c')
    assert not found.values.any()
    assert found.remark == "2 quotation marks without a closing one left out"


def test_the_state_behind_an_opening_mark_is_inside_and_behind_a_closing_one_outside():
    assert inside_quotes('a"b"c').values.tolist() == [0, 0, 1, 1, 0, 0]
    assert bracket_depth("a(b)c").values.tolist() == [0, 0, 1, 1, 0, 0]


def test_brackets_are_counted_and_those_without_a_partner_left_out():
    assert bracket_depth("f(a[1])").values.tolist() == [0, 0, 1, 1, 2, 2, 1, 0]
    assert inside_brackets("f(a[1])").values.tolist() == [0, 0, 1, 1, 1, 1, 1, 0]
    lone = bracket_depth(":) (a[b) {")
    assert lone.values.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0]
    assert lone.remark == "3 brackets without a partner left out"


def test_places_in_lines():
    text = "ab\n\ncde"
    assert position_in_line(text).values.tolist() == [0, 1, 2, 0, 0, 1, 2, 3]
    assert line_length(text).values.tolist() == [2, 2, 2, 0, 3, 3, 3, 3]


@pytest.mark.parametrize("text", ["", "a", "\n", "(\n)", '"'])
def test_every_property_has_a_value_at_each_boundary(text):
    found = measure_properties(text)
    assert len({one.name for one in found}) == len(PROPERTIES)
    assert all(one.values.shape == (len(text) + 1,) for one in found)
