"""From the link layer to the application's plain bytes, layer by layer, each announced by its CI field.

Link (EN 13757-4) → extended link (CI 8C to 8F) → authentication and fragmentation (CI 90) → transport (EN 13757-7)
→ application. What comes off on the way is kept in `Layers`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from connectors.im871a.telegram.address import Address, medium
from connectors.im871a.telegram.authentication import AUTHENTICATION, Authentication, read_authentication
from connectors.im871a.telegram.frames import bytes_at
from connectors.im871a.telegram.model import Damaged, Header, Security
from connectors.im871a.telegram.security import check_link, open_link, open_mode_5, open_mode_7, open_mode_10
from wattbus.errors import DecodeError

ADDRESS_LENGTH = 8
LINK_HEADER = 10  # L C M M A A A A version type
TRANSPORT_HEADER = 4  # access number, status, configuration (2 bytes); the long one has an address before them
NOT_AUTHENTICATED = Authentication()
OPENED_MODES: dict[int, Security] = {5: "mode_5", 7: "mode_7", 10: "mode_10"}
ALL_ENCRYPTED = 0xFF  # number of encrypted bytes in mode 10: all of them
COUNTER_FOLLOWS, COUNTER_LENGTH = 0x01, 4

Content = Literal["full", "compact", "format", "fixed", "error", "alarm", "none", "manufacturer"]
HeaderKind = Literal["none", "short", "long"]

# EN 13757-7:2018 table 2: what the CI field says about transport header and application, from meters only.
CI_FIELDS: dict[int, tuple[HeaderKind, Content]] = {
    0x69: ("none", "format"), 0x6A: ("short", "format"), 0x6B: ("long", "format"),
    0x6E: ("short", "error"), 0x6F: ("long", "error"), 0x70: ("none", "error"),
    0x71: ("none", "alarm"), 0x72: ("long", "full"), 0x73: ("long", "compact"), 0x74: ("short", "alarm"),
    0x75: ("long", "alarm"), 0x78: ("none", "full"), 0x79: ("none", "compact"), 0x7A: ("short", "full"),
    0x7B: ("short", "compact"), 0x8A: ("short", "none"), 0x8B: ("long", "none"),
}  # fmt: skip
CI_FIELDS.update(dict.fromkeys(range(0xA0, 0xB8), ("none", "manufacturer")))

# On a wire: variable data with the high byte first, and the fixed data structure (EN 1434-3:1997), both out of use.
WIRED_FULL_HIGH_FIRST, WIRED_FIXED, WIRED_FIXED_HIGH_FIRST = 0x76, 0x73, 0x77

# Extended link layers (EN 13757-4 table 38): bytes of the address of the other side, and whether a session follows.
EXTENDED_LINK = {0x8C: (0, False), 0x8D: (0, True), 0x8E: (8, False), 0x8F: (8, True)}
HOP_COUNT, REPEATED_ACCESS = 0x10, 0x02


@dataclass(slots=True)
class Layers:
    """What the layers said. `content` is the application's data, plain.

    `high_first`: its numbers come high byte first (wired meters with CI 76).
    """

    control: int
    sender: Address
    meter: Address
    first_ci: int
    access_number: int | None = None
    status: int | None = None
    security: Security = "none"
    kind: Content = "none"
    content: bytes = b""
    high_first: bool = False

    def header(self) -> Header:
        """The public form of all this."""
        meter = self.meter
        return Header(
            meter.manufacturer, meter.id, meter.version, meter.device_type, medium(meter.device_type), self.sender.id,
            self.control, self.first_ci, self.access_number, self.status, self.security,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Opening:
    """How encrypted content is to be opened. `peek` stops before it, without needing a key."""

    key: bytes | None = field(repr=False)
    accept_plain: bool
    peek: bool = False


PEEK = Opening(None, accept_plain=False, peek=True)


def peel(frame: bytes, opening: Opening) -> Layers:
    """The layers of a frame without link CRCs. Raises DecodeError."""
    layers = _link(frame)
    _peel_from(frame, LINK_HEADER, layers, opening)
    return layers


def peel_link(frame: bytes) -> Layers:
    """The link layer alone, of a frame whose other layers cannot be read. Raises Damaged."""
    layers = _link(frame)
    layers.security = "other"
    return layers


def _link(frame: bytes) -> Layers:
    if len(frame) < LINK_HEADER + 1 or frame[0] != len(frame) - 1:
        raise Damaged(f"{len(frame)} bytes do not make a telegram with L = {frame[0] if frame else 'nothing'}")
    sender = Address(frame[2:LINK_HEADER])
    return Layers(frame[1], sender, sender, frame[LINK_HEADER])


def peel_wired(control: int, primary: int, body: bytes, opening: Opening) -> Layers:
    """The layers of a wired frame from its CI field on. A meter without long header is known by its primary address."""
    sender = Address(bytes(2) + bytes.fromhex(f"{primary:08d}")[::-1] + bytes(2))
    ci = body[0] if body else 0
    layers = Layers(control, sender, sender, ci)
    if ci in (WIRED_FIXED, WIRED_FIXED_HIGH_FIRST):
        layers.kind, layers.high_first, layers.content = "fixed", ci == WIRED_FIXED_HIGH_FIRST, body[1:]
    elif ci == WIRED_FULL_HIGH_FIRST:
        layers.high_first = True
        number, manufacturer = body[1:5][::-1], body[5:7][::-1]
        _transport(b"\x72" + number + manufacturer + body[7:], 0, layers, opening, NOT_AUTHENTICATED)
    else:
        _peel_from(body, 0, layers, opening)
    return layers


def _peel_from(data: bytes, position: int, layers: Layers, opening: Opening) -> None:
    """Take layers off until the application's content is there. `position` is that of a CI field."""
    authentication = NOT_AUTHENTICATED
    while True:
        ci = bytes_at(data, position, 1)[0]
        if ci in EXTENDED_LINK:
            data, position = _extended_link(data, position, layers, opening)
            if opening.peek and layers.security != "none":
                return
        elif ci == AUTHENTICATION:
            authentication, position = read_authentication(data, position)
        elif ci in CI_FIELDS:
            _transport(data, position, layers, opening, authentication)
            if layers.security != "mode_7" and opening.key is not None:
                authentication.check_unopened(data[position:], opening.key, layers.meter.identity)
            return
        else:
            raise DecodeError(f"CI field {ci:02x} is not supported")


def _extended_link(data: bytes, position: int, layers: Layers, opening: Opening) -> tuple[bytes, int]:
    """The bytes behind an extended link layer, decrypted, and the position of the next CI field in them."""
    other_side, has_session = EXTENDED_LINK[data[position]]
    communication_control, access_number = bytes_at(data, position + 1, 2)
    layers.access_number = access_number
    position += 3 + other_side
    if not has_session:
        return data, position
    session = bytes_at(data, position, 4)
    payload = data[position + 4 :]
    encryption = session[3] >> 5
    if encryption == 0:
        return check_link(payload), 0
    layers.security = "ell_ctr" if encryption == 1 else "other"
    if opening.peek:
        return payload, 0
    if encryption != 1:
        raise DecodeError(f"encryption {encryption} of the extended link layer is not supported")
    # A repeater changes two bits of this field, so they count as 0 here (EN 13757-4 section 13.2.11).
    unrepeated = communication_control & ~(HOP_COUNT | REPEATED_ACCESS)
    counter = layers.sender.raw + bytes([unrepeated]) + session + bytes(3)
    return open_link(payload, opening.key, counter, accept_plain=opening.accept_plain), 0


def _transport(data: bytes, position: int, layers: Layers, opening: Opening, authentication: Authentication) -> None:
    """The transport header, and behind it the content: plain, or opened."""
    message = data[position:]
    kind, layers.kind = CI_FIELDS[message[0]]
    position = 1
    if kind == "long":
        part = bytes_at(message, position, ADDRESS_LENGTH)
        # Here the identification stands before the manufacturer; on the link it is the other way round.
        layers.meter = Address(part[4:6] + part[:4] + part[6:])
        position += ADDRESS_LENGTH
    mode = blocks = low = 0
    if kind != "none":
        layers.access_number, layers.status, low, high = bytes_at(message, position, TRANSPORT_HEADER)
        position += TRANSPORT_HEADER
        mode, blocks = high & 0x1F, low >> 4
    if mode == 0 or (mode == 5 and not blocks):
        layers.content = message[position:]
        return
    layers.security = OPENED_MODES.get(mode, "other")
    if opening.peek:
        return
    if mode == 5:
        iv = layers.meter.raw + bytes([layers.access_number or 0]) * 8
        layers.content = open_mode_5(message[position:], opening.key, iv, blocks, accept_plain=opening.accept_plain)
    elif mode == 7:
        layers.content = _mode_7(message, position, blocks, layers, opening, authentication)
    elif mode == 10:
        layers.content = _mode_10(message, position, low, layers, opening, authentication)
    else:
        raise DecodeError(f"security mode {mode} is not supported")


def _mode_7(
    message: bytes, position: int, blocks: int, layers: Layers, opening: Opening, authentication: Authentication
) -> bytes:
    """Mode 7 has one byte more in its header: which key derivation function."""
    derivation = bytes_at(message, position, 1)[0] >> 4 & 0x03
    if derivation != 1 or authentication.counter is None:
        raise DecodeError("mode 7 without a message counter, or with another key derivation, is not supported")
    return open_mode_7(
        message[position + 1 :], opening.key, layers.meter.identity, authentication.counter,
        authentication.mac(message), blocks, accept_plain=opening.accept_plain,
    )  # fmt: skip


def _mode_10(
    message: bytes, position: int, encrypted: int, layers: Layers, opening: Opening, authentication: Authentication
) -> bytes:
    """Mode 10 has two bytes more in its header: which key derivation function, and whether the counter follows."""
    derivation, more = bytes_at(message, position, 2)
    position += 2
    header = message[:position]
    counter = authentication.counter
    if more & COUNTER_FOLLOWS:
        counter = bytes_at(message, position, COUNTER_LENGTH)
        position += COUNTER_LENGTH
    if derivation >> 4 & 0x03 != 1 or counter is None:
        raise DecodeError("mode 10 without a message counter, or with another key derivation, is not supported")
    count = None if encrypted == ALL_ENCRYPTED else encrypted
    return open_mode_10(message[position:], opening.key, layers.meter.raw, counter, header, count)
