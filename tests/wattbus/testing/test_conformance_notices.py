"""The suite is worth what it notices: a thermometer with one fault at a time, and the case that must fail for it."""

from __future__ import annotations

import asyncio
import importlib
import re
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from wattbus.cli.new import write_package
from wattbus.testing import cases, purity
from wattbus.testing.far_ends import NOBODY
from wattbus.testing.hurried import run_hurried
from wattbus.testing.under_test import ConnectorUnderTest

NAME = "sloppy"


def at(host: str, port: int) -> dict[str, Any]:
    return {"SLOPPY_HOST": host, "SLOPPY_PORT": port}


UNDER = ConnectorUnderTest(
    NAME, package=f"wattbus_{NAME}", tcp=at, write=("led", True, False), wrong={"SLOPPY_HOST": [""]}
)
Case = Callable[[], Coroutine[Any, Any, Any] | None]


def nobody(fault: str) -> Case:
    return lambda: cases.nobody_there(UNDER, NOBODY["tcp"][fault])


def decoding() -> None:
    _, raws = run_hurried(cases.raw_messages(UNDER))
    purity.check_purity(UNDER, ("127.0.0.1", 1), raws)


def settings() -> None:
    purity.check_settings(UNDER, ("127.0.0.1", 1))


def port() -> None:
    wrong = {"SLOPPY_PORT": ["65536"]}
    purity.check_settings(ConnectorUnderTest(NAME, package=UNDER.package, tcp=at, wrong=wrong), ("127.0.0.1", 1))


# What is wrong with it: module, the right text in it, the wrong one, the case that must fail, and what it says.
FAULTS: dict[str, tuple[str, str, str, Case, str]] = {
    "no bound for connecting": (
        "connector",
        "asyncio.timeout(CONNECT_S)",
        "asyncio.timeout(None)",
        nobody("swallowing"),
        "still tries",
    ),
    "an OSError gets out": (
        "connector",
        "except OSError as error:",
        "except ZeroDivisionError as error:",
        nobody("refusing"),
        "Connect call failed",
    ),
    "connected when the port is open": (
        "connector",
        "self._writer = writer\n",
        "self._writer = writer; link.connected()\n",
        lambda: cases.silent(UNDER, "tcp"),
        "nobody has answered",
    ),
    "a line without an end is a bug": (
        "connector",
        "except ValueError:",
        "except ZeroDivisionError:",
        lambda: cases.nonsense(UNDER, "tcp"),
        "limit",
    ),
    "a torn line comes back": (
        "connector",
        'raise LinkDown(f"{self._host}:{self._port}: the connection is closed")',
        "return",
        lambda: cases.torn(UNDER, "tcp"),
        "run() came back",
    ),
    "the connection stays open": (
        "connector",
        "            self._writer = None\n            writer.transport.abort()",
        "            pass",
        lambda: cases.answers(UNDER, "tcp"),
        "left behind",
    ),
    "a late answer is taken": (
        "connector",
        "                writer.transport.abort()\n            self._answer",
        "                pass\n            self._answer",
        lambda: cases.late_answer(UNDER, "tcp"),
        "took an answer that was not its own",
    ),
    "a cancellation is swallowed": (
        "connector",
        "            except ValueError:",
        "            except asyncio.CancelledError: continue\n            except ValueError:",
        lambda: cases.cancelled_running(UNDER, "tcp"),
        "goes on",
    ),
    "a task is left": (
        "connector",
        "        self._writer = writer\n",
        "        self._writer = writer; self.t = asyncio.create_task(asyncio.sleep(9e9))\n",
        lambda: cases.cancelled_running(UNDER, "tcp"),
        "left behind",
    ),
    "a command while the device is away": (
        "connector",
        'raise LinkDown("not connected")',
        "return",
        nobody("refusing"),
        "a command was executed",
    ),
    "decoding remembers": (
        "connector",
        "return [Reading(codec.values(str(raw)))]",
        "self.n = getattr(self, 'n', 0) + 1; return [Reading({**codec.values(str(raw)), 'n': self.n})]",
        decoding,
        "it gives other readings",
    ),
    "a port of any size": (
        "settings",
        "4001, ge=1, le=65535, ",
        "4001, ",
        port,
        "was accepted",
    ),
    "an empty host": ("settings", "min_length=1, ", "", settings, "SLOPPY_HOST= was accepted"),
}


@pytest.fixture
def sloppy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What `wattbus new` writes, to be made worse."""
    write_package(NAME, tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield tmp_path / UNDER.package
    for name in [name for name in sys.modules if name.partition(".")[0] == UNDER.package]:
        del sys.modules[name]


@pytest.mark.parametrize("fault", FAULTS)
def test_it_notices(fault: str, sloppy: Path) -> None:
    module, right, wrong, case, said = FAULTS[fault]
    file = sloppy / f"{module}.py"
    text = file.read_text(encoding="utf-8")
    assert right in text
    file.write_text(text.replace(right, wrong), encoding="utf-8")
    with pytest.raises(Exception, match=f"(?s){re.escape(said)}"):
        _execute(case)


@pytest.mark.parametrize("fault", FAULTS)
def test_it_has_nothing_against_the_right_one(fault: str, sloppy: Path) -> None:
    _execute(FAULTS[fault][3])


def _execute(case: Case) -> None:
    work = case()
    if work is not None:
        run_hurried(work)


def test_time_runs_ahead_in_a_hurried_loop_and_the_machines_clock_with_it() -> None:
    from wattbus.clock import SYSTEM_CLOCK

    async def wait() -> tuple[float, int]:
        loop, monotonic, now_ms = asyncio.get_running_loop(), SYSTEM_CLOCK.monotonic(), SYSTEM_CLOCK.now_ms()
        begun = loop.time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.Event().wait()
        assert loop.time() - begun >= 60 and SYSTEM_CLOCK.monotonic() - monotonic >= 60
        return begun, SYSTEM_CLOCK.now_ms() - now_ms

    _, passed_ms = run_hurried(wait())
    assert passed_ms >= 60_000
