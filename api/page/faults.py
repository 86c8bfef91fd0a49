"""What the core finds wrong, by item and field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from wattbus.storage.records import PlanKind


@dataclass(frozen=True, slots=True)
class ItemFaults:
    """Of one item of a setpoint or schedule."""

    texts: dict[str, Any] = field(default_factory=dict)

    def at(self, name: str) -> str:
        return " ".join(map(str, self.texts.get(name, ())))


@dataclass(frozen=True, slots=True)
class PlanFaults:
    """`general` is what belongs to no item."""

    general: str
    items: list[Any]

    def of(self, index: int) -> ItemFaults:
        found = self.items[index] if index < len(self.items) else {}
        return ItemFaults(found if isinstance(found, dict) else {})


def plan_faults(kind: PlanKind, faults: Any) -> PlanFaults:
    """From `Invalid.faults`: `{"setpoint": ["text"]}`, or `{"setpoint": [{}, {"field": ["text"]}]}`."""
    found = faults.get(kind, []) if isinstance(faults, dict) else []
    items = [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
    texts = [str(entry) for entry in found if not isinstance(entry, dict)] if isinstance(found, list) else [str(found)]
    if isinstance(faults, dict):
        texts += [f"{name}: {given}" for name, given in faults.items() if name != kind]
    texts += [text for item in items for text in map(str, item.get("non_field_errors", ()))]
    return PlanFaults(" ".join(texts), items)
