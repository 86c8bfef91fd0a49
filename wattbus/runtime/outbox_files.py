"""Files of the outbox: whose they are, what is in them, and what should be.

    wattbus-outbox 1 <connector> <session>
    <number> <CRC-32 of the payload, 8 hex digits> <payload, one line of JSON>
    …
    end <entries>

The last line is there when the file was finished by its process. A file `<index>-<session>.readings` of another
connector or session, lines that are torn, and numbers that cannot be are left out, and never an error. The file
`waiting` names the numbers that should be there, so that whoever takes the folder over can say which are lost. Files of
the first version have no heading and no checksums.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from zlib import crc32

from wattbus.jsontext import dumps, loads
from wattbus.mqtt.messages import Range
from wattbus.mqtt.range_set import RangeSet

log = logging.getLogger(__name__)

SEGMENT_BYTES = 2**18
NAME = re.compile(r"([0-9]{1,10})-([0-9A-Za-z]{1,64})\.readings", re.ASCII)
ENTRY = re.compile(rb"([0-9]{1,16}) ([0-9a-f]{8}) (.*)", re.DOTALL)
OLD_ENTRY = re.compile(rb"([0-9]{1,16}) (\{.*\})", re.DOTALL)
WAITING, LOCK = "waiting", "lock"


@dataclass(slots=True)
class OutboxSegment:
    """One file of entries of one session."""

    path: Path
    session: str
    numbers: RangeSet = field(default_factory=RangeSet)
    size: int = 0  # of the file
    payload_bytes: int = 0
    entries: int = 0
    finished: bool = False  # ends with its mark, or in half a line: nothing may be appended

    def mean_payload(self) -> float:
        """Bytes of payload per entry."""
        return self.payload_bytes / max(1, self.entries)


def entry(number: int, payload: bytes) -> bytes:
    """The line of one entry."""
    return b"%d %08x %b\n" % (number, crc32(payload), payload)


def heading(owner: str, session: str) -> bytes:
    """The first line of a file."""
    return f"wattbus-outbox 1 {owner} {session}\n".encode()


def end_mark(entries: int) -> bytes:
    """The last line of a file that its process has finished."""
    return b"end %d\n" % entries


def append(path: Path, content: bytes, size: int, durable: bool) -> None:
    """Append to a file of this size; what was half written is taken off again. Raises OSError."""
    try:
        with path.open("ab") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
    except OSError:
        if not size:
            unlink(path)
        else:
            try:
                os.truncate(path, size)
            except OSError as error:
                log.debug("could not shorten %s: %s", path, error)
        raise


def unlink(path: Path) -> None:
    """Delete a file; one that cannot be deleted is left."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:  # a disk that turned read-only: what is in there will be sent once more, no worse
        log.debug("could not delete %s: %s", path, error)


def read(path: Path, owner: str, session: str) -> tuple[dict[int, bytes], int]:
    """The entries of a file, and how many of its lines make no sense. Raises OSError; ValueError: it is foreign."""
    content = path.read_bytes()
    lines = content.split(b"\n")
    torn = lines.pop()  # empty when the last line is whole
    if lines and lines[0].startswith(b"wattbus-outbox "):
        if lines[0] + b"\n" != heading(owner, session):
            raise ValueError(f"it belongs to {lines[0][15:100].decode('utf-8', 'replace')}")
        return _checked_entries(lines[1:], bool(torn))
    return _unchecked_entries(lines, session, bool(torn))


def _unchecked_entries(lines: list[bytes], session: str, torn: bool) -> tuple[dict[int, bytes], int]:
    """Of the first version; a reading must say itself that it is this one."""
    entries: dict[int, bytes] = {}
    for line in lines:
        match = OLD_ENTRY.fullmatch(line)
        own = match is not None and b'{"session":"%b","sequence":%b,' % (session.encode(), match[1])
        if match and own and (not match[2].startswith(b'{"session":') or match[2].startswith(own)):
            entries[int(match[1])] = match[2]
    return entries, len(lines) - len(entries) + torn


def _checked_entries(lines: list[bytes], torn: bool) -> tuple[dict[int, bytes], int]:
    entries: dict[int, bytes] = {}
    damaged = int(torn)
    for line in lines:
        match = ENTRY.fullmatch(line)
        if match and int(match[2], 16) == crc32(match[3]):
            entries[int(match[1])] = match[3]
        elif not line.startswith(b"end "):
            damaged += 1
    return entries, damaged


# -- the numbers that should be there -------------------------------------------------------------------------------


def write_waiting(folder: Path, waiting: dict[str, list[Range]], dropped: dict[str, list[Range]]) -> None:
    """Replace the list. Raises OSError."""
    content = dumps({"waiting": waiting, "dropped": dropped})
    new = folder / f"{WAITING}.new"
    new.write_bytes(b"%08x %b\n" % (crc32(content), content))
    new.replace(folder / WAITING)


def read_waiting(folder: Path) -> tuple[dict[str, RangeSet], dict[str, RangeSet]]:
    """Session → numbers that wait, and those that are lost and not reported; nothing when there is no sound list."""
    try:
        checksum, _, content = (folder / WAITING).read_bytes().rstrip(b"\n").partition(b" ")
        if int(checksum, 16) != crc32(content):
            raise ValueError("wrong checksum")
        lists = loads(content)
        waiting, dropped = (
            {session: RangeSet((int(first), int(last)) for first, last in ranges) for session, ranges in part.items()}
            for part in (lists["waiting"], lists["dropped"])
        )
    except FileNotFoundError:
        return {}, {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        log.error("%s makes no sense, what is lost cannot be named: %s", folder / WAITING, error)
        return {}, {}
    return waiting, dropped


# -- one process for a folder ---------------------------------------------------------------------------------------


def lock(folder: Path) -> IO[bytes] | None:
    """Make the folder and take it for this process, for as long as the file stays open; None: another one has it.

    Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / LOCK).open("ab", buffering=0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except OSError:
        file.close()
        raise
    return file
