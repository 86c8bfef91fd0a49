"""`/connector/`: how connectors are, and which of their datapoints they shall publish."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.answers import Json, body_of
from api.core import Core
from api.errors import Invalid, NotFound, fault
from api.live import LiveConnector
from api.routes import schemas
from api.routes.parts import CoreOf, answers, connector_json, json_body, listed
from wattbus.connector import DatapointType
from wattbus.jsontext import JsonValue
from wattbus.storage.edits import Identity

router = APIRouter(tags=["connectors"])


def _names(core: Core) -> list[str]:
    """Those that the bus or the database knows."""
    heard = {connector.name for connector in core.live.connectors.values() if connector.is_connector}
    return sorted(heard | core.directory.datapoints.by_connector.keys())


@router.get("/connector/", responses=answers(ok=listed(schemas.CONNECTOR)))
async def list_connectors(core: CoreOf) -> Response:
    """All connectors."""
    return Json([connector_json(core, name, core.live.connectors.get(name)) for name in _names(core)])


@router.get("/connector/{name}/", responses=answers(404, ok=schemas.CONNECTOR))
async def one_connector(core: CoreOf, name: str) -> Response:
    """One connector, with its latest log messages in `logs`."""
    if name not in _names(core):
        raise NotFound
    state = core.live.connectors.get(name)
    logs = [message.model_dump() for message in state.logs] if state else []
    return Json({**connector_json(core, name, state), "logs": logs})


@router.get("/connector/{name}/datapoint_map/", responses=answers(404, ok=schemas.DATAPOINT_MAP))
async def datapoint_map(core: CoreOf, name: str) -> Response:
    """What the connector publishes, and on which topics it takes commands."""
    _announced(core, name)
    return Json(core.maps.complete(name).model_dump())


@router.put(
    "/connector/{name}/datapoint_map/",
    openapi_extra=json_body(schemas.DATAPOINT_MAP),
    responses=answers(400, 404, 503, ok=schemas.DATAPOINT_MAP),
)
async def choose_datapoints(core: CoreOf, name: str, request: Request) -> Response:
    """Let the connector publish these of its datapoints and no others; topics cannot be chosen."""
    connector = _announced(core, name)
    body = await body_of(request)
    if not isinstance(body, dict):
        raise Invalid({"non_field_errors": ["Invalid data. Expected an object."]})
    wanted = [Identity(name, "sensor", key) for key in _keys(core, name, body, "sensor")]
    wanted += [Identity(name, "actuator", key) for key in _keys(core, name, body, "actuator")]
    await core.editing.choose(connector, wanted)
    return Json(core.maps.complete(name).model_dump())


@router.delete("/connector/{name}/datapoint_map/", status_code=204, responses=answers(204, 404, 503))
async def choose_everything(core: CoreOf, name: str) -> Response:
    """Forget what was chosen: the connector publishes everything."""
    await core.editing.choose_nothing(_announced(core, name))
    return Json(None, 204)


def _announced(core: Core, name: str) -> LiveConnector:
    connector = core.live.connectors.get(name)
    if connector is None or (connector.described is None and connector.available is None):
        raise NotFound
    return connector


def _keys(core: Core, name: str, body: dict[str, JsonValue], kind: DatapointType) -> Collection[str]:
    """Keys as a list, or the object that GET gives."""
    given = body.get(kind, [])
    if isinstance(given, dict):
        given = _keys_of_map(core, name, given, kind)
    if not isinstance(given, list) or not all(isinstance(key, str) for key in given):
        raise fault(kind, "Expected a list of keys, or the object that is read here.")
    return cast(list[str], given)


def _keys_of_map(core: Core, name: str, given: dict[str, JsonValue], kind: DatapointType) -> list[JsonValue]:
    keys = list(given) if kind == "sensor" else list(given.values())
    topics = list(given.values()) if kind == "sensor" else list(given)
    for key, topic in zip(keys, topics, strict=True):
        found = core.directory.datapoints.by_identity.get(Identity(name, kind, key)) if isinstance(key, str) else None
        if found is not None and found.topic != topic:
            raise fault(kind, f"The topic of {key:.200} is {found.topic}: it cannot be chosen.")
    return keys
