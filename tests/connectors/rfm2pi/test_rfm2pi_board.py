"""The radio board's settings: sent, verified, changed while it runs; old and new firmware."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from connectors.rfm2pi.simulator import SimulatedBoard
from links.serial_pty import PseudoTerminal
from tests.connectors.rfm2pi.conftest import board_on, connector_for, running, until
from tests.support.ports import free_port
from wattbus.errors import CommandRejected, LinkDown
from wattbus.testing.clock import VirtualClock
from wattbus.testing.link import WITHIN_S, entered

LOGGERS = ("connectors.rfm2pi.board", "connectors.rfm2pi.hearing")
GLCD = {"20": {"name": "display"}}
WANTED = {"RFM2PI_GROUP": "210", "RFM2PI_FREQUENCY": "433", "RFM2PI_BASE_ID": "5", "RFM2PI_QUIET": "TRUE"}


def state(board: SimulatedBoard) -> tuple[int, int, int, bool]:
    return board.group, board.frequency, board.base_id, board.quiet


@pytest.mark.parametrize("firmware", ["rf12demo", "rfm12pi"])
async def test_the_board_is_set_and_asked(tmp_path: Path, firmware: str) -> None:
    async with running(tmp_path / "radio", firmware, **WANTED) as run:  # type: ignore[arg-type]
        await run.link.until(lambda link: link.values.get("board__group") == 210)
        await until(lambda: state(run.board) == (210, 433, 5, True))
        assert run.board.commands.count("1q") == 1, "once, also where the firmware does not tell"
        assert run.link.away == {}
        assert run.link.values["board__frequency"] == 433


async def test_the_dialogue_can_be_read_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with running(tmp_path / "radio", RFM2PI_GROUP="210") as run:
            await run.link.until(lambda link: link.values.get("board__group") == 210)
    dialogue = [record.getMessage() for record in caplog.records if record.name in LOGGERS]
    assert dialogue[:3] == ["told the board: v", "heard: > 0v", "heard: [RF12demo.14] A i1 g212 @ 868 MHz"]
    assert "told the board: 210g" in dialogue


async def test_a_board_that_is_right_already_is_left_alone(tmp_path: Path) -> None:
    as_wanted = {"group": 210, "frequency": 433, "base_id": 5, "quiet": True}
    async with running(tmp_path / "radio", board_is=as_wanted, **WANTED) as run:
        await run.ready()
        assert run.board.commands == ["0v"]


@pytest.mark.parametrize("given", ["433", "434", "4"])
@pytest.mark.parametrize(("told", "is_same"), [(433, True), (434, True), (868, False)])
async def test_a_band_has_more_than_one_name(tmp_path: Path, given: str, told: int, is_same: bool) -> None:
    """`[RF12demo.14] B i2 g210 @ 434 MHz q1`: a board that was tuned within its band."""
    board_is = {"group": 210, "frequency": told, "base_id": 2, "quiet": True}
    wanted = {"RFM2PI_GROUP": "210", "RFM2PI_FREQUENCY": given}
    async with running(tmp_path / "radio", board_is=board_is, **wanted) as run:
        await run.ready()
        assert run.link.away == {}
        assert run.board.commands == (["0v"] if is_same else ["0v", "4b", "0v"])
        await run.link.until(lambda link: link.values.get("board__frequency") == (told if is_same else 433))
        await run.connector.write("board__frequency", 434)


@pytest.mark.parametrize(("told", "wanted"), [(869, "868"), (868, "869"), (914, "915")])
async def test_the_other_bands_too(tmp_path: Path, told: int, wanted: str) -> None:
    async with running(tmp_path / "radio", board_is={"frequency": told}, RFM2PI_FREQUENCY=wanted) as run:
        await run.ready()
        assert run.link.away == {}
        assert "4b" not in run.board.commands


async def test_read_only_means_only_asked(tmp_path: Path) -> None:
    """`wattbus check --probe` sets it, whatever else is set."""
    sends = {"RFM2PI_TIME_SECONDS": "0.01", "RFM2PI_REPEATER_PORT": str(port := free_port())}
    async with running(tmp_path / "radio", READ_ONLY="TRUE", **WANTED, **sends) as run:
        await run.link.until(lambda link: "board" in link.away)
        assert run.link.away["board"].startswith("the board is set otherwise: its frequency is 868, not 433, its group")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.05)  # a few times the interval
        assert set(run.board.commands) == {"0v"}


async def test_the_newer_firmware_wants_letters_first(tmp_path: Path) -> None:
    async with running(tmp_path / "radio", "letters", RFM2PI_NODES=GLCD, **WANTED) as run:
        await until(lambda: state(run.board)[:3] == (210, 433, 5))
        await run.link.until(lambda link: link.values.get("board__base_id") == 5)
        assert all(not command[0].isdecimal() for command in run.board.commands), "digits lock it for two seconds"
        with pytest.raises(CommandRejected, match="no setting quiet"):
            await run.connector.write("board__quiet", True)
        with pytest.raises(CommandRejected, match="cannot send packets"):
            await run.connector.write("display__transmit", "1,2,3")


async def test_a_locked_board_is_reported(tmp_path: Path) -> None:
    async with running(tmp_path / "radio", "rfm12pi", board_is={"locked": True}, RFM2PI_GROUP="210") as run:
        await run.link.until(lambda link: "board" in link.away)
        assert run.link.away["board"] == "the board cannot be set: its group is 212, not 210"
        with pytest.raises(CommandRejected, match="does not take group 5; it is locked: `123x` unlocks it"):
            await run.connector.write("board__group", 5)
        run.board.receives(10, bytes([55, 6]))
        await run.link.until(lambda link: "10__1" in link.values)


async def test_a_board_that_never_answers_is_set_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with PseudoTerminal(tmp_path / "radio") as terminal:
        connector = connector_for(terminal.path, RFM2PI_GROUP="210", RFM2PI_FREQUENCY="4")
        async with entered(connector) as run:
            heard = b""
            async with asyncio.timeout(WITHIN_S):
                while b"210g" not in heard:
                    heard += await terminal.read()
            assert heard.replace(b"v", b"") == b"4b210g"
            terminal.write(b"OK 12 7 0 (-70)\r\n")
            await run.link.until(lambda link: "12__1" in link.values)
            await until(lambda: sum("does not answer `v`" in record.getMessage() for record in caplog.records) == 1)
            with pytest.raises(LinkDown, match="does not tell how it is set"):
                await connector.write("board__group", 5)


async def test_a_board_that_restarts_is_set_again(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running(tmp_path / "radio", clock=clock, RFM2PI_GROUP="210") as run:
        await run.link.until(lambda link: link.values.get("board__group") == 210)
        await run.known()
        run.board.group = 212
        run.terminal.write(b"\r\n[RF12demo.14] A i1 g212 @ 868 MHz\r\n")
        await run.link.until(lambda link: link.values["board__group"] == 212)
        await clock.advance(10)
        await until(lambda: run.board.group == 210)


async def test_a_setting_that_the_board_does_not_tell_is_not_set_over_and_over(tmp_path: Path) -> None:
    """The board keeps it in its EEPROM, which wears out; an information line that comes late looks like a restart."""
    clock = VirtualClock()
    async with running(tmp_path / "radio", "rfm12pi", clock, **WANTED) as run:
        await run.link.until(lambda link: link.values.get("board__group") == 210)
        await run.known()
        for _ in range(3):
            board = run.connector._board
            assert board is not None
            asked = run.board.commands.count("0v")
            run.terminal.write(b"69 i5 g210 @ 433 MHz  Lock: 1\r\n")
            await until(board.doubt.is_set)
            await clock.advance(10)
            await until(lambda: not board.doubt.is_set())  # noqa: B023 - it is awaited here
            assert run.board.commands.count("0v") > asked
        assert run.board.commands.count("1q") == 1


async def test_settings_are_changed_at_run_time_and_stay(tmp_path: Path) -> None:
    async with running(tmp_path / "radio", RFM2PI_GROUP="210") as run:
        await run.link.until(lambda link: link.values.get("board__group") == 210)
        await run.connector.write("board__group", 33.0)  # as JSON may have it
        await run.connector.write("board__quiet", True)
        await run.connector.write("board__frequency", 915)
        assert (run.board.group, run.board.quiet, run.board.frequency) == (33, True, 915)
        await run.link.until(lambda link: link.values.get("board__frequency") == 915)
        run.terminal.close()
        await run.ended()
        async with PseudoTerminal(tmp_path / "radio") as terminal, board_on(terminal) as board, entered(run.connector):
            await until(lambda: (board.group, board.frequency) == (33, 915))


async def test_what_the_board_cannot_have_leaves_it_as_it_was(tmp_path: Path) -> None:
    async with running(tmp_path / "radio", board_is={"base_id": 5}) as run:
        await run.ready()
        with pytest.raises(CommandRejected, match="group is a whole number"):
            await run.connector.write("board__group", 33.5)
        with pytest.raises(CommandRejected, match="node ids up to 31"):
            await run.connector.write("board__base_id", 40)
        assert run.board.commands == ["0v"]
        with pytest.raises(CommandRejected, match="does not take group 300"):
            await run.connector.write("board__group", 300)  # its eight bits make 44 of it
        assert (run.board.group, run.board.base_id) == (212, 5)


async def test_a_base_id_that_the_board_cannot_have_is_in_the_status(tmp_path: Path) -> None:
    async with running(tmp_path / "radio", RFM2PI_BASE_ID="40") as run:
        await run.link.until(lambda link: "board" in link.away)
        assert run.link.away["board"] == "the board cannot be set: its base_id is 1, not 40"
        assert set(run.board.commands) == {"0v"}
