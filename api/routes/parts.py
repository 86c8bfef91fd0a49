"""What the routes share: the core of the app, and how things look as JSON."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends
from starlette.requests import HTTPConnection

from api.core import Core
from api.datapoints import KnownDatapoint
from api.live import DatapointState, LiveConnector
from wattbus.jsontext import JsonValue
from wattbus.service.effective_quality import ConnectorLife
from wattbus.storage import StoredPlan, StoredValue
from wattbus.storage.records import PlanKind


def _core_of(connection: HTTPConnection) -> Core:
    core = connection.app.state.core
    assert isinstance(core, Core)
    return core


CoreOf = Annotated[Core, Depends(_core_of)]


def datapoint_json(found: KnownDatapoint) -> JsonValue:
    """The reference's object, and what it does not tell."""
    return {
        "id": found.id,
        "connector": {"name": found.connector},
        "key_in_connector": found.key,
        "type": found.type,
        "data_format": found.data_format,
        "short_name": found.short_name,
        "description": found.description,
        "min_value": found.min_value,
        "max_value": found.max_value,
        "allowed_values": None if found.allowed_values is None else list(found.allowed_values),
        "unit": found.unit,
        "is_active": found.is_active,
        "topic": found.topic,
        "example_value": found.example_value,
        "expected_interval_s": found.expected_interval_s,
        "announced": found.announced,
    }


def value_json(value: StoredValue) -> JsonValue:
    told = {"value": value.value, "timestamp": value.timestamp_ms}
    return told if value.quality is None else {**told, "quality": value.quality}


def plan_json(kind: PlanKind, plan: StoredPlan) -> JsonValue:
    return {kind: plan.items, "timestamp": plan.timestamp_ms}


def state_json(state: DatapointState) -> dict[str, JsonValue]:
    """The last of everything."""
    return {
        "value": None if state.value is None else value_json(state.value),
        "setpoint": None if state.setpoint is None else plan_json("setpoint", state.setpoint),
        "schedule": None if state.schedule is None else plan_json("schedule", state.schedule),
        "outcome": None if state.outcome is None else state.outcome.model_dump(),
    }


def connector_json(core: Core, name: str, state: LiveConnector | None) -> JsonValue:
    """How a connector is; of those that only the database remembers, little is known."""
    state = state or LiveConnector(name, ConnectorLife(core.clock.monotonic()))
    life = state.life.judged(core.clock.monotonic())
    now_ms = core.clock.now_ms()
    heard_ms = state.last_heard_ms
    status, heartbeat = state.status, state.heartbeat
    return {
        "name": name,
        "state": life.state,
        "detail": life.reason,
        "conditions": [condition.model_dump() for condition in status.conditions] if status else [],
        "version": status.version if status else "",
        "last_heard_timestamp": heard_ms,
        "age_s": None if heard_ms is None else max(0, now_ms - heard_ms) / 1000,
        "heartbeat": heartbeat.model_dump(exclude_unset=True) if heartbeat else None,
        "describes_itself": state.describes_itself,
        "datapoints": len(core.directory.datapoints.by_connector.get(name, ())),
        "is_chosen": core.maps.is_chosen(name),
    }


def json_body(schema: Any) -> dict[str, Any]:
    """For the OpenAPI page: what a request carries."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def answers(*codes: int, **schemas: Any) -> dict[int | str, dict[str, Any]]:
    """For the OpenAPI page: the status codes, and what 200 carries (`ok`)."""
    told: dict[int | str, dict[str, Any]] = {code: {"description": MEANING[code]} for code in codes}
    if "ok" in schemas:
        told[200] = {"description": "OK", "content": {"application/json": {"schema": schemas["ok"]}}}
    return told


def listed(schema: Any) -> dict[str, Any]:
    return {"type": "array", "items": schema}


MEANING = {
    201: "The broker has it, or it was made.",
    202: "Sent; what became of it is not known yet.",
    204: "Removed.",
    400: "What was sent does not fit: field → texts.",
    404: "There is no such thing.",
    409: "Rejected: by the connector, or as things are.",
    413: "Too long.",
    502: "The device did not do it.",
    503: "Broker, connector or database is away; nothing was done.",
}
