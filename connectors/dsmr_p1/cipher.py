"""Encrypted telegrams: DLMS general-global-ciphering, security suite 0. Pure.

[IEC 62056-5-3 (Green Book 8), general-glo-ciphering; Luxmetering E-Meter P1 Specification 1.1.3, section 3.2.5.]

    DB | length 08 | system title (8) | length | security control (1) | invocation counter (4) | ciphertext | tag (12)

AES-128-GCM: the nonce is system title and invocation counter; security control and authentication key are
authenticated with the text; the tag is cut to 12 bytes. The text is an ordinary telegram with its CRC. pycryptodome
is imported in this file alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from Crypto.Cipher import AES

from connectors.dsmr_p1.crc import right_crc

TAG, TITLE_BYTES, COUNTER_BYTES, MAC_BYTES = 0xDB, 8, 4, 12
AUTHENTICATED_AND_ENCRYPTED, ENCRYPTED = 0x30, 0x20
LONGEST_FRAME = 8192  # bytes; a telegram has a tenth of it

ENCODING = "latin-1"  # as in `framing.py`
DLMS_NOTIFICATIONS = (0x0F, 0xC2)  # data-notification, event-notification-request [IEC 62056-5-3]

Fault = Literal["frame", "no key", "encryption key", "authentication key", "text"]


class CannotOpen(Exception):  # noqa: N818 - says what is the case
    """The frame cannot be opened; `fault` says what is wrong with it."""

    def __init__(self, fault: Fault, text: str) -> None:
        super().__init__(text)
        self.fault: Fault = fault


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """16 bytes each. Without an authentication key the tag is not checked, and the telegram's CRC alone decides."""

    encryption: bytes
    authentication: bytes | None


@dataclass(frozen=True, slots=True)
class EncryptedFrame:
    """A frame's parts."""

    system_title: bytes
    security_control: int
    invocation_counter: int
    ciphertext: bytes
    mac: bytes


def frame_length(data: bytes | bytearray, start: int = 0) -> int | None:
    """How long the frame is that begins at `start`; 0: more bytes are needed to tell; None: no frame begins there."""
    head = data[start : start + 2 + TITLE_BYTES + 3]
    if head[:2] != bytes((TAG, TITLE_BYTES))[: len(head)]:
        return None
    lengths = head[2 + TITLE_BYTES :]
    if not lengths:
        return 0
    more = lengths[0] & 0x7F if lengths[0] & 0x80 else 0
    if more > 2:
        return None
    if len(lengths) <= more:
        return 0
    content = int.from_bytes(lengths[1 : 1 + more], "big") if more else lengths[0]
    total = 2 + TITLE_BYTES + 1 + more + content
    if content < 1 + COUNTER_BYTES + MAC_BYTES or total > LONGEST_FRAME:
        return None
    return total


def take_apart(data: bytes) -> EncryptedFrame:
    """The parts of exactly one frame. Raises CannotOpen."""
    length = frame_length(data)
    if length != len(data) or not length:
        raise CannotOpen("frame", "not one whole encrypted telegram (DLMS general-global-cipher)")
    more = data[2 + TITLE_BYTES] & 0x7F if data[2 + TITLE_BYTES] & 0x80 else 0
    title, content = data[2 : 2 + TITLE_BYTES], data[2 + TITLE_BYTES + 1 + more :]
    control, counter, rest = content[0], content[1 : 1 + COUNTER_BYTES], content[1 + COUNTER_BYTES :]
    if control == ENCRYPTED:
        return EncryptedFrame(title, control, int.from_bytes(counter, "big"), rest, b"")
    if control != AUTHENTICATED_AND_ENCRYPTED:
        raise CannotOpen("frame", f"security control {control:#04x} is not known; a P1 port's is 0x30")
    return EncryptedFrame(title, control, int.from_bytes(counter, "big"), rest[:-MAC_BYTES], rest[-MAC_BYTES:])


def decrypt_frame(data: bytes, keys: Keys) -> str:
    """The telegram in a frame. Raises CannotOpen, which says which key is wrong."""
    frame = take_apart(data)
    cipher = _cipher(frame, keys)
    if frame.mac and keys.authentication is not None:
        try:
            return _as_text(cipher.decrypt_and_verify(frame.ciphertext, frame.mac))
        except ValueError:
            pass
        if _is_telegram(_cipher(frame, keys).decrypt(frame.ciphertext)):
            raise CannotOpen(
                "authentication key",
                "DSMR_AUTHENTICATION_KEY is not this meter's (the encryption key is: the text decrypts)",
            )
    else:
        plain = cipher.decrypt(frame.ciphertext)
        if _is_telegram(plain):
            return _as_text(plain)
    raise CannotOpen("encryption key", "the telegram cannot be decrypted: it is damaged, or the keys are wrong")


def encrypt_frame(text: str, keys: Keys, system_title: bytes, invocation_counter: int) -> bytes:
    """The frame that a meter with these keys sends."""
    control = AUTHENTICATED_AND_ENCRYPTED
    frame = EncryptedFrame(system_title, control, invocation_counter, b"", b"")
    ciphertext, mac = _cipher(frame, keys).encrypt_and_digest(text.encode(ENCODING))
    content = b"".join((bytes((control,)), invocation_counter.to_bytes(COUNTER_BYTES, "big"), ciphertext, mac))
    return b"".join((bytes((TAG, TITLE_BYTES)), system_title, b"\x82", len(content).to_bytes(2, "big"), content))


def _cipher(frame: EncryptedFrame, keys: Keys):  # type: ignore[no-untyped-def]  # the library names no type for it
    nonce = frame.system_title + frame.invocation_counter.to_bytes(COUNTER_BYTES, "big")
    cipher = AES.new(keys.encryption, AES.MODE_GCM, nonce=nonce, mac_len=MAC_BYTES)
    cipher.update(bytes((frame.security_control,)) + (keys.authentication or b""))
    return cipher


def _is_telegram(data: bytes) -> bool:
    """Whether this is a telegram whose CRC is right."""
    body, end, printed = data.rpartition(b"!")
    if not data.startswith(b"/") or not end:
        return False
    try:
        return bool(right_crc(body + end, int(printed.strip(b"\r\n\x00"), 16)))
    except ValueError:
        return False


def _as_text(data: bytes) -> str:
    if data.lstrip(b"\r\n\0")[:1] == b"/":
        return data.decode(ENCODING)
    is_binary = bool(data) and data[0] in DLMS_NOTIFICATIONS
    what = "a binary DLMS message" if is_binary else f"not a telegram: it begins with {data[:4].hex()}"
    raise CannotOpen("text", f"the keys are right, and what they open is {what}; this connector reads telegrams (text)")
