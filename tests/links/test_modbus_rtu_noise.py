"""RTU frames in TCP with other bytes about them: the answer is found, and nothing else is taken for it."""

from __future__ import annotations

import pytest

from links.modbus_errors import BadAnswer, ExceptionAnswer, NoAnswer, WrongUnit
from links.modbus_frames import ModbusFrame, encode
from tests.links.modbus_device import answered, device, values_of

HOLDING = "read_holding_registers"


def right(frame: ModbusFrame) -> bytes:
    return answered(frame, values_of(frame.pdu), "rtu")


def echo(frame: ModbusFrame) -> bytes:
    return encode("rtu", frame)


def neighbour(frame: ModbusFrame, pdu: bytes | None = None) -> bytes:
    return encode("rtu", ModbusFrame(0, frame.unit + 1, values_of(frame.pdu) if pdu is None else pdu))


@pytest.mark.parametrize(
    "script",
    [
        lambda f: [right(f), 0.02, b"\0\0\0"],
        lambda f: [b"\0\0\0", right(f)],
        lambda f: [b"\0\0\0", 0.02, right(f)],
        lambda f: [b"\xff", right(f), b"\xff"],
        lambda f: [echo(f), right(f)],
        lambda f: [echo(f), 0.02, right(f)],
        lambda f: [b"\0", echo(f), 0.02, right(f)],
        lambda f: [neighbour(f), right(f)],
        lambda f: [neighbour(f), 0.12, right(f)],
        lambda f: [neighbour(f, b"\x83\x02"), 0.02, right(f)],
        lambda f: [neighbour(f)[:-2] + b"\x12\x34", right(f)],
        lambda f: [echo(f), neighbour(f), right(f), b"\0"],
    ],
)
async def test_the_answer_is_found(script: object) -> None:
    async with device(script, "rtu", timeout_s=0.3) as (link, _):  # type: ignore[arg-type]
        for number in (5, 6, 300):
            assert await link.read(HOLDING, 1, number, 2) == [number, number + 1]
            assert await link.read("read_coils", 1, number, 20) == [True] * 20
        await link.write("write_register", 1, 5, [7])
        await link.write("write_registers", 1, 5, [7, 8, 9])
        await link.write("write_coil", 1, 5, [False])
        await link.write("write_coils", 1, 5, [True] * 9)


async def test_an_exception_after_an_echo() -> None:
    async with device(lambda f: [echo(f), encode("rtu", ModbusFrame(0, 1, b"\x83\x02"))], "rtu") as (link, _):
        with pytest.raises(ExceptionAnswer):
            await link.read(HOLDING, 1, 5, 1)


async def test_an_echo_is_no_confirmation_once_the_line_is_known_to_echo() -> None:
    is_dead = False
    async with device(lambda f: [echo(f)] if is_dead else [echo(f), right(f)], "rtu") as (link, _):
        assert await link.read(HOLDING, 1, 5, 1) == [5]
        await link.write("write_register", 1, 5, [7])
        is_dead = True
        with pytest.raises(NoAnswer, match="only an echo"):
            await link.write("write_register", 1, 5, [8])


async def test_an_echo_alone_is_no_value() -> None:
    """Coils 768…: the echo has the length and the byte count of an answer."""
    async with device(echo, "rtu") as (link, _):
        with pytest.raises(NoAnswer, match="only an echo"):
            await link.read("read_coils", 1, 0x0300, 20)


async def test_a_neighbour_alone_is_no_value() -> None:
    async with device(neighbour, "rtu") as (link, _):
        with pytest.raises(WrongUnit, match="unit 2 answered"):
            await link.read(HOLDING, 1, 5, 1)


async def test_a_damaged_answer_is_no_value() -> None:
    def damaged(frame: ModbusFrame) -> bytes:
        good = right(frame)
        return good[:4] + bytes([good[4] ^ 1]) + good[5:]

    async with device(damaged, "rtu") as (link, _):
        with pytest.raises(BadAnswer, match="checksum"):
            await link.read(HOLDING, 1, 5, 1)
