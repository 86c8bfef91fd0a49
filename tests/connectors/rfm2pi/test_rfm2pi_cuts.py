"""Lines that lost something on the serial line, which has no checksum: what gives them away, and what does not."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from connectors.rfm2pi.cuts import REMEMBERED_FRAMES, Cuts
from connectors.rfm2pi.nodes import Node
from tests.connectors.rfm2pi.conftest import running
from wattbus.testing.clock import VirtualClock

UNKNOWN = Node(12, "12")
DESCRIBED = Node(8, "emontx3", is_described=True)
HALL = {"23": {"name": "hall", "decoder": "emonth2"}}
HALL_FRAME = b"OK 23 169 0 0 0 27 1 31 0 1 0 0 0 (-54)\r\n"


def test_a_frame_without_ok_among_others_with() -> None:
    cuts = Cuts()
    assert cuts.fault(UNKNOWN, 4, has_ok=True) == ""
    assert cuts.fault(Node(75, "75"), 2, has_ok=False) == "its beginning is missing"
    assert cuts.fault(UNKNOWN, 4, has_ok=True) == ""


def test_old_firmware_has_no_ok_so_that_only_the_first_frame_is_doubtful() -> None:
    cuts = Cuts()
    assert cuts.fault(UNKNOWN, 4, has_ok=False) == "its beginning is missing"
    assert cuts.fault(UNKNOWN, 4, has_ok=False) == ""
    cuts = Cuts()
    cuts.other_line()
    assert cuts.fault(UNKNOWN, 4, has_ok=False) == ""


def test_a_node_that_had_an_rssi_has_one_always() -> None:
    """`OK 10 228 89 0 0 1` may be what is left of `OK 10 228 89 0 0 12 0 (-45)`, or of `… 0 112 (-45)`."""
    cuts = Cuts()
    assert cuts.fault(DESCRIBED, 26, has_rssi=True) == ""
    assert cuts.fault(DESCRIBED, 26, has_rssi=False) == "its RSSI is missing"
    assert cuts.fault(UNKNOWN, 4, has_rssi=False) == "", "another node's may come from the board itself, without"


def test_a_new_length_of_an_unknown_node_is_believed_when_it_comes_again() -> None:
    cuts = Cuts()
    assert cuts.fault(UNKNOWN, 6) == ""
    assert cuts.fault(UNKNOWN, 4) == "its length is 4, and was 6"
    assert [cuts.fault(UNKNOWN, length) for length in (6, 4, 6, 4)] == [""] * 4, "a node may have frames of two kinds"
    for _ in range(REMEMBERED_FRAMES):
        cuts.fault(UNKNOWN, 6)
    assert cuts.fault(UNKNOWN, 4) == "its length is 4, and was 6", "two cut lines in a year make no new kind"


def test_what_is_described_may_have_any_length() -> None:
    """Its data codes say which, or that every number of values is right."""
    cuts = Cuts()
    assert [cuts.fault(DESCRIBED, length) for length in (2, 4, 6)] == [""] * 3


async def test_cut_lines_are_kept_raw_and_counted_and_are_no_values(tmp_path: Path) -> None:
    async with running(tmp_path / "radio", RFM2PI_NODES=HALL) as run:
        run.terminal.write(HALL_FRAME + b"OK 12 1 0 2 0 (-70)\r\n")
        run.terminal.write(b"OK 23 169 0 0 0 27 1 31 0 1 0 0 0\r\n")  # the RSSI is lost
        run.terminal.write(b"OK 23 169 0 0 0 27 1 31 0 (-54)\r\n")  # four bytes are lost
        run.terminal.write(b"OK 12 9 0 (-70)\r\n")  # two bytes are lost
        run.terminal.write(b"OK 23 169 0 0 0 27OK 12 1 0 3 0 (-70)\r\n")  # a line end is lost
        run.terminal.write(b"OK 12 1 0 4 0 (-70)\r\n")
        await run.link.until(lambda link: link.values.get("12__2") == 4)
        assert [reading.get("12__1") for reading in run.link.readings if "12__1" in reading] == [1, 1]
        assert sum("hall__temperature" in reading for reading in run.link.readings) == 1
        faults = [str(fault) for fault in run.link.faults]
        assert [fault.split(":")[0] for fault in faults] == [
            "a cut line, its RSSI is missing",
            "node 23 (hall)",
            "a cut line, its length is 2, and was 4",
            "not a line of a radio board",
        ]
        assert run.connector._hearing.unknown_lines == 3


async def test_only_nonsense_is_in_the_status_until_something_makes_sense(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong speed, or a second program that takes half of the bytes."""
    nonsense = bytes(range(128, 256)) * 2
    with caplog.at_level(logging.WARNING):
        async with running(tmp_path / "radio", "mute") as run:
            run.terminal.write(b"OK 12 1 0 (-70)\r\n" + nonsense + b"\r\n")
            await run.link.until(lambda link: len(link.faults) == 1)
            assert run.link.away == {}, "a disturbance"
            run.terminal.write(nonsense * 4)  # without any line end
            await run.link.until(lambda link: "line" in link.away)
            assert run.link.away["line"].startswith("only nonsense is heard: is 38400 bit/s its speed")
            run.terminal.write(b"\r\nOK 12 1 0 (-70)\r\n")
            await run.link.until(lambda link: not link.away)


async def test_nonsense_does_not_bring_a_silent_line_back(tmp_path: Path) -> None:
    """Else the status and the log would swing for ever between up and down."""
    clock = VirtualClock()
    async with running(tmp_path / "radio", "mute", clock, RFM2PI_SILENT_SECONDS="120") as run:
        run.terminal.write(b"nonsense\r\n")
        await run.link.until(lambda link: len(link.raw) == 1)
        await clock.advance(121)
        await run.ended()
        hearing, link = run.connector._hearing, run.link
        hearing.line_is_open()
        before, unknown = len(link.raw), hearing.unknown_lines
        for line in (b"9 1 0 (-5)", b"nonsense"):
            hearing.take(line, 0, link)
        assert (len(link.raw), hearing.unknown_lines) == (before, unknown + 2)
        for line in (b"OK 12 1 0 (-70)", b"nonsense"):
            hearing.take(line, 0, link)
        assert link.raw[before:] == ["OK 12 1 0 (-70)", "nonsense"]
