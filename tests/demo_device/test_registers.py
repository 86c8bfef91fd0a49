"""Where the room's numbers lie."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from demo_device.registers import HOLDING_REGISTERS, INPUT_REGISTERS, RoomBank
from demo_device.room import Room
from links.modbus_server import Refused

README = Path(__file__).parents[2] / "demo_device" / "README.md"


@pytest.fixture
def bank() -> RoomBank:
    return RoomBank(Room(electrical_energy_wh=70000.9))


def test_temperature_and_setpoint_are_half_floats_in_little_endian_bytes(bank: RoomBank) -> None:
    """21.0 is register 0x404D, as in BEMCom's demo device."""
    assert bank.read("input_registers", 1, 1) == [0x404D]
    bank.write("holding_registers", 1, [0x404D])
    assert bank.room.setpoint_c == 21.0
    assert bank.read("holding_registers", 1, 1) == [0x404D]


def test_the_rest_is_big_endian(bank: RoomBank) -> None:
    words = bank.read("input_registers", 10, 13)
    outside, power, heat, energy, seconds, room, mode = struct.unpack(">3f2IfH", struct.pack(">13H", *words))
    assert outside == pytest.approx(bank.room.outside_c)
    assert (power, heat, energy, seconds, room, mode) == (0, 0, 70000, 8 * 3600, 21.0, 0)


def test_a_setpoint_outside_the_limits_is_clipped(bank: RoomBank) -> None:
    bank.write("holding_registers", 1, [int.from_bytes(struct.pack("<e", 35.0), "big")])
    assert bank.room.setpoint_c == 30.0


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_no_number_is_an_illegal_data_value(bank: RoomBank, number: str) -> None:
    with pytest.raises(Refused) as refused:
        bank.write("holding_registers", 1, [int.from_bytes(struct.pack("<e", float(number)), "big")])
    assert refused.value.code == 3


def test_the_poll_counter_counts_requests_that_read_all_of_it(bank: RoomBank) -> None:
    bank.read("input_registers", 1, 1)
    bank.read("input_registers", 100, 1)
    assert [bank.read("input_registers", 100, 2) for _ in range(2)] == [[0, 1], [0, 2]]
    bank.polls = 0xFFFF
    assert bank.read("input_registers", 100, 2) == [1, 0]


def test_a_refused_request_is_not_counted(bank: RoomBank) -> None:
    with pytest.raises(Refused):
        bank.read("input_registers", 100, 3)
    assert bank.polls == 0


def test_the_heat_pump_can_be_forbidden(bank: RoomBank) -> None:
    bank.room.step(1)
    assert bank.read("discrete_inputs", 1, 1) == [1]
    bank.write("coils", 1, [0])
    bank.room.step(1)
    assert bank.read("coils", 1, 1) == [0]
    assert bank.read("discrete_inputs", 1, 1) == [0]


@pytest.mark.parametrize(
    ("table", "address", "count"),
    [("input_registers", 0, 1), ("input_registers", 2, 1), ("holding_registers", 0, 2), ("coils", 0, 1)],
)
def test_other_addresses_do_not_exist(bank: RoomBank, table: str, address: int, count: int) -> None:
    with pytest.raises(Refused) as refused:
        bank.read(table, address, count)  # type: ignore[arg-type]
    assert refused.value.code == 2
    with pytest.raises(Refused):
        bank.write(table, address, [1] * count)  # type: ignore[arg-type]


def test_the_readme_lists_every_register() -> None:
    text = README.read_text()
    for kind, registers in (("input register", INPUT_REGISTERS), ("holding register", HOLDING_REGISTERS)):
        for register in registers:
            last = register.address + register.words - 1
            where = str(register.address) if last == register.address else f"{register.address}–{last}"
            assert f"| {kind} | {where} | `{register.datatype}` |" in text
