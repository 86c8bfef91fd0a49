"""Log lines for systemd's journal, which has its own time and its own levels.

A line that begins with `<N>` has the priority N of syslog (man sd-daemon(3)), so each line of a traceback has one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import IO

PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
DEBUG_PRIORITY = 7


def is_journal(stream: IO[str], environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a stream goes to the journal: JOURNAL_STREAM names its device and inode (man systemd.exec(5))."""
    try:
        told = os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{told.st_dev}:{told.st_ino}"


def prefix(level: int) -> str:
    """`<N>`, from a level of Python's logging."""
    return f"<{next((priority for lowest, priority in PRIORITIES if level >= lowest), DEBUG_PRIORITY)}>"


class JournalFormatter(logging.Formatter):
    """Service and text, without time and level; each line with its priority."""

    def __init__(self) -> None:
        super().__init__("%(service)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        begin = prefix(record.levelno)
        return "\n".join(begin + line for line in super().format(record).splitlines() or [""])
