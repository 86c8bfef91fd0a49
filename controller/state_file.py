"""What survives a restart: one small JSON file, replaced as a whole."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from orjson import Fragment

from controller.actuator import Actuator
from controller.control import Control
from controller.decision import SensorState
from controller.observed_state import Heard, ObservedConnector
from controller.orders import SentCommand
from controller.pairs import Pair, PairDirectory, merged, pairs_from
from controller.timeline import Timeline
from wattbus.clock import Clock
from wattbus.jsontext import JsonValue, dumps, loads
from wattbus.mqtt.messages import BadMessage, Message, ScheduleMessage, SetpointItem, SetpointMessage, parse
from wattbus.service.disk import on_disk

log = logging.getLogger(__name__)

VERSION = 1
SENSOR_FRESH_MS = 300_000  # an older value is not what the sensor says today


class StateFile:
    """Saves and restores pairs, setpoints, schedules, last commands, and what connectors and sensors said last.

    The broker keeps most of this too; the file is for the broker that lost its state.
    """

    def __init__(self, file: Path, topic: str, clock: Clock, fault: Callable[[str], None]) -> None:
        self._file = file
        self._topic = topic
        self._clock = clock
        self._fault = fault
        self._contents: dict[tuple[str, str], tuple[Message, Fragment]] = {}

    # -- saving -----------------------------------------------------------------------------------------------------

    async def save(self, control: Control, told: list[Pair], directory: PairDirectory) -> None:
        """Replace the file, beside the loop. What a disk cannot take is tried again at the next save."""
        control.dirty = control.items_dirty = False
        content = self._encoded(control, told, directory)
        try:
            await on_disk(partial(self._replace, content))
        except OSError as error:
            self._failed(control, error)
        else:
            self._fault("")

    def save_at_the_end(self, control: Control, told: list[Pair], directory: PairDirectory) -> None:
        """As `save`, at once: nothing comes after it."""
        try:
            self._replace(self._encoded(control, told, directory))
        except OSError as error:
            self._failed(control, error)

    def _failed(self, control: Control, error: OSError) -> None:
        control.dirty = True
        self._fault(f"{self._file} cannot be written, a restart would forget: {error.strerror or error}")

    def _encoded(self, control: Control, told: list[Pair], directory: PairDirectory) -> bytes:
        try:
            return dumps(self._content(control, told, directory))
        except TypeError:  # an integer beyond 64 bit: plans cannot go along as they were prepared
            self._contents.clear()
            return dumps(self._content(control, told, directory, prepared=False))

    def _content(
        self, control: Control, told: list[Pair], directory: PairDirectory, prepared: bool = True
    ) -> JsonValue:
        connectors, sensors = control.surroundings.connectors.items(), control.surroundings.sensors.items()
        return {
            "version": VERSION,
            "topic": self._topic,
            "pairs": [pair.as_json() for pair in told],
            "topics": directory.topics,
            "connectors": {
                name: {"state": known.state, "instance": known.instance}
                for name, known in connectors
                if known.state is not None
            },
            "sensors": {topic: {**dataclasses.asdict(heard.state), "at_ms": heard.at_ms} for topic, heard in sensors},
            "actuators": {name: self._as_json(actuator, prepared) for name, actuator in control.actuators.items()},
        }

    def _as_json(self, actuator: Actuator, prepared: bool) -> JsonValue:
        name = actuator.pair.actuator
        return {
            "setpoint": self._items((name, "setpoint"), actuator.setpoint_message, prepared),
            "schedule": self._items((name, "schedule"), actuator.schedule_message, prepared),
            "outside_of": _content(actuator.outside_of),
            "sent": dataclasses.asdict(actuator.sent) if actuator.sent else None,
            "resend_due": actuator.resend_due,
            "answers": actuator.answers,
        }

    def _items(self, place: tuple[str, str], message: Message | None, prepared: bool) -> JsonValue:
        """Prepared once per message: a schedule may have a thousand items, and outcomes come all the time."""
        if message is None:
            self._contents.pop(place, None)
            return None
        if not prepared:
            return _content(message)
        known = self._contents.get(place)
        if known is None or known[0] is not message:
            known = self._contents[place] = (message, Fragment(dumps(_content(message))))
        return known[1]

    def forget(self, name: str) -> None:
        """An actuator is not controlled any more."""
        for kind in ("setpoint", "schedule"):
            self._contents.pop((name, kind), None)

    def _replace(self, content: bytes) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        new = self._file.with_suffix(".new")
        with new.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._file)

    # -- restoring --------------------------------------------------------------------------------------------------

    def restore(self, control: Control, directory: PairDirectory) -> list[Pair]:
        """What an earlier process knew; the pairs that the API had told it. A file that makes no sense is left out."""
        try:
            content = loads(self._file.read_bytes())
            return self._restore(control, directory, content)
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, KeyError, AttributeError, BadMessage) as error:
            log.error("%s makes no sense and is left out: %s: %s", self._file, type(error).__name__, error)
            control.set_pairs({})
            return []

    def _restore(self, control: Control, directory: PairDirectory, content: Any) -> list[Pair]:
        if content["version"] != VERSION:
            raise ValueError(f"version {content['version']}")
        directory.remember(content["topics"])
        told = pairs_from(content["pairs"]) if content["topic"] == self._topic else []
        control.set_pairs(merged(told, directory.pairs()))
        for name, actuator in control.actuators.items():
            if name in content["actuators"]:
                self._restore_actuator(actuator, content["actuators"][name])
        self._restore_surroundings(control, content)
        return told

    def _restore_actuator(self, actuator: Actuator, known: Any) -> None:
        if known["setpoint"] is not None:
            actuator.setpoint_message = parse(SetpointMessage, dumps(known["setpoint"]))
            actuator.setpoint = Timeline(actuator.setpoint_message.setpoint)
        if known["schedule"] is not None:
            actuator.schedule_message = parse(ScheduleMessage, dumps(known["schedule"]))
            actuator.schedule = Timeline(actuator.schedule_message.schedule)
        if known["outside_of"] is not None:
            actuator.outside_of = parse(SetpointItem, dumps(known["outside_of"]))
        sent = SentCommand(**known["sent"]) if known["sent"] is not None else None
        actuator.restore(sent, known["resend_due"], known["answers"], self._clock.now_ms(), self._clock.monotonic())

    def _restore_surroundings(self, control: Control, content: Any) -> None:
        now_ms, now = self._clock.now_ms(), self._clock.monotonic()
        for name, known in content["connectors"].items():
            away = now if known["state"] == "offline" else None
            control.surroundings.connectors[name] = ObservedConnector.remembered(
                known["state"], known["instance"], away, self._clock.monotonic()
            )
        for topic, known in content["sensors"].items():
            fresh = abs(now_ms - known["at_ms"]) <= SENSOR_FRESH_MS
            state = SensorState(known["value"], known["quality"] if fresh else known["quality"] or "stale")
            control.surroundings.sensors[topic] = Heard(state, known["at_ms"])


def _content(message: Message | None) -> JsonValue:
    """Without the fields that were not given: whether a setpoint has bounds at all depends on that."""
    return None if message is None else message.model_dump(exclude_unset=True)
