"""How records are written: laid out for people and for diffs, whole or not at all."""

import json

import pytest

from seqnlp.training.run_record import to_json, write_json


def test_an_entry_of_a_history_and_a_list_of_numbers_take_one_line():
    content = {
        "task": "x",
        "columns": ["a", "b"],
        "history": [{"step": 1, "loss": 0.5}, {"step": 2, "loss": None}],
        "matrix": [[1, 2], [3, 4]],
        "metrics": {"test": {"bins": [{"from": 1, "parts": [2, 3]}], "none": [], "empty": {}}},
        "é": True,
    }
    written = to_json(content)
    assert (
        written
        == """{
  "task": "x",
  "columns": ["a", "b"],
  "history": [
    {"step": 1, "loss": 0.5},
    {"step": 2, "loss": null}
  ],
  "matrix": [
    [1, 2],
    [3, 4]
  ],
  "metrics": {
    "test": {
      "bins": [
        {
          "from": 1,
          "parts": [2, 3]
        }
      ],
      "none": [],
      "empty": {}
    }
  },
  "é": true
}"""
    )
    assert json.loads(written) == content
    assert list(json.loads(written)) == list(content)


CONTENTS = [7, 'a "word"\n', None, [], {}, [[]], {"a": {"b": []}}, [{}, {"a": 1}], [1, [2]]]


@pytest.mark.parametrize("content", CONTENTS)
def test_whatever_is_written_is_read_again(content, tmp_path):
    write_json(tmp_path / "a.json", content)
    assert json.loads((tmp_path / "a.json").read_text()) == content
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_what_json_has_no_way_to_write_is_null_and_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"loss": float("nan"), "most": float("inf")})
    assert json.loads(path.read_text()) == {"loss": None, "most": None}
    with pytest.raises(TypeError):
        write_json(path, {"what": object()})
    with pytest.raises(ValueError, match="JSON compliant"):
        to_json([float("nan")])
    assert json.loads(path.read_text()) == {"loss": None, "most": None}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
