"""The demo device's registers: which number of the room lies where, and how."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from demo_device.room import Mode, Room
from links.modbus_server import ILLEGAL_ADDRESS, ILLEGAL_VALUE, Refused, Table

UNIT = 1
_MODES: dict[Mode, int] = {"idle": 0, "heating": 1, "cooling": 2}


@dataclass(frozen=True, slots=True)
class Register:
    """One number of the room: first address, struct type, unit (UCUM), meaning."""

    address: int
    datatype: str
    unit: str
    meaning: str
    value: Callable[[Room], float]

    @property
    def words(self) -> int:
        return struct.calcsize(self.datatype) // 2

    def encode(self, room: Room) -> list[int]:
        value = self.value(room)
        if self.datatype.endswith("I"):
            value = int(value) & 0xFFFFFFFF
        elif self.datatype.endswith("H"):
            value = int(value)
        return list(struct.unpack(f">{self.words}H", struct.pack(self.datatype, value)))


INPUT_REGISTERS: tuple[Register, ...] = (
    # Little-endian bytes, as BEMCom's demo device has them: 21.0 is 0x404D.
    Register(1, "<e", "Cel", "room temperature", lambda room: room.temperature_c),
    Register(10, ">f", "Cel", "outside temperature", lambda room: room.outside_c),
    Register(12, ">f", "W", "electrical power of the heat pump", lambda room: room.electrical_power_w),
    Register(14, ">f", "W", "thermal power, negative while cooling", lambda room: room.thermal_power_w),
    Register(16, ">I", "W.h", "electrical energy of the heat pump, counter", lambda room: room.electrical_energy_wh),
    Register(18, ">I", "s", "time in the room since midnight of its first day", lambda room: room.time_s),
    Register(20, ">f", "Cel", "room temperature in full resolution", lambda room: room.temperature_c),
    Register(22, ">H", "", "heat pump: 0 idle, 1 heating, 2 cooling", lambda room: _MODES[room.mode]),
)
HOLDING_REGISTERS: tuple[Register, ...] = (
    Register(1, "<e", "Cel", "setpoint, clipped to 15…30", lambda room: room.setpoint_c),
)
POLL_COUNTER = 100  # two input registers, >I
ENABLED_COIL = 1
RUNNING_INPUT = 1


class RoomBank:
    """The room as a Modbus unit; `now` brings the room up to date before it is read or written.

    The poll counter counts the requests answered that read it, this one included: whoever stores each value of it can
    prove that none is missing and none came twice.
    """

    def __init__(self, room: Room, now: Callable[[], None] = lambda: None) -> None:
        self.room = room
        self.polls = 0
        self._now = now

    def read(self, table: Table, address: int, count: int) -> Sequence[int]:
        self._now()
        words = self._words(table)
        wanted = range(address, address + count)
        if not all(number in words or (table == "input_registers" and number in self._counter) for number in wanted):
            raise Refused(ILLEGAL_ADDRESS)
        if table == "input_registers" and all(number in wanted for number in self._counter):
            self.polls = (self.polls + 1) & 0xFFFFFFFF
        words |= dict(zip(self._counter, divmod(self.polls, 0x10000), strict=True))
        return [words[number] for number in wanted]

    def write(self, table: Table, address: int, values: Sequence[int]) -> None:
        self._now()
        if (table, address, len(values)) == ("coils", ENABLED_COIL, 1):
            self.room.enabled = bool(values[0])
        elif (table, address, len(values)) == ("holding_registers", HOLDING_REGISTERS[0].address, 1):
            self._set(values[0])
        else:
            raise Refused(ILLEGAL_ADDRESS)

    _counter = range(POLL_COUNTER, POLL_COUNTER + 2)

    def _set(self, word: int) -> None:
        (setpoint_c,) = struct.unpack(HOLDING_REGISTERS[0].datatype, word.to_bytes(2, "big"))
        try:
            self.room.set(setpoint_c)
        except ValueError:
            raise Refused(ILLEGAL_VALUE) from None

    def _words(self, table: Table) -> dict[int, int]:
        match table:
            case "coils":
                return {ENABLED_COIL: int(self.room.enabled)}
            case "discrete_inputs":
                return {RUNNING_INPUT: int(self.room.mode != "idle")}
            case "input_registers":
                registers = INPUT_REGISTERS
            case "holding_registers":
                registers = HOLDING_REGISTERS
        return {
            register.address + index: word
            for register in registers
            for index, word in enumerate(register.encode(self.room))
        }
