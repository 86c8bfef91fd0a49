"""The authentication and fragmentation layer (CI 90, EN 13757-7:2018 section 6)."""

from __future__ import annotations

from dataclasses import dataclass

from connectors.im871a.telegram.frames import bytes_at
from connectors.im871a.telegram.model import Damaged
from connectors.im871a.telegram.security import DERIVE_AUTHENTICATION, MAC_LENGTHS, Mac, derive
from wattbus.errors import DecodeError

AUTHENTICATION = 0x90
MORE_FRAGMENTS = 0x4000
# The fields that bits of the control field announce, in their order on air, with their bytes; the MAC's length is told
# by the message control field.
FIELDS = ((13, "mcl", 1), (9, "ki", 2), (11, "mcr", 4), (10, "mac", 0), (12, "ml", 2))


@dataclass(frozen=True, slots=True)
class Authentication:
    """What the layer says of an unfragmented message: message counter and code, and what the code covers of it."""

    counter: bytes | None = None
    code: bytes | None = None
    covered: bytes = b""

    def mac(self, message: bytes) -> Mac | None:
        """The code together with all that it covers; `message` is the transport layer from its CI field on."""
        return Mac(self.code, self.covered + message) if self.code else None

    def check_unopened(self, message: bytes, key: bytes, identity: bytes) -> None:
        """Check the code of a message that is not encrypted, or not in mode 7 (which checks it before it opens).

        Else a single bit that turns the CI field into one without security would make the code worthless.
        """
        mac = self.mac(message)
        if mac is None:
            return
        if self.counter is None:
            raise DecodeError("a message authentication code without a message counter is not supported")
        if not mac.fits(derive(key, DERIVE_AUTHENTICATION, self.counter, identity)):
            raise Damaged("the message authentication code is wrong")


def read_authentication(data: bytes, position: int) -> tuple[Authentication, int]:
    """The layer whose CI field stands at `position`, and the position behind it. Raises DecodeError."""
    length = bytes_at(data, position + 1, 1)[0]
    layer = bytes_at(data, position + 2, length)
    if len(layer) < 2:
        raise Damaged("the authentication layer is too short")
    control = layer[0] | layer[1] << 8
    if control & MORE_FRAGMENTS or control & 0xFF > 1:
        raise DecodeError("one fragment of a longer message: not supported")
    at = 2
    fields: dict[str, bytes] = {}
    for bit, name, size in FIELDS:
        if control >> bit & 1:
            wanted = size or MAC_LENGTHS.get(fields.get("mcl", b"\x00")[0] & 0x0F, 0)
            fields[name] = bytes_at(layer, at, wanted)
            at += wanted
    if at != len(layer):
        raise Damaged(f"the authentication layer has {len(layer)} bytes where its fields take {at}")
    covered = fields.get("mcl", b"") + fields.get("mcr", b"") + fields.get("ml", b"")
    return Authentication(fields.get("mcr"), fields.get("mac") or None, covered), position + 2 + length
