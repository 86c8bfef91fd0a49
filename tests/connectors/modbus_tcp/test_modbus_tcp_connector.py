"""The connector on a real socket, against a server that misbehaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from connectors.modbus_tcp.connector import create
from links.modbus_frames import Framing
from links.modbus_server import ModbusServer, NumberBank, Refused, Table
from tests.connectors.modbus_tcp.conftest import RecordingLink, running, settings_for
from wattbus.connector import Datapoint
from wattbus.errors import CommandRejected, ConfigError, LinkDown, LinkSilent
from wattbus.testing.waiting import PATIENCE_S


def holding(address: int, unit: int = 1, datatypes: str = ">H", **more: Any) -> dict[str, Any]:
    return {"address": address, "count": 1, "unit": unit, "datatypes": datatypes, **more}


ONE = {"read_holding_registers": [holding(10)]}
TWO_UNITS = {"read_holding_registers": [holding(10, 1), holding(10, 2)]}


@pytest.fixture
async def server() -> AsyncIterator[ModbusServer]:
    async with ModbusServer({1: NumberBank(), 2: NumberBank()}) as server:
        yield server


def test_every_datapoint_is_known_from_the_settings() -> None:
    connector = create(
        settings_for(
            {
                "read_coils": [{"address": 3, "count": 2, "unit": 7, "descriptions": {"4": "pump"}}],
                "read_input_registers": [
                    {"address": 1, "count": 3, "unit": 1, "datatypes": ">hf", "units": {"2": "Cel"}},
                    {"address": 9, "count": 1, "unit": 1, "datatypes": ">2s"},
                ],
                "write_coil": [{"address": 3, "unit": 7, "example_value": "1"}],
                "write_coils": [{"address": 3, "unit": 7, "count": 2, "example_value": "1 0"}],
                "write_register": [
                    {"address": 1, "unit": 1, "datatypes": "<e", "example_value": "22.0", "min_value": 15},
                    {"address": 2, "unit": 1, "datatypes": ">h", "scaling_factor": 0.1, "unit_of_measure": "Cel"},
                ],
                "write_registers": [{"address": 5, "unit": 1, "datatypes": ">hH", "example_value": "1 2"}],
            }
        )
    )
    assert list(connector.datapoints()) == [
        Datapoint("read_coils__7__3", data_format="bool", expected_interval_s=0.05, device="7"),
        Datapoint("read_coils__7__4", data_format="bool", description="pump", expected_interval_s=0.05, device="7"),
        Datapoint("read_input_registers__1__1", data_format="generic_numeric", expected_interval_s=0.05, device="1"),
        Datapoint(
            "read_input_registers__1__2",
            data_format="generic_numeric",
            unit="Cel",
            expected_interval_s=0.05,
            device="1",
        ),
        Datapoint("read_input_registers__1__9", data_format="generic_text", expected_interval_s=0.05, device="1"),
        Datapoint("write_coil__7__3", "actuator", "bool", example_value=True, device="7"),
        Datapoint("write_coils__7__3", "actuator", "generic_text", example_value="1 0", device="7"),
        Datapoint("write_register__1__1", "actuator", "generic_numeric", min_value=15, example_value=22.0, device="1"),
        Datapoint(
            "write_register__1__2",
            "actuator",
            "generic_numeric",
            unit="Cel",
            min_value=pytest.approx(-3276.8),  # type: ignore[arg-type]
            max_value=pytest.approx(3276.7),  # type: ignore[arg-type]
            device="1",
        ),
        Datapoint("write_registers__1__5", "actuator", "generic_text", example_value="1 2", device="1"),
    ]


async def test_a_poll_is_one_raw_message_per_unit_whatever_was_merged(server: ModbusServer) -> None:
    config = {
        "read_holding_registers": [holding(10), {"address": 11, "count": 2, "unit": 1, "datatypes": ">I"}],
        "read_coils": [{"address": 3, "count": 2, "unit": 2}],
    }
    async with running(server, config) as run:
        await run.link.until(lambda link: len(link.of_unit(1)) > 1 and len(link.of_unit(2)) > 1)
    assert run.link.of_unit(1)[0] == {"unit": 1, "read_holding_registers": {"10": [10], "11": [11, 12]}}
    assert run.link.of_unit(2)[0] == {"unit": 2, "read_coils": {"3": [True, False]}}
    assert sorted(run.link.units) == [("1", True, ""), ("2", True, "")]
    (reading,) = run.connector.decode(run.link.of_unit(1)[0])
    assert reading.device == "1"
    assert reading.values == {"read_holding_registers__1__10": 10, "read_holding_registers__1__11": 11 * 65536 + 12}
    assert {(request.unit, request.address, request.count) for request in server.requests} == {(1, 10, 3), (2, 3, 2)}
    assert server.connections == 1


async def test_without_merging_each_range_is_asked_for_alone(server: ModbusServer) -> None:
    config = {"read_holding_registers": [holding(10), holding(11)]}
    async with running(server, config, MODBUS_MERGE_REQUESTS="FALSE") as run:
        await run.link.until(lambda link: bool(link.raw))
    assert [request.count for request in server.requests][:2] == [1, 1]


async def test_a_failing_range_is_repeated_reported_once_and_skipped_while_the_others_go_on(
    server: ModbusServer,
) -> None:
    server.faults.exceptions[20] = 2
    config = {"read_holding_registers": [holding(10), holding(20)]}
    async with running(server, config, POLL_SECONDS="0.1", MODBUS_MAX_RETRIES="3") as run:
        await run.link.until(lambda link: len(link.raw) == 4)
        asked = [request.address for request in server.requests]
        server.faults.exceptions.clear()
        await run.link.until(lambda link: "20" in link.raw[-1]["read_holding_registers"])
    # Three attempts in the first poll, one in each that follows; the good range keeps its pace.
    assert asked[:6] == [10, 20, 20, 20, 10, 20]
    assert all(raw["read_holding_registers"]["10"] == [10] for raw in run.link.raw)
    assert run.link.units == [
        ("1", True, ""),
        ("1 read_holding_registers 20", False, "read_holding_registers 20 of unit 1: illegal data address (2)"),
        ("1 read_holding_registers 20", True, ""),
    ]


async def test_a_range_that_recovers_at_the_second_attempt_is_emitted_alone(server: ModbusServer) -> None:
    server.faults.exceptions[20] = 6
    config = {"read_holding_registers": [holding(10), holding(20)]}
    async with running(server, config, POLL_SECONDS="4", MODBUS_RETRY_WAIT_SECONDS="0.05") as run:
        await run.link.until(lambda link: bool(link.raw))
        server.faults.exceptions.clear()
        await run.link.until(lambda link: len(link.raw) == 2)
    assert run.link.raw == [
        {"unit": 1, "read_holding_registers": {"10": [10]}},
        {"unit": 1, "read_holding_registers": {"20": [20]}},
    ]


async def test_a_dead_unit_is_told_and_does_not_take_the_others_down(server: ModbusServer) -> None:
    """telegraf#11782 and its kin: one dead device behind a gateway, and all data was thrown away."""
    server.faults.silent_units.add(2)
    async with running(server, TWO_UNITS) as run:
        await run.link.until(lambda link: any(not up for _, up, _ in link.units))
        clock = asyncio.get_running_loop().time  # does not pass while the processor is somebody else's
        polls, since = len(run.link.of_unit(1)), clock()
        await run.link.until(lambda link: len(link.of_unit(1)) == polls + 10)
        assert clock() - since < 1.5
        name, up, reason = run.link.units[-1]
        assert (name, up) == ("2", False)
        assert reason == "read_holding_registers 10 of unit 2: no answer within 0.15 s"
        assert not run.task.done()
    assert server.connections == 1


async def test_a_unit_that_comes_back_is_told(server: ModbusServer) -> None:
    """The breaker's own pauses are wattbus.retry's; here it is made to forget them."""
    server.faults.silent_units.add(2)
    async with running(server, TWO_UNITS) as run:
        await run.link.until(lambda link: ("2", False) in [unit[:2] for unit in link.units])
        assert not run.link.of_unit(2)
        server.faults.silent_units.clear()
        for poller in run.connector._pollers:
            poller.breaker._retry_at = 0.0
        await run.link.until(lambda link: bool(link.of_unit(2)))
        assert run.link.units[-1] == ("2", True, "")


async def test_a_gateway_that_speaks_for_a_dead_unit_makes_it_away(server: ModbusServer) -> None:
    del server.banks[2]
    async with running(server, TWO_UNITS) as run:
        await run.link.until(lambda link: any(not up for _, up, _ in link.units))
    assert run.link.units[-1][2].endswith("gateway target device failed to respond (11)")


async def test_all_units_silent_is_a_link_that_is_down(server: ModbusServer) -> None:
    """Half-open: the connection stands, and nobody is there."""
    async with running(server, TWO_UNITS) as run:
        await run.link.until(lambda link: len(link.raw) > 2)
        server.faults.silent = True
        (error,) = await run.ended()
    assert isinstance(error, LinkDown)
    assert "no unit answers" in str(error)


async def test_an_accepted_connection_is_no_answer_and_a_refusal_is_one(server: ModbusServer) -> None:
    server.faults.silent = True
    async with running(server, ONE) as run:
        assert "no unit answers" in str((await run.ended())[0])
        assert server.connections
        assert not run.link.is_connected
        assert run.link.units == [("1", False, "read_holding_registers 10 of unit 1: no answer within 0.15 s")]
    server.faults.silent = False
    server.faults.exceptions = dict.fromkeys(range(100), 2)
    async with running(server, ONE) as run:
        (error,) = await run.ended()
    assert isinstance(error, LinkSilent)
    assert "no value can be read: read_holding_registers 10 of unit 1: illegal data address (2)" in str(error)
    assert not run.link.is_connected


@pytest.mark.parametrize("code", range(1, 12))
async def test_a_device_that_refuses_everything_gives_its_reason_at_once(server: ModbusServer, code: int) -> None:
    server.faults.exceptions = dict.fromkeys(range(100), code)
    config = {
        "read_holding_registers": [holding(10), holding(20)],
        "read_coils": [{"address": 3, "count": 4, "unit": 1}],
    }
    began = time.monotonic()
    async with running(server, config, POLL_SECONDS="60", MODBUS_RETRY_WAIT_SECONDS="0.05") as run:
        (error,) = await run.ended()
    assert isinstance(error, LinkDown)
    assert f"({code})" in str(error)
    assert "read_holding_registers 10 of unit 1" in str(error) or "read_coils 3…6 of unit 1" in str(error)
    assert time.monotonic() - began < 30  # the next poll is due after 60 s
    assert run.link.raw == []


@pytest.mark.parametrize("fault", ["short", "garbage", "wrong_function", "wrong_unit", "ignored", "hang_up"])
async def test_a_device_whose_answers_are_all_wrong_gives_its_reason(server: ModbusServer, fault: str) -> None:
    getattr(server.faults, fault).update(range(100))
    async with running(server, ONE) as run:
        (error,) = await run.ended()
    assert isinstance(error, LinkDown)
    assert "10 of unit 1: " in str(error) or "Connection" in str(error)
    assert not run.link.is_connected


@pytest.mark.parametrize(("served", "asked"), [("tcp", "rtu"), ("rtu", "tcp")])
async def test_the_wrong_framing_gives_its_reason(served: Framing, asked: str) -> None:
    async with (
        ModbusServer({1: NumberBank()}, framing=served) as server,
        running(server, ONE, MODBUS_FRAMING=asked) as run,
    ):
        (error,) = await run.ended()
    assert isinstance(error, LinkDown)
    assert "read_holding_registers 10 of unit 1" in str(error)
    assert not run.link.is_connected


async def test_a_unit_that_gives_no_value_is_away_while_another_works(server: ModbusServer) -> None:
    class Refusing(NumberBank):
        def read(self, table: Table, address: int, count: int) -> Sequence[int]:
            raise Refused(2)

    server.banks[2] = Refusing()
    async with running(server, TWO_UNITS) as run:
        await run.link.until(lambda link: len(link.units) == 2 and len(link.raw) > 3)
        server.banks[2] = NumberBank()
        await run.link.until(lambda link: len(link.units) == 3)
    assert sorted(run.link.units[:2]) == [
        ("1", True, ""),
        ("2", False, "read_holding_registers 10 of unit 2: illegal data address (2)"),
    ]
    assert run.link.units[2] == ("2", True, "")


async def test_what_a_poll_has_learnt_outlives_the_connection(server: ModbusServer) -> None:
    """Two values of one entry; the second is refused."""
    server.faults.exceptions[11] = 2
    config = {"read_holding_registers": [{"address": 10, "count": 2, "unit": 1, "datatypes": ">HH"}]}
    async with running(server, config) as run:
        await run.link.until(lambda link: len(link.raw) > 2)
        await server.hang_up()
        polls = len(run.link.raw)
        await run.link.until(lambda link: len(link.raw) > polls + 1)
        (reading,) = run.connector.decode(run.link.raw[-1])
    assert reading.values == {"read_holding_registers__1__10": 10}
    assert ("1 read_holding_registers 11", False) in [(name, up) for name, up, _ in run.link.units]


async def test_a_command_comes_before_the_polls_that_wait(server: ModbusServer) -> None:
    server.faults.late_s = dict.fromkeys(range(200), 0.03)
    config = {
        "read_holding_registers": [holding(10, unit) for unit in range(1, 41)],
        "write_register": [{"address": 500, "unit": 1, "datatypes": ">H"}],
    }
    server.banks = {unit: NumberBank() for unit in range(1, 41)}
    async with running(server, config) as run:
        await run.link.until(lambda link: len(link.raw) > 2)
        asked = len(server.requests)
        await run.connector.write("write_register__1__500", 5)
        assert len(server.requests) - asked <= 3


async def test_a_half_open_connection_is_made_anew_before_anything_is_called_down(server: ModbusServer) -> None:
    async with running(server, ONE, MODBUS_MAX_RETRIES="4") as run:
        await run.link.until(lambda link: len(link.raw) > 1)
        server.faults.silent = True
        seen = server.connections
        async with asyncio.timeout(PATIENCE_S):
            while len(server.requests) and server.connections == seen:
                await asyncio.sleep(0.01)
        server.faults.silent = False
        polls = len(run.link.raw)
        await run.link.until(lambda link: len(link.raw) > polls)
        assert not run.task.done()
        assert all(up for _, up, _ in run.link.units)


async def test_a_server_that_goes_away_is_a_link_that_is_down_and_run_can_be_entered_again() -> None:
    server = ModbusServer({1: NumberBank()})
    await server.start()
    async with running(server, ONE) as run:
        await run.link.until(lambda link: bool(link.raw))
        await server.close()
        (error,) = await run.ended()
        assert isinstance(error, LinkDown)
        assert "Connection refused" in str(error)

        async with ModbusServer({1: NumberBank()}) as back:
            await back.close()
            await back.start(port=server.port)
            link = RecordingLink()
            again = asyncio.create_task(run.connector.run(link))
            await link.until(lambda link: bool(link.raw))
            again.cancel()
            await asyncio.wait([again])


async def test_a_connection_that_breaks_between_two_polls_loses_no_poll(server: ModbusServer) -> None:
    async with running(server, ONE, MODBUS_MAX_RETRIES="1") as run:
        for polls in range(2, 6):
            await run.link.until(lambda link, polls=polls: len(link.raw) >= polls)  # type: ignore[misc]
            await server.hang_up()
        assert not run.task.done()
        assert all(up for _, up, _ in run.link.units)
    assert server.connections >= 4


@pytest.mark.parametrize("disconnect", ["FALSE", "TRUE"])
async def test_commands_work_before_the_first_poll_and_without_a_connection(
    server: ModbusServer, disconnect: str
) -> None:
    config = {
        **ONE,
        "write_coil": [{"address": 3, "unit": 1}],
        "write_coils": [{"address": 4, "unit": 1, "count": 3}],
        "write_register": [{"address": 5, "unit": 1, "datatypes": "<e"}],
        "write_registers": [{"address": 6, "unit": 1, "datatypes": ">f"}],
    }
    connector = create(settings_for(config, server.port, MODBUS_DISCONNECT_BETWEEN_POLLS=disconnect))
    await connector.write("write_coil__1__3", 1)
    await connector.write("write_coils__1__4", "1 0 1")
    await connector.write("write_register__1__5", 21.0)
    await connector.write("write_registers__1__6", 50.24)
    assert [(one.function, one.address, one.values) for one in server.written()] == [
        (5, 3, (1,)),
        (15, 4, (1, 0, 1)),
        (6, 5, (0x404D,)),
        (16, 6, (0x4248, 0xF5C3)),
    ]
    assert server.connections == (4 if disconnect == "TRUE" else 1)
    connector._modbus.close()


async def test_disconnecting_between_polls_frees_the_device_for_others(server: ModbusServer) -> None:
    async with running(server, TWO_UNITS, MODBUS_DISCONNECT_BETWEEN_POLLS="TRUE") as run:
        await run.link.until(lambda link: len(link.of_unit(1)) == 3 and len(link.of_unit(2)) >= 2)
    # Both units share the connection of a poll.
    assert 2 <= server.connections <= 4


async def test_a_refused_command_says_why_in_the_standards_words(server: ModbusServer) -> None:
    server.faults.exceptions[5] = 3
    server.faults.ignored.add(6)
    server.faults.exceptions[7] = 11
    config = {"write_register": [{"address": address, "unit": 1, "datatypes": ">H"} for address in (5, 6, 7)]}
    connector = create(settings_for(config, server.port))
    with pytest.raises(CommandRejected, match=r"^illegal data value \(3\)$"):
        await connector.write("write_register__1__5", 1)
    with pytest.raises(LinkDown, match="no answer within"):
        await connector.write("write_register__1__6", 1)
    with pytest.raises(LinkDown, match="gateway target device failed to respond"):
        await connector.write("write_register__1__7", 1)
    with pytest.raises(CommandRejected, match="takes 0 to 65535"):
        await connector.write("write_register__1__5", 70000)
    with pytest.raises(CommandRejected, match="not in MODBUS_CONFIG"):
        await connector.write("write_register__1__99", 1)
    await server.close()
    with pytest.raises(LinkDown):
        await connector.write("write_register__1__5", 1)


async def test_a_connector_that_only_writes_keeps_running(server: ModbusServer) -> None:
    config = {"write_register": [{"address": 5, "unit": 1, "datatypes": ">H"}]}
    async with running(server, config) as run:
        while not server.connections:
            await asyncio.sleep(0.005)
        await run.connector.write("write_register__1__5", 1)
        assert not run.task.done()
        assert run.link.is_connected, "no answer is due before the first command"


async def test_a_device_that_is_not_there_is_link_down() -> None:
    async with ModbusServer({}) as server:
        pass
    async with running(server, ONE) as run:
        (error,) = await run.ended()
    assert isinstance(error, LinkDown)


@pytest.mark.parametrize(
    ("fault", "value"),
    [
        ("wrong_transaction", {10}),
        ("wrong_unit", {10}),
        ("wrong_function", {10}),
        ("short", {10}),
        ("garbage", {10}),
        ("hang_up", {10}),
        ("ignored", {10}),
        ("late_s", {10: 0.2}),
    ],
)
@pytest.mark.parametrize("framing", ["tcp", "rtu"])
async def test_no_misbehaviour_of_one_register_harms_another(framing: Any, fault: str, value: Any) -> None:
    async with ModbusServer({1: NumberBank()}, framing=framing) as server:
        setattr(server.faults, fault, value)
        config = {"read_holding_registers": [holding(10), holding(20), holding(30)]}
        async with running(server, config, MODBUS_FRAMING=framing, MODBUS_MAX_RETRIES="2") as run:
            await run.link.until(lambda link: len([raw for raw in link.raw if len(raw) > 1]) >= 3)
            assert not run.task.done()
    for raw in run.link.raw:
        registers = raw["read_holding_registers"]
        assert all(words == [int(address)] for address, words in registers.items())
    complete = [raw for raw in run.link.raw if {"20", "30"} <= set(raw["read_holding_registers"])]
    assert len(complete) >= 2


async def test_rtu_framing_and_poll_break_are_settings() -> None:
    async with (
        ModbusServer({1: NumberBank()}, framing="rtu") as server,
        running(server, ONE, MODBUS_FRAMING="rtu", MODBUS_POLL_BREAK="0.001") as run,
    ):
        await run.link.until(lambda link: len(link.raw) > 2)
    assert run.link.raw[0] == {"unit": 1, "read_holding_registers": {"10": [10]}}


def test_tls_files_that_cannot_be_used_are_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"MODBUS_CA_FILE: cannot use /nowhere\.pem"):
        create(settings_for(ONE, MODBUS_TLS="TRUE", MODBUS_CA_FILE="/nowhere.pem"))
