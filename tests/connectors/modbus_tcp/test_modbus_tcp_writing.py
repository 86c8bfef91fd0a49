"""What becomes of a command when the device does not simply confirm it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from connectors.modbus_tcp.connector import ModbusTcp, create
from links.modbus_frames import ModbusFrame
from tests.connectors.modbus_tcp.conftest import settings_for
from tests.links.modbus_device import Device, answered, device
from wattbus.errors import CommandRejected, LinkDown

CONFIG: dict[str, Any] = {
    "write_register": [{"address": 5, "unit": 1, "datatypes": ">H"}],
    "write_registers": [{"address": 5, "unit": 1, "datatypes": ">HH"}],
    "write_coil": [{"address": 5, "unit": 1}],
    "write_coils": [{"address": 5, "unit": 1, "count": 2}],
}
COMMANDS = [
    ("write_register__1__5", 7),
    ("write_registers__1__5", "7 8"),
    ("write_coil__1__5", True),
    ("write_coils__1__5", "1 0"),
]
ODD = {5: b"\x05\0\0\0\0", 6: b"\x06\0\0\0\0", 15: b"\x0f\0\0\0\0", 16: b"\x10\0\0\0\0"}


class Memory:
    """A device's registers and coils; `answers` are given, one each, instead of executing a write."""

    def __init__(
        self, *answers: bytes | Callable[[bytes], bytes], executes: bool = True, readable: bool = True
    ) -> None:
        self.words: dict[tuple[bool, int], int] = {}
        self.answers = list(answers)
        self.executes = executes
        self.readable = readable
        self.writes = 0

    def __call__(self, frame: ModbusFrame) -> bytes:
        pdu = frame.pdu
        function, address = pdu[0], int.from_bytes(pdu[1:3], "big")
        if function <= 4:
            if not self.readable:
                return answered(frame, bytes([function | 0x80, 2]))
            count = int.from_bytes(pdu[3:5], "big")
            words = [self.words.get((function == 1, address + n), 0) for n in range(count)]
            data = (
                bytes([sum(bit << n for n, bit in enumerate(words))])
                if function == 1
                else b"".join(word.to_bytes(2, "big") for word in words)
            )
            return answered(frame, bytes([function, len(data)]) + data)
        self.writes += 1
        answer = self.answers.pop(0) if self.answers else pdu[:5]
        is_no = isinstance(answer, bytes) and len(answer) == 1 and answer != b"\x05"
        if self.executes and not is_no:
            self._execute(function, address, pdu)
        if isinstance(answer, bytes):
            return answered(frame, bytes([function | 0x80]) + answer if len(answer) == 1 else answer)
        return answered(frame, answer(pdu))

    def _execute(self, function: int, address: int, pdu: bytes) -> None:
        if function == 5:
            self.words[True, address] = pdu[3] & 1
        elif function == 6:
            self.words[False, address] = int.from_bytes(pdu[3:5], "big")
        elif function == 15:
            self.words |= {(True, address + n): pdu[6] >> n & 1 for n in range(pdu[4])}
        else:
            self.words |= {
                (False, address + n): int.from_bytes(pdu[6 + 2 * n : 8 + 2 * n], "big") for n in range(pdu[4])
            }


@asynccontextmanager
async def connected(memory: Memory, **variables: str) -> AsyncIterator[tuple[ModbusTcp, Device]]:
    async with device(memory) as (_, own):
        connector = create(settings_for(CONFIG, own.port, **variables))
        yield connector, own
        connector._modbus.close()


@pytest.mark.parametrize(("key", "value"), COMMANDS)
async def test_a_busy_device_is_asked_again_soon(key: str, value: Any) -> None:
    memory = Memory(b"\x06", b"\x06")
    async with connected(memory) as (connector, _):
        await connector.write(key, value)
    assert memory.writes == 3


@pytest.mark.parametrize(("key", "value"), COMMANDS)
async def test_a_device_that_stays_busy_fails_the_command(key: str, value: Any) -> None:
    memory = Memory(*[b"\x06"] * 20)
    async with connected(memory) as (connector, _):
        with pytest.raises(LinkDown, match="busy"):
            await connector.write(key, value)
    assert 2 <= memory.writes <= 6


@pytest.mark.parametrize(("key", "value"), COMMANDS)
async def test_what_is_accepted_is_read_back_and_written_once(key: str, value: Any) -> None:
    memory = Memory(b"\x05")
    async with connected(memory) as (connector, own):
        await connector.write(key, value)
        assert [pdu[0] for pdu in own.requests][1:] in ([1], [3])
    assert memory.writes == 1


async def test_what_is_accepted_and_never_executed_fails() -> None:
    memory = Memory(b"\x05", executes=False)
    async with connected(memory) as (connector, _):
        with pytest.raises(LinkDown, match="not executed"):
            await connector.write(*COMMANDS[0])
    assert memory.writes == 1


async def test_what_is_accepted_and_cannot_be_read_is_applied(caplog: pytest.LogCaptureFixture) -> None:
    memory = Memory(b"\x05", readable=False)
    async with connected(memory) as (connector, _):
        await connector.write(*COMMANDS[0])
    assert "taken for applied" in caplog.text


@pytest.mark.parametrize("code", [1, 2, 3, 7, 9])
async def test_a_no_is_a_no(code: int) -> None:
    memory = Memory(bytes([code]))
    async with connected(memory) as (connector, _):
        with pytest.raises(CommandRejected, match=f"\\({code}\\)"):
            await connector.write(*COMMANDS[0])
    assert memory.writes == 1


@pytest.mark.parametrize("code", [4, 8, 10, 11])
async def test_a_state_of_the_device_is_not_the_commands_fault(code: int) -> None:
    memory = Memory(bytes([code]))
    async with connected(memory) as (connector, _):
        with pytest.raises(LinkDown, match=f"\\({code}\\)"):
            await connector.write(*COMMANDS[0])
    assert memory.writes == 1


@pytest.mark.parametrize(("key", "value"), COMMANDS)
async def test_what_is_confirmed_oddly_and_stands_there_is_applied(
    key: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    memory = Memory(lambda pdu: ODD[pdu[0]])
    async with connected(memory) as (connector, _):
        await connector.write(key, value)
    assert memory.writes == 1
    assert "it was executed: read back" in caplog.text


@pytest.mark.parametrize(("key", "value"), COMMANDS)
async def test_what_is_confirmed_oddly_fails_once_and_is_never_repeated(key: str, value: Any) -> None:
    memory = Memory(*[lambda pdu: ODD[pdu[0]]] * 20, readable=False)
    async with connected(memory) as (connector, _):
        with pytest.raises(LinkDown, match="confirmed"):
            await connector.write(key, value)
        for _ in range(3):
            with pytest.raises(CommandRejected, match="not written again"):
                await connector.write(key, value)
    assert memory.writes == 1


async def test_another_value_is_written_all_the_same() -> None:
    memory = Memory(lambda pdu: ODD[pdu[0]], readable=False)
    async with connected(memory) as (connector, _):
        with pytest.raises(LinkDown):
            await connector.write("write_register__1__5", 7)
        await connector.write("write_register__1__5", 8)
        await connector.write("write_register__1__5", 7)
    assert memory.writes == 3


async def test_the_setting_reaches_the_link() -> None:
    memory = Memory(lambda pdu: ODD[pdu[0]], readable=False)
    async with connected(memory, MODBUS_WORKAROUNDS="write_confirmation") as (connector, own):
        await connector.write("write_register__1__5", 7)
        assert len(own.requests) == 1
