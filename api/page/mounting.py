"""The page beside the REST API, in one application."""

from __future__ import annotations

from pathlib import Path

import nicegui
from fastapi import FastAPI
from nicegui import ui
from starlette.routing import Match, Mount
from starlette.types import ASGIApp, Receive, Scope, Send

import api.page.control_view
import api.page.datapoint_list
import api.page.datapoint_view
import api.page.overview  # noqa: F401 - each of them registers its page
from api.core import Core
from api.page.visitor import CORE

PATHS = ("", "datapoints", "control", "view", "_nicegui", "_nicegui_ws", "favicon.ico")
RECONNECT_S = 3.0  # a browser that is away for longer starts anew, and what it followed is let go
MESSAGES_KEPT = 200  # for a browser that comes back within that time

FAVICON = (Path(__file__).parent / "favicon.svg").read_text(encoding="utf-8")


class _Page(Mount):
    """Takes the page's own paths and no others: what REST does not know must stay REST's to answer."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if str(scope.get("path", "")).strip("/").partition("/")[0] not in PATHS:
            return Match.NONE, {}
        return super().matches(scope)


class _WithCore:
    """Tells each page which core it shows; pages are registered once for the whole process."""

    def __init__(self, app: ASGIApp, core: Core) -> None:
        self._app = app
        self._core = core

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, CORE: self._core}, receive, send)


def mount(app: FastAPI, core: Core) -> None:
    """Serve the page at `/`."""
    # NiceGUI has one application per process, which takes no middleware once it has run: an API that is started
    # again in the same process, as in tests, must find it as new.
    nicegui.app.middleware_stack = None
    nicegui.app.user_middleware.clear()
    ui.run_with(
        app,
        title="Wattbus",
        favicon=FAVICON,
        dark=None,
        language="en-US",
        reconnect_timeout=RECONNECT_S,
        message_history_length=MESSAGES_KEPT,
        show_welcome_message=False,
    )
    app.router.routes.pop()  # the mount that takes every path
    app.router.routes.append(_Page("", _WithCore(nicegui.app, core)))
