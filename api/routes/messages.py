"""`/datapoint/{id}/value|setpoint|schedule/`: the history of a datapoint, and telling it what is wanted."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api import plans, validation
from api.answers import Json, body_of, json_list
from api.core import Core
from api.datapoints import KnownDatapoint
from api.errors import NotFound, fault
from api.parameters import LATEST_MS, Limit, Moment, Order, interval_ms, span
from api.routes import schemas
from api.routes.parts import CoreOf, answers, json_body, listed, plan_json, value_json
from wattbus.jsontext import JsonValue
from wattbus.storage import Aggregate
from wattbus.storage.records import PlanKind

router = APIRouter(tags=["messages"])

STATUS_OF_OUTCOME = {"applied": 200, "rejected": 409, "expired": 409, "failed": 502, "unknown": 202}
Plan = Literal["setpoint", "schedule"]
Interval = Annotated[str | None, Query(description="`15 minutes`, `1 hour`, `PT15M`: one value for each.")]


@router.get("/datapoint/{datapoint_id}/value/", responses=answers(400, 404, 503, ok=listed(schemas.VALUE)))
async def values(
    core: CoreOf,
    datapoint_id: int,
    timestamp__gte: Moment = None,
    timestamp__gt: Moment = None,
    timestamp__lte: Moment = None,
    timestamp__lt: Moment = None,
    limit: Limit = None,
    order: Order = "asc",
    interval: Interval = None,
    aggregate: Aggregate = "avg",
) -> Response:
    """The values of a datapoint; with `interval` aggregated, each at the start of its interval."""
    datapoint = await core.directory.by_id(datapoint_id)
    within = span(timestamp__gte, timestamp__gt, timestamp__lte, timestamp__lt)
    newest_first = order == "desc"
    if interval is None:
        found = await core.history.values(datapoint, within, at_most=limit, newest_first=newest_first)
    else:
        found = await core.history.aggregate(
            datapoint, interval_ms(interval), aggregate, within, at_most=limit, newest_first=newest_first
        )
    return await json_list(found, value_json)


@router.post(
    "/datapoint/{datapoint_id}/value/",
    openapi_extra=json_body(schemas.VALUE),
    responses=answers(202, 400, 404, 409, 502, 503, ok=schemas.SENT),
)
async def post_value(core: CoreOf, datapoint_id: int, request: Request) -> Response:
    """Command an actuator, and wait a moment for the outcome."""
    datapoint = await core.directory.by_id(datapoint_id)
    sent = await core.commands.post_value(datapoint, await body_of(request))
    told = {
        "value": sent.value,
        "timestamp": sent.timestamp,
        "id": sent.id,
        "outcome": sent.outcome,
        "detail": sent.detail,
    }
    return Json(told, STATUS_OF_OUTCOME[sent.outcome])


@router.put(
    "/datapoint/{datapoint_id}/value/",
    openapi_extra=json_body(listed(schemas.VALUE)),
    responses=answers(400, 404, 503, ok=schemas.PUT_COUNTS),
)
async def put_values(core: CoreOf, datapoint_id: int, request: Request) -> Response:
    """Write values straight into the database, as a restored backup does; nothing is sent to the device."""
    datapoint, number = await _stored(core, datapoint_id)
    now_ms = core.clock.now_ms()
    messages = _each(await body_of(request), lambda item: plans.value_message(datapoint, item, now_ms))
    new = {message["timestamp"]: message["value"] for message in messages}
    made, updated = await core.database.once(lambda store: store.corrections.put_values(number, new))
    return Json({"msgs_created": made, "msgs_updated": updated})


@router.delete("/datapoint/{datapoint_id}/value/{timestamp}/", status_code=204, responses=answers(204, 404, 503))
async def delete_value(core: CoreOf, datapoint_id: int, timestamp: int) -> Response:
    """Take one value out of the history."""
    _, number = await _stored(core, datapoint_id)
    moment = _moment(timestamp)
    if not await core.database.once(lambda store: store.corrections.delete_value(number, moment)):
        raise NotFound
    return Json(None, 204)


# -- setpoints and schedules ------------------------------------------------------------------------------------------


@router.get(
    "/datapoint/{datapoint_id}/setpoint/", responses=answers(400, 404, 503, ok=listed(schemas.PLANS["setpoint"]))
)
async def setpoints(
    core: CoreOf,
    datapoint_id: int,
    timestamp__gte: Moment = None,
    timestamp__gt: Moment = None,
    timestamp__lte: Moment = None,
    timestamp__lt: Moment = None,
    limit: Limit = None,
    order: Order = "asc",
) -> Response:
    """The setpoints of a datapoint."""
    within = (timestamp__gte, timestamp__gt, timestamp__lte, timestamp__lt)
    return await _plans("setpoint", core, datapoint_id, within, limit, order)


@router.get(
    "/datapoint/{datapoint_id}/schedule/", responses=answers(400, 404, 503, ok=listed(schemas.PLANS["schedule"]))
)
async def schedules(
    core: CoreOf,
    datapoint_id: int,
    timestamp__gte: Moment = None,
    timestamp__gt: Moment = None,
    timestamp__lte: Moment = None,
    timestamp__lt: Moment = None,
    limit: Limit = None,
    order: Order = "asc",
) -> Response:
    """The schedules of a datapoint."""
    within = (timestamp__gte, timestamp__gt, timestamp__lte, timestamp__lt)
    return await _plans("schedule", core, datapoint_id, within, limit, order)


async def _plans(
    kind: PlanKind, core: Core, datapoint_id: int, within: tuple[Any, ...], limit: int | None, order: str
) -> Response:
    datapoint = await core.directory.by_id(datapoint_id)
    found = await core.history.plans(kind, datapoint, span(*within), at_most=limit, newest_first=order == "desc")
    return Json([plan_json(kind, plan) for plan in found])


def _add_plan_routes(kind: PlanKind) -> None:
    """What setpoints and schedules have in common, under their own paths."""
    path, schema = f"/datapoint/{{datapoint_id}}/{kind}/", schemas.PLANS[kind]

    async def post(core: CoreOf, datapoint_id: int, request: Request) -> Response:
        datapoint = await core.directory.by_id(datapoint_id)
        return Json(await core.commands.post_plan(kind, datapoint, await body_of(request)), 201)

    async def put(core: CoreOf, datapoint_id: int, request: Request) -> Response:
        datapoint, number = await _stored(core, datapoint_id)
        now_ms = core.clock.now_ms()
        messages = _each(await body_of(request), lambda item: plans.plan_message(kind, datapoint, item, now_ms))
        new = {message["timestamp"]: message[kind] for message in messages}
        made, updated = await core.database.once(lambda store: store.corrections.put_plans(kind, number, new))
        return Json({"msgs_created": made, "msgs_updated": updated})

    async def delete(core: CoreOf, datapoint_id: int, timestamp: int) -> Response:
        _, number = await _stored(core, datapoint_id)
        moment = _moment(timestamp)
        if not await core.database.once(lambda store: store.corrections.delete_plan(kind, number, moment)):
            raise NotFound
        return Json(None, 204)

    router.post(
        path,
        status_code=201,
        name=f"post_{kind}",
        summary=f"Publish a {kind}; it replaces the one before.",
        openapi_extra=json_body(schema),
        responses=answers(201, 400, 404, 409, 503),
    )(post)
    router.put(
        path,
        name=f"put_{kind}s",
        summary=f"Write {kind}s straight into the database.",
        openapi_extra=json_body(listed(schema)),
        responses=answers(400, 404, 503, ok=schemas.PUT_COUNTS),
    )(put)
    router.delete(
        f"{path}{{timestamp}}/",
        status_code=204,
        name=f"delete_{kind}",
        summary=f"Take one {kind} out of the history.",
        responses=answers(204, 404, 503),
    )(delete)


async def _stored(core: Core, datapoint_id: int) -> tuple[KnownDatapoint, int]:
    return await core.directory.by_id(datapoint_id), datapoint_id


def _each(body: JsonValue, check: Any) -> list[Any]:
    try:
        return validation.each(body, check)
    except validation.Fault as wrong:
        raise fault("non_field_errors", str(wrong)) from None


def _moment(timestamp: int) -> int:
    """A time that a database can be asked for. Raises NotFound."""
    if abs(timestamp) > LATEST_MS:
        raise NotFound
    return timestamp


_add_plan_routes("setpoint")
_add_plan_routes("schedule")
