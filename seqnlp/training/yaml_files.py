"""
The YAML files that users write, by one reader: a value is what is written there, for its flag to read.

PyYAML follows YAML 1.1, which takes `no` for a truth value, 010 for 8, 12:30 for 750, 2021-01-01 for a date and 1e-3
for a word. Here a column may be called `no`, and a number is decimal.
"""

import re
from typing import Any

import yaml


MOST_VALUES = 100_000  # written out: a list of lists of lists by their names grows without bounds
TRUE, FALSE = ("true", "yes", "on"), ("false", "no", "off")
_NULL, _KINDS = "tag:yaml.org,2002:null", "tag:yaml.org,2002:"


class Plain(str):
    """A word or number without quotes, as it stands there."""


def read_yaml(text: str) -> Any:
    """
    What a YAML holds.

    Args:
        text: Its content.

    Returns:
        Mappings and lists of words: [`Plain`] where there were no quotes, `None` for nothing and `null`.

    Raises:
        yaml.YAMLError: For what is no YAML; a key that stands there twice or is no word; an object of a program.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        return None if node is None else _Reading(loader).of(node)
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error
    except ValueError as error:  # PyYAML's own, of a character that there is not
        raise yaml.YAMLError(str(error)) from error
    finally:
        loader.dispose()


class _Reading:
    def __init__(self, loader: yaml.SafeLoader):
        self.loader, self.count = loader, 0

    def of(self, node: yaml.Node) -> Any:
        self.count += 1
        if self.count > MOST_VALUES:
            raise yaml.YAMLError(f"it holds more than {MOST_VALUES:,} values")
        if not node.tag.startswith(_KINDS) or ":" in node.tag.removeprefix(_KINDS):
            raise yaml.YAMLError(f"{node.tag} is no kind of value that is read")
        if isinstance(node, yaml.ScalarNode):
            if node.tag == _NULL:
                return None
            return Plain(node.value) if node.style is None else node.value
        if isinstance(node, yaml.SequenceNode):
            return [self.of(item) for item in node.value]
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for place, key in enumerate(keys) if key in keys[:place]), None)
        if twice is not None or len(keys) < len(node.value):
            raise yaml.YAMLError("a key is no word" if twice is None else f"{twice!r} stands there twice")
        self.loader.flatten_mapping(node)
        return {key.value: self.of(value) for key, value in node.value}


def value_of(written: Any) -> Any:
    """
    What something of a YAML means where no flag says of which kind it is: numbers, truth values and, in quotes or
    not, words. A number is decimal, unless it begins with `0x`.

    Args:
        written: As [`read_yaml`] gives it.
    """
    if isinstance(written, list):
        return [value_of(item) for item in written]
    if isinstance(written, dict):
        return {name: value_of(item) for name, item in written.items()}
    if not isinstance(written, Plain):
        return written
    if written.lower() in TRUE + FALSE:
        return written.lower() in TRUE
    if re.fullmatch(r"[+-]?[0-9]+", written):
        return int(written) if len(written) < 4000 else float(written)
    if re.fullmatch(r"0x[0-9a-fA-F]+", written):
        return int(written, 16)
    if re.fullmatch(r"[+-]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][+-]?[0-9]+)?", written):
        return float(written)
    if re.fullmatch(r"([+-]?\.inf|\.nan)", written.lower()):
        return float(written.replace(".", ""))
    return str(written)


def write_yaml(content: Any, in_a_line: bool = False) -> str:
    """
    Content as a YAML that [`read_yaml`] reads as the same.

    Args:
        content: Mappings, lists, words and numbers; what was read stands there as it was written.
        in_a_line: Without a line break at the end or, where it can be, elsewhere.
    """
    if not in_a_line:
        return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return _first_document(yaml.dump(content, Dumper=_Dumper, default_flow_style=True, width=float("inf")))


def _first_document(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\n...")


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _as_it_stood(dumper: yaml.SafeDumper, written: Plain) -> yaml.Node:
    tag = dumper.resolve(yaml.ScalarNode, written, (True, False))
    return dumper.represent_scalar(tag, str(written))


_Dumper.add_representer(Plain, _as_it_stood)
