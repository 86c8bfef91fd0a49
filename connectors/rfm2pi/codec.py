"""The lines that a radio board says: what kind each is, and the values in it. Pure.

Sources: JeeLib's RF12demo (versions 6 to 14), the firmware of RFM12Pi, RFM69Pi and emonPi, and OpenEnergyMonitor's
newer firmware for RFM69Pi (`emonBase_rfm69pi`), whose own lines begin with `|`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from connectors.rfm2pi.layout import Number
from connectors.rfm2pi.nodes import BOARD, Nodes
from wattbus.connector import Quantity, Reading
from wattbus.errors import DecodeError
from wattbus.jsontext import JsonValue

# `OK 10 100 0 56 255 (-45)`; without OK and RSSI (RFM12Pi); ` G210 10 …`, `OKG 210 10 …`: all groups are listened to.
_FRAME = re.compile(r" *(OK)? *(?:G ?(\d{1,3}) +)?(\d{1,3})((?: +\d{1,3})*) *(?:\((-?\d{1,3})\) *)?", re.ASCII)
# `OKX 0A150033002D002C0D (3A)`: reporting format 1 of RF12demo.
_HEX_FRAME = re.compile(r" *(OK)?X ?((?:[0-9A-F]{2})+) *(?:\(([0-9A-F]{1,2})\) *)?", re.ASCII)
# Where the beginning of a frame is inside another line, the end of that line was lost.
_FRAME_WITHIN = re.compile(r"OK[GX]? ?\d", re.ASCII)
_PLAIN = re.compile(r" *(\d{1,3})((?: +[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)+) *", re.ASCII)
# `[RF12demo.14] E i5 g210 @ 433 MHz q1`, `E i5 g210 @ 433 MHz USA 0`, `79 i15 g210 @ 433 MHz  Lock: 1`
_INFO = re.compile(r"(?:\[([^\]]+)\])?.*\bi(\d{1,2})\*? g(\d{1,3}) @ (\d{1,3}) MHz(.*)", re.ASCII)
_QUIET = re.compile(r"\bq(\d)\b")
_LOCK = re.compile(r"Lock: (\d)")
_SENT = re.compile(r".*-> (\d+) b *")
_LETTERS = {  # the verbose list of settings (`L`), and the answer to each command of the newer firmware
    "group": re.compile(r"\|Group:? (\d{1,3})"),
    "frequency": re.compile(r"\|RF Band(?::| =) (\d{3}) ?MHz"),
    "base_id": re.compile(r"\|Node(?: ID:)? (\d{1,3})"),
}
# How lines begin that are help, banners and the JeeLink's flash memory; a line of help also has ` - ` in it.
_CHATTER = (
    "[", "(or ", "96..", "Available commands", "Remote control", "Current config", "Flash storage",
    "config ", "test ", "Invalid", "erased", "Zzz", "DF ", "ASC ", "r: page", "-> ack",
)  # fmt: skip
HIGHEST_GROUP = HIGHEST_NODE_ID = 255
RF12DEMO_TELLS_QUIET = 12  # from this version on, an information line without q1 means q0


@dataclass(frozen=True, slots=True)
class RadioFrame:
    """What a node sent. `is_marked`: the line began with OK, as most firmware has it."""

    node: int
    data: bytes
    rssi: int | None
    is_marked: bool


@dataclass(frozen=True, slots=True)
class BadFrame:
    """The board heard something whose checksum was wrong."""


@dataclass(frozen=True, slots=True)
class SentPacket:
    """The board confirms that it sent a packet of `count` bytes."""

    count: int


@dataclass(frozen=True, slots=True)
class Info:
    """How the board is set; None where this firmware does not tell. `locked`: it refuses to be set."""

    firmware: str | None = None
    group: int | None = None
    frequency: int | None = None
    base_id: int | None = None
    quiet: bool | None = None
    locked: bool = False
    speaks_letters: bool = False  # the newer firmware: commands are a letter and a number, and lines begin with |


@dataclass(frozen=True, slots=True)
class Chatter:
    """Echoes, help, banners: nothing that anybody needs. `speaks_letters` as in `Info`."""

    speaks_letters: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """Noise, a cut line, wrong bytes."""


Said = RadioFrame | BadFrame | SentPacket | Info | Chatter | Unknown


def text_of(line: bytes) -> str:
    """A line as text that JSON can hold, whatever the bytes are: those that are not ASCII become `\\xff`."""
    return line.decode("ascii", "backslashreplace")


def understand(line: str) -> Said:
    """What kind of line this is. Never raises."""
    if match := _FRAME.fullmatch(line):
        return _frame(match)
    if match := _HEX_FRAME.fullmatch(line):
        data = bytes.fromhex(match[2])
        return RadioFrame(data[0], data[1:], -(int(match[3], 16) >> 1) if match[3] else None, match[1] is not None)
    if _FRAME_WITHIN.search(line):
        return Unknown()
    stripped = line.strip()
    if stripped.startswith("?") and len(stripped) > 1:
        return BadFrame()
    if match := _SENT.fullmatch(stripped):
        return SentPacket(int(match[1]))
    if stripped.startswith((">", "\x01")):
        return Chatter()
    if match := _INFO.fullmatch(stripped):
        return _info(match)
    if stripped.startswith("|"):
        return _letters(stripped)
    is_chatter = stripped in ("", "?", ".") or stripped.startswith(_CHATTER) or " - " in stripped
    return Chatter() if is_chatter else Unknown()


def _letters(line: str) -> Info | Chatter:
    for name, pattern in _LETTERS.items():
        if match := pattern.fullmatch(line):
            told: dict[str, Any] = {name: int(match[1])}
            return Info(speaks_letters=True, **told)
    return Chatter(speaks_letters=True)


def _frame(match: re.Match[str]) -> RadioFrame | Chatter | Unknown:
    is_marked, rssi = match[1] is not None, match[5]
    try:
        node, *data = bytes(map(int, (match[3] + match[4]).split()))
    except ValueError:  # a number above 255
        return Unknown()
    if not data:  # a packet without content acknowledges another one; an unmarked number alone is part of a line
        return Chatter() if is_marked or rssi is not None else Unknown()
    return RadioFrame(node, bytes(data), None if rssi is None else int(rssi), is_marked)


def _info(match: re.Match[str]) -> Info | Unknown:
    if int(match[3]) > HIGHEST_GROUP:
        return Unknown()
    firmware, rest = match[1], match[5]
    quiet, lock = _QUIET.search(rest), _LOCK.search(rest)
    return Info(
        firmware=firmware,
        group=int(match[3]),
        frequency=int(match[4]),
        base_id=int(match[2]),
        quiet=quiet[1] != "0" if quiet else _quiet_unsaid(firmware),
        locked=lock is not None and lock[1] == "0",  # the firmware's help has it: 1 = unlocked
    )


def _quiet_unsaid(firmware: str | None) -> bool | None:
    name, _, version = (firmware or "").partition(".")
    tells = name == "RF12demo" and version.isdecimal() and int(version) >= RF12DEMO_TELLS_QUIET
    return False if tells else None


def decode(raw: JsonValue, nodes: Nodes, *, plain: bool = False) -> list[Reading]:
    """The reading in a raw message: a line, or what the connector counted. Raises DecodeError.

    `plain`: the line is `NodeID value value …` with finished values.
    """
    if isinstance(raw, str):
        return [_plain_reading(raw, nodes) if plain else _reading(raw, nodes)]
    if isinstance(raw, dict) and isinstance(raw.get("cut"), str):
        raise DecodeError(f"a cut line, {raw.get('because', '')}: {raw['cut']!r:.80}")
    if isinstance(raw, dict) and isinstance(counts := raw.get("counts"), dict):
        return [Reading({BOARD: counts}, device=BOARD)]
    raise DecodeError("neither a line nor counts")


def _reading(line: str, nodes: Nodes) -> Reading:
    said = understand(line)
    if isinstance(said, RadioFrame):
        return _values(said, nodes)
    if isinstance(said, Info):
        return Reading({BOARD: _settings(said)}, device=BOARD)
    if isinstance(said, BadFrame):
        raise DecodeError("the board reports a wrong checksum")
    raise DecodeError(f"not a line of a radio board: {line!r:.80}")


def _values(frame: RadioFrame, nodes: Nodes) -> Reading:
    node = nodes[frame.node]
    try:
        values = node.rx.decode(frame.data)
    except DecodeError as error:
        raise DecodeError(f"node {node.number}{_called(node.name, node.number)}: {error}") from None
    return _named(node.number, nodes, values, frame.rssi)


def plain_values(line: str) -> tuple[int, list[Number]]:
    """Node and numbers of a line `NodeID value value …`. Raises DecodeError."""
    match = _PLAIN.fullmatch(line)
    if match is None or int(match[1]) > HIGHEST_NODE_ID:
        raise DecodeError(f"not a line `NodeID value value …`: {line!r:.80}")
    return int(match[1]), [float(text) if set(text) & set(".eE") else int(text) for text in match[2].split()]


def _plain_reading(line: str, nodes: Nodes) -> Reading:
    number, values = plain_values(line)
    return _named(number, nodes, nodes[number].rx.scaled(values), None)


def _named(number: int, nodes: Nodes, values: list[Number], rssi: int | None) -> Reading:
    node = nodes[number]
    named: dict[str, Any] = {node.rx.name(index): value for index, value in enumerate(values)}
    if rssi is not None:
        named["rssi"] = Quantity(rssi, "dBm")
    return Reading({node.name: named}, device=node.name)


def _called(name: str, number: int) -> str:
    return "" if name == str(number) else f" ({name})"


def _settings(info: Info) -> Mapping[str, Any]:
    """What an information line says, under the names of the board's datapoints."""
    told = {
        "firmware": info.firmware,
        "group": info.group,
        "frequency": None if info.frequency is None else Quantity(info.frequency, "MHz"),
        "base_id": info.base_id,
        "quiet": info.quiet,
    }
    return {name: value for name, value in told.items() if value is not None}


def raw_messages(lines: Iterable[str]) -> Iterator[str]:
    """The raw messages in recorded text, for `wattbus decode`: each line that is a frame, or should be one."""
    for line in lines:
        text = line.rstrip("\r\n")
        if text.strip() and not isinstance(understand(text), BadFrame | SentPacket | Chatter):
            yield text
