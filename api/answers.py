"""Answers of the REST API: JSON as it travels on the bus, and one place where errors become status codes."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api.errors import Conflict, Invalid, NotFound, Unavailable
from api.validation import is_sound
from wattbus.jsontext import JsonValue, dumps, loads
from wattbus.storage import BatchRefused, DatabaseAway

log = logging.getLogger(__name__)

T = TypeVar("T")

ITEMS_PER_TURN = 2_000  # of the event loop: some milliseconds
LONGEST_BODY = 32 * 2**20  # bytes; a day of values each second is 4 MB


class Json(Response):
    """JSON with integers of any size."""

    media_type = "application/json"

    def __init__(self, content: JsonValue, status: int = 200) -> None:
        super().__init__(b"" if status == 204 else rendered(content), status)


async def json_list(items: Sequence[T], as_json: Callable[[T], JsonValue]) -> Response:
    """Many items as one list, with turns for everybody else in between: there may be half a million."""
    parts: list[bytes] = []
    for start in range(0, len(items), ITEMS_PER_TURN):
        parts.append(rendered([as_json(item) for item in items[start : start + ITEMS_PER_TURN]])[1:-1])
        await asyncio.sleep(0)
    return Response(b"[" + b",".join(parts) + b"]", media_type=Json.media_type)


def rendered(content: JsonValue) -> bytes:
    try:
        return dumps(content)
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can escape and UTF-8 cannot hold
        return json.dumps(content, separators=(",", ":")).encode()


async def body_of(request: Request) -> JsonValue:
    """The JSON in a request. Raises Invalid, HTTPException when it is too long."""
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > LONGEST_BODY:
            raise HTTPException(413, f"More than {LONGEST_BODY} bytes.")
    try:
        body = loads(bytes(content))
    except ValueError as error:
        raise Invalid({"detail": f"JSON parse error - {error}"}) from None
    if not is_sound(body):
        raise Invalid({"detail": "JSON parse error - a number is too large"})
    return body


def install(app: FastAPI) -> None:
    """Let each error of ours become its status code; BEMCom's bodies where it has them."""
    statuses: dict[type[Exception], int] = {NotFound: 404, Conflict: 409, Unavailable: 503, BatchRefused: 409}
    for kind, status in statuses.items():
        app.add_exception_handler(kind, _detail(status))
    app.add_exception_handler(DatabaseAway, _database_away)
    app.add_exception_handler(Invalid, _invalid)
    app.add_exception_handler(RequestValidationError, _bad_parameter)
    app.add_exception_handler(HTTPException, _http)


def _detail(status: int) -> Any:
    async def answer(_: Request, error: Exception) -> Response:
        return Json({"detail": str(error)}, status)

    return answer


async def _database_away(_: Request, error: Exception) -> Response:
    return Json({"detail": f"The database does not work: {error}"}, 503)


async def _invalid(_: Request, error: Exception) -> Response:
    return Json(error.faults if isinstance(error, Invalid) else {}, 400)


async def _bad_parameter(_: Request, error: Exception) -> Response:
    """A path that names nothing is not found; a query parameter is named with its fault."""
    faults: dict[str, list[str]] = {}
    for found in error.errors() if isinstance(error, RequestValidationError) else ():
        place, name = found["loc"][0], str(found["loc"][-1])
        if place == "path":
            return Json({"detail": "Not found."}, 404)
        faults.setdefault(name, []).append(found["msg"])
    return Json(faults, 400)


async def _http(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        return Json({"detail": str(error)}, 500)
    if error.status_code == 404:
        return Json({"detail": "Not found."}, 404)
    answer = Json({"detail": error.detail}, error.status_code)
    answer.headers.update(error.headers or {})
    return answer
