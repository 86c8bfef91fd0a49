"""`/datapoint/`: which there are, what is known about them, and the last of everything."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.answers import Json, body_of
from api.core import Core
from api.datapoints import KnownDatapoint
from api.errors import Invalid
from api.parameters import Moment, ids, span
from api.routes import bulk, schemas
from api.routes.parts import CoreOf, answers, datapoint_json, json_body, listed, plan_json, state_json, value_json
from wattbus.jsontext import JsonValue
from wattbus.storage.records import PlanKind

router = APIRouter(tags=["datapoints"])

Text = Annotated[str | None, Query()]
_FIELDS: dict[str, Callable[[KnownDatapoint], str | None]] = {
    "connector__name": lambda found: found.connector,
    "key_in_connector": lambda found: found.key,
    "short_name": lambda found: found.short_name,
    "description": lambda found: found.description,
    "data_format": lambda found: found.data_format,
    "unit": lambda found: found.unit,
}


@router.get("/datapoint/", responses=answers(400, 503, ok=listed(schemas.DATAPOINT)))
async def list_datapoints(
    core: CoreOf,
    request: Request,
    id__in: Text = None,
    connector__name: Text = None,
    connector__name__icontains: Text = None,
    key_in_connector: Text = None,
    key_in_connector__icontains: Text = None,
    short_name: Text = None,
    short_name__icontains: Text = None,
    description: Text = None,
    description__icontains: Text = None,
    data_format: Text = None,
    data_format__icontains: Text = None,
    unit: Text = None,
    unit__icontains: Text = None,
    type: Text = None,  # noqa: A002 - the reference's name
    is_active: Literal["true", "false", "all"] = "true",
) -> Response:
    """The datapoints, those that are active unless asked otherwise."""
    core.directory.check_loaded()
    wanted = ids("id__in", id__in)
    found = [
        datapoint
        for datapoint in core.directory.datapoints.by_id.values()  # the database gives new ones their ids in a moment
        if (is_active == "all" or datapoint.is_active == (is_active == "true"))
        and (wanted is None or datapoint.id in wanted)
        and (type is None or datapoint.type == type)
        and _matches(datapoint, dict(request.query_params))
    ]
    return Json([datapoint_json(datapoint) for datapoint in sorted(found, key=lambda datapoint: datapoint.id or 0)])


def _matches(datapoint: KnownDatapoint, parameters: dict[str, str]) -> bool:
    for name, field_of in _FIELDS.items():
        exact, part, field = parameters.get(name), parameters.get(f"{name}__icontains"), field_of(datapoint)
        if exact is not None and field != exact:
            return False
        if part is not None and part.lower() not in (field or "").lower():
            return False
    return True


@router.post(
    "/datapoint/",
    status_code=201,
    openapi_extra=json_body(listed(schemas.NEW_DATAPOINT)),
    responses=answers(201, 400, 503),
)
async def create_datapoints(core: CoreOf, request: Request) -> Response:
    """Make datapoints that no connector has announced yet, as a restored backup does: all or nothing."""
    made = await bulk.create(core, await body_of(request))
    return Json([datapoint_json(datapoint) for datapoint in made], 201)


@router.put(
    "/datapoint/",
    openapi_extra=json_body(listed(schemas.CHANGED_DATAPOINT)),
    responses=answers(400, 503, ok=listed(schemas.DATAPOINT)),
)
async def update_datapoints(core: CoreOf, request: Request) -> Response:
    """Change names, units, limits and formats, of datapoints given by connector and key: all or nothing."""
    changed = await bulk.update(core, await body_of(request))
    return Json([datapoint_json(datapoint) for datapoint in changed])


# -- the last of everything -------------------------------------------------------------------------------------------


@router.get("/datapoint/last_value/", responses=answers(400, 503, ok=schemas.LAST))
async def last_values(
    core: CoreOf,
    datapoint__id__in: Text = None,
    timestamp__gte: Moment = None,
    timestamp__gt: Moment = None,
    timestamp__lte: Moment = None,
    timestamp__lt: Moment = None,
) -> Response:
    """The last value of each active datapoint that has one."""
    wanted = _wanted(core, datapoint__id__in)
    within = span(timestamp__gte, timestamp__gt, timestamp__lte, timestamp__lt)
    found = await core.history.last_values(wanted, within)
    return Json({"msgs_by_datapoint_id": {str(number): value_json(value) for number, value in sorted(found.items())}})


@router.get("/datapoint/last_setpoint/", responses=answers(400, 503, ok=schemas.LAST))
async def last_setpoints(
    core: CoreOf,
    datapoint__id__in: Text = None,
    timestamp__gte: Moment = None,
    timestamp__gt: Moment = None,
    timestamp__lte: Moment = None,
    timestamp__lt: Moment = None,
) -> Response:
    """The last setpoint of each active datapoint that has one."""
    within = (timestamp__gte, timestamp__gt, timestamp__lte, timestamp__lt)
    return await _last_plans("setpoint", core, datapoint__id__in, within)


@router.get("/datapoint/last_schedule/", responses=answers(400, 503, ok=schemas.LAST))
async def last_schedules(
    core: CoreOf,
    datapoint__id__in: Text = None,
    timestamp__gte: Moment = None,
    timestamp__gt: Moment = None,
    timestamp__lte: Moment = None,
    timestamp__lt: Moment = None,
) -> Response:
    """The last schedule of each active datapoint that has one."""
    within = (timestamp__gte, timestamp__gt, timestamp__lte, timestamp__lt)
    return await _last_plans("schedule", core, datapoint__id__in, within)


async def _last_plans(kind: PlanKind, core: Core, wanted_ids: str | None, within: tuple[Any, ...]) -> Response:
    found = await core.history.last_plans(kind, _wanted(core, wanted_ids), span(*within))
    told = {str(number): plan_json(kind, plan) for number, plan in sorted(found.items())}
    return Json({"msgs_by_datapoint_id": told})


def _wanted(core: Core, wanted_ids: str | None) -> Collection[KnownDatapoint]:
    core.directory.check_loaded()
    numbers = ids("datapoint__id__in", wanted_ids)
    active = [found for found in core.directory.datapoints if found.is_active and found.id is not None]
    return active if numbers is None else [found for found in active if found.id in numbers]


# -- one --------------------------------------------------------------------------------------------------------------


@router.get("/datapoint/{datapoint_id}/", responses=answers(404, 503, ok=schemas.DATAPOINT))
async def one_datapoint(core: CoreOf, datapoint_id: int) -> Response:
    """One datapoint, with the last of everything in `last`."""
    found = await core.directory.by_id(datapoint_id)
    last: JsonValue = state_json(core.live.state_of(found))
    return Json({**datapoint_json(found), "last": last})


@router.put(
    "/datapoint/{datapoint_id}/",
    openapi_extra=json_body(schemas.EDIT),
    responses=answers(400, 404, 503, ok=schemas.DATAPOINT),
)
async def update_datapoint(core: CoreOf, datapoint_id: int, request: Request) -> Response:
    """Change the fields that are given, leave the others."""
    found = await core.directory.by_id(datapoint_id)
    body = await body_of(request)
    if not isinstance(body, dict):
        raise Invalid({"non_field_errors": ["Invalid data. Expected an object."]})
    return Json(datapoint_json(await core.editing.edit(found, body)))
