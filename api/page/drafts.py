"""Setpoints and schedules while a person edits them. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from api.datapoints import KnownDatapoint
from api.validation import DISCRETE, NUMERIC
from wattbus.jsontext import JsonValue

HOUR_MS = 3_600_000


@dataclass(slots=True)
class SetpointDraft:
    """What is wanted in a span of time. Without `is_tolerant` the preferred value alone counts.

    `acceptable` is for discrete datapoints, `low` and `high` (None is no bound) for numbers.
    """

    from_ms: int | None = None
    to_ms: int | None = None
    value: JsonValue = None
    is_tolerant: bool = False
    low: float | None = None
    high: float | None = None
    acceptable: list[JsonValue] | None = None

    def as_json(self, datapoint: KnownDatapoint) -> dict[str, JsonValue]:
        item = {"from_timestamp": self.from_ms, "to_timestamp": self.to_ms, "preferred_value": self.value}
        if datapoint.data_format in DISCRETE:
            return {**item, "acceptable_values": list(self.acceptable or []) if self.is_tolerant else []}
        if datapoint.data_format in NUMERIC and self.is_tolerant:
            return {**item, "min_value": self.low, "max_value": self.high}
        if datapoint.data_format == "continuous_numeric":  # its items must have bounds
            return {**item, "min_value": self.value, "max_value": self.value}
        return item


@dataclass(slots=True)
class StepDraft:
    """A value for a span of time."""

    from_ms: int | None = None
    to_ms: int | None = None
    value: JsonValue = None

    def as_json(self, _: KnownDatapoint) -> dict[str, JsonValue]:
        return {"from_timestamp": self.from_ms, "to_timestamp": self.to_ms, "value": self.value}


Draft = TypeVar("Draft", SetpointDraft, StepDraft)


@dataclass(frozen=True, slots=True)
class Segment(Generic[Draft]):
    """From `from_ms` to `to_ms` this draft rules."""

    from_ms: int
    to_ms: int
    draft: Draft


def setpoint_drafts(items: JsonValue) -> list[SetpointDraft]:
    """As the bus has it."""
    return [_setpoint_draft(item) for item in _objects(items)]


def _setpoint_draft(item: dict[str, Any]) -> SetpointDraft:
    low, high, value = item.get("min_value"), item.get("max_value"), item.get("preferred_value")
    given = "min_value" in item or "max_value" in item
    acceptable = item.get("acceptable_values")
    return SetpointDraft(
        from_ms=item.get("from_timestamp"),
        to_ms=item.get("to_timestamp"),
        value=value,
        is_tolerant=bool(acceptable) or (given and not (low == high == value)),
        low=low,
        high=high,
        acceptable=acceptable if isinstance(acceptable, list) else None,
    )


def step_drafts(items: JsonValue) -> list[StepDraft]:
    """As the bus has it."""
    fields = ("from_timestamp", "to_timestamp", "value")
    return [StepDraft(*(item.get(name) for name in fields)) for item in _objects(items)]


def _objects(items: JsonValue) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def segments(drafts: Sequence[Draft], from_ms: int, to_ms: int) -> list[Segment[Draft]]:
    """Which draft rules when: of several that apply the one that began last, of equal ones the later in the list."""
    ends = {from_ms, to_ms}
    for draft in drafts:
        ends |= {end for end in (draft.from_ms, draft.to_ms) if end is not None and from_ms < end < to_ms}
    moments = sorted(ends)
    found: list[Segment[Draft]] = []
    for begin, end in itertools.pairwise(moments):
        ruling = _ruling(drafts, begin)
        if ruling is None:
            continue
        if found and found[-1].draft is ruling and found[-1].to_ms == begin:
            found[-1] = Segment(found[-1].from_ms, end, ruling)
        else:
            found.append(Segment(begin, end, ruling))
    return found


def _ruling(drafts: Sequence[Draft], at_ms: int) -> Draft | None:
    best: Draft | None = None
    best_from = float("-inf")
    for draft in drafts:
        begin = float("-inf") if draft.from_ms is None else draft.from_ms
        if begin <= at_ms and (draft.to_ms is None or at_ms < draft.to_ms) and begin >= best_from:
            best, best_from = draft, begin
    return best


def next_step(steps: Sequence[StepDraft], now_ms: int, value: JsonValue) -> StepDraft:
    """A further hour: after the last step, else from the next full hour on."""
    ends = [step.to_ms for step in steps if step.to_ms is not None and step.to_ms > now_ms]
    begin = max(ends) if ends else (now_ms // HOUR_MS + 1) * HOUR_MS
    return StepDraft(begin, begin + HOUR_MS, value)
