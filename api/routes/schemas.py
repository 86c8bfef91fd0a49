"""JSON schemas for the OpenAPI page. What is really accepted: `api.validation`, `api.plans`, `api.editing`."""

from __future__ import annotations

from typing import Any, get_args

from wattbus.connector import DataFormat

ANY: dict[str, Any] = {}
ANY_VALUE = {"description": "A number, text, true, false or null; numeric and bool datapoints read text as JSON."}
TIMESTAMP = {"type": "integer", "description": "Milliseconds since 1970-01-01 UTC."}
OPTIONAL_TIMESTAMP = {"type": ["integer", "null"], "description": "Milliseconds; null: now, or for ever."}
NUMBER = {"type": ["number", "null"]}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties}


VALUE = _object(["value", "timestamp"], value=ANY_VALUE, timestamp=TIMESTAMP)
SETPOINT_ITEM = _object(
    ["from_timestamp", "to_timestamp", "preferred_value"],
    from_timestamp=OPTIONAL_TIMESTAMP,
    to_timestamp=OPTIONAL_TIMESTAMP,
    preferred_value=ANY_VALUE,
    acceptable_values={"type": ["array", "null"], "description": "Discrete datapoints."},
    min_value={**NUMBER, "description": "Continuous datapoints."},
    max_value={**NUMBER, "description": "Continuous datapoints."},
)
SCHEDULE_ITEM = _object(
    ["from_timestamp", "to_timestamp", "value"],
    from_timestamp=OPTIONAL_TIMESTAMP,
    to_timestamp=OPTIONAL_TIMESTAMP,
    value=ANY_VALUE,
)
PLANS = {
    "setpoint": _object(
        ["setpoint", "timestamp"], setpoint={"type": ["array", "null"], "items": SETPOINT_ITEM}, timestamp=TIMESTAMP
    ),
    "schedule": _object(
        ["schedule", "timestamp"], schedule={"type": "array", "items": SCHEDULE_ITEM}, timestamp=TIMESTAMP
    ),
}
SENT = _object(
    ["value", "timestamp", "id", "outcome"],
    value=ANY_VALUE,
    timestamp=TIMESTAMP,
    id={"type": "string"},
    outcome={"enum": ["applied", "rejected", "failed", "expired", "unknown"]},
    detail={"type": "string"},
)
PUT_COUNTS = _object(
    ["msgs_created", "msgs_updated"], msgs_created={"type": "integer"}, msgs_updated={"type": "integer"}
)

EDITABLE_FIELDS = {
    "data_format": {"enum": list(get_args(DataFormat))},
    "short_name": {"type": ["string", "null"]},
    "description": {"type": "string"},
    "unit": {"type": "string"},
    "min_value": NUMBER,
    "max_value": NUMBER,
    "allowed_values": {"type": ["array", "null"]},
    "is_active": {"type": "boolean"},
}
EDIT = _object([], **EDITABLE_FIELDS)
NAMED = {
    "connector": _object(["name"], name={"type": "string"}),
    "key_in_connector": {"type": "string"},
    "type": {"enum": ["sensor", "actuator"]},
}
NEW_DATAPOINT = _object(["connector", "key_in_connector", "type"], **NAMED, **EDITABLE_FIELDS)
CHANGED_DATAPOINT = _object(["connector", "key_in_connector"], **NAMED, **EDITABLE_FIELDS)
DATAPOINT = _object(
    ["id", "connector", "key_in_connector", "type"],
    id={"type": ["integer", "null"]},
    **NAMED,
    **EDITABLE_FIELDS,
    topic={"type": ["string", "null"]},
    example_value=ANY,
    expected_interval_s=NUMBER,
    announced={"type": "boolean"},
)
LAST = _object(["msgs_by_datapoint_id"], msgs_by_datapoint_id={"type": "object"})

CONNECTOR = _object(
    ["name", "state"],
    name={"type": "string"},
    state={"enum": ["online", "degraded", "offline", "unknown"]},
    detail={"type": "string"},
    version={"type": "string"},
    last_heard_timestamp=OPTIONAL_TIMESTAMP,
    age_s=NUMBER,
    heartbeat={"type": ["object", "null"]},
    describes_itself={"type": "boolean"},
    datapoints={"type": "integer"},
    is_chosen={"type": "boolean"},
)
DATAPOINT_MAP = _object(
    ["sensor", "actuator"],
    sensor={"type": ["object", "array"], "description": "Keys, or key → topic as it is read."},
    actuator={"type": ["object", "array"], "description": "Keys, or topic → key as it is read."},
)
CONTROLLER = _object(["name", "topic"], name={"type": "string"}, topic={"type": "string"})
CONTROLLED = _object(
    ["sensor", "actuator"],
    sensor={"type": "integer", "description": "Id of a sensor."},
    actuator={"type": "integer", "description": "Id of an actuator."},
    controller={"type": "integer", "description": "Id of a controller; left out: the first."},
    is_active={"type": "boolean"},
)
