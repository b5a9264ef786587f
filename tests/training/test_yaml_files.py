"""The YAML of users: what a value is, for a flag and where no flag says it; what was read is written again."""

import math

import pytest
import yaml

from seqnlp import RecurrentConfig
from seqnlp.training import ArgumentsError, build_config
from seqnlp.training.yaml_files import Plain, read_yaml, value_of, write_yaml


def test_a_word_is_as_it_is_written():
    text = "a: no\nb: 010\nc: 2021-01-01\nd: 12:30\ne: '010'\nf: null\ng:\nh: [5.10, ~, on]\ni: {j: 0o7, yes: 1_0}\n"
    assert read_yaml(text) == {
        "a": "no",
        "b": "010",
        "c": "2021-01-01",
        "d": "12:30",
        "e": "010",
        "f": None,
        "g": None,
        "h": ["5.10", None, "on"],
        "i": {"j": "0o7", "yes": "1_0"},
    }
    assert read_yaml("base: &b {x: 1, y: 2}\nmore: {<<: *b, y: 3}\n")["more"] == {"x": "1", "y": "3"}
    assert read_yaml("") is None


# What YAML 1.2 (section 10.3, the core schema) makes of it; truth values have the words of YAML 1.1 besides, and a
# number begins with no 0o.
VALUES = {"010": 10, "-3": -3, "+7": 7, "0x1F": 31, "1e-3": 0.001, ".5": 0.5, "5.": 5.0, "-.inf": -math.inf}
VALUES |= {"true": True, "No": False, "off": False, "12:30": "12:30", "2021-01-01": "2021-01-01", "1_0": "1_0"}
VALUES |= {"0o7": "0o7", "gru": "gru", "e5": "e5", ".": ".", "y": "y", "null": None, "~": None, "'010'": "010"}
VALUES |= {"'no'": "no", "[1, no, 'a']": [1, False, "a"], "{a: 010, b: {c: 1e3}}": {"a": 10, "b": {"c": 1000.0}}}


@pytest.mark.parametrize("text", VALUES)
def test_what_it_means_where_no_flag_says_its_kind(text):
    found = value_of(read_yaml(text))
    assert found == VALUES[text]
    assert type(found) is type(VALUES[text])
    assert value_of(read_yaml(write_yaml(read_yaml(text)))) == VALUES[text]
    assert value_of(read_yaml(write_yaml(read_yaml(text), in_a_line=True))) == VALUES[text]
    assert value_of(read_yaml(write_yaml(VALUES[text]))) == VALUES[text]


def test_what_was_read_is_written_as_it_stood():
    text = "column: no\nseed: 010\nname: '010'\nlearning_rate: 1e-3\nfrom: 2021-01-01\nnothing: null\nword: 'null'\n"
    assert write_yaml(read_yaml(text)) == text
    assert write_yaml({"a": [Plain("no"), "no", 1e-5]}, in_a_line=True) == "{a: [no, 'no', 1.0e-05]}"
    assert "\n" not in write_yaml("word " * 99, in_a_line=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "'a' stands there twice"),
        ("x: {a: 1, a: 2}", "'a' stands there twice"),
        ("x: {a: 1, [1]: 2}", "a key is no word"),
        ("a: &a [*a]", "nested too deeply"),
        ("[" * 3000, "nested too deeply"),
        ("a: !!python/name:os.system ", "is no kind of value that is read"),
        ("a: !mine 3", "is no kind of value that is read"),
        ("a: \x00", "unacceptable character"),
        ("a: 1\n---\nb: 2", "expected a single document"),
    ],
)
def test_what_is_no_yaml_of_ours(text, message):
    with pytest.raises(yaml.YAMLError, match=message):
        read_yaml(text)


def test_fields_of_a_configuration_are_read_by_the_same_rule():
    given = "hidden_size=040,initializer_range=1e-6,bidirectional=no"
    config = build_config(RecurrentConfig, given, vocab_size=9)
    assert (config.hidden_size, config.initializer_range, config.bidirectional) == (40, 1e-6, False)
    with pytest.raises(ArgumentsError, match=r"--config_overrides hidden_size=\[1: no value of YAML") as raised:
        build_config(RecurrentConfig, "hidden_size=[1", vocab_size=9)
    assert "\n" not in str(raised.value)
