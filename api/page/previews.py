"""What a controller says it will do with an actuator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from api.core import Core
from wattbus.jsontext import JsonValue


@dataclass(frozen=True, slots=True)
class PreviewedCommand:
    """A value that will be sent, and why."""

    from_ms: int
    value: JsonValue
    reason: str


@dataclass(frozen=True, slots=True)
class Preview:
    """`holds`: whether a setpoint or schedule applies now; then `value` is what the controller wants.

    `sensor` is the value topic of the sensor that it looks at.
    """

    sensor: str | None
    holds: bool
    value: JsonValue
    reason: str
    coming: tuple[PreviewedCommand, ...]
    dry_run: bool


def preview_of(core: Core, actuator_topic: str | None) -> Preview | None:
    """None while no controller tells one."""
    for filed in core.live.previews.values():
        content = filed.get(actuator_topic or "")
        if isinstance(content, dict) and isinstance(content.get("coming"), list):
            return _preview(content)
    return None


def _preview(content: dict[str, Any]) -> Preview:
    decision = content.get("decision")
    coming = [
        PreviewedCommand(item["from_timestamp"], item.get("value"), str(item.get("reason", "")))
        for item in content["coming"]
        if isinstance(item, dict) and isinstance(item.get("from_timestamp"), int)
    ]
    sensor = content.get("sensor")
    return Preview(
        sensor=sensor if isinstance(sensor, str) else None,
        holds=isinstance(decision, dict),
        value=decision.get("value") if isinstance(decision, dict) else None,
        reason=str(content.get("reason", "")),
        coming=tuple(coming),
        dry_run=bool(content.get("dry_run")),
    )
