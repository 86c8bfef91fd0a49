"""Ports for what a test starts a moment later: given to nobody else meanwhile.

A port that was free when the system named it may be somebody's connection by the time a process has started and wants
it, or another worker was named the same. So each process of the tests takes a range of its own below those that the
system gives to connections, and a lock on it that ends with the process; a port comes again when all others of the
range came.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import itertools
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

FIRST, LAST = 10_000, 32_000
PER_RANGE = 200
_locks: list[IO[str]] = []  # open as long as this process lives


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on, and that no other process of tests on this machine will be given."""
    for port in itertools.islice(_own(), PER_RANGE):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
            probe.bind((host, port))
            return port
    raise AssertionError("no free ports")


@functools.cache
def _own() -> Iterator[int]:
    """The ports of this process, again and again."""
    folder = Path(tempfile.gettempdir()) / "wattbus-test-ports"
    folder.mkdir(exist_ok=True)
    for start in range(FIRST, LAST, PER_RANGE):
        lock = (folder / str(start)).open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        _locks.append(lock)
        return itertools.cycle(range(start, start + PER_RANGE))
    raise AssertionError(f"all ranges of ports are taken: {folder}")
