"""Print stored raw messages, or which connectors have some."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from wattbus.errors import ConfigError
from wattbus.storage import DatabaseAway, RawConnector, RawReader, Span, StoredRawMessage, open_raw_reader

PAGE = 200  # messages; one may have megabytes
COLUMNS = ("CONNECTOR", "MESSAGES", "MIB", "FIRST", "LAST")
FAILED = 1  # exit code


@dataclass(frozen=True, slots=True)
class RawSelection:
    """Of `connector` (None: list them) from `from_ms` (included) to `to_ms` (excluded) the first or the last ones."""

    connector: str | None
    from_ms: int | None = None
    to_ms: int | None = None
    first: int | None = None
    last: int | None = None


async def print_raw(url: str, wanted: RawSelection) -> int:
    """Print to standard output; the exit code."""
    try:
        reader = await open_raw_reader(url)
        try:
            await _print(reader, wanted)
        finally:
            await reader.close()
    except DatabaseAway as error:
        print(f"wattbus: {error}", file=sys.stderr)
        return FAILED
    return 0


async def _print(reader: RawReader, wanted: RawSelection) -> None:
    connectors = await reader.connectors()
    if wanted.connector is None:
        print("\n".join(_table(connectors)), flush=True)
        return
    if wanted.connector not in [known.connector for known in connectors]:
        raise ConfigError(_unknown(wanted.connector, connectors))
    async for message in _messages(reader, wanted.connector, wanted):
        sys.stdout.buffer.write(message.envelope().encode() + b"\n")
    sys.stdout.flush()


def _unknown(name: str, connectors: Sequence[RawConnector]) -> str:
    known = ", ".join(connector.connector for connector in connectors) or "none"
    return f"there are no raw messages of {name} (of: {known})"


async def _messages(reader: RawReader, connector: str, wanted: RawSelection) -> AsyncIterator[StoredRawMessage]:
    span = Span(wanted.from_ms, wanted.to_ms)
    if wanted.last is None:
        async for message in _pages(reader, connector, span, wanted.first):
            yield message
        return
    newest = [m async for m in _pages(reader, connector, span, wanted.last, newest_first=True)]
    for message in reversed(newest):
        yield message


async def _pages(
    reader: RawReader, connector: str, span: Span, limit: int | None, *, newest_first: bool = False
) -> AsyncIterator[StoredRawMessage]:
    """In pages, because a long read would keep the writer's log from shrinking."""
    left, cursor = limit, None
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        page = await reader.messages(connector, span, at_most=size, newest_first=newest_first, after=cursor)
        for message in page:
            yield message
        if len(page) < size:
            return
        left, cursor = left and left - size, page[-1].cursor


def _table(connectors: Sequence[RawConnector]) -> list[str]:
    rows = [COLUMNS, *(_row(connector) for connector in connectors)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(connector: RawConnector) -> tuple[str, ...]:
    return (
        connector.connector,
        str(connector.messages),
        f"{connector.bytes_used / 2**20:.1f}",
        _as_text(connector.first_ms),
        _as_text(connector.last_ms),
    )


def _as_text(timestamp_ms: int) -> str:
    """ISO 8601 in UTC; a sender's clock may be anywhere."""
    try:
        time = datetime.fromtimestamp(timestamp_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return str(timestamp_ms)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
