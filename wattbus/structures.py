"""Structures in settings: JSON, or YAML that says the same."""

from __future__ import annotations

import json
from typing import Any

import yaml

from wattbus.errors import ConfigError
from wattbus.jsontext import JsonValue

_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
# What else PyYAML raises: for 2020-13-45, for a tag that its value does not fit, for endless nesting.
_BAD_VALUES = (ValueError, LookupError, AttributeError, TypeError, RecursionError)


def parse_structure(variable: str, text: str) -> JsonValue:
    """What a setting's text says. JSON first, because YAML 1.1 reads some plain words differently (`on`, `no`).

    Keys are text as they are written, as in JSON, also `8:` and `on:`. Raises ConfigError, also when a key is there
    twice: one of the two would be lost without a word.
    """
    try:
        return json.loads(text, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        json_error = error
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, *_BAD_VALUES) as yaml_error:
        place = getattr(yaml_error, "problem_mark", None)
        where = f" (line {place.line + 1}, column {place.column + 1})" if place else ""
        if isinstance(yaml_error, _BadKey):
            what = f"{yaml_error.problem}{where}"
        elif text.lstrip().startswith(("{", "[")):
            what = f"not valid JSON: {json_error}"
        else:
            what = f"neither JSON nor YAML{where}"
        raise ConfigError(f"{variable}: {what}") from None


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(_twice(next(name for name in names if names.count(name) > 1)))
    return found


def _twice(key: str) -> str:
    return f"the key {key!r} is there twice"


class _BadKey(yaml.MarkedYAMLError):
    """A key that JSON cannot have, or that is there twice."""


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _BadKey(problem="a key must be text", problem_mark=key.start_mark)
            if key.tag == _MERGE:
                continue
            if key.value in seen:
                raise _BadKey(problem=_twice(key.value), problem_mark=key.start_mark)
            seen.add(key.value)
            key.tag = _TEXT
        return node
