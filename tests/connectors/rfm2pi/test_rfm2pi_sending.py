"""What goes out on the radio link: packets to nodes, the time of day, the repeater."""

from __future__ import annotations

import asyncio
import logging
import socket
from pathlib import Path

import pytest

from connectors.rfm2pi.board import Pace
from links.serial_pty import PseudoTerminal
from tests.connectors.rfm2pi.conftest import connector_for, running, until
from tests.support.ports import free_port
from wattbus.errors import CommandRejected, LinkDown
from wattbus.testing.clock import VirtualClock
from wattbus.testing.link import WITHIN_S, entered

GLCD = {  # github.com/openenergymonitor/emonhub/pull/68
    "20": {
        "nodename": "emonglcd",
        "tx": {
            "names": "hour,minute,second,utilityW,solarW,utilityKwh,solarKwh",
            "datacodes": "b,b,b,h,h,H,H",
            "units": "h,min,s,W,W,kwh,kwh",
        },
    }
}


# -- packets -----------------------------------------------------------------------------------------------------------


async def test_bytes_and_values_are_sent_to_nodes(tmp_path: Path) -> None:
    async with running(tmp_path / "radio", RFM2PI_NODES=GLCD) as run:
        await run.ready()
        await run.connector.write("emonglcd__transmit", "1,2,255")
        with pytest.raises(CommandRejected, match="the other values in a packet to emonglcd are not known"):
            await run.connector.write("emonglcd__solarW", 500)
        await run.connector.write("emonglcd__send", "14,38,34,700,138,2700,829")
        await run.connector.write("emonglcd__solarW", 500)
        time = bytes([14, 38, 34])
        assert run.board.sent == [
            (20, bytes([1, 2, 255])),
            (20, time + bytes([188, 2, 138, 0, 140, 10, 61, 3])),  # 700, 138, 2700, 829
            (20, time + bytes([188, 2, 244, 1, 140, 10, 61, 3])),
        ]


async def test_defaults_make_single_values_sendable(tmp_path: Path) -> None:
    relay = {"25": {"name": "relay", "tx": {"datacodes": "B,B", "names": "a,b", "defaults": "0,1"}}}
    async with running(tmp_path / "radio", RFM2PI_NODES=relay) as run:
        await run.ready()
        await run.connector.write("relay__a", True)
        await run.connector.write("relay__b", 0)
        assert run.board.sent == [(25, b"\x01\x01"), (25, b"\x01\x00")]


async def test_what_is_sent_keeps_its_limits(tmp_path: Path) -> None:
    tx = {"datacodes": "h,h", "names": "flow,pump", "defaults": "30,0", "limits": {"flow": [20, 55]}}
    async with running(tmp_path / "radio", RFM2PI_NODES={"25": {"name": "boiler", "tx": tx}}) as run:
        await run.ready()
        actuators = {datapoint.key: datapoint for datapoint in run.connector.datapoints()}
        assert (actuators["boiler__flow"].min_value, actuators["boiler__flow"].max_value) == (20, 55)
        with pytest.raises(CommandRejected, match="flow: 56 is beyond its limits"):
            await run.connector.write("boiler__send", "56,1")
        await run.connector.write("boiler__send", "55,1")
        assert run.board.sent == [(25, b"\x37\x00\x01\x00")]


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("emonglcd__transmit", "1,2,256", "no bytes"),
        ("emonglcd__transmit", "", "no bytes"),
        ("emonglcd__transmit", "1;2", "no bytes"),
        ("emonglcd__transmit", ",".join(["1"] * 67), "1 to 66 bytes"),
        ("emonglcd__send", "1,2", "2 values; this node takes 7"),
        ("emonglcd__send", "1,2,3,4,5,6,70000", "solarKwh: 70000 does not fit into data code H"),
        ("emonglcd__send", "1,2,3,4,5,6,nan", "solarKwh: nan does not fit"),
        ("emonglcd__send", "a", "no values"),
        ("emonglcd__power", 1, "takes no power"),
        ("nobody__transmit", "1", "there is no actuator"),
        ("board__color", 1, "no setting color"),
    ],
)
async def test_wrong_commands_do_not_reach_the_board(tmp_path: Path, key: str, value: object, reason: str) -> None:
    async with running(tmp_path / "radio", RFM2PI_NODES=GLCD) as run:
        await run.ready()
        with pytest.raises(CommandRejected, match=reason):
            await run.connector.write(key, value)  # type: ignore[arg-type]
        assert run.board.sent == []


async def test_a_packet_that_the_board_does_not_confirm_has_failed(tmp_path: Path) -> None:
    async with running(tmp_path / "radio", RFM2PI_NODES=GLCD) as run:
        await run.ready()
        run.board.silent = True
        with pytest.raises(LinkDown, match="has not said within"):
            await run.connector.write("emonglcd__transmit", "1,2,3")


async def test_the_line_breaks_while_a_command_waits(tmp_path: Path) -> None:
    async with running(tmp_path / "radio", RFM2PI_NODES=GLCD) as run:
        await run.ready()
        run.board.silent = True
        waiting = asyncio.create_task(run.connector.write("emonglcd__transmit", "1,2,3"))
        await until(lambda: bool(run.board.sent))
        run.terminal.close()
        with pytest.raises(LinkDown):
            await waiting


async def test_the_line_breaks_before_the_board_has_answered_at_all(tmp_path: Path) -> None:
    """What is sent waits for the board's first answer: digits would lock the newer firmware."""
    slow = Pace(answer_s=60.0)
    async with running(tmp_path / "radio", "mute", pace=slow, RFM2PI_NODES=GLCD) as run:
        waiting = asyncio.create_task(run.connector.write("emonglcd__transmit", "1,2,3"))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        run.terminal.close()
        with pytest.raises(LinkDown, match="is closed"):
            await waiting


async def test_commands_wait_for_each_other(tmp_path: Path) -> None:
    async with running(tmp_path / "radio", RFM2PI_NODES=GLCD) as run:
        await run.ready()
        async with asyncio.TaskGroup() as tasks:
            for number in range(10):
                tasks.create_task(run.connector.write("emonglcd__transmit", f"{number},{number}"))
        assert run.board.sent == [(20, bytes([number, number])) for number in range(10)]


# -- the time ----------------------------------------------------------------------------------------------------------


async def test_displays_are_told_the_time(tmp_path: Path) -> None:
    clock = VirtualClock()  # 2023-11-14 22:13:20 UTC
    async with running(
        tmp_path / "radio", clock=clock, RFM2PI_TIME_SECONDS="60", RFM2PI_TIME_ZONE="Europe/Berlin"
    ) as run:
        await until(lambda: len(run.board.sent) == 1)
        await asyncio.sleep(0.05)
        await clock.advance(60)
        await until(lambda: len(run.board.sent) == 2)
        assert run.board.sent == [(0, bytes([0, 23, 13, 0])), (0, bytes([0, 23, 14, 0]))]


async def test_the_time_is_written_as_oemgateway_writes_it(tmp_path: Path) -> None:
    variables = {"sendtimeinterval": "60", "RFM2PI_TIME_ZONE": "UTC"}
    async with PseudoTerminal(tmp_path / "radio") as terminal:
        async with entered(connector_for(terminal.path, VirtualClock(), **variables)):
            heard = b""
            async with asyncio.timeout(WITHIN_S):
                while b"s" not in heard:
                    heard += await terminal.read()
        assert heard.replace(b"v", b"") == b"00,22,13,00,s"


async def test_a_board_that_does_not_send_the_time_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = VirtualClock()
    with caplog.at_level(logging.WARNING):
        async with running(tmp_path / "radio", "letters", clock, RFM2PI_TIME_SECONDS="1") as run:
            await run.known()
            for _ in range(10):
                await clock.advance(1)
    told = [record.getMessage() for record in caplog.records if "the time cannot be sent" in record.getMessage()]
    assert told == ["the time cannot be sent to displays: the firmware of this board cannot send packets"]


# -- the repeater ------------------------------------------------------------------------------------------------------


async def test_the_repeater_sends_what_a_client_of_oemgateway_says(tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path / "radio", PORT_NB=str(port)) as run:
        await run.ready()
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"1,2,3,20s\r\n")
        writer.close()  # at once, as OemGateway's example client does
        await until(lambda: run.board.sent == [(20, b"\x01\x02\x03")])
        with socket.socket() as old_client:
            await asyncio.get_running_loop().run_in_executor(None, old_client.connect, ("127.0.0.1", port))
            old_client.send(b"9,s\r\n")
        await until(lambda: run.board.sent[-1] == (0, b"\x09"))


async def test_the_repeater_of_a_port_that_somebody_else_has(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with running(tmp_path / "radio", RFM2PI_REPEATER_PORT=str(port)) as run:
            await run.link.until(lambda link: "repeater" in link.away)
            assert f"cannot listen on 127.0.0.1:{port}" in run.link.away["repeater"]
            run.terminal.write(b"OK 12 7 0 (-70)\r\n")
            await run.link.until(lambda link: "12__1" in link.values)
