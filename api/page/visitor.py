"""One browser with one page open: what it follows, and in which time zone its clock is."""

from __future__ import annotations

import contextlib
import datetime
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from nicegui import Client, ui

from api.changes import Change
from api.core import Core

CORE = "wattbus.core"  # key in the ASGI scope
BATCH_S = 1.0  # what changes within it is told at once
ZONE = "Intl.DateTimeFormat().resolvedOptions().timeZone"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks at the page."""

    core: Core
    client: Client
    zone: datetime.tzinfo

    @property
    def is_gone(self) -> bool:
        return self.client.is_deleted

    def follow(self, wanted: Callable[[Change], bool], apply: Callable[[list[Change]], None]) -> None:
        """Call `apply` once a second with what changed, an empty list when nothing did, until the browser leaves."""
        if self.is_gone:
            return
        ending = contextlib.ExitStack()
        subscription = ending.enter_context(self.core.changes.subscribed(wanted))
        self.client.on_delete(ending.close)
        ui.timer(BATCH_S, lambda: apply(subscription.taken()))


def core_here() -> Core:
    """The core that the page which is being built shows."""
    return cast(Core, ui.context.client.request.scope[CORE])


async def arrived() -> Visitor:
    """Wait until the browser is connected; nothing that costs is made for one that never comes."""
    client = ui.context.client
    await client.connected()
    try:
        name = None if client.is_deleted else await client.run_javascript(f"return {ZONE}", timeout=5)
    except TimeoutError:
        name = None
    return Visitor(core_here(), client, _zone(name))


def _zone(name: object) -> datetime.tzinfo:
    """The browser's zone; this machine's when its name says nothing here."""
    try:
        return zoneinfo.ZoneInfo(str(name))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        local = datetime.datetime.now().astimezone().tzinfo
        return local or datetime.UTC
