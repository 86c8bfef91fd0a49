"""Which worker runs what, and when: files stay together, what takes long begins first.

A file's tests share what its fixtures start (a browser, a database), so they stay on one worker, in order. The last of
them decides when the run ends: a file that takes a minute must not begin last. xdist begins with the files that have
most tests, and those are the quick ones.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from xdist.scheduler import LoadFileScheduling

# Together on one worker: they share one building, or one browser.
TOGETHER = ("tests/containers/test_building.py", "tests/api/page/test_")
# Nothing is shared in these files; each test is some processes of its own.
APART = ("tests/e2e/", "tests/cli/test_up.py", "tests/cli/test_demo.py", "tests/systemd/", "tests/runner/")
ALONE = ("tests/api/page/test_memory.py",)  # a browser and an API of its own, in a place where others share
# What begins first, slowest first; then the others, as they stand in their folders.
FIRST = (
    *TOGETHER[:1],
    "tests/e2e/",
    *TOGETHER[1:],
    "tests/runner/",
    "tests/wattbus/runtime/test_outbox_publisher.py",
    "tests/wattbus/runtime/test_connector_runtime.py",
    "tests/cli/",
    "tests/broker/test_broker_suite.py",
    "tests/broker/test_broker_bridge.py",
    "tests/systemd/",
    "tests/api/test_end_to_end.py",
    "tests/raw_db/",
    "tests/wattbus/storage/",
)


def scope_of(nodeid: str) -> str:
    """What runs on one worker, one after another."""
    file = nodeid.partition("::")[0]
    if not file.startswith(ALONE):
        for prefix in TOGETHER:
            if file.startswith(prefix):
                return prefix
        if file.startswith(APART):
            return nodeid
    return file


def rank(nodeid: str) -> int:
    """When it begins, against the others."""
    ranks = (number for number, prefix in enumerate(FIRST) if nodeid.startswith(prefix))
    return next(ranks, len(FIRST))


class SlowFirst(LoadFileScheduling):
    """Units of work as above, in the order of collection."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> SlowFirst | None:
    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    return SlowFirst(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = in_order(items)


def in_order(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    return sorted(items, key=lambda item: rank(item.nodeid))
