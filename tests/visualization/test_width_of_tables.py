"""Tables as wide as people read them: which form, and that no cell is lost."""

import pytest

from seqnlp.visualization.tables import MOST_COLUMNS, Table, readable_tables


def grid(columns, rows, named_by=2):
    """Headers, and rows of cells that each say where they stand."""
    names = [[f"row {row} of {place}" for place in range(named_by)] for row in range(rows)]
    headers = [*(f"name {place}" for place in range(named_by)), *(f"column {place}" for place in range(columns))]
    return headers, [[*name, *(f"{row}:{place}" for place in range(columns))] for row, name in enumerate(names)]


def test_a_table_of_seven_columns_stays_as_it_is():
    headers, rows = grid(columns=5, rows=30)
    assert readable_tables(headers, rows, 2, "score") == [Table(headers, rows)]


def test_a_wider_table_of_few_rows_is_turned():
    rows = [["this model", "test", "1", "2", "3", "4", "5", "6"], ["chance", "", "7", "", "9", "10", "11", "12"]]
    (turned,) = readable_tables(["model", "split", *"abcdef"], rows, 2, "score")
    assert turned.headers == ["score", "this model, test", "chance"]
    assert turned.rows[:3] == [["a", "1", "7"], ["b", "2", ""], ["c", "3", "9"]]
    assert len(turned.rows) == 6


def test_what_is_too_wide_either_way_is_dealt_out_without_rows_that_have_no_value():
    headers, rows = grid(columns=6, rows=7)
    rows[3][5:] = ["", "", ""]
    first, second = readable_tables(headers, rows, 2, "score")
    assert first.headers == [*headers[:2], *headers[2:5]]
    assert second.headers == [*headers[:2], *headers[5:]]
    assert first.rows == [row[:5] for row in rows]
    assert second.rows == [[*row[:2], *row[5:]] for row in rows if row is not rows[3]]


@pytest.mark.parametrize("named_by", [1, 2, 6])
@pytest.mark.parametrize("count", [1, 6, 7, 40])
def test_no_cell_is_lost_and_the_tables_are_few_and_equally_wide(count, named_by):
    for columns in range(1, 45):
        headers, rows = grid(columns, count, named_by)
        tables = readable_tables(headers, rows, named_by, "score")
        assert max(len(table.headers) for table in tables) <= MOST_COLUMNS
        assert all(len(row) == len(table.headers) for table in tables for row in table.rows)
        shown = [cell for table in tables for row in table.rows for cell in row if ":" in cell]
        assert sorted(shown) == sorted(cell for row in rows for cell in row[named_by:])
        widths = [len(table.headers) for table in tables]
        assert max(widths) - min(widths) <= 1
        if len(tables) > 1:
            assert (len(tables) - 1) * (MOST_COLUMNS - named_by) < columns
