"""What a run of pytest is doing, noted in files: they outlive a worker that crashes, and pytest itself.

A plugin, for `tests.support.runner`, which names a folder in WATTBUS_TEST_NOTES: `running-WORKER` holds the test that
this process is at, `failed` a line for each that failed so far.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDER = "WATTBUS_TEST_NOTES"
RUNNING = "running-"
FAILED = "failed"


def pytest_configure(config: pytest.Config) -> None:
    if folder := os.environ.get(FOLDER):
        worker = getattr(config, "workerinput", {}).get("workerid", "main")
        config.pluginmanager.register(Notes(Path(folder), worker))


class Notes:
    """Notes of one process."""

    def __init__(self, folder: Path, worker: str) -> None:
        self._failed = folder / FAILED
        self._running = folder / f"{RUNNING}{worker}"

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._running.write_text(item.nodeid, encoding="utf-8")
        result = yield
        self._running.unlink(missing_ok=True)  # not when it is interrupted: then it was running at the end
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._note("FAILED" if report.when in ("call", "???") else "ERROR", report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._note("ERROR", report.nodeid)

    def pytest_internalerror(self, excrepr: object) -> None:
        self._note("ERROR", f"pytest itself: {str(excrepr).strip().splitlines()[-1]}")

    def _note(self, what: str, name: str) -> None:
        with self._failed.open("a", encoding="utf-8") as file:
            file.write(f"{what} {name}\n")
