"""What is around every page: name, navigation, how broker and database are, light or dark."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from nicegui import ui

from api.core import Core
from api.page.badges import Badge
from api.page.visitor import core_here

STYLE = Path(__file__).parent / "page.css"
PLACES = (
    ("/", "Overview", "dashboard"),
    ("/datapoints", "Datapoints", "format_list_bulleted"),
    ("/control", "Control", "thermostat"),
)
SHADES: dict[str, tuple[bool | None, str, str]] = {
    "system": (None, "As the system", "brightness_auto"),
    "light": (False, "Light", "light_mode"),
    "dark": (True, "Dark", "dark_mode"),
}
REMEMBER = "document.cookie = 'wattbus-shade={}; path=/; max-age=31536000; samesite=strict'"
LOOK_S = 1.0


@contextlib.contextmanager
def framed(title: str, here: str = "") -> Iterator[ui.column]:
    """A page with this title; its content goes into the context."""
    ui.page_title(f"{title} · Wattbus")
    ui.add_css(STYLE)
    ui.colors(primary="#0f766e", secondary="#475569", accent="#b45309", positive="#15803d", negative="#b91c1c")
    core = core_here()
    content = ui.column().classes("wb-page")
    ui.skip_link("To the content", target=content)
    _header(core, here)
    _bottom_bar(here)
    with content:
        yield content


def _header(core: Core, here: str) -> None:
    with ui.header().classes("wb-header"):
        with ui.link(target="/").classes("wb-brand").props('aria-label="Wattbus, overview"'):
            ui.icon("bolt", size="24px").classes("text-primary")
            ui.label("Wattbus")
        with ui.row().classes("gap-1 gt-xs no-wrap").props('role=navigation aria-label="Pages"'):
            for path, name, _ in PLACES:
                _place(path, here).set_text(name)
        ui.space()
        _states(core)
        _shades()


def _place(path: str, here: str) -> ui.link:
    link = ui.link(target=path).classes("wb-nav")
    if path == here:
        link.props("aria-current=page")
    return link


def _bottom_bar(here: str) -> None:
    """The navigation where a thumb reaches it."""
    with (
        ui.footer().classes("wb-footer lt-sm"),
        ui.row().classes("w-full no-wrap gap-1").props('role=navigation aria-label="Pages"'),
    ):
        for path, name, icon in PLACES:
            with _place(path, here).classes("wb-tab"):
                ui.icon(icon, size="22px")
                ui.label(name)


def _states(core: Core) -> None:
    """Whether what everything depends on is there."""
    broker, database = Badge(), Badge()

    def look() -> None:
        connected, fault = core.bus.connected, core.database.fault
        broker.show("good" if connected else "bad", "Broker" if connected else "Broker away")
        broker.tell("The broker is connected." if connected else "There is no connection to the broker.")
        database.show("bad" if fault else "good", "Database away" if fault else "Database")
        database.tell(fault or "The database works.")

    look()
    ui.timer(LOOK_S, look)


def _shades() -> None:
    chosen = ui.context.client.request.cookies.get("wattbus-shade", "system")
    chosen = chosen if chosen in SHADES else "system"
    dark = ui.dark_mode(SHADES[chosen][0])

    def choose(shade: str) -> None:
        dark.value = SHADES[shade][0]
        button.icon = SHADES[shade][2]
        ui.run_javascript(REMEMBER.format(shade))

    button = ui.button(icon=SHADES[chosen][2]).props('flat round dense color=secondary aria-label="Light or dark"')
    with button, ui.menu().props("auto-close"):
        for shade, (_, name, _icon) in SHADES.items():
            ui.menu_item(name, partial(choose, shade)).props("role=menuitem")
