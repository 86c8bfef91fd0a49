"""Encryption and authentication; a wrong key told from damage."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.im871a import telegram
from connectors.im871a.telegram import Damaged, KeyNeeded, Telegram, WrongKey
from tests.connectors.im871a.telegram_data import reference
from wattbus.errors import DecodeError

KEY = bytes(range(16))
OTHER_KEY = bytes(16)
GAS = {"volume_m3": 28504.27, "datetime": "2008-05-31T23:50", "error_flags": 0, "status": "ok"}
HEAT_COSTS = {"heat_cost_allocation": 1234, "date_storage_1": "2007-04-30", "heat_cost_allocation_storage_1": 23456}

# CEN/TR 17167:2018 F.3: a radio module speaks for a gas meter; extended link layer III, mode 7, MAC.
MODULE_MODE_7 = bytes.fromhex(
    "53082448443322110337 8e80753a63665544330a31 900f002c25b30a0000af5d74df73a600d9 7278563412931533037500200710"
    "9058475f4bc91df878b80a1b0f98b629024aac727942bfc549233c0140829b93"
)
# OMS volume 2 annex N.5.3: mode 5 for one block, the rest in plain; long header behind extended link layer I.
PARTIAL_MODE_5 = bytes.fromhex(
    "304493444433221155378c0075 7288776655934455080004100500 dfe2a782146d1513581cd2f83f3904 0cfd1078563412"
)


def values(decoded: Telegram) -> dict[str, Any]:
    return {name: quantity.value for name, quantity in decoded.fields.items()}


def vector(name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(reference("wmbus-oms/vectors.json").read_text())
    return next(one for one in found if name in one["name"])


def test_mode_5_of_oms_annex_n() -> None:
    example = vector("N.2.1")
    decoded = telegram.decode(bytes.fromhex(example["stripped"]), bytes.fromhex(example["key"]))
    assert values(decoded) == GAS
    header = decoded.header
    assert (header.manufacturer, header.id, header.version, header.medium) == ("ELS", "12345678", 0x33, "gas")
    assert (header.access_number, header.status, header.security) == (0x2A, 0, "mode_5")


def test_mode_5_with_link_crcs() -> None:
    example = vector("N.2.1")
    frame = telegram.strip_crcs(bytes.fromhex(example["frame_a_with_crc"]))
    assert values(telegram.decode(frame, bytes.fromhex(example["key"]))) == GAS


def test_mode_5_partly_encrypted_oms_annex_n_5_3() -> None:
    decoded = telegram.decode(PARTIAL_MODE_5, KEY)
    assert values(decoded) == {**HEAT_COSTS, "location": "12345678", "status": "power_low"}
    assert (decoded.header.id, decoded.header.sender_id) == ("55667788", "11223344")


def test_mode_5_of_cen_tr_17167_with_link_crcs() -> None:
    frame = bytes.fromhex(
        "294493444433221155086cb17288776655934455080004100500dfe227f9a782146d1513581cd2f83f3904015b196109"
    )
    decoded = telegram.decode(telegram.strip_format_a(frame), KEY)
    assert values(decoded) == {**HEAT_COSTS, "flow_temperature_c": 25, "status": "power_low"}


def test_mode_7_of_oms() -> None:
    example = vector("mode 7")
    decoded = telegram.decode(bytes.fromhex(example["stripped"]), bytes.fromhex(example["key"]))
    assert values(decoded) == GAS
    assert decoded.header.security == "mode_7"


def test_mode_7_with_a_bad_mac_is_damaged_although_the_key_opens_it() -> None:
    example = vector("mode 7")
    with pytest.raises(Damaged, match="message authentication code"):
        telegram.decode(bytes.fromhex(example["bad_mac_variant"]), bytes.fromhex(example["key"]))


def test_mode_7_behind_extended_link_layer_3_of_cen_tr_17167() -> None:
    decoded = telegram.decode(MODULE_MODE_7, KEY)
    assert values(decoded) == GAS
    header = decoded.header
    assert (header.manufacturer, header.id, header.sender_id) == ("ELS", "12345678", "11223344")


def test_extended_link_layer_aes_ctr() -> None:
    example = vector("Multical21 ELL CTR")
    decoded = telegram.decode(bytes.fromhex(example["frame"]), bytes.fromhex(example["key"]))
    assert decoded.fields["volume_m3"].value == 6.408


def test_extended_link_layer_of_a_repeated_telegram() -> None:
    """Its hop count bit is set; the counter block has it as 0."""
    example = vector("(CI 8D) water meter")
    frame = bytes.fromhex(example["stripped"])
    assert frame[11] & 0x10
    assert telegram.decode(frame, bytes.fromhex(example["key"])).fields["volume_m3"].value == 474.24


def test_a_telegram_without_data_says_who_and_how_it_is() -> None:
    """OMS volume 2 annex N.5.2 (ACC-NR)."""
    frame = bytes.fromhex("194793444433221155378c20758b8877665593445508ff040000")
    decoded = telegram.decode(frame)
    assert (decoded.header.id, decoded.records, values(decoded)) == ("55667788", (), {"status": "power_low"})


ENCRYPTED = [PARTIAL_MODE_5, MODULE_MODE_7]


@pytest.mark.parametrize("frame", ENCRYPTED)
def test_another_key_is_called_wrong(frame: bytes) -> None:
    with pytest.raises(WrongKey):
        telegram.decode(frame, OTHER_KEY)


@pytest.mark.parametrize("frame", ENCRYPTED)
def test_no_key_is_called_missing(frame: bytes) -> None:
    for accept_plain in (False, True):
        with pytest.raises(KeyNeeded):
            telegram.decode(frame, accept_plain=accept_plain)
    assert telegram.read_header(frame).needs_key


@pytest.mark.parametrize("key", [b"", bytes(15), bytes(32)])
def test_a_key_of_another_length_is_refused(key: bytes) -> None:
    with pytest.raises(DecodeError, match="16 bytes"):
        telegram.decode(PARTIAL_MODE_5, key)


@pytest.mark.parametrize("frame", ENCRYPTED)
def test_a_length_that_does_not_fit_is_damaged_whatever_the_key(frame: bytes) -> None:
    for key in (KEY, OTHER_KEY, None):
        for broken in (frame[:-1], frame + b"\0", frame[:20], frame[:5], b""):
            with pytest.raises(Damaged):
                telegram.decode(broken, key)


def test_fewer_bytes_than_encrypted_blocks_is_damaged() -> None:
    shorter = PARTIAL_MODE_5[:35]
    with pytest.raises(Damaged, match="blocks"):
        telegram.decode(bytes([len(shorter) - 1]) + shorter[1:], KEY)


def test_a_decrypted_telegram_is_read_only_on_demand_and_never_instead_of_decrypting() -> None:
    """A published telegram (wmbusmeters, iperl) that says mode 5 and stands in plain."""
    frame = bytes.fromhex(
        "1e44ae4c9956341268077a36001000 2f2f0413181e0000023b00002f2f2f2f".replace("1000 2f", "10052f")
    )
    assert telegram.decode(frame, accept_plain=True).fields["volume_m3"].value == 7.704
    with pytest.raises(KeyNeeded):
        telegram.decode(frame)
    with pytest.raises(WrongKey):
        telegram.decode(frame, KEY, accept_plain=True)


def test_unknown_security_is_neither_a_wrong_key_nor_damage() -> None:
    frame = bytes.fromhex("1e44ae4c9956341268077a360010082f2f0413181e0000023b00002f2f2f2f")
    assert telegram.read_header(frame).security == "other"
    assert not telegram.read_header(frame).needs_key
    with pytest.raises(DecodeError, match="security mode 8") as caught:
        telegram.decode(frame, KEY)
    assert type(caught.value) is DecodeError


def test_one_fragment_is_not_taken_for_the_whole() -> None:
    fragment = MODULE_MODE_7[:23].replace(b"\x00\x2c", b"\x02\x6c") + b"\x02\x6c" + MODULE_MODE_7[25:]
    with pytest.raises(DecodeError, match="fragment"):
        telegram.decode(fragment, KEY)


# What a code covers cannot change unnoticed. Mode 7: message control, counter, the code itself, all of the transport
# layer. (What stands before is the link CRC's, which the receiver has checked.)
MAC_COVERS = range(25, len(MODULE_MODE_7))


@given(st.sampled_from(MAC_COVERS), st.integers(0, 7))
@settings(deadline=None)
def test_no_flipped_bit_under_the_mac_gives_values(byte: int, bit: int) -> None:
    changed = bytearray(MODULE_MODE_7)
    changed[byte] ^= 1 << bit
    with pytest.raises(DecodeError):
        telegram.decode(bytes(changed), KEY)


ELL = bytes.fromhex("2a442d2c998734761b168d2091d37cac21e1d68cdaffcd3dc452bd802913ff7b1706ca9e355d6c2701cc24")
ELL_KEY = bytes.fromhex("28f64a24988064a079aa2c807d6102ae")


@given(st.integers(17, len(ELL) - 1), st.integers(0, 7))
@settings(deadline=None)
def test_no_flipped_bit_under_the_payload_crc_gives_values(byte: int, bit: int) -> None:
    changed = bytearray(ELL)
    changed[byte] ^= 1 << bit
    with pytest.raises(WrongKey):
        telegram.decode(bytes(changed), ELL_KEY)
