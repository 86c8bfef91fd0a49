"""`/controller/`, `/controlled_datapoint/`: who controls what."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.answers import Json, body_of
from api.core import Core
from api.errors import Invalid, NotFound, fault
from api.routes import schemas
from api.routes.parts import CoreOf, answers, json_body, listed
from api.validation import REQUIRED, is_sound, is_topic
from wattbus.connector import DatapointType
from wattbus.jsontext import JsonValue
from wattbus.storage import BatchRefused
from wattbus.storage.control import ControlledDatapoint, StoredController
from wattbus.storage.edits import Identity

router = APIRouter(tags=["controllers"])

LARGEST_ID = 2**53
LONGEST_TEXT = 1000


def _controller_json(found: StoredController) -> JsonValue:
    return {"id": found.id, "name": found.name, "topic": found.topic}


def _pair_json(core: Core, pair_id: int, pair: ControlledDatapoint) -> JsonValue:
    known = core.directory.datapoints.by_identity
    sensor, actuator = known.get(pair.sensor), known.get(pair.actuator)
    return {
        "id": pair_id,
        "controller": pair.controller,
        "sensor": sensor.id if sensor else None,
        "actuator": actuator.id if actuator else None,
        "sensor_datapoint": {"connector": {"name": pair.sensor.connector}, "key_in_connector": pair.sensor.key},
        "actuator_datapoint": {"connector": {"name": pair.actuator.connector}, "key_in_connector": pair.actuator.key},
        "is_active": pair.is_active,
    }


# -- controllers ------------------------------------------------------------------------------------------------------


@router.get("/controller/", responses=answers(503, ok=listed(schemas.CONTROLLER)))
async def list_controllers(core: CoreOf) -> Response:
    """All controllers that are told what they control."""
    await core.control.load()
    return Json([_controller_json(found) for found in core.control.controllers])


@router.get("/controller/preview/", responses=answers(ok={"type": "object"}))
async def previews(core: CoreOf) -> Response:
    """What each controller is going to send, and why, as it says itself: service → preview."""
    return Json(core.live.previews)


@router.post(
    "/controller/",
    status_code=201,
    openapi_extra=json_body(schemas.CONTROLLER),
    responses=answers(201, 400, 503),
)
async def create_controller(core: CoreOf, request: Request) -> Response:
    """Make a controller; `topic` is where it listens for its list."""
    return await _save_controller(core, await body_of(request), None, 201)


@router.get("/controller/{controller_id}/", responses=answers(404, 503, ok=schemas.CONTROLLER))
async def one_controller(core: CoreOf, controller_id: int) -> Response:
    """One controller."""
    await core.control.load()
    return Json(_controller_json(_controller(core, controller_id)))


@router.put(
    "/controller/{controller_id}/",
    openapi_extra=json_body(schemas.CONTROLLER),
    responses=answers(400, 404, 503, ok=schemas.CONTROLLER),
)
async def update_controller(core: CoreOf, controller_id: int, request: Request) -> Response:
    """Change a controller; its former topic is told an empty list."""
    await core.control.load()
    _controller(core, controller_id)
    return await _save_controller(core, await body_of(request), controller_id, 200)


@router.delete("/controller/{controller_id}/", status_code=204, responses=answers(204, 404, 503))
async def delete_controller(core: CoreOf, controller_id: int) -> Response:
    """Remove a controller with all its pairs; its topic is told an empty list."""
    await core.control.load()
    _controller(core, controller_id)
    await core.database.once(lambda store: store.control.delete_controller(controller_id))
    await core.control.changed()
    return Json(None, 204)


def _controller(core: Core, controller_id: int) -> StoredController:
    for found in core.control.controllers:
        if found.id == controller_id:
            return found
    raise NotFound


async def _save_controller(core: Core, body: JsonValue, present: int | None, status: int) -> Response:
    fields = _object(body)
    name, topic = _text(fields, "name"), _text(fields, "topic")
    if not is_topic(topic):
        raise fault("topic", "Name one topic, without wildcards and control characters.")
    try:
        saved = await core.database.once(lambda store: store.control.save_controller(name, topic, present))
    except BatchRefused:
        raise fault("name", "A controller with this name or topic already exists.") from None
    await core.control.changed()
    return Json(_controller_json(_controller(core, saved or 0)), status)


# -- pairs ------------------------------------------------------------------------------------------------------------


@router.get("/controlled_datapoint/", responses=answers(503, ok=listed(schemas.CONTROLLED)))
async def list_pairs(core: CoreOf) -> Response:
    """All pairs of a sensor and the actuator that is set for it."""
    await core.control.load()
    return Json([_pair_json(core, number, pair) for number, pair in core.control.pairs.items()])


@router.post(
    "/controlled_datapoint/",
    status_code=201,
    openapi_extra=json_body(schemas.CONTROLLED),
    responses=answers(201, 400, 503),
)
async def create_pair(core: CoreOf, request: Request) -> Response:
    """Let a controller control an actuator by a sensor."""
    return await _save_pair(core, await body_of(request), None, 201)


@router.get("/controlled_datapoint/{pair_id}/", responses=answers(404, 503, ok=schemas.CONTROLLED))
async def one_pair(core: CoreOf, pair_id: int) -> Response:
    """One pair."""
    return Json(_pair_json(core, pair_id, await _pair(core, pair_id)))


@router.put(
    "/controlled_datapoint/{pair_id}/",
    openapi_extra=json_body(schemas.CONTROLLED),
    responses=answers(400, 404, 503, ok=schemas.CONTROLLED),
)
async def update_pair(core: CoreOf, pair_id: int, request: Request) -> Response:
    """Change a pair."""
    await _pair(core, pair_id)
    return await _save_pair(core, await body_of(request), pair_id, 200)


@router.delete("/controlled_datapoint/{pair_id}/", status_code=204, responses=answers(204, 404, 503))
async def delete_pair(core: CoreOf, pair_id: int) -> Response:
    """Let nobody control this actuator any more."""
    await _pair(core, pair_id)
    await core.database.once(lambda store: store.control.delete_pair(pair_id))
    await core.control.changed()
    return Json(None, 204)


async def _pair(core: Core, pair_id: int) -> ControlledDatapoint:
    await core.control.load()
    found = core.control.pairs.get(pair_id)
    if found is None:
        raise NotFound
    return found


async def _save_pair(core: Core, body: JsonValue, present: int | None, status: int) -> Response:
    await core.control.load()
    pair = _checked_pair(core, _object(body))
    try:
        saved = await core.database.once(lambda store: store.control.save_pair(pair, present))
    except BatchRefused:
        raise fault("actuator", "This actuator is controlled already.") from None
    await core.control.changed()
    if saved is None:
        raise NotFound
    return Json(_pair_json(core, saved, pair), status)


def _checked_pair(core: Core, fields: dict[str, Any]) -> ControlledDatapoint:
    if not core.control.controllers:
        raise fault("controller", "There is no controller yet: make one first.")
    controller = fields.get("controller", core.control.controllers[0].id)
    known = [found.id for found in core.control.controllers]
    if not isinstance(controller, int) or isinstance(controller, bool) or controller not in known:
        raise fault("controller", "There is no such controller.")
    is_active = fields.get("is_active", True)
    if not isinstance(is_active, bool):
        raise fault("is_active", "Must be a valid boolean.")
    return ControlledDatapoint(
        controller, _datapoint(core, fields, "sensor"), _datapoint(core, fields, "actuator"), is_active
    )


def _datapoint(core: Core, fields: dict[str, Any], kind: DatapointType) -> Identity:
    """A datapoint of the right type: the reference takes a sensor as actuator, and never starts again."""
    number = fields.get(kind)
    if number is None:
        raise fault(kind, REQUIRED)
    if not isinstance(number, int) or isinstance(number, bool):
        raise fault(kind, "A valid integer is required.")
    found = core.directory.datapoints.by_id.get(number)
    if found is None:
        raise fault(kind, f"There is no datapoint {number:d}.")
    if found.type != kind:
        raise fault(kind, f"Datapoint {number:d} is no {kind}.")
    return found.identity


def _object(body: JsonValue) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise Invalid({"non_field_errors": ["Invalid data. Expected an object."]})
    return body


def _text(fields: dict[str, Any], name: str) -> str:
    given = fields.get(name)
    if given is None:
        raise fault(name, REQUIRED)
    if not isinstance(given, str) or not given or len(given) > LONGEST_TEXT or not is_sound(given):
        raise fault(name, "Not a valid string.")
    return given
