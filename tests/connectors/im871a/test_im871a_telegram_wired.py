"""Wired M-Bus through the same records: variable and fixed data structure."""

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

# OMS volume 2 annex N.2.2, without encryption; N.5.4, mode 5 for one block.
GAS = bytes.fromhex("6820206808fd 7278563412931533032a000000 0c1427048502046d32371f1502fd170000 8916")
PARTIAL_MODE_5 = bytes.fromhex(
    "682c2c6808fd 72887766559344550800041005 00dfe2a782146d1513581cd2f83f3904 0cfd1078563412 0c7844332211 2616"
)
# M-Bus documentation 4.8 section 6.2: water, counter 1 of 1 l, counter 2 historic, 135 l.
FIXED = bytes.fromhex("681313680805 73 78563412 0a 00 e97e 01000000 35010000 3c16")


def values(decoded: Telegram) -> dict[str, Any]:
    return {name: quantity.value for name, quantity in decoded.fields.items()}


def wired(body: str) -> bytes:
    data = bytes.fromhex(body)
    return bytes([0x68, len(data), len(data), 0x68]) + data + bytes([sum(data) & 0xFF, 0x16])


def test_variable_data_structure() -> None:
    decoded = telegram.decode_wired(GAS)
    assert values(decoded) == {
        "volume_m3": 28504.27, "datetime": "2008-05-31T23:50", "error_flags": 0, "status": "ok",
    }  # fmt: skip
    header = decoded.header
    assert (header.manufacturer, header.id, header.medium, header.sender_id) == ("ELS", "12345678", "gas", "00000253")


def test_the_frame_of_the_vectors() -> None:
    vectors = json.loads(reference("wmbus-oms/vectors.json").read_text())
    (frame,) = [bytes.fromhex(one["mbus"]) for one in vectors if "mbus" in one]
    decoded = telegram.decode_wired(frame)
    assert (decoded.header.manufacturer, decoded.header.id) == ("DME", "61260581")
    assert decoded.fields["volume_m3"].value == 0.2
    assert decoded.fields["datetime"].value == "2019-11-21T11:12"


def test_encrypted_on_the_wire() -> None:
    key = bytes(range(16))
    assert values(telegram.decode_wired(PARTIAL_MODE_5, key)) == {
        "heat_cost_allocation": 1234, "date_storage_1": "2007-04-30", "heat_cost_allocation_storage_1": 23456,
        "location": "12345678", "fabrication_number": "11223344", "status": "power_low",
    }  # fmt: skip
    with pytest.raises(KeyNeeded):
        telegram.decode_wired(PARTIAL_MODE_5)
    with pytest.raises(WrongKey):
        telegram.decode_wired(PARTIAL_MODE_5, bytes(16))


def test_fixed_data_structure() -> None:
    decoded = telegram.decode_wired(FIXED)
    assert values(decoded) == {"volume_m3": 0.001, "volume_storage_1_m3": 0.135, "status": "ok"}
    assert (decoded.header.id, decoded.header.medium, decoded.header.manufacturer) == ("12345678", "water", "")


def test_fixed_data_structure_binary_with_two_units() -> None:
    """Energy in kWh and power in W of a heat meter; status: binary counters, power low."""
    decoded = telegram.decode_wired(wired("08 05 73 78563412 0a 05 0554 d2040000 4d010000"))
    assert values(decoded) == {"energy_kwh": 1234, "power_unit_1_w": 333, "status": "power_low"}
    assert decoded.header.medium == "heat"


def test_fixed_data_structure_of_another_length_is_damaged() -> None:
    with pytest.raises(Damaged, match="16 bytes"):
        telegram.decode_wired(wired("08 05 73 78563412 0a 05 0554 d2040000"))


def test_high_byte_first() -> None:
    """CI 76, out of use: the same as CI 72 with every number turned round. There is no published example of it."""
    decoded = telegram.decode_wired(wired("08 fd 76 12345678 1593 33 03 2a 00 0000 0c14 02850427 04 06 00000102"))
    assert (decoded.header.manufacturer, decoded.header.id) == ("ELS", "12345678")
    assert values(decoded) == {"volume_m3": 28504.27, "energy_kwh": 258, "status": "ok"}


def test_a_meter_without_long_header_goes_by_its_primary_address() -> None:
    decoded = telegram.decode_wired(wired("08 05 78 0406 d2040000"))
    assert (decoded.header.id, values(decoded)) == ("00000005", {"energy_kwh": 1234})


@given(st.integers(0, len(GAS) * 8 - 1))
@settings(deadline=None)
def test_no_flipped_bit_passes_the_checksum(bit: int) -> None:
    changed = bytearray(GAS)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Damaged):
        telegram.decode_wired(bytes(changed))


@pytest.mark.parametrize("data", [b"", b"\x68", GAS[:-1], GAS + b"\x16", GAS[1:], b"\xe5", bytes.fromhex("1040fd3d16")])
def test_what_is_no_long_frame(data: bytes) -> None:
    with pytest.raises(Damaged):
        telegram.decode_wired(data)


def test_a_frame_to_a_meter_is_refused() -> None:
    with pytest.raises(DecodeError, match="CI field 51"):
        telegram.decode_wired(wired("53 fd 51 01 7a 05"))
