"""The processes that descend from this one, also those whose parents have ended. Linux only; elsewhere none."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
PR_SET_CHILD_SUBREAPER = 36
LOOK_S = 0.05


@dataclass(frozen=True)
class Process:
    """One that runs; `started` tells it from a later one with its number."""

    pid: int
    parent: int
    started: str

    @property
    def command(self) -> str:
        with suppress(OSError):
            return (PROC / str(self.pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        return ""

    def variable(self, name: str) -> str:
        """A variable of its environment, as it was when it was started; "" when it has none, or may not be asked."""
        with suppress(OSError):
            for entry in (PROC / str(self.pid) / "environ").read_bytes().split(b"\0"):
                if entry.startswith(name.encode() + b"="):
                    return entry.partition(b"=")[2].decode(errors="replace")
        return ""


def adopt_orphans() -> None:
    """Descendants whose parent ends become children of this process, and not of the machine's first one."""
    _control(PR_SET_CHILD_SUBREAPER, 1)


def ends_with_parent(how: signal.Signals) -> Callable[[], None]:
    """For `preexec_fn`: the kernel sends the process this signal when its parent ends, however that ends."""
    return lambda: _control(PR_SET_PDEATHSIG, how)


def _control(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def processes() -> list[Process]:
    """All that run on this machine; those that have ended and wait to be asked for do not."""
    found = []
    for folder in PROC.glob("[0-9]*"):
        with suppress(OSError, ValueError):
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()  # proc_pid_stat(5)
            if fields[0] not in "ZX":
                found.append(Process(int(folder.name), int(fields[1]), fields[19]))
    return found


def descendants(ancestor: int | None = None) -> list[Process]:
    """Children, their children and so on, of this process or another one."""
    children = defaultdict(list)
    for process in processes():
        children[process.parent].append(process)
    found, at = [], [ancestor or os.getpid()]
    while at:
        below = children[at.pop()]
        found += below
        at += [process.pid for process in below]
    return found


def end(wanted: Callable[[], Iterable[Process]], within_s: float) -> None:
    """Ask for an end; kill what has not ended then. What they start meanwhile is ended, too."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        limit = time.monotonic() + within_s
        asked: set[Process] = set()
        while left := set(wanted()):
            for process in left - asked:
                with suppress(OSError):
                    os.kill(process.pid, how)
            asked |= left
            if time.monotonic() > limit:
                break
            reap()
            time.sleep(LOOK_S)


def reap() -> dict[int, int]:
    """Exit codes of children that have ended, adopted ones among them; negative: the signal that ended it."""
    ended = {}
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended[found[0]] = os.waitstatus_to_exitcode(found[1])
    return ended
