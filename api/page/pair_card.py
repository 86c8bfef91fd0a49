"""By which sensor an actuator is controlled, and whether there is a controller at all."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui

from api.datapoints import KnownDatapoint
from api.errors import Conflict
from api.page.badges import Note
from api.page.pairing import control_by, control_no_more, controller_runs, sensor_of, stands_in_settings
from api.page.value_card import set_text
from api.page.visitor import Visitor
from api.page.words import name_of, value_text
from wattbus.storage import DatabaseAway
from wattbus.storage.edits import Identity

NO_PAIR = "Choose the sensor that this actuator acts on. Until then setpoint and schedule are kept, but do nothing."
IN_SETTINGS = "This pair stands in the controller's own settings, which rule over what is chosen here."
NO_CONTROLLER = "No controller is running: setpoint and schedule are kept, but nobody carries them out until one is."


class PairCard:
    """Choosing a sensor is all it takes; `changed` is called when somebody chose."""

    def __init__(self, visitor: Visitor, datapoint: KnownDatapoint, changed: Callable[[], None]) -> None:
        self._visitor = visitor
        self._actuator = datapoint
        self._changed = changed
        self._shown: KnownDatapoint | None = None
        with ui.column().classes("wb-card").props("data-role=pair"):
            ui.label("Controlled by").classes("wb-title")
            with ui.row().classes("w-full items-center no-wrap gap-2"):
                self._select = ui.select(self._choices(), label="Sensor", on_change=self._choose, with_input=True)
                self._select.classes("grow min-w-0").props("outlined dense clearable")
            with ui.row().classes("w-full items-center justify-between"):
                self._now = ui.label().classes("wb-small wb-number")
                self._link = ui.link("Open the sensor").classes("wb-link wb-small")
            self._note = Note()

    def _choices(self) -> dict[int, str]:
        """Sensors of the same unit first: one of them it is, nearly always."""
        sensors = [found for found in self._visitor.core.directory.datapoints if found.type == "sensor"]
        sensors.sort(key=lambda found: (found.unit != self._actuator.unit, found.connector, name_of(found)))
        return {found.id: f"{name_of(found)} ({found.connector})" for found in sensors if found.id is not None}

    async def _choose(self) -> None:
        core, chosen = self._visitor.core, self._select.value
        if chosen == (self._shown.id if self._shown else None):
            return  # it was shown, nobody chose it
        try:
            if chosen is None:
                await control_no_more(core, self._actuator.identity)
            else:
                sensor = await core.directory.by_id(chosen)
                await control_by(core, self._actuator.identity, Identity(sensor.connector, "sensor", sensor.key))
        except DatabaseAway as away:
            self._note.say(f"This could not be saved, the database is away: {away}")
            return
        except Conflict as conflict:
            self._note.say(str(conflict))
            return
        self._changed()
        self.look()

    def look(self) -> None:
        """What holds now; the note says what is missing."""
        core = self._visitor.core
        sensor = sensor_of(core, self._actuator.identity)
        if sensor != self._shown or (sensor is not None and self._select.value is None):
            self._shown = sensor
            self._select.set_options(self._choices(), value=sensor.id if sensor else None)
        self._link.visible = sensor is not None
        if sensor is not None:
            value = core.live.state_of(sensor).value
            set_text(self._now, f"now {value_text(value.value if value else None, sensor.unit)}")
            if self._link.props.get("href") != f"/view/{sensor.id}":
                self._link.props["href"] = f"/view/{sensor.id}"
        else:
            set_text(self._now, "")
        fixed = stands_in_settings(core, self._actuator.identity)
        if fixed == self._select.enabled:
            self._select.set_enabled(not fixed)
        if sensor is None:
            self._note.say(NO_PAIR)
        elif not controller_runs(core):
            self._note.say(NO_CONTROLLER)
        else:
            self._note.say(IN_SETTINGS if fixed else "")
