"""The connector at a pseudo-terminal: frames, nodes that fall silent, and a line that misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from connectors.rfm2pi.presence import LOOK_EVERY_S
from links.serial_pty import PseudoTerminal
from tests.connectors.rfm2pi.conftest import board_on, connector_for, running, until
from wattbus.connector import Datapoint
from wattbus.errors import LinkDown
from wattbus.jsontext import JsonValue
from wattbus.testing.clock import VirtualClock
from wattbus.testing.link import RecordingLink, entered
from wattbus.testing.waiting import PATIENCE_S

EMONTX = {"8": {"name": "emontx3", "decoder": "emontx3"}}
EMONTX_FRAME = b"OK 8 116 9 0 0 116 0 0 0 8 50 184 11 184 11 184 11 184 11 184 11 184 11 1 0 0 0 (-63)\r\n"


# -- hearing -----------------------------------------------------------------------------------------------------------


async def test_frames_become_values(tmp_path: Path) -> None:
    async with running(tmp_path / "radio", RFM2PI_NODES=EMONTX) as run:
        run.terminal.write(EMONTX_FRAME)
        await run.link.until(lambda link: "emontx3__rssi" in link.values)
        assert run.link.values["emontx3__power1"] == 2420
        assert run.link.values["emontx3__vrms"] == 128.08
        assert EMONTX_FRAME.decode().strip() in run.link.raw


async def test_datapoints_of_described_nodes_are_known_beforehand() -> None:
    known = {
        (datapoint.type, datapoint.key): datapoint for datapoint in connector_for(RFM2PI_NODES=EMONTX).datapoints()
    }
    assert known["sensor", "emontx3__vrms"].unit == "V"
    assert known["sensor", "emontx3__rssi"].device == "emontx3"
    assert known["actuator", "board__frequency"].allowed_values == (433, 434, 868, 869, 915)
    assert ("actuator", "emontx3__transmit") in known


async def test_an_unknown_node_is_announced_with_raw_values(tmp_path: Path) -> None:
    async with running(tmp_path / "radio") as run:
        run.terminal.write(b"OK 12 255 255 2 0 (-70)\r\n")
        await run.link.until(lambda link: "12__rssi" in link.values)
        assert (run.link.values["12__1"], run.link.values["12__2"]) == (-1, 2)
        assert run.link.announced["12__2"] == Datapoint(
            "12__2",
            data_format="generic_numeric",
            description="value 2 of node 12; RFM2PI_NODES does not describe it",
            device="12",
        )


async def test_a_frame_that_does_not_fit_is_kept_raw_and_its_node_is_seen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path / "radio", RFM2PI_NODES=EMONTX) as run:
        for _ in range(5):
            run.terminal.write(b"OK 12 1 2 3 (-70)\r\nOK 8 1 2 (-63)\r\n")
        await run.link.until(lambda link: len(link.faults) == 10)
        assert "is heard, but cannot be read: node 12: 3 bytes" in run.link.announced["12__rssi"].description
        assert run.link.away == {"emontx3": "node 8 (emontx3): 2 bytes, but its decoder takes 26"}
        assert sum("cannot be read" in record.getMessage() for record in caplog.records) == 2, "once per node"
        run.terminal.write(EMONTX_FRAME)
        await run.link.until(lambda link: not link.away)


async def test_a_node_that_becomes_readable_is_described_anew(tmp_path: Path) -> None:
    async with running(tmp_path / "radio", RFM2PI_NODES=EMONTX) as run:
        run.terminal.write(b"OK 120 1 2 3 (-70)\r\n" + b"OK 12 1 2 3 (-70)\r\nOK 8 1 2 (-63)\r\n" * 2)
        await run.link.until(lambda link: {"12__rssi", "emontx3__rssi"} <= link.announced.keys())
        run.terminal.write(b"OK 12 1 0 (-70)\r\nOK 12 1 0 (-70)\r\n" + EMONTX_FRAME)
        await run.link.until(lambda link: {"12__1", "emontx3__vrms"} <= link.announced.keys())
        assert run.link.announced["12__rssi"].description == (
            "signal strength of node 12; RFM2PI_NODES does not describe it"
        )
        assert run.link.announced["emontx3__rssi"].description == "signal strength of node 8"
        assert "120__rssi" not in run.link.announced, "once may be a number that was damaged on the line"


async def test_only_described_nodes_when_asked(tmp_path: Path) -> None:
    async with running(tmp_path / "radio", RFM2PI_NODES=EMONTX, RFM2PI_ONLY_DESCRIBED_NODES="TRUE") as run:
        run.terminal.write(b"OK 12 1 0 (-70)\r\nOK 13 1 2 3 (-70)\r\n" + EMONTX_FRAME)
        await run.link.until(lambda link: "emontx3__rssi" in link.values)
        assert not any("12" in str(key) or "13" in str(key) for key in [*run.link.values, *run.link.announced])


async def test_noise_cut_lines_and_wrong_bytes_cost_nothing_else(tmp_path: Path) -> None:
    async with running(tmp_path / "radio", RFM2PI_NODES=EMONTX) as run:
        run.terminal.write(EMONTX_FRAME)
        run.terminal.write(b"\xff\xfe\x00\x80garbage\r\n")  # noise
        run.terminal.write(b"OK 8 116 9 0 0 11OK 12 1 0 (-70)\r\n")  # a line that was cut short
        run.terminal.write(b" 9 0 0 116 0 (-63)\r\n")  # the rest of one
        run.terminal.write(b"OK 12 999 0 (-70)\r\n")  # wrong bytes
        run.terminal.write(b"x" * 2000 + b"\r\n")  # no line end for long
        run.terminal.write(b"? 33 251 14\r\n" * 3)
        run.terminal.write(b"OK 12 7 0 (-70)\r\n")
        await run.link.until(lambda link: "12__1" in link.values)
        assert run.link.values["12__1"] == 7
        assert not any(key.startswith("9__") for key in run.link.values), "the rest of a line is not a node"
        assert len(run.link.faults) == 4
        assert {"cut": " 9 0 0 116 0 (-63)", "because": "its beginning is missing"} in run.link.raw


async def test_counts_are_told(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running(tmp_path / "radio", clock=clock) as run:
        run.terminal.write(b"? 33 251 14\r\n? 1 2\r\ngarbage\r\nOK 12 7 0 (-70)\r\n")
        await run.link.until(lambda link: "12__1" in link.values)
        await clock.advance(61)
        await run.link.until(lambda link: link.values.get("board__bad_frames") == 2)
        assert run.link.values["board__unknown_lines"] == 1


async def test_old_firmware_without_ok_and_rssi(tmp_path: Path) -> None:
    async with running(tmp_path / "radio", "rfm12pi") as run:
        await run.ready()
        run.board.receives(10, bytes([55, 6, 75, 253]))
        await run.link.until(lambda link: "10__1" in link.values)
        assert (run.link.values["10__1"], run.link.values["10__2"]) == (1591, -693)


async def test_the_first_line_without_ok_may_be_a_rest(tmp_path: Path) -> None:
    async with running(tmp_path / "radio", "mute") as run:
        await until(lambda: run.connector._board is not None)
        run.terminal.write(b" 8 0 75 253\r\n 10 1 0\r\n")
        await run.link.until(lambda link: "10__1" in link.values)
        assert not any(key.startswith("8__") for key in run.link.values)
        assert {"cut": " 8 0 75 253", "because": "its beginning is missing"} in run.link.raw


async def test_plain_lines(tmp_path: Path) -> None:
    nodes = {"98": {"name": "boiler", "names": "flow,return", "units": "C,C"}}
    async with running(tmp_path / "radio", RFM2PI_PLAIN="TRUE", RFM2PI_NODES=nodes) as run:
        async with asyncio.timeout(PATIENCE_S):
            while "1__1" not in run.link.values:  # nothing shows from outside that the line is open
                run.terminal.write(b"1 0\r\n")
                await asyncio.sleep(0.02)
        run.link.values.clear()
        run.terminal.write(b"98 3.8 1.6\r\n7 21.5 -3\r\nnonsense\r\n")
        await run.link.until(lambda link: bool(link.faults))
        assert run.link.values == {"boiler__flow": 3.8, "boiler__return": 1.6, "7__1": 21.5, "7__2": -3}
        assert run.link.announced["boiler__flow"].unit == "Cel"
        assert run.board.commands == [], "nothing is written to a line without a board"
        assert not list(run.connector.datapoints())
        with pytest.raises(LinkDown):
            await run.connector.write("board__group", 210)


# -- nodes that fall silent --------------------------------------------------------------------------------------------


async def test_a_silent_node_is_away_and_the_others_are_not(tmp_path: Path) -> None:
    clock = VirtualClock()
    nodes = {**EMONTX, "23": {"name": "hall", "decoder": "emonth2", "silent_seconds": 600}}
    async with running(tmp_path / "radio", clock=clock, RFM2PI_NODES=nodes, RFM2PI_NODE_SILENT_SECONDS="100") as run:
        run.terminal.write(EMONTX_FRAME + b"OK 23 169 0 0 0 27 1 31 0 1 0 0 0 (-54)\r\n")
        run.terminal.write(b"OK 12 7 0 (-70)\r\n" * 3 + b"OK 13 7 0 (-70)\r\n")
        await run.link.until(lambda link: "13__1" in link.values)
        await clock.advance(95)
        assert run.link.away == {}
        await clock.advance(10)
        assert run.link.away == {"emontx3": "not heard for 100 s", "12": "not heard for 100 s"}, "13 only passed by"
        run.terminal.write(EMONTX_FRAME)
        await run.link.until(lambda link: "emontx3" not in link.away)
        assert run.task.done() is False


async def test_a_described_node_that_never_comes_is_missed(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running(tmp_path / "radio", clock=clock, RFM2PI_NODES=EMONTX, RFM2PI_SILENT_SECONDS="0") as run:
        await run.known()
        await clock.advance(300 + 2 * LOOK_EVERY_S)
        assert run.link.away == {"emontx3": "not heard for 300 s"}


async def test_a_node_that_is_only_sent_to_is_not_missed_until_it_was_heard(tmp_path: Path) -> None:
    clock = VirtualClock()
    tx = {"datacodes": "b", "names": "hour"}
    nodes = {"20": {"name": "display", "tx": tx}, "21": {"name": "relay", "datacodes": "h", "tx": tx}}
    async with running(tmp_path / "radio", clock=clock, RFM2PI_NODES=nodes, RFM2PI_SILENT_SECONDS="0") as run:
        await run.known()
        await clock.advance(300 + 2 * LOOK_EVERY_S)
        assert run.link.away == {"relay": "not heard for 300 s"}
        run.terminal.write(b"OK 20 7 0 (-70)\r\n" * 3)
        await run.link.until(lambda link: len(link.readings) >= 3 and "display__1" in link.values)
        await clock.advance(300 + 2 * LOOK_EVERY_S)
        assert run.link.away.keys() == {"relay", "display"}


# -- the line ----------------------------------------------------------------------------------------------------------


async def test_the_line_is_torn_away_and_back_under_the_same_path(tmp_path: Path) -> None:
    async with running(tmp_path / "radio", RFM2PI_NODES=EMONTX, RFM2PI_GROUP="210") as run:
        await run.ready()
        run.terminal.close()
        assert "gone (unplugged?)" in await run.ended()
        with pytest.raises(LinkDown, match="not connected"):
            await run.connector.write("board__group", 5)
        async with (
            PseudoTerminal(tmp_path / "radio") as terminal,
            board_on(terminal) as board,
            entered(run.connector) as again,
        ):
            await until(lambda: board.group == 210)  # set again: it may be another board
            terminal.write(EMONTX_FRAME)
            await again.link.until(lambda link: "emontx3__power1" in link.values)


async def test_nothing_is_heard_so_the_port_is_opened_again(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running(tmp_path / "radio", clock=clock, RFM2PI_SILENT_SECONDS="120") as run:
        run.terminal.write(b"OK 12 7 0 (-70)\r\n")
        await run.link.until(lambda link: "12__1" in link.values)
        await clock.advance(121)
        assert await run.ended() == f"{tmp_path / 'radio'} is silent for 120 s; it is opened again"


async def test_opening_and_resetting_that_do_not_help_are_reported(tmp_path: Path) -> None:
    """The radio has hung: the board answers, and no node is heard any more."""
    clock = VirtualClock()
    async with running(tmp_path / "radio", clock=clock, RFM2PI_SILENT_SECONDS="120") as run:
        run.terminal.write(b"OK 12 7 0 (-70)\r\n")
        await run.link.until(lambda link: "12__1" in link.values)
        reports = []
        for attempt in range(4):
            async with contextlib.AsyncExitStack() as stack:
                again = await stack.enter_async_context(entered(run.connector, run.link)) if attempt else run
                await run.known()
                await clock.advance(121)
                reports.append(await again.ended())
                emitted = len(run.link.raw)
        run.link.is_connected = False
        async with entered(run.connector, run.link):
            await run.known()
            run.terminal.write(b"nonsense\r\n? 1 2\r\n")
            await until(lambda: run.connector._hearing.unknown_lines == 1)
            assert len(run.link.raw) == emitted, "a board that only answers has not come back; nor one that stammers"
            assert not run.link.is_connected
            assert "opened again" in reports[0]
            assert "still silent" in reports[1]
            assert "is silent since 2023-11-1" in reports[2]
            assert reports[2].endswith("; opening it again did not help"), "a pseudo-terminal has no DTR to reset with"
            assert reports[3] == reports[2]
            run.terminal.write(b"OK 12 8 0 (-70)\r\n")
            await run.link.until(lambda link: link.values["12__1"] == 8)
            assert run.link.is_connected


def answers(link: RecordingLink) -> list[JsonValue]:
    """What the board said of itself."""
    return [raw for raw in link.raw if isinstance(raw, str) and raw.startswith("[RF12demo")]


async def test_a_board_without_nodes_is_alive_as_long_as_it_answers(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running(tmp_path / "radio", clock=clock, RFM2PI_SILENT_SECONDS="120") as run:
        await run.ready()
        for minute in range(1, 7):
            await clock.advance(60)
            await run.link.until(lambda link, minute=minute: len(answers(link)) > minute)  # type: ignore[misc]
            assert not run.task.done(), f"minute {minute}"
        assert run.link.is_connected


async def test_a_port_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LinkDown, match="no such device"):
        await connector_for(tmp_path / "radio").run(RecordingLink())
