"""Raw messages <-> values. Pure, given the settings; the framings (`framing`) and parsers beside it are its parts.

A raw message is `{"peer": "192.168.0.7", "text": "14 15 26"}`; `"hex"` stands in the place of `"text"` when the bytes
are not in SOCKET_ENCODING, `"fault"` says why bytes that are kept are not a message, and `"without"` names the keys
that SOCKET_MAX_DATAPOINTS left out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from connectors.socket.apikey import SEVERAL
from connectors.socket.json_text import parse_json
from connectors.socket.nodes import Nodes
from connectors.socket.pair_lines import parse_pairs
from connectors.socket.trees import checked
from connectors.socket.value_lines import NUMBER, number, parse_numbers, parse_value_line
from connectors.socket.yaml_text import parse_yaml
from wattbus.connector import Quantity, Reading, Scalar
from wattbus.errors import DecodeError
from wattbus.flattening import flatten
from wattbus.jsontext import JsonValue

ParseAs = Literal["JSON", "YAML", "VALUES", "NUMBERS", "PAIRS"]
SENDER = "sender"  # the device, where messages do not tell devices apart
_REFERENCE = re.compile(r"""b'(?:[^'\\\n]|\\.)*'|b"(?:[^"\\\n]|\\.)*\"""")  # one literal and nothing else
_OURS = {"peer", "text", "hex", "fault", "without"}
_BEGINS_YAML = re.compile(r"(?:---|%)|[^\s\[{\"'][^:]*:(?:\s|$)")


@dataclass(frozen=True, slots=True)
class Rules:
    """What the settings say about the meaning of a message."""

    parse_as: ParseAs = "JSON"
    separator: str = ""
    timestamped: bool = False
    targeted: bool = False
    node_offset: int = 0
    nodes: Nodes = field(default_factory=Nodes)
    nodes_only: bool = False
    numbers_in_text: bool = False
    prefix_peer: bool = False
    device: str = ""
    encoding: str = "utf-8"

    @property
    def has_one_sender(self) -> bool:
        """Whether all that others send us counts as one device: nothing in it tells them apart."""
        return bool(self.device) and self.parse_as != "VALUES" and not self.prefix_peer


def raw_message(
    peer: str, data: bytes, fault: str = "", without: Sequence[str] = (), encoding: str = "utf-8"
) -> JsonValue:
    """The raw message for bytes from `peer`."""
    try:
        content = {"text": data.decode(encoding)} if b"\0" not in data else {"hex": data.hex()}
    except UnicodeDecodeError:
        content = {"hex": data.hex()}
    remarks: dict[str, JsonValue] = {"fault": fault} if fault else {}
    if without:
        remarks["without"] = list(without)
    return {"peer": peer, **content, **remarks}


def raw_messages(lines: Iterable[str]) -> Iterator[JsonValue]:
    """The raw messages in recorded text, for `wattbus decode`.

    Each line is one, unless the text begins as YAML does (`---`, `key:`): then `---`, `...` and blank lines divide it.
    """
    document: list[str] = []
    is_yaml = False
    for line in lines:
        is_yaml = is_yaml or _BEGINS_YAML.match(line) is not None
        if not is_yaml:
            if line.strip():
                yield {"peer": "", "text": line.strip()}
        elif line.strip() in ("", "---", "..."):
            if document:
                yield {"peer": "", "text": "".join(document)}
            document = []
        else:
            document.append(line if line.endswith("\n") else f"{line}\n")
    if document:
        yield {"peer": "", "text": "".join(document)}


def decode(raw: JsonValue, rules: Rules) -> list[Reading]:
    """The readings in a raw message. Raises DecodeError.

    Beside our own form, BEMCom's is taken (the bytes as Python writes them: `b'{"a": 1}'`), the text itself, and a
    message that is JSON already.
    """
    if isinstance(raw, Mapping) and "peer" in raw and raw.keys() <= _OURS:
        readings = _PARSERS[rules.parse_as](_text(raw, rules.encoding), str(raw["peer"]), rules)
        without = raw.get("without")
        return _without(readings, {str(key) for key in without}) if isinstance(without, list) else readings
    if isinstance(raw, str):
        return _PARSERS[rules.parse_as](_reference_text(raw), "", rules)
    return _tree_readings([checked(raw)], "", rules)


def _without(readings: Iterable[Reading], keys: Collection[str]) -> list[Reading]:
    """The readings without these keys; without those of which nothing is left."""
    left = []
    for reading in readings:
        flat = flatten(reading)
        values = {
            sensor.key: Quantity(flat.values[sensor.key], sensor.unit)
            for sensor in flat.sensors
            if sensor.key not in keys
        }
        if values:
            left.append(replace(reading, values=values))
    return left


def replaced(data: bytes, encoding: str) -> int:
    """How many characters of the text are U+FFFD because its bytes are not in this encoding."""
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return data.decode(encoding, errors="replace").count("\N{REPLACEMENT CHARACTER}")
    return 0


def _text(raw: Mapping[str, JsonValue], encoding: str) -> str:
    if "fault" in raw:
        raise DecodeError(str(raw["fault"]))
    if isinstance(raw.get("text"), str):
        return str(raw["text"])
    try:
        return bytes.fromhex(raw["hex"]).decode(encoding, errors="replace")
    except (KeyError, TypeError, ValueError):
        raise DecodeError("there is neither text nor hexadecimal digits in it") from None


def _reference_text(raw: str) -> str:
    if not _REFERENCE.fullmatch(raw):
        return raw
    try:
        return str(ast.literal_eval(raw).decode())
    except (ValueError, SyntaxError, MemoryError):  # UnicodeDecodeError is a ValueError
        raise DecodeError("not the bytes of a message as BEMCom writes them") from None


# -- values ------------------------------------------------------------------------------------------------------------


def _json(text: str, peer: str, rules: Rules) -> list[Reading]:
    return _tree_readings(parse_json(text), peer, rules)


def _yaml(text: str, peer: str, rules: Rules) -> list[Reading]:
    return _tree_readings(parse_yaml(text), peer, rules)


def _tree_readings(trees: Iterable[JsonValue], peer: str, rules: Rules) -> list[Reading]:
    readings = []
    for tree in trees:
        values = tree if isinstance(tree, dict | list) else {"value": tree}
        if rules.numbers_in_text:
            values = _with_numbers(values)
        if tree is not None:
            readings.append(_reading(values if isinstance(values, dict) else _by_index(values), peer, rules))
    return readings


def _by_index(values: list[JsonValue]) -> dict[str, JsonValue]:
    return {str(index): value for index, value in enumerate(values)}


def _with_numbers(tree: Any) -> Any:
    """Text that is a number becomes one."""
    if isinstance(tree, dict):
        return {key: _with_numbers(inner) for key, inner in tree.items()}
    if isinstance(tree, list):
        return [_with_numbers(inner) for inner in tree]
    return number(tree) if isinstance(tree, str) and NUMBER.fullmatch(tree) and len(tree) < 100 else tree


def _numbers(text: str, peer: str, rules: Rules) -> list[Reading]:
    values = parse_numbers(_one_line(text), separator=rules.separator)
    return [_reading({str(index): value for index, value in enumerate(values, 1)}, peer, rules)]


def _pairs(text: str, peer: str, rules: Rules) -> list[Reading]:
    return [_reading({**parse_pairs(_one_line(text), separator=rules.separator)}, peer, rules)]


def _values(text: str, peer: str, rules: Rules) -> list[Reading]:
    line = parse_value_line(
        _one_line(text),
        separator=rules.separator,
        timestamped=rules.timestamped,
        targeted=rules.targeted,
        node_offset=rules.node_offset,
    )
    if rules.nodes_only and line.node not in rules.nodes.known:
        raise DecodeError(f"node {line.node} is not in SOCKET_NODES")
    node = rules.nodes.get(line.node)
    named: dict[str, Quantity] = {}
    for index, value in enumerate(line.values):
        name = node.names[index] if index < len(node.names) else str(index + 1)
        factor = node.scales[index] if index < len(node.scales) else 1.0
        unit = node.units[index] if index < len(node.units) else ""
        named[name] = Quantity(_scaled(value, factor), unit)
    key = rules.nodes.key(line.node)
    return [Reading({key: named}, line.timestamp_ms, device=key)]


def _scaled(value: Scalar, factor: float) -> Scalar:
    """Factors like 0.1 divide by their whole inverse: 2315 becomes 231.5, not 231.50000000000003."""
    if factor == 1 or not isinstance(value, int | float):
        return value
    inverse = round(1 / factor) if factor else 0
    return value / inverse if inverse and 1 / inverse == factor else value * factor


def _one_line(text: str) -> str:
    line = text.strip("\r\n\0")
    if "\n" in line or "\r" in line:
        raise DecodeError(SEVERAL)
    return line


def _reading(values: dict[str, JsonValue], peer: str, rules: Rules) -> Reading:
    if rules.prefix_peer and peer:
        return Reading({peer: values}, device=peer)
    return Reading(values, device=rules.device)


_PARSERS: dict[ParseAs, Callable[[str, str, Rules], list[Reading]]] = {
    "JSON": _json,
    "YAML": _yaml,
    "VALUES": _values,
    "NUMBERS": _numbers,
    "PAIRS": _pairs,
}
