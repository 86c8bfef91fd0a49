"""Who controls an actuator: looking it up, and changing it with one click."""

from __future__ import annotations

from api.core import Core
from api.datapoints import KnownDatapoint
from api.errors import Conflict
from api.page.previews import preview_of
from wattbus.storage import BatchRefused
from wattbus.storage.control import ControlledDatapoint
from wattbus.storage.edits import Identity

# What the controller of this suite is called and listens on, unless somebody set it otherwise.
CONTROLLER, TOPIC = "controller", "python_controller/controlled_datapoints"


def pair_of(core: Core, actuator: Identity) -> tuple[int, ControlledDatapoint] | None:
    """The active pair of an actuator, with its id."""
    for number, pair in core.control.pairs.items():
        if pair.actuator == actuator and pair.is_active:
            return number, pair
    return None


def sensor_of(core: Core, actuator: Identity) -> KnownDatapoint | None:
    """The sensor by which an actuator is controlled."""
    datapoints = core.directory.datapoints
    told = _told_sensor(core, actuator)
    if told is not None:
        return datapoints.by_topic.get(told)
    found = pair_of(core, actuator)
    return None if found is None else datapoints.by_identity.get(found[1].sensor)


def stands_in_settings(core: Core, actuator: Identity) -> bool:
    """Whether a controller was given this pair by its own settings, which rule over what is chosen here."""
    return pair_of(core, actuator) is None and _told_sensor(core, actuator) is not None


def _told_sensor(core: Core, actuator: Identity) -> str | None:
    """The sensor's topic, as a controller itself tells it."""
    known = core.directory.datapoints.by_identity.get(actuator)
    preview = preview_of(core, known.topic) if known is not None else None
    return None if preview is None else preview.sensor


def controller_runs(core: Core) -> bool:
    """Whether a service that controls is online."""
    names = {CONTROLLER, *core.live.previews}
    for known in core.control.controllers:
        names |= {known.name, known.topic.partition("/")[0]}
    return any(core.live.condition(name) in ("online", "degraded") for name in names)


async def control_by(core: Core, actuator: Identity, sensor: Identity) -> None:
    """Let the first controller control the actuator by this sensor. Raises DatabaseAway, Conflict."""
    await core.control.load()
    if not core.control.controllers:
        await core.database.once(lambda store: store.control.save_controller(CONTROLLER, TOPIC))
        await core.control.load()
    found = next(((number, pair) for number, pair in core.control.pairs.items() if pair.actuator == actuator), None)
    controller = found[1].controller if found else core.control.controllers[0].id
    pair = ControlledDatapoint(controller, sensor, actuator)
    number = found[0] if found else None
    try:
        await core.database.once(lambda store: store.control.save_pair(pair, number))
    except BatchRefused:
        raise Conflict("Somebody else changed this meanwhile: try again.") from None
    await core.control.changed()


async def control_no_more(core: Core, actuator: Identity) -> None:
    """Let nobody control the actuator. Raises DatabaseAway."""
    await core.control.load()
    for number in [number for number, pair in core.control.pairs.items() if pair.actuator == actuator]:
        await core.database.once(lambda store, number=number: store.control.delete_pair(number))  # type: ignore[misc]
    await core.control.changed()
