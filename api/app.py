"""The web application around the core: routes, errors, documentation, and the page when it is there."""

from __future__ import annotations

import importlib
import importlib.util

from fastapi import FastAPI
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp

from api import answers, reference
from api.core import Core
from api.guard import Guard, gateway_of
from api.routes import connectors, controllers, datapoints, health, messages, raw_messages, websocket
from wattbus import __version__

SLASHED = (
    "datapoint", "connector", "controller", "controlled_datapoint", "raw_message", "schema", "metrics", "healthz",
    "readyz",
)  # fmt: skip
ROUTES = (datapoints, messages, connectors, controllers, raw_messages, health, websocket)
PAGE, PAGE_LIBRARY = "api.page", "nicegui"  # the page has `mount(app, core)`

DESCRIPTION = """\
Datapoints of a building's devices: their values, what is wanted of them, and who controls them. Paths and objects are
those of BEMCom's REST API; values are JSON-native (`21.5`, not `"21.5"`). `/ws` tells live values over a WebSocket.
"""


def create_app(core: Core) -> ASGIApp:
    """The application; the page is mounted when its package is there."""
    app = FastAPI(
        title="Wattbus",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # FastAPI's own page loads its scripts from the internet
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
    )
    app.state.core = core
    answers.install(app)
    for module in ROUTES:
        app.include_router(module.router)
    _add_reference(app)
    if core.settings.api_page and all(importlib.util.find_spec(needed) for needed in (PAGE, PAGE_LIBRARY)):
        importlib.import_module(PAGE).mount(app, core)
    else:
        _add_way_to_docs(app)
    return Guard(app, SLASHED, gateway_of(core.settings))


def _add_reference(app: FastAPI) -> None:
    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        """For people."""
        return HTMLResponse(reference.page(app.openapi()))

    @app.get("/schema/", include_in_schema=False)
    async def schema() -> Response:
        """Where the reference has it."""
        return JSONResponse(app.openapi())


def _add_way_to_docs(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def root() -> Response:
        """Without a page, the documentation is what there is to see."""
        return RedirectResponse("/docs")
