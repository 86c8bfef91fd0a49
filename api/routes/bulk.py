"""Lists of datapoints, as backups write them: made or changed all together, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from api.core import Core
from api.datapoints import KnownDatapoint
from api.errors import Invalid, fault
from api.validation import REQUIRED, is_sound
from wattbus.connector import DatapointType
from wattbus.jsontext import JsonValue
from wattbus.storage.edits import Identity

LONGEST_NAME = 1000
Checked = tuple[Identity, dict[str, Any]]


async def create(core: Core, body: JsonValue) -> list[KnownDatapoint]:
    """Raises Invalid with one entry per item."""

    def check(item: dict[str, Any]) -> Checked:
        connector, key, kind = _named(item)
        if kind is None:
            raise fault("type", REQUIRED)
        identity = Identity(connector, kind, key)
        if identity in core.directory.datapoints.by_identity:
            raise fault("key_in_connector", "This datapoint exists already: change it with PUT.")
        return identity, core.editing.checked(KnownDatapoint(None, connector, kind, key), item)

    checked = await _checked(core, body, check)
    core.editing.check_short_names(dict(checked))
    await core.editing.make([identity for identity, _ in checked])
    return await _write(core, checked)


async def update(core: Core, body: JsonValue) -> list[KnownDatapoint]:
    """Raises Invalid with one entry per item."""

    def check(item: dict[str, Any]) -> Checked:
        found = _found(core, *_named(item))
        return found.identity, core.editing.checked(found, item)

    return await _write(core, await _checked(core, body, check))


def _found(core: Core, connector: str, key: str, kind: DatapointType | None) -> KnownDatapoint:
    known = core.directory.datapoints.by_connector.get(connector)
    if not known:
        raise fault("connector", f"There is no connector {connector}.")
    found = [datapoint for datapoint in known if datapoint.key == key and kind in (None, datapoint.type)]
    if not found:
        raise fault("key_in_connector", "There is no such datapoint.")
    if len(found) > 1:
        raise fault("type", "There is a sensor and an actuator with this key: say which.")
    return found[0]


def _named(item: dict[str, Any]) -> tuple[str, str, DatapointType | None]:
    connector = item.get("connector")
    name = connector.get("name") if isinstance(connector, dict) else None
    if not _is_name(name) or any(char in str(name) for char in "/+#\0"):
        raise fault("connector", 'Expected {"name": "…"}, a level of a topic.')
    key, kind = item.get("key_in_connector"), item.get("type")
    if not _is_name(key):
        raise fault("key_in_connector", REQUIRED if key is None else "Not a valid string.")
    if kind not in (None, "sensor", "actuator"):
        raise fault("type", "Choose sensor or actuator.")
    return str(name), str(key), kind


def _is_name(given: JsonValue) -> bool:
    return isinstance(given, str) and 0 < len(given) <= LONGEST_NAME and is_sound(given)


async def _checked(core: Core, body: JsonValue, check: Callable[[dict[str, Any]], Checked]) -> list[Checked]:
    await core.directory.refresh()
    if not isinstance(body, list):
        raise Invalid({"non_field_errors": ["Expected a list of items."]})
    faults: list[Any] = []
    checked: list[Checked] = []
    seen: set[Identity] = set()
    for item in body:
        try:
            if not isinstance(item, dict):
                raise fault("non_field_errors", "Invalid data. Expected an object.")
            identity, fields = check(item)
            if identity in seen:
                raise fault("key_in_connector", "This datapoint is in the list twice.")
            seen.add(identity)
            checked.append((identity, fields))
            faults.append({})
        except Invalid as invalid:
            faults.append(invalid.faults)
    if any(faults):
        raise Invalid(faults)
    return checked


async def _write(core: Core, checked: list[Checked]) -> list[KnownDatapoint]:
    if checked:
        await core.editing.edit_all(dict(checked))
    return [core.directory.datapoints.by_identity[identity] for identity, _ in checked]
