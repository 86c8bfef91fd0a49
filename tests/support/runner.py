"""Runs pytest and stays beside it: whatever happens, the last lines say what failed, and nothing is left running.

    python -m tests.support.runner ARGUMENTS OF PYTEST…

- A test that crashes its worker, hangs, or is interrupted (Ctrl-C, SIGTERM) is named, and so is every one that failed.
- A process that a test started and left running is ended and named with that test. It makes the run fail.
- What a run left behind that was itself killed (SIGKILL) is ended when the next one begins.

Exit code: pytest's; 1 when all tests passed and something was left over; 128 and the signal's number when one ended it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from tests.support import family
from tests.support.run_notes import FAILED, FOLDER, RUNNING

RUN = "WATTBUS_TEST_RUN"  # in the environment of all that a run starts: its number and when it started
HANGS_AFTER_S = 1500.0  # without a test that begins or ends; a single test has `faulthandler_timeout` in pyproject.toml
GRACE = "WATTBUS_TEST_GRACE_S"
ENDS_WITHIN_S = 60.0  # pytest, when it is asked to end
LEAVES_WITHIN_S = float(os.environ.get(GRACE, "10"))  # what tests have started, after pytest
LOOK_S = 0.1
NOTES = "wattbus-tests-"  # folders of this name, with their owner in them
OWNER = "owner"


class Run:
    """One run of pytest."""

    def __init__(self, arguments: list[str]) -> None:
        self._name = next((name(process) for process in family.processes() if process.pid == os.getpid()), "")
        self._notes = Path(tempfile.mkdtemp(prefix=NOTES))
        (self._notes / OWNER).write_text(self._name)
        self._arguments = arguments
        self._asked_by: int | None = None
        self._ends_at = float("inf")

    def __call__(self) -> int:
        """Run it and say what came of it; the exit code."""
        family.adopt_orphans()
        end_what_earlier_runs_left()
        try:
            code = self._watch(self._start())
            said = [*self._failed(), *self._left_over()]
        finally:
            family.end(family.descendants, LEAVES_WITHIN_S)
            shutil.rmtree(self._notes, ignore_errors=True)
        if said:
            print("\n" + " what failed ".center(100, "="), *said, sep="\n", flush=True)  # noqa: T201
        if self._asked_by is not None:
            return 128 + self._asked_by
        return (128 - code if code < 0 else code) or int(bool(said))

    def _start(self) -> int:
        """Start pytest; its number."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._asked_to_end)
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "tests.support.run_notes", *self._arguments],
            env={**os.environ, FOLDER: str(self._notes), RUN: self._name},
            preexec_fn=family.ends_with_parent(signal.SIGINT),  # no thread is here
        ).pid

    def _asked_to_end(self, number: int, _frame: object) -> None:
        again, self._asked_by = self._asked_by is not None, number
        self._ends_at = 0.0 if again else time.monotonic() + ENDS_WITHIN_S

    def _watch(self, pytest: int) -> int:
        """Wait until pytest ends; its exit code. Ends it when it is time."""
        asked = False
        while (code := family.reap().get(pytest)) is None:
            if self._asked_by is not None and not asked:
                asked = True
                if self._asked_by != signal.SIGINT or not sys.stdin.isatty():  # a terminal has sent it to both
                    os.kill(pytest, signal.SIGINT)
            if not asked and time.time() - self._notes.stat().st_mtime > HANGS_AFTER_S:
                self._asked_to_end(signal.SIGALRM, None)
            if time.monotonic() > self._ends_at:
                os.kill(pytest, signal.SIGKILL)
            time.sleep(LOOK_S)
        return code

    def _failed(self) -> list[str]:
        """Tests that failed, and those that a process was at when it ended."""
        file = self._notes / FAILED
        failed = list(dict.fromkeys(file.read_text(encoding="utf-8").splitlines())) if file.exists() else []
        running = [note.read_text(encoding="utf-8") for note in sorted(self._notes.glob(f"{RUNNING}*"))]
        return failed + [f"RUNNING {name} (when its process ended)" for name in running if name]

    def _left_over(self) -> list[str]:
        """What still runs after a while."""
        limit = time.monotonic() + LEAVES_WITHIN_S
        while (left := family.descendants()) and time.monotonic() < limit:
            family.reap()
            time.sleep(LOOK_S)
        return [f"LEFT OVER process {found.pid} ({found.command:.200}), started by {starter(found)}" for found in left]


def name(process: family.Process) -> str:
    """One that no other process had or will have, on this machine since it was started."""
    return f"{process.pid} {process.started}"


def starter(process: family.Process) -> str:
    """The test that started a process; pytest puts its name into the environment."""
    return process.variable("PYTEST_CURRENT_TEST").rpartition(" (")[0] or "a test that cannot be told"


def end_what_earlier_runs_left() -> None:
    """End the processes of runs that have themselves ended, and could not do it; remove their notes."""

    def orphans() -> list[family.Process]:
        running = family.processes()
        runs = {name(process) for process in family.processes()}  # asked later: none is missing
        return [process for process in running if (run := process.variable(RUN)) and run not in runs]

    for process in orphans():
        print(f"Left over of an earlier run: process {process.pid} ({process.command:.200})", file=sys.stderr)  # noqa: T201
    family.end(orphans, LEAVES_WITHIN_S)
    owners = [*Path(tempfile.gettempdir()).glob(f"{NOTES}*/{OWNER}")]
    runs = {name(process) for process in family.processes()}
    for owner in owners:
        with suppress(OSError):  # another run may be at it
            if (of := owner.read_text()) and of not in runs:
                shutil.rmtree(owner.parent, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(Run(sys.argv[1:])())
