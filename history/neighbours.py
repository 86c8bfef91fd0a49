"""The other histories of the installation: two must not record the same connector.

Both would give receipts for it, and its connector lets a reading go at the first of them: each reading is then in one
database for certain, and in the other by luck.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from wattbus.mqtt import topics
from wattbus.mqtt.messages import BadMessage, StatusMessage, parse
from wattbus.mqtt.packets import IncomingMessage
from wattbus.service.status_publisher import StatusPublisher

log = logging.getLogger(__name__)

MOST_NAMED = 10
ABOUT = "HISTORY_CONNECTORS"


class Neighbours:
    """Listens to the statuses of all services and complains of histories that record what we record.

    `connectors`: what we record, nothing for everybody.
    """

    def __init__(self, status_publisher: StatusPublisher, connectors: Iterable[str]) -> None:
        self._status_publisher = status_publisher
        self._ours = frozenset(connectors)
        self._shared: dict[str, frozenset[str] | None] = {}  # by history; None: everybody

    def take(self, delivery: IncomingMessage) -> None:
        """A message on `+/status`."""
        name = delivery.topic.split("/")[0]
        if name == self._status_publisher.service or (b'"records"' not in delivery.payload and name not in self._known):
            return
        try:
            status = parse(StatusMessage, delivery.payload) if delivery.payload else None
        except BadMessage:
            return  # that is its own trouble
        before = dict(self._shared)
        self._shared.pop(name, None)
        if status is not None and status.state != "offline":
            self._compare(name, status.records)
        if self._shared != before:
            self._complain()

    @property
    def _known(self) -> set[str]:
        """Who may be a history without saying what it records: an older one, or one that is gone."""
        return {topics.HISTORY, *self._shared}

    def _compare(self, name: str, records: list[str] | None) -> None:
        if records is None and name != topics.HISTORY:
            return
        theirs = frozenset(records or ())
        if not theirs and not self._ours:
            self._shared[name] = None
        elif both := (self._ours & theirs if self._ours and theirs else self._ours | theirs):
            self._shared[name] = both

    def _complain(self) -> None:
        fault = "; ".join(f"{name} records {_named(both)}, too" for name, both in sorted(self._shared.items()))
        self._status_publisher.report_fault(ABOUT, fault)
        if fault:
            log.error("%s: give each history a list of its own (HISTORY_CONNECTORS)", fault)
        else:
            log.warning("no other history records the same connectors any more")


def _named(connectors: frozenset[str] | None) -> str:
    if connectors is None:
        return "all connectors"
    names = sorted(connectors)
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
