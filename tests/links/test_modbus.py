"""The client against a server that misbehaves in every known way, on real sockets."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from shutil import which

import pytest

from links.modbus import ModbusLink, ModbusTarget
from links.modbus_errors import (
    BadAnswer,
    ConnectFailed,
    ConnectionLost,
    ExceptionAnswer,
    ModbusError,
    NoAnswer,
    WrongUnit,
)
from links.modbus_frames import Framing
from links.modbus_server import Faults, ModbusServer, NumberBank

HOLDING = "read_holding_registers"
TIMEOUT_S = 0.2  # what `link` waits for an answer


@pytest.fixture(params=["tcp", "rtu"])
def framing(request: pytest.FixtureRequest) -> Framing:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
async def server(framing: Framing) -> AsyncIterator[ModbusServer]:
    async with ModbusServer({1: NumberBank(), 2: NumberBank()}, framing=framing) as server:
        yield server


@pytest.fixture
async def link(server: ModbusServer, framing: Framing) -> AsyncIterator[ModbusLink]:
    link = ModbusLink(ModbusTarget(server.host, server.port, framing, timeout_s=TIMEOUT_S))
    yield link
    link.close()


def loop_time() -> float:
    """Seconds that the loop was idle: less than the time-out has not waited for it, on a busy machine, too."""
    return asyncio.get_running_loop().time()


async def failure_of(link: ModbusLink, address: int, unit: int = 1) -> ModbusError:
    with pytest.raises(ModbusError) as caught:
        await link.read(HOLDING, unit, address, 1)
    return caught.value


async def test_every_function_code(link: ModbusLink, server: ModbusServer) -> None:
    await link.write("write_coil", 1, 10, [True])
    await link.write("write_coils", 1, 11, [False, True, True])
    await link.write("write_register", 1, 20, [0xFFFF])
    await link.write("write_registers", 1, 21, [1, 2, 3])
    assert await link.read("read_coils", 1, 9, 6) == [True, True, False, True, True, False]
    assert await link.read("read_discrete_inputs", 1, 9, 2) == [True, False]
    assert await link.read(HOLDING, 1, 19, 6) == [19, 0xFFFF, 1, 2, 3, 24]
    assert await link.read("read_input_registers", 1, 0xFFFF, 1) == [0xFFFF]
    assert [request.function for request in server.requests] == [5, 15, 6, 16, 1, 2, 3, 4]
    assert server.connections == 1


async def test_an_exception_has_its_code_and_name(link: ModbusLink, server: ModbusServer) -> None:
    server.faults.exceptions[5] = 2
    error = await failure_of(link, 5)
    assert isinstance(error, ExceptionAnswer)
    assert (error.code, error.reason, error.alive) == (2, "illegal data address (2)", True)
    assert str(error) == "read_holding_registers 5 of unit 1: illegal data address (2)"
    assert server.connections == 1


async def test_a_gateway_speaks_for_a_unit_that_does_not(server: ModbusServer, link: ModbusLink) -> None:
    server.faults.exceptions[5] = 11
    assert not (await failure_of(link, 5)).alive


async def test_silence_is_told_as_such(link: ModbusLink, server: ModbusServer) -> None:
    server.faults.ignored.add(5)
    error = await failure_of(link, 5)
    assert isinstance(error, NoAnswer)
    assert "no answer within 0.2 s" in str(error)
    assert await link.read(HOLDING, 1, 6, 1) == [6]


async def test_a_late_answer_is_not_taken_for_the_next(link: ModbusLink, server: ModbusServer) -> None:
    server.faults.late_s[5] = 0.25
    assert isinstance(await failure_of(link, 5), NoAnswer)
    server.faults.late_s.clear()
    assert await link.read(HOLDING, 1, 6, 1) == [6]
    assert await link.read(HOLDING, 1, 7, 1) == [7]


@pytest.mark.parametrize("framing", ["tcp"], indirect=True)
async def test_an_answer_with_another_transaction_is_no_answer(link: ModbusLink, server: ModbusServer) -> None:
    server.faults.wrong_transaction.add(5)
    error = await failure_of(link, 5)
    assert isinstance(error, NoAnswer)
    assert "only an answer to another request (transaction 1001)" in str(error)


async def test_another_units_answer_is_told_as_such(link: ModbusLink, server: ModbusServer, framing: Framing) -> None:
    """At once where the transaction is ours; on a serial line our own may follow, until the time is up."""
    server.faults.wrong_unit.add(5)
    before = loop_time()
    error = await failure_of(link, 5)
    assert isinstance(error, WrongUnit)
    assert "unit 2 answered" in str(error)
    assert framing == "rtu" or loop_time() - before < TIMEOUT_S
    assert await link.read(HOLDING, 1, 6, 1) == [6]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("short", "1 bytes of values instead of 2"),
        ("garbage", "no Modbus/TCP header|answer of function 84"),
        ("wrong_function", "answer of function 43 to function 3"),
    ],
)
async def test_a_bad_answer_is_told_at_once(
    link: ModbusLink, server: ModbusServer, fault: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    getattr(server.faults, fault).add(5)
    before = loop_time()
    error = await failure_of(link, 5)
    assert isinstance(error, BadAnswer)
    assert re.search(words, str(error))
    assert re.search(words, str(error))
    assert loop_time() - before < TIMEOUT_S
    assert await link.read(HOLDING, 1, 6, 1) == [6]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_an_answer_byte_by_byte_is_an_answer(link: ModbusLink, server: ModbusServer) -> None:
    server.faults.byte_pause_s = 0.005
    assert await link.read(HOLDING, 1, 5, 4) == [5, 6, 7, 8]
    assert await link.read("read_coils", 1, 5, 3) == [True, False, True]


async def test_a_closed_connection_is_noticed_at_once_and_made_anew(link: ModbusLink, server: ModbusServer) -> None:
    server.faults.hang_up.add(5)
    before = loop_time()
    assert isinstance(await failure_of(link, 5), ConnectionLost)
    assert loop_time() - before < TIMEOUT_S
    assert await link.read(HOLDING, 1, 6, 1) == [6]


async def test_a_connection_that_was_closed_while_idle_costs_nothing(link: ModbusLink, server: ModbusServer) -> None:
    assert await link.read(HOLDING, 1, 6, 1) == [6]
    await server.hang_up()
    while link.is_open:  # until the end of the connection has come through the loop
        await asyncio.sleep(0)
    await link.write("write_register", 1, 6, [60])
    assert await link.read(HOLDING, 1, 6, 1) == [60]
    assert server.connections == 2


async def test_a_write_is_never_repeated(link: ModbusLink, server: ModbusServer) -> None:
    server.faults.hang_up.add(5)
    with pytest.raises(ConnectionLost):
        await link.write("write_register", 1, 5, [1])
    server.faults.ignored.add(6)
    with pytest.raises(NoAnswer):
        await link.write("write_register", 1, 6, [1])
    assert len(server.written()) == 2


async def test_two_silences_in_a_row_make_a_new_connection(link: ModbusLink, server: ModbusServer) -> None:
    """Half-open: the far end has forgotten the connection, and nothing tells us."""
    assert await link.read(HOLDING, 1, 6, 1) == [6]
    server.faults.silent = True
    await failure_of(link, 5)
    await failure_of(link, 5)
    assert not link.is_open
    server.faults.silent = False
    assert await link.read(HOLDING, 1, 6, 1) == [6]


@pytest.mark.parametrize("framing", ["tcp"], indirect=True)
async def test_a_dead_unit_behind_a_gateway_does_not_cut_the_living(link: ModbusLink, server: ModbusServer) -> None:
    server.faults.silent_units.add(2)
    for _ in range(8):
        assert isinstance(await failure_of(link, 5, unit=2), NoAnswer)
        assert await link.read(HOLDING, 1, 6, 1) == [6]
    assert server.connections == 1


async def test_a_refused_connection_says_so() -> None:
    async with ModbusServer({}) as gone:
        target = ModbusTarget(gone.host, gone.port, timeout_s=0.5)
    with pytest.raises(ConnectFailed, match=f"127.0.0.1:{target.port}: Connection refused"):
        await ModbusLink(target).open()


async def test_one_request_at_a_time(link: ModbusLink, server: ModbusServer) -> None:
    """Answers that take a while: twenty callers at once, and each gets his own register."""
    server.faults.late_s[50] = 0.05
    answers = await asyncio.gather(*(link.read(HOLDING, 1, address, 1) for address in range(40, 60)))
    assert answers == [[address] for address in range(40, 60)]


async def test_a_cancelled_request_leaves_no_answer_behind(link: ModbusLink, server: ModbusServer) -> None:
    server.faults.late_s[5] = 0.1
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await link.read(HOLDING, 1, 5, 1)
    server.faults.late_s.clear()
    assert await link.read(HOLDING, 1, 6, 1) == [6]


async def test_a_session_closes_the_connection_when_the_last_one_ends(link: ModbusLink) -> None:
    async with link.session():
        async with link.session():
            await link.read(HOLDING, 1, 6, 1)
        assert link.is_open
    assert not link.is_open


async def test_the_pause_is_kept_between_requests(server: ModbusServer, framing: Framing) -> None:
    link = ModbusLink(ModbusTarget(server.host, server.port, framing, timeout_s=0.5, pause_s=0.05))
    before = time.monotonic()
    for _ in range(3):
        await link.read(HOLDING, 1, 6, 1)
    assert time.monotonic() - before >= 0.1
    link.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    if which("openssl") is None:
        pytest.skip("openssl is not installed: TLS not tested")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = (
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {key} -out {certificate} "
        "-days 2 -subj /CN=meter -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    return certificate, key


@pytest.mark.parametrize("framing", ["tcp", "rtu"])
async def test_tls_also_in_single_bytes(certificate: tuple[Path, Path], framing: Framing) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    faults = Faults(byte_pause_s=0.002)
    async with ModbusServer({1: NumberBank()}, framing=framing, tls=context, faults=faults) as server:
        link = ModbusLink(ModbusTarget(server.host, server.port, framing, timeout_s=2.0, tls=trusting))
        assert await link.read(HOLDING, 1, 6, 3) == [6, 7, 8]
        link.close()


async def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: tuple[Path, Path]) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    async with ModbusServer({1: NumberBank()}, tls=context) as server:
        link = ModbusLink(ModbusTarget(server.host, server.port, tls=ssl.create_default_context()))
        with pytest.raises(ConnectFailed, match="certificate verify failed"):
            await link.open()
