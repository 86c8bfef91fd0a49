"""`/raw_message/`: what devices really said, letter by letter."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.answers import Json
from api.errors import fault
from api.parameters import LATEST_MS, Moment, Order, span
from api.routes.parts import CoreOf, answers, listed
from wattbus.storage import RawCursor

router = APIRouter(tags=["raw messages"])

MOST = 10_000
After = Annotated[str | None, Query(description="Where the last answer ended, as its `Link` header says.")]


@router.get("/raw_message/connectors/", responses=answers(503, ok=listed({"type": "object"})))
async def connectors(core: CoreOf) -> Response:
    """Whose raw messages there are."""
    found = await core.raw.once(lambda reader: reader.connectors())
    return Json(
        [
            {
                "name": entry.connector,
                "messages": entry.messages,
                "first_timestamp": entry.first_ms,
                "last_timestamp": entry.last_ms,
                "bytes": entry.bytes_used,
            }
            for entry in found
        ]
    )


@router.get("/raw_message/", responses=answers(400, 503, ok=listed({"type": "object"})))
async def raw_messages(
    core: CoreOf,
    request: Request,
    connector: str,
    timestamp__gte: Moment = None,
    timestamp__gt: Moment = None,
    timestamp__lte: Moment = None,
    timestamp__lt: Moment = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 1000,
    order: Order = "asc",
    after: After = None,
) -> Response:
    """The raw messages of a connector; the `Link` header leads to the next ones."""
    within = span(timestamp__gte, timestamp__gt, timestamp__lte, timestamp__lt)
    cursor = _cursor(after)
    found = await core.raw.once(
        lambda reader: reader.messages(connector, within, at_most=limit, newest_first=order == "desc", after=cursor)
    )
    # What was stored is JSON already: read and written again, 1.0 would become something else.
    body = "[" + ",\n".join(message.envelope() for message in found) + "]"
    answer = Response(body.encode("utf-8", "backslashreplace"), media_type="application/json")
    if len(found) == limit:
        time, number = found[-1].cursor
        query = urlencode({**request.query_params, "after": f"{time},{number}"})
        answer.headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'
    return answer


def _cursor(after: str | None) -> RawCursor | None:
    if after is None:
        return None
    time, comma, number = after.partition(",")
    if not comma or not all(part.lstrip("-").isascii() and part.lstrip("-").isdecimal() for part in (time, number)):
        raise fault("after", "Take it from the Link header of the answer before.")
    if len(time) > 17 or len(number) > 17 or abs(int(time)) > LATEST_MS:
        raise fault("after", "Take it from the Link header of the answer before.")
    return int(time), int(number)
