"""Decryption and authentication: extended link layer (AES-CTR), transport layer modes 5, 7 and 10.

The one file that imports pycryptodome.
"""

from __future__ import annotations

from Crypto.Cipher import AES
from Crypto.Hash import CMAC

from connectors.im871a.telegram.crc import crc16
from connectors.im871a.telegram.model import Damaged, KeyNeeded, WrongKey
from wattbus.errors import DecodeError

KEY_LENGTH = 16
BLOCK = 16
CHECK = b"\x2f\x2f"  # two idle fillers that every encrypted block of modes 5 and 7 starts with
# AFL.MCL, authentication type: bytes of the message authentication code (EN 13757-7:2018 section 6.3.4).
MAC_LENGTHS = {4: 4, 5: 8, 6: 12, 7: 16}
CCM_MAC_LENGTH = 8  # of mode 10
# Derivation constants of the key derivation function, meter to gateway (OMS volume 2 section 9.5.2).
DERIVE_ENCRYPTION, DERIVE_AUTHENTICATION = b"\x00", b"\x01"


def check_key(key: bytes) -> None:
    """Raises DecodeError when `key` is no AES-128 key."""
    if len(key) != KEY_LENGTH:
        raise DecodeError(f"an AES-128 key has 16 bytes, this one {len(key)}")


def open_link(payload: bytes, key: bytes | None, counter: bytes, *, accept_plain: bool) -> bytes:
    """What an extended link layer with a session number hides (EN 13757-4 section 13.2.11): AES-128-CTR.

    `payload` starts with the payload CRC (low byte first), which is inside the encryption. `counter` is the initial
    counter block.
    """
    if key is not None:
        plain = AES.new(key, AES.MODE_CTR, nonce=b"", initial_value=counter).decrypt(payload)
        if _payload_crc_fits(plain):
            return plain[2:]
        raise WrongKey("the payload CRC does not fit after decryption: another key, or damaged after reception")
    if accept_plain and _payload_crc_fits(payload):
        return payload[2:]
    raise KeyNeeded("encrypted in the extended link layer (AES-CTR), and there is no key")


def check_link(payload: bytes) -> bytes:
    """An extended link layer with a session number, not encrypted: only the payload CRC is to be checked."""
    if not _payload_crc_fits(payload):
        raise Damaged("the payload CRC of the extended link layer is wrong")
    return payload[2:]


def _payload_crc_fits(plain: bytes) -> bool:
    return len(plain) > 2 and plain[:2] == crc16(plain[2:]).to_bytes(2, "little")


def open_mode_5(payload: bytes, key: bytes | None, iv: bytes, blocks: int, *, accept_plain: bool) -> bytes:
    """Security mode 5 (EN 13757-7:2018 section 7.6.4.3): the first `blocks` blocks are AES-128-CBC with `iv`."""
    encrypted = _encrypted_part(payload, blocks)
    if key is None:
        return _plain_or_key_needed(payload, "mode 5", accept_plain)
    plain = AES.new(key, AES.MODE_CBC, iv).decrypt(encrypted)
    if plain[:2] != CHECK:
        raise WrongKey("mode 5: 2F 2F is missing after decryption: another key, or damaged after reception")
    return plain + payload[len(encrypted) :]


def open_mode_7(
    payload: bytes, key: bytes | None, identity: bytes, counter: bytes, mac: Mac | None, blocks: int, *,
    accept_plain: bool,
) -> bytes:  # fmt: skip
    """Security mode 7 (OMS volume 2, security profile B): AES-128-CBC with a key derived for this message, IV zero.

    `identity` is the meter's identification number as on air, `counter` the message counter of the authentication
    layer. With a MAC it is checked before anything is believed.
    """
    encrypted = _encrypted_part(payload, blocks)
    if key is None:
        return _plain_or_key_needed(payload, "mode 7", accept_plain)
    plain = AES.new(derive(key, DERIVE_ENCRYPTION, counter, identity), AES.MODE_CBC, bytes(BLOCK)).decrypt(encrypted)
    opened = plain[:2] == CHECK
    if mac is not None and not mac.fits(derive(key, DERIVE_AUTHENTICATION, counter, identity)):
        if opened:
            raise Damaged("mode 7: the message authentication code is wrong although the key opens the telegram")
        raise WrongKey("mode 7: neither the message authentication code nor 2F 2F fit: another key, or damaged")
    if not opened:
        raise WrongKey("mode 7: 2F 2F is missing after decryption: another key, or damaged after reception")
    return plain + payload[len(encrypted) :]


def open_mode_10(
    payload: bytes, key: bytes | None, address: bytes, counter: bytes, header: bytes, encrypted: int | None
) -> bytes:
    """Security mode 10 (OMS volume 2, security profile D): AES-128-CCM with a key derived as in mode 7.

    `address` is the meter's as on air (manufacturer first), `counter` the message counter (low byte first), `header`
    the transport layer from its CI field up to the counter: it is authenticated, too. `encrypted` says how many bytes
    are, None for all but the authentication code, which stands behind them. Unlike modes 5 and 7 there is nothing by
    which content that was decrypted before could be told, so it always needs its key.
    """
    if key is None:
        raise KeyNeeded("encrypted in mode 10, and there is no key")
    end = len(payload) - CCM_MAC_LENGTH if encrypted is None else encrypted
    if end < 1 or len(payload) < end + CCM_MAC_LENGTH:
        raise Damaged(f"mode 10: {len(payload)} bytes are too few for content and authentication code")
    nonce = address + b"\x00" + counter[::-1]
    derived = derive(key, DERIVE_ENCRYPTION, counter, address[2:6])
    cipher = AES.new(derived, AES.MODE_CCM, nonce=nonce, mac_len=CCM_MAC_LENGTH).update(header)
    code = payload[end : end + CCM_MAC_LENGTH]
    try:
        plain = cipher.decrypt_and_verify(payload[:end], code)
    except ValueError:
        raise WrongKey("mode 10: the authentication code does not fit: another key, or damaged") from None
    return plain + payload[end + CCM_MAC_LENGTH :]


class Mac:
    """A message authentication code, truncated, and what it covers (EN 13757-7:2018 section 6.4)."""

    def __init__(self, code: bytes, covered: bytes) -> None:
        self._code = code
        self._covered = covered

    def fits(self, key: bytes) -> bool:
        return CMAC.new(key, self._covered, ciphermod=AES).digest()[: len(self._code)] == self._code


def derive(key: bytes, constant: bytes, counter: bytes, identity: bytes) -> bytes:
    """The key of one message: CMAC over constant, counter, identification, padded with 07 (OMS volume 2 9.5.3)."""
    return CMAC.new(key, constant + counter + identity + 7 * b"\x07", ciphermod=AES).digest()


def _encrypted_part(payload: bytes, blocks: int) -> bytes:
    encrypted = payload[: blocks * BLOCK]
    if len(encrypted) != blocks * BLOCK:
        raise Damaged(f"{blocks} encrypted blocks announced, {len(payload)} bytes there")
    return encrypted


def _plain_or_key_needed(payload: bytes, mode: str, accept_plain: bool) -> bytes:
    if accept_plain and payload[:2] == CHECK:
        return payload
    raise KeyNeeded(f"encrypted in {mode}, and there is no key")
