"""Raw messages: what goes in, what comes out, and what a store of them promises.

A message is JSON text and stays the text that it was: key order, 1.0 beside 1, integers of any length, escapes. All
times are integer milliseconds since 1970-01-01 UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from wattbus.jsontext import dumps
from wattbus.storage.records import ALWAYS, Removed, Retention, Span, Written

RawCursor = tuple[int, int]  # where a page of raw messages of one connector ended: time, and a number within it


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A raw message of `connector`; `message` is valid JSON."""

    connector: str
    timestamp_ms: int
    message: str
    connector_version: str | None = None


@dataclass(frozen=True, slots=True)
class StoredRawMessage:
    """A raw message as it came; give `cursor` to go on after it."""

    timestamp_ms: int
    message: str
    connector_version: str | None
    cursor: RawCursor

    def envelope(self) -> str:
        """One line of JSON, in the form of `…/raw_message_to_db`.

        JSON has line breaks between its tokens only, where they say nothing; here they become spaces.
        """
        line = self.message.replace("\r", " ").replace("\n", " ")
        version = ""
        if self.connector_version is not None:
            version = f', "connector_version": {dumps(self.connector_version).decode()}'
        return f'{{"raw_message": {line}, "timestamp": {self.timestamp_ms}{version}}}'


@dataclass(frozen=True, slots=True)
class RawConnector:
    """What is stored of a connector; `bytes_used` is an estimate."""

    connector: str
    messages: int
    first_ms: int
    last_ms: int
    bytes_used: int


class RawReader(Protocol):
    """Reads raw messages while others write. Every method raises `DatabaseAway` when the database does not work."""

    async def connectors(self) -> list[RawConnector]:
        """The connectors that have raw messages, by name."""

    async def messages(
        self,
        connector: str,
        span: Span = ALWAYS,
        *,
        at_most: int | None = None,
        newest_first: bool = False,
        after: RawCursor | None = None,
    ) -> list[StoredRawMessage]:
        """The raw messages of a connector in time order, in the order of arrival within one millisecond.

        `after` goes on behind the message with this cursor, in the same order; what was written or removed in between
        neither repeats nor skips another message.
        """

    async def close(self) -> None:
        """Let go of the database."""


class RawStore(RawReader, Protocol):
    """Durable and idempotent."""

    async def write(self, records: Sequence[RawRecord]) -> Written:
        """Write them in one transaction; when this returns it survives a power cut.

        A raw message is named by connector, timestamp and text: the same again is a redelivery. Raises BatchRefused
        when the database will never take one of them. A write that has begun is finished before a cancellation gets
        through.
        """

    async def rehearse(self, records: Sequence[RawRecord]) -> None:
        """Write them and take them back: raises what `write` raises."""

    async def retain(self, retention: Retention, now_ms: int) -> Removed:
        """Remove what is too old, then the oldest of what is too much, in steps that leave room for writers."""

    async def bytes_used(self) -> int:
        """How much the raw messages occupy, estimated; other tables of the database do not count."""

    async def oldest_ms(self, from_ms: int | None = None) -> int | None:
        """The time of the oldest raw message (of those from `from_ms` on), None when there is none."""
