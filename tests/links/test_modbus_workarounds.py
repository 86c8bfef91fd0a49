"""Answers that are not quite right: refused without their workaround, read with it, and said once."""

from __future__ import annotations

import asyncio
import logging
import struct

import pytest

from links.modbus import ModbusLink
from links.modbus_errors import BadAnswer, ExceptionAnswer, ModbusError, NoAnswer, OddConfirmation
from links.modbus_frames import ModbusFrame
from links.modbus_workarounds import NO_WORKAROUNDS, WORKAROUNDS, Workaround
from tests.links.modbus_device import Ask, Script, answered, device, values_of

HOLDING = "read_holding_registers"


def swapped(number: int) -> int:
    return (number & 0xFF) << 8 | number >> 8


def longer(pdu: bytes, extra: bytes, *, announced: bool = False) -> bytes:
    more = len(extra) if announced else 0
    return pdu[:1] + bytes([pdu[1] + more]) + pdu[2:] + extra


def value(frame: ModbusFrame) -> bytes:
    return values_of(frame.pdu)


async def read_registers(link: ModbusLink) -> object:
    return await link.read(HOLDING, 1, 7, 2)


async def read_input(link: ModbusLink) -> object:
    return await link.read("read_input_registers", 1, 7, 1)


async def read_coils(link: ModbusLink) -> object:
    return await link.read("read_coils", 1, 7, 3)


async def read_discrete(link: ModbusLink) -> object:
    return await link.read("read_discrete_inputs", 1, 7, 9)


async def write_register(link: ModbusLink) -> object:
    return await link.write("write_register", 1, 7, [5])


async def write_coil(link: ModbusLink) -> object:
    return await link.write("write_coil", 1, 7, [True])


async def write_registers(link: ModbusLink) -> object:
    return await link.write("write_registers", 1, 7, [5, 6])


async def write_coils(link: ModbusLink) -> object:
    return await link.write("write_coils", 1, 7, [True, False])


CASES: list[tuple[Workaround, Script, Ask, object, type[ModbusError]]] = [
    (
        "transaction_id",
        lambda f: answered(f, value(f), transaction=f.transaction + 1),
        read_registers,
        [7, 8],
        NoAnswer,
    ),
    (
        "transaction_id",
        lambda f: answered(f, value(f), transaction=f.transaction - 1),
        read_coils,
        [True] * 3,
        NoAnswer,
    ),
    (
        "transaction_id",
        lambda f: answered(f, value(f), transaction=swapped(f.transaction)),
        write_register,
        None,
        NoAnswer,
    ),
    ("extra_bytes", lambda f: answered(f, longer(value(f), b"\x09")), read_registers, [7, 8], BadAnswer),
    ("extra_bytes", lambda f: answered(f, longer(value(f), b"\0\0")), read_input, [7], BadAnswer),
    ("extra_bytes", lambda f: answered(f, longer(value(f), b"\x01\x02", announced=True)), read_input, [7], BadAnswer),
    (
        "extra_bytes",
        lambda f: answered(f, longer(value(f), b"\x01", announced=True)),
        read_coils,
        [True] * 3,
        BadAnswer,
    ),
    ("padded_coils", lambda f: answered(f, longer(value(f), b"\0", announced=True)), read_coils, [True] * 3, BadAnswer),
    (
        "padded_coils",
        lambda f: answered(f, longer(value(f), bytes(5), announced=True)),
        read_discrete,
        [True] * 9,
        BadAnswer,
    ),
    ("write_confirmation", lambda f: answered(f, b"\x06\0\0\0\x05"), write_register, None, OddConfirmation),
    ("write_confirmation", lambda f: answered(f, b"\x06\0\x07\0\0"), write_register, None, OddConfirmation),
    ("write_confirmation", lambda f: answered(f, value(f) + b"\0"), write_register, None, OddConfirmation),
    ("write_confirmation", lambda f: answered(f, b"\x05\0\x07\0\x01"), write_coil, None, OddConfirmation),
    ("write_confirmation", lambda f: answered(f, b"\x10\0\x07\0\x01"), write_registers, None, OddConfirmation),
    ("write_confirmation", lambda f: answered(f, value(f) + b"\0"), write_coils, None, OddConfirmation),
    ("write_echo", lambda f: answered(f, f.pdu), write_registers, None, OddConfirmation),
    ("write_echo", lambda f: answered(f, f.pdu), write_coils, None, OddConfirmation),
]


@pytest.mark.parametrize(("name", "script", "ask", "expected", "refused"), CASES)
async def test_each_is_read_with_its_workaround_alone_and_said_once(
    name: Workaround,
    script: Script,
    ask: Ask,
    expected: object,
    refused: type[ModbusError],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with device(script, workarounds=frozenset(WORKAROUNDS) - {name}, timeout_s=0.05) as (link, _):
        with pytest.raises(refused) as caught:
            await ask(link)
        assert not isinstance(caught.value, ExceptionAnswer)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        async with device(script, workarounds=frozenset({name})) as (link, own):
            assert await ask(link) == expected
            assert await ask(link) == expected
            assert len(own.requests) == 2
    (line,) = [record.getMessage() for record in caplog.records]
    assert f"MODBUS_WORKAROUNDS={name}" in line


@pytest.mark.parametrize("code", [1, 2, 3, 4, 7, 8, 10, 11])
async def test_an_exception_of_nine_bytes_that_announces_ten(code: int) -> None:
    def script(frame: ModbusFrame) -> bytes:
        return struct.pack(">HHHBBB", frame.transaction, 0, 4, frame.unit, frame.pdu[0] | 0x80, code)

    async with device(script, workarounds=frozenset({"exception_length"})) as (link, _):
        for ask in (read_registers, write_register, read_coils, write_coils):
            with pytest.raises(ExceptionAnswer) as caught:
                await ask(link)
            assert caught.value.code == code
    async with device(script, workarounds=NO_WORKAROUNDS, timeout_s=0.05) as (link, _):
        with pytest.raises(NoAnswer):
            await read_registers(link)


async def test_its_tenth_byte_costs_nothing_when_it_comes_after_all() -> None:
    def script(frame: ModbusFrame) -> list[bytes | float] | bytes:
        if frame.pdu[2] == 7:
            return [struct.pack(">HHHBBB", frame.transaction, 0, 4, 1, 0x83, 2), 0.01, b"\0"]
        return answered(frame, value(frame))

    async with device(script) as (link, _):
        for _ in range(2):
            with pytest.raises(ExceptionAnswer):
                await read_registers(link)
            await asyncio.sleep(0.03)  # the tenth byte is on its way
            assert await link.read(HOLDING, 1, 20, 1) == [20]


@pytest.mark.parametrize("extra", [b"\0", b"\x01\x02"])
async def test_bytes_behind_the_frame(extra: bytes) -> None:
    async with device(lambda f: answered(f, value(f)) + extra, workarounds=frozenset({"extra_bytes"})) as (link, _):
        assert [await link.read(HOLDING, 1, n, 1) for n in (3, 4, 5)] == [[3], [4], [5]]


async def test_a_late_answer_is_nobody_elses_though_any_transaction_counts() -> None:
    """With `transaction_id` the late answer to the request before would pass for this one's."""

    def script(frame: ModbusFrame) -> list[bytes | float]:
        return [0.15 if frame.pdu[2] == 3 else 0.0, answered(frame, value(frame))]

    async with device(script, workarounds=frozenset({"transaction_id"}), timeout_s=0.1) as (link, _):
        with pytest.raises(NoAnswer):
            await link.read(HOLDING, 1, 3, 1)
        assert await link.read(HOLDING, 1, 4, 1) == [4]
        assert await link.read(HOLDING, 1, 5, 1) == [5]


async def test_what_is_missing_is_never_made_up() -> None:
    async with device(lambda f: answered(f, value(f)[:-1]), workarounds=frozenset(WORKAROUNDS)) as (link, _):
        for ask in (read_registers, read_input):
            with pytest.raises(BadAnswer):
                await ask(link)


async def test_three_bytes_too_many_are_another_answer() -> None:
    async with device(
        lambda f: answered(f, longer(value(f), b"\x01\x02\x03", announced=True)), workarounds=frozenset(WORKAROUNDS)
    ) as (link, _):
        with pytest.raises(BadAnswer):
            await read_registers(link)
