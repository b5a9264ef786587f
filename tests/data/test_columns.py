"""Whole columns give what their rows give."""

import gc

import numpy as np
import pyarrow as pa
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from seqnlp.data import columns, count_tokens, fingerprint, join_documents, join_lists, lengths_of, values_of


LISTS = [[5, 6], [], [7], [1, 1, 1, 1], [], [8, 9, 1], [2]]


@pytest.fixture(autouse=True)
def three_rows_at_once(monkeypatch):
    monkeypatch.setattr(columns, "ROWS_AT_ONCE", 3)


def dataset():
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"]), "x": Value("float64")})
    values = {"text": ["a", None, "", "é", "😀", "f\n", "g"], "label": [0, 1, 1, 0, None, 1, 0]}
    return Dataset.from_dict({**values, "x": [0.1, 1.0, None, float("nan"), 1e300, -0.0, 3.0]}, features)


@pytest.mark.parametrize("rows", [None, [], [6, 0, 0, 5, 1]], ids=["all", "none", "selected"])
def test_the_values_are_those_of_the_rows(rows):
    data = dataset() if rows is None else dataset().select(rows)
    for name in data.column_names:
        assert repr(list(values_of(data, name))) == repr([row[name] for row in data])


def test_the_hash_of_rows_is_that_of_the_records():
    """Records hold it: sha256 of each column's name and of each value as Python writes it."""
    assert fingerprint(dataset()) == "5c8afdfd01e3ababf76065a428a76f4c"
    assert fingerprint(dataset().select(range(7)).select([0, 1, 2, 3, 4, 5, 6])) == fingerprint(dataset())


@pytest.mark.parametrize("rows", [range(7), [5, 0, 1, 3]])
@pytest.mark.parametrize("kind", [pa.int32(), pa.int64()])
def test_lists_of_tokens(rows, kind):
    data = Dataset(pa.table({"ids": pa.array(LISTS, pa.list_(kind)), "other": list("abcdefg")})).select(rows)
    lists = [LISTS[row] for row in rows]
    assert lengths_of(data, "ids") == list(map(len, lists))
    assert count_tokens(data, "ids", 1) == (sum(one.count(1) for one in lists), sum(map(len, lists)))
    joined = join_lists(data, "ids", 2)
    assert joined.dtype == np.int32
    assert joined.tolist() == [token for one in lists for token in [2, *one]] == join_documents(lists, 2).tolist()


def test_caches_know_a_table_by_its_content():
    made = [columns.dataset_of(pa.table(columns.texts_in_columns({"text": list(texts)}))) for texts in ("abc", "abd")]
    again = columns.dataset_of(pa.table(columns.texts_in_columns({"text": ["a", "b", "c"]})))
    assert made[0]._fingerprint == again._fingerprint != made[1]._fingerprint
    kept = [columns.rows_where(made[0], chosen) for chosen in ([True, False, True], [False, True, True])]
    assert [list(part["text"]) for part in kept] == [["a", "c"], ["b", "c"]]
    assert kept[0]._fingerprint != kept[1]._fingerprint


def test_python_looks_for_cycles_again_afterwards():
    is_enabled = columns.without_looking_for_cycles()(gc.isenabled)
    assert not is_enabled()
    with pytest.raises(ZeroDivisionError):
        columns.without_looking_for_cycles()(lambda: 1 // 0)()
    assert gc.isenabled()
