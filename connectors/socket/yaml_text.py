"""YAML from people we do not know.

Built from the parser's events: no tag makes an object, and an alias counts as often as it is used, so that a few
hundred bytes cannot become a billion values. Truth values are YAML 1.1's, as BEMCom reads them (PyYAML's safe_load);
numbers are 1.2's (core schema), because 1.1 reads 12:30 as 750 and 010 as 8; times stay text; keys stay as written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import yaml

from connectors.socket.trees import DEEPEST, MOST_VALUES, checked, finite, too_deep, too_large, twice
from wattbus.connector import Scalar
from wattbus.errors import DecodeError
from wattbus.jsontext import JsonValue

Sized = tuple[JsonValue, int]  # a tree, and the number of values in it

_PLAIN: tuple[tuple[re.Pattern[str], Callable[[str], Scalar]], ...] = (
    (re.compile(r"|~|null|Null|NULL"), lambda _: None),
    (re.compile(r"true|True|TRUE|yes|Yes|YES|on|On|ON"), lambda _: True),
    (re.compile(r"false|False|FALSE|no|No|NO|off|Off|OFF"), lambda _: False),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"[-+]?0x[0-9a-fA-F]+"), lambda text: int(text, 16)),
    (re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"), finite),
    (re.compile(r"[-+]?\.?(?:nan|NaN|NAN|inf|Inf|INF)"), lambda _: None),
)
_STANDARD = "tag:yaml.org,2002:"
_NO_TAG = (None, "!")
_PLAIN_TAGS = (None, *(_STANDARD + kind for kind in ("int", "float", "bool", "null")))
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_yaml(text: str) -> list[JsonValue]:
    """The trees of the documents in a YAML text. Raises DecodeError."""
    try:
        return list(_Documents(yaml.parse(text.strip("\0"), _Loader)).trees())
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        where = f" (line {place.line + 1}, column {place.column + 1})" if place else ""
        raise DecodeError(f"no YAML: {getattr(error, 'problem', None) or error}{where}") from None
    except ValueError as error:  # a number of thousands of digits
        raise DecodeError(f"no YAML: {error}") from None


class _Documents:
    """Trees from events."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self._events = events
        self._anchors: dict[str | None, Sized] = {}

    def trees(self) -> Iterator[JsonValue]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors.clear()
                tree, _ = self._node(next(self._events), DEEPEST)
                yield checked(tree)  # aliases nest beyond the levels of the text

    def _node(self, event: yaml.Event, levels: int) -> Sized:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise DecodeError(f"no YAML: *{event.anchor} stands for nothing before it")
            return self._anchors[event.anchor]
        assert isinstance(event, yaml.NodeEvent)
        if levels == 0 and not isinstance(event, yaml.ScalarEvent):
            raise too_deep()
        if isinstance(event, yaml.MappingStartEvent):
            _check_tag(event.tag, "map")
            found = self._mapping(levels)
        elif isinstance(event, yaml.SequenceStartEvent):
            _check_tag(event.tag, "seq")
            found = self._sequence(levels)
        else:
            assert isinstance(event, yaml.ScalarEvent)
            found = _scalar(event), 1
        if event.anchor is not None:
            self._anchors[event.anchor] = found
        return found

    def _mapping(self, levels: int) -> Sized:
        mapping: dict[str, JsonValue] = {}
        size = 1
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = _key(event)
            if key in mapping:
                raise twice(key)
            mapping[key], inner = self._node(next(self._events), levels - 1)
            size = _sum(size, inner)
        return mapping, size

    def _sequence(self, levels: int) -> Sized:
        sequence: list[JsonValue] = []
        size = 1
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            tree, inner = self._node(event, levels - 1)
            sequence.append(tree)
            size = _sum(size, inner)
        return sequence, size


def _sum(size: int, inner: int) -> int:
    if size + inner > MOST_VALUES:
        raise too_large()
    return size + inner


def _key(event: yaml.Event) -> str:
    if not isinstance(event, yaml.ScalarEvent):
        raise DecodeError("a key that is a list, a mapping or an alias")
    if event.value == "<<" and not event.style:
        raise DecodeError("merged mappings (<<) are not taken")
    return event.value


def _scalar(event: yaml.ScalarEvent) -> Scalar:
    is_plain = not event.style and event.tag is None  # libyaml's style is "", PyYAML's None
    if event.tag in _NO_TAG and not is_plain:
        return event.value
    if event.tag not in _PLAIN_TAGS:
        _check_tag(event.tag, "str")
        return event.value
    return next((meaning(event.value) for form, meaning in _PLAIN if form.fullmatch(event.value)), event.value)


def _check_tag(tag: str | None, kind: str) -> None:
    if tag not in _NO_TAG and tag != _STANDARD + kind:
        raise DecodeError(f"the tag {tag!r:.80} is not taken")
