"""`./test` on its worst days: the last lines say which test it was, and nothing of it runs any more."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support import family
from tests.support.runner import GRACE, NOTES, RUN
from wattbus.testing.waiting import patience, until

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", GRACE: "0.5"}
GOOD = "def test_good():\n    pass\n\n\n"
BEGIN = """
import os, signal, subprocess, sys, time
from pathlib import Path

HERE = Path(__file__).parent
SLEEPER = [sys.executable, "-c", "import time; time.sleep(1000)", str(HERE)]


def started(name, *command):
    process = subprocess.Popen(command or SLEEPER, start_new_session=True)
    (HERE / name).write_text(str(process.pid))
    os.replace(HERE / name, HERE / f"{name}.pid")
    return process


"""
LEAVES_ONE = "def test_leaves_one():\n    started('left')\n\n\n"
FAILS = "def test_fails():\n    assert 1 == 2\n\n\n"
CRASHES = "def test_crashes():\n    started('left')\n    os.kill(os.getpid(), signal.SIGKILL)\n\n\n"
HANGS = "def test_hangs():\n    started('left')\n    time.sleep(1000)\n\n\n"
LEAVES_A_GRANDCHILD = """
def test_leaves_a_grandchild():
    program = f"import subprocess, sys; subprocess.Popen({SLEEPER!r}, start_new_session=True)"
    subprocess.run([sys.executable, "-c", program], check=True)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="subreapers are Linux's")


class RunOfASuite:
    """A run of `tests.support.runner` over a small suite of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: asyncio.subprocess.Process | None = None

    @asynccontextmanager
    async def running(self, *arguments: str) -> AsyncIterator[RunOfASuite]:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.runner", "-q", "-c", os.devnull, "-p", "no:cacheprovider",
            "-p", "xdist.plugin", "--rootdir", self.folder, *arguments, self.folder,
            cwd=ROOT, env={**os.environ, **ENVIRONMENT, "TMPDIR": str(self.folder)}, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            yield self
        finally:
            if self.process.returncode is None:
                self.process.kill()
            await self.process.wait()
            family.end(self.left, 1)

    async def ended(self) -> tuple[int, list[str]]:
        """Its exit code, and the lines after `what failed`."""
        assert self.process is not None
        async with patience("the runner ends"):
            output, _ = await self.process.communicate()
        lines = output.decode().splitlines()
        begins = [at for at, line in enumerate(lines) if " what failed " in line]
        return self.process.returncode or 0, lines[begins[0] + 1 :] if begins else []

    async def began(self, name: str = "left") -> int:
        """Wait until a test has started a process; its number."""
        file = self.folder / f"{name}.pid"
        await until(file.exists, f"{file} is there")
        return int(file.read_text())

    def left(self) -> list[family.Process]:
        """Processes of the suite that run."""
        return [process for process in family.processes() if str(self.folder) in process.command]


@pytest.fixture
def suite(tmp_path: Path) -> Callable[..., RunOfASuite]:
    def suite(*tests: str) -> RunOfASuite:
        (tmp_path / "test_it.py").write_text(BEGIN + "".join(tests))
        return RunOfASuite(tmp_path)

    return suite


async def test_all_is_well(suite: Callable[..., RunOfASuite]) -> None:
    async with suite(GOOD).running() as run:
        assert await run.ended() == (0, [])


@pytest.mark.parametrize("workers", ["0", "2"])
async def test_a_failure_is_named_in_the_last_lines(suite: Callable[..., RunOfASuite], workers: str) -> None:
    async with suite(GOOD, FAILS).running("-n", workers) as run:
        assert await run.ended() == (1, ["FAILED test_it.py::test_fails"])


async def test_a_file_that_cannot_be_read_is_named(suite: Callable[..., RunOfASuite]) -> None:
    async with suite("import nothing_like_this\n").running() as run:
        assert await run.ended() == (2, ["ERROR test_it.py"])


@pytest.mark.parametrize(
    ("leaves", "name"),
    [(LEAVES_ONE, "test_leaves_one"), (LEAVES_A_GRANDCHILD, "test_leaves_a_grandchild")],
    ids=["a child", "a grandchild"],
)
async def test_what_is_left_running_is_a_failure_and_ends(
    suite: Callable[..., RunOfASuite], leaves: str, name: str
) -> None:
    async with suite(GOOD, leaves).running("-n", "1") as run:
        code, [line] = await run.ended()
        assert code == 1
        assert line.startswith("LEFT OVER process ") and line.endswith(f", started by test_it.py::{name}")
        assert run.left() == []


@pytest.mark.parametrize("workers", ["0", "2"])
async def test_a_worker_that_is_killed(suite: Callable[..., RunOfASuite], workers: str) -> None:
    """SIGKILL, as the machine does when memory is short; with -n 0 pytest itself is the worker."""
    async with suite(GOOD, CRASHES).running("-n", workers) as run:
        code, lines = await run.ended()
        assert code != 0
        assert "RUNNING test_it.py::test_crashes (when its process ended)" in lines
        assert lines[-1].endswith(", started by test_it.py::test_crashes")
        assert run.left() == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", ["0", "1"])
async def test_it_is_asked_to_end(suite: Callable[..., RunOfASuite], how: signal.Signals, workers: str) -> None:
    async with suite(FAILS, HANGS).running("-n", workers) as run:
        await run.began()
        assert run.process is not None
        run.process.send_signal(how)
        code, lines = await run.ended()
        assert code == 128 + how
        assert "FAILED test_it.py::test_fails" in lines
        assert "RUNNING test_it.py::test_hangs (when its process ended)" in lines
        assert run.left() == []


async def test_a_test_that_hangs_is_named(suite: Callable[..., RunOfASuite]) -> None:
    options = ("-o", "faulthandler_timeout=0.5", "-o", "faulthandler_exit_on_timeout=true")
    async with suite(GOOD, HANGS).running("-n", "1", "--maxfail", "1", *options) as run:
        code, lines = await run.ended()
        assert code != 0
        assert "RUNNING test_it.py::test_hangs (when its process ended)" in lines
        assert run.left() == []


async def test_what_a_killed_run_left_is_ended_by_the_next(suite: Callable[..., RunOfASuite]) -> None:
    async with suite(HANGS).running() as killed:
        pid = await killed.began()
        assert killed.process is not None
        killed.process.kill()
        await killed.process.wait()
        assert any(process.pid == pid and process.variable(RUN) for process in killed.left())
        async with killed.running("-k", "nothing") as following:
            await following.ended()
            assert killed.left() == []
    assert not [*killed.folder.glob(f"{NOTES}*")]
