"""A batch of history as the records that can be written by themselves, when the batch as a whole cannot. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from wattbus.storage import Announcement, Batch, Outcome, Plan, ReadingValues, Store, TopicValue, Written

Part = Announcement | ReadingValues | TopicValue | Plan | Outcome


def parts_of(batch: Batch) -> list[Part]:
    """Its records without the sessions, which come last: they may speak only of what is there."""
    return [*batch.announcements, *batch.values, *batch.plans, *batch.outcomes]


def batch_of(parts: Iterable[Part]) -> Batch:
    batch = Batch()
    for part in parts:
        if isinstance(part, Announcement):
            batch.announcements.append(part)
        elif isinstance(part, Plan):
            batch.plans.append(part)
        elif isinstance(part, Outcome):
            batch.outcomes.append(part)
        else:
            batch.values.append(part)
    return batch


def split(part: Part) -> Sequence[Part]:
    """Each value of a reading by itself."""
    if not isinstance(part, ReadingValues) or len(part.values) < 2:
        return [part]
    return [replace(part, values={key: value}) for key, value in part.values.items()]


def name_of(part: Part) -> str:
    """For the log: which one it is."""
    if isinstance(part, ReadingValues):
        return f"{part.connector}: {', '.join(part.values)} at {part.timestamp_ms}"
    if isinstance(part, Announcement):
        return f"the announcement of {part.topic}"
    return f"{part.topic} at {part.timestamp_ms}"


def harmless(service: str) -> Batch:
    """Of each kind one that every database takes: when it is refused, the data is not the reason."""
    topic = f"{service}/messages/rehearsal-set/value"
    return Batch(
        announcements=[Announcement(service, "actuator", "rehearsal", topic)],
        values=[ReadingValues(service, 0, {"rehearsal": 0.0})],
        plans=[Plan("setpoint", service, topic, 0, None)],
        outcomes=[Outcome(service, topic, 0, "applied", 0)],
    )


async def write(store: Store, parts: Sequence[Part]) -> Written:
    """In one transaction."""
    return await store.write(batch_of(parts))
