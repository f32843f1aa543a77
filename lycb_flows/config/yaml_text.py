"""YAML as people write it: plain data, and no key twice."""

from __future__ import annotations

from typing import Any

import yaml


class DoubleKeyError(yaml.YAMLError):
    """A key stands in one mapping twice."""


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses a double key; YAML's own keeps the last of the values."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401 - yaml's
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                line, name = key.start_mark.line + 1, (key.tag, key.value)
                if name in lines:
                    msg = f"the key {key.value!r} stands in lines {lines[name]} and {line}"
                    raise DoubleKeyError(msg)
                lines[name] = line
        return node


def parse_yaml(text: str) -> Any:  # noqa: ANN401 - whatever a file holds
    """Return the content of YAML that a person wrote.

    Parameters
    ----------
    text
        The YAML.

    Raises
    ------
    yaml.YAMLError
        When it is no YAML, or a mapping holds a key twice.
    """
    return yaml.load(text, _Loader)  # noqa: S506 - a safe loader


def discreet_reason(error: yaml.YAMLError) -> str:
    """Return where YAML is wrong without a word of its values, one of which may be a password.

    Parameters
    ----------
    error
        What `parse_yaml` raised.
    """
    if isinstance(error, DoubleKeyError):
        return str(error)
    mark = getattr(error, "problem_mark", None)
    return "no YAML" if mark is None else f"no YAML in line {mark.line + 1}"
