"""The notification protocol of systemd, and log lines for its journal: against the words of their manual pages."""

from __future__ import annotations

import io
import logging
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from wattbus.service.journal import JournalFormatter, is_journal, prefix
from wattbus.service.systemd_notify import LONGEST_STATUS, Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A datagram socket as the service manager has it, and what NOTIFY_SOCKET says then."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening, tempfile.TemporaryDirectory() as short:
        name = f"wattbus-test-{os.getpid()}" if request.param == "abstract" else f"{short}/notify"
        listening.bind(f"\0{name}" if request.param == "abstract" else name)
        listening.settimeout(5)
        yield listening, f"@{name}" if request.param == "abstract" else name


def test_each_field_is_a_line_of_one_datagram(manager: tuple[socket.socket, str]) -> None:
    listening, address = manager
    notifier = Notifier.taken_from({"NOTIFY_SOCKET": address})
    assert notifier.tell(READY=1, STATUS="two\nlines, \tone line; ü")
    assert listening.recv(4096) == "READY=1\nSTATUS=two lines, one line; ü\n".encode()
    assert notifier.tell(STATUS="x" * 1000)
    assert len(listening.recv(4096).decode()) == len("STATUS=\n") + LONGEST_STATUS
    assert notifier.tell(STATUS="half \ud800")
    assert listening.recv(4096) == b"STATUS=half ?\n"
    notifier.close()


def test_children_do_not_inherit_the_right_to_speak(manager: tuple[socket.socket, str]) -> None:
    environment = {"NOTIFY_SOCKET": manager[1], "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid()), "X": "1"}
    notifier = Notifier.taken_from(environment)
    assert (notifier.listens, notifier.watchdog_s) == (True, 60.0)
    assert environment == {"X": "1"}


@pytest.mark.parametrize(
    ("variables", "watchdog_s"),
    [
        ({"WATCHDOG_USEC": "2500000"}, 2.5),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": "1"}, None),  # it is meant for another process
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({}, None),
    ],
)
def test_the_interval_of_the_watchdog(variables: dict[str, str], watchdog_s: float | None) -> None:
    assert Notifier.taken_from({"NOTIFY_SOCKET": "/run/x", **variables}).watchdog_s == watchdog_s


@pytest.mark.parametrize("address", ["", "@", "/", "vsock:2:1234", "relative"])
def test_without_a_usable_address_nothing_is_said(address: str) -> None:
    notifier = Notifier.taken_from({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})
    assert (notifier.listens, notifier.watchdog_s, notifier.tell(READY=1)) == (False, None, False)


def test_a_manager_that_is_gone_or_full_holds_nobody_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier(f"{tmp_path}/nobody")
    assert [notifier.tell(READY=1), notifier.tell(READY=1)] == [False, False]
    assert len(caplog.records) == 1
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf, tempfile.TemporaryDirectory() as short:
        deaf.bind(f"{short}/notify")
        notifier = Notifier(f"{short}/notify")
        taken = [notifier.tell(WATCHDOG=1) for _ in range(10_000)]
        assert taken[0]
        assert not taken[-1], "the socket is full, and we are back"


# -- journal ----------------------------------------------------------------------------------------------------------


def test_levels_are_those_of_syslog() -> None:
    """sd-daemon(3): 2 critical, 3 error, 4 warning, 6 informational, 7 debug."""
    levels = [logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG, 1]
    assert [prefix(level) for level in levels] == ["<2>", "<3>", "<4>", "<6>", "<7>", "<7>"]


def test_every_line_of_a_traceback_has_its_level() -> None:
    try:
        raise ZeroDivisionError("of all things")
    except ZeroDivisionError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "it %s", ("failed",), sys.exc_info())
    record.service = "heatpump"
    lines = JournalFormatter().format(record).split("\n")
    assert lines[0] == "<3>heatpump: it failed"
    assert lines[-1] == "<3>ZeroDivisionError: of all things"
    assert all(line.startswith("<3>") for line in lines)
    assert len(lines) > 3


def test_the_journal_is_known_by_device_and_inode(tmp_path: Path) -> None:
    """systemd.exec(5): a program that redirected its output must not take a file for the journal."""
    with (tmp_path / "a").open("w") as journal, (tmp_path / "b").open("w") as other:
        told = os.fstat(journal.fileno())
        environment = {"JOURNAL_STREAM": f"{told.st_dev}:{told.st_ino}"}
        assert is_journal(journal, environment)
        assert not is_journal(other, environment)
        assert not is_journal(journal, {})
        assert not is_journal(io.StringIO(), environment)
