"""What is not well with a service, in one list: status, `/readyz`, metric and log all say it from here.

A condition has a name, a begin, a cause that is renewed while it lasts, a cure in words, and an end. It is logged once
when it begins and once when it ends, each time anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from wattbus import metrics
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.mqtt.messages import ConditionMessage

log = logging.getLogger(__name__)

MOST_CONDITIONS = 32  # in the status; names are few, but some carry a topic
LONGEST_CAUSE = 500  # characters

PRESENT = metrics.gauge("condition", "1 while something is not well, by its name.", "condition")
BEGUN = metrics.counter("conditions_begun", "How often something began not to be well, by its name.", "condition")

# What people can do, by the name of the condition. A condition that brings its own cure needs no entry.
CURES: dict[str, str] = {
    "broker": "Is the broker running, and are MQTT_BROKER_HOST, MQTT_BROKER_PORT and the password right?",
    "name taken": "Give one of the two services another name, or stop one of them.",
    "second client": "Find the other program that uses this client id, and give one of them another name.",
    "link": "Is the device switched on and connected, and is its address right? Try `wattbus check NAME --probe`.",
    "outbox disk": "Free space on the disk of DATA_DIRECTORY, or make the folder writable for this service.",
    "outbox full": "Start history again; or allow more with OUTBOX_MAX_BYTES.",
    "no receipts": "Look at history's status and log: it is online and confirms nothing.",
    "readings lost": "Nothing brings them back; the numbers say which readings are missing in history.",
    "publishing refused": "Let this service write the topic: the broker's access rules and max_packet_size.",
    "subscription refused": "Let this service read the topic: the broker's access rules.",
    "too large": "Split the message at its source, or allow larger packets at the broker.",
    "database": "Is the database running and reachable, its disk not full, and DATABASE_URL right?",
    "database changed": "If a backup was restored, all is well: what connectors still hold is asked for.",
    "state file": "Free space on the disk of DATA_DIRECTORY, or make the folder writable for this service.",
    "clock": "Set the clock of this machine (time synchronisation).",
    "times in the future": "Set the clock of that device, or the one of this machine if it is behind.",
    "HISTORY_CONNECTORS": "Give each history connectors of its own (HISTORY_CONNECTORS).",
}


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is not well. `since_ms` is its begin; `ready` false: the service cannot do its job meanwhile."""

    name: str
    since_ms: int
    cause: str
    cure: str
    ready: bool

    @property
    def text(self) -> str:
        """For the status' detail and for pages."""
        return self.cause

    def message(self) -> ConditionMessage:
        """As it stands in the status."""
        return ConditionMessage(name=self.name, since=self.since_ms, cause=self.cause, cure=self.cure)


class Conditions:
    """The conditions of one service. `changed` is called when one begins, ends, or has another cause."""

    def __init__(self, service: str, changed: Callable[[], None] = lambda: None, clock: Clock = SYSTEM_CLOCK) -> None:
        self._service = service
        self._changed = changed
        self._clock = clock
        self._present: dict[str, Condition] = {}

    def hold(self, name: str, cause: str, cure: str = "", *, ready: bool = False, level: int = logging.WARNING) -> None:
        """It is so now, for this reason: begins the condition, or renews its cause."""
        cause = cause[:LONGEST_CAUSE]
        known = self._present.get(name)
        if known is not None and (known.cause, known.ready) == (cause, ready):
            return
        since_ms = self._clock.now_ms() if known is None else known.since_ms
        self._present[name] = Condition(name, since_ms, cause, cure or cure_of(name), ready)
        if known is None:
            PRESENT.labels(self._service, name).set(1)
            BEGUN.labels(self._service, name).inc()
            log.log(level, "%s", " ".join(filter(None, (f"{name}: {cause}.", self._present[name].cure))))
        self._changed()

    def end(self, name: str) -> None:
        """It is over; nothing happens when it was not so."""
        known = self._present.pop(name, None)
        if known is None:
            return
        PRESENT.labels(self._service, name).set(0)
        minutes, seconds = divmod(max(0, self._clock.now_ms() - known.since_ms) // 1000, 60)
        log.warning("%s: over after %d min %d s", name, minutes, seconds)
        self._changed()

    def __iter__(self) -> Iterator[Condition]:
        """The oldest first."""
        return iter(list(self._present.values()))

    def __len__(self) -> int:
        return len(self._present)

    def get(self, name: str) -> Condition | None:
        """The condition of this name, None when it does not hold now."""
        return self._present.get(name)

    def not_ready(self) -> str:
        """Why the service cannot do its job, "" when it can; for `/readyz`."""
        return "; ".join(f"{found.name}: {found.cause}" for found in self._present.values() if not found.ready)

    def texts(self) -> list[str]:
        """The causes of all of them, the oldest first."""
        return [condition.text for condition in self._present.values()]

    def messages(self) -> list[ConditionMessage]:
        """For the status: the oldest first, bounded."""
        return [condition.message() for condition in list(self._present.values())[:MOST_CONDITIONS]]


def cure_of(name: str) -> str:
    """By the part of the name before a colon: `subscription refused: +/values`."""
    return CURES.get(name.partition(":")[0], "")
