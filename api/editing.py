"""What people change about datapoints: names, units, limits, formats, and which of them are wanted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any, get_args

from api.datapoints import EDITABLE, KnownDatapoint
from api.directory import DatapointDirectory
from api.errors import Invalid, NotFound, fault
from api.live import LiveConnector
from api.maps import MapKeeper
from api.validation import NOT_NULL, Fault, is_sound, number_or_none
from wattbus.connector import DataFormat
from wattbus.jsontext import JsonValue
from wattbus.recording.database_session import Database
from wattbus.storage import BatchRefused, EditableStore
from wattbus.storage.edits import DatapointEdit, Identity

LONGEST_TEXT = 2000
TAKEN = "datapoint with this short name already exists."
MOST_CHOICES = 1000


class Editing:
    """Checks edits and writes them. Every method raises Invalid, DatabaseAway."""

    def __init__(self, directory: DatapointDirectory, database: Database[EditableStore], maps: MapKeeper) -> None:
        self._directory = directory
        self._database = database
        self._maps = maps

    async def edit(self, datapoint: KnownDatapoint, body: JsonValue) -> KnownDatapoint:
        """Change the fields in `body`, leave the others; the datapoint as it is then."""
        await self.edit_all({datapoint.identity: self.checked(datapoint, body)})
        return self._directory.datapoints.by_identity[datapoint.identity]

    def checked(self, datapoint: KnownDatapoint, body: JsonValue) -> dict[str, Any]:
        """The editable fields in `body`. Raises Invalid when they make no sense for this datapoint."""
        if not isinstance(body, dict):
            raise Invalid({"non_field_errors": ["Invalid data. Expected an object."]})
        faults: dict[str, list[str]] = {}
        fields: dict[str, Any] = {}
        for name, check in CHECKS.items():
            if name in body:
                try:
                    fields[name] = check(body[name])
                except Fault as wrong:
                    faults[name] = [str(wrong)]
        low, high = (fields.get(name, getattr(datapoint, name)) for name in ("min_value", "max_value"))
        if not faults and low is not None and high is not None and low > high:
            faults["min_value"] = ["min_value must not be larger than max_value."]
        if faults:
            raise Invalid(faults)
        return fields

    async def edit_all(self, changes: Mapping[Identity, Mapping[str, Any]]) -> None:
        """Write what `checked` gave, all or nothing."""
        await self._directory.refresh()
        self.check_short_names(changes)
        await self._save({identity: self._edit_of(identity, fields) for identity, fields in changes.items()})

    def _edit_of(self, identity: Identity, fields: Mapping[str, Any]) -> DatapointEdit:
        before = self._directory.edits.get(identity, DatapointEdit())
        own = {name: fields[name] for name in ("short_name", "is_active") if name in fields}
        others = {name: value for name, value in fields.items() if name in EDITABLE}
        return dataclasses.replace(before, **own, fields={**before.fields, **others})

    def check_short_names(self, changes: Mapping[Identity, Mapping[str, Any]]) -> None:
        """Raises Invalid when one would be another datapoint's too."""
        names = {identity: edit.short_name for identity, edit in self._directory.edits.items()}
        names |= {identity: fields["short_name"] for identity, fields in changes.items() if "short_name" in fields}
        given = [name for name in names.values() if name is not None]
        if len(given) != len(set(given)):
            raise fault("short_name", TAKEN)

    async def _save(self, edits: Mapping[Identity, DatapointEdit]) -> None:
        try:
            await self._database.once(lambda store: store.edits.save(edits))
        except BatchRefused:
            raise fault("short_name", TAKEN) from None
        await self._directory.refresh()

    # -- choosing ---------------------------------------------------------------------------------------------------

    async def choose(self, connector: LiveConnector, wanted: Collection[Identity]) -> None:
        """Let a connector publish these of its datapoints and no others. Raises Invalid when one is not there."""
        await self._directory.refresh()
        present = {found.identity for found in self._directory.datapoints.by_connector.get(connector.name, [])}
        for identity in wanted:
            if identity not in present:
                raise fault(identity.type, f"{connector.name} has no {identity.type} {identity.key!r:.200}.")
        await self._save({identity: self._edit_of(identity, {"is_active": identity in wanted}) for identity in present})

    async def choose_nothing(self, connector: LiveConnector) -> None:
        """Forget what was chosen: everything is published again."""
        await self._maps.withdraw(connector)
        await self._database.once(lambda store: store.edits.forget_choices(connector.name))
        await self._directory.refresh()

    # -- making -----------------------------------------------------------------------------------------------------

    async def make(self, identities: Collection[Identity]) -> None:
        """Make datapoints that no connector has announced yet, as a restored backup does."""
        await self._database.once(lambda store: store.edits.make(dict.fromkeys(identities)))
        await self._directory.refresh()
        if any(identity not in self._directory.datapoints.by_identity for identity in identities):
            raise NotFound("The database did not take the datapoint.")


# -- fields -----------------------------------------------------------------------------------------------------------


def _text(given: JsonValue) -> str:
    if given is None:
        raise Fault(NOT_NULL)
    if not isinstance(given, str) or not is_sound(given):
        raise Fault("Not a valid string.")
    if len(given) > LONGEST_TEXT:
        raise Fault(f"Ensure this field has no more than {LONGEST_TEXT} characters.")
    return given


def _short_name(given: JsonValue) -> str | None:
    return None if given is None or given == "" else _text(given)


def _data_format(given: JsonValue) -> str:
    if not isinstance(given, str) or given not in get_args(DataFormat):
        raise Fault(f'"{given!r:.80}" is not a valid choice: {", ".join(get_args(DataFormat))}.')
    return given


def _boolean(given: JsonValue) -> bool:
    if not isinstance(given, bool):
        raise Fault("Must be a valid boolean.")
    return given


def _choices(given: JsonValue) -> list[JsonValue] | None:
    """The reference takes any JSON here, and fails later when it is not a list."""
    if given is None:
        return None
    if not isinstance(given, list) or len(given) > MOST_CHOICES or not is_sound(given):
        raise Fault(f"Expected a list of at most {MOST_CHOICES} values, or null.")
    if any(isinstance(choice, list | dict) for choice in given):
        raise Fault("A choice is a number, text, true, false or null.")
    return given


CHECKS: dict[str, Callable[[JsonValue], Any]] = {
    "data_format": _data_format,
    "short_name": _short_name,
    "description": _text,
    "unit": _text,
    "min_value": number_or_none,
    "max_value": number_or_none,
    "allowed_values": _choices,
    "is_active": _boolean,
}
