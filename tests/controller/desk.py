"""The controller without a bus, in virtual time: what it would publish, and when."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.actuator import Actuator
from controller.control import Control
from controller.orders import ControlOptions, Order
from controller.pairs import Pair, PairDirectory
from controller.state_file import StateFile
from wattbus.testing.clock import START_MS, VirtualClock

ROOM = Pair("room/messages/1/value", "room/messages/2/value", "room/messages/2/setpoint", "room/messages/2/schedule")
HALL = Pair("room/messages/1/value", "room/messages/3/value", "room/messages/3/setpoint", "room/messages/3/schedule")


@dataclass(frozen=True)
class Publication:
    """A command: milliseconds since the start, actuator's topic, value, why."""

    at_ms: int
    topic: str
    value: Any
    cause: str
    reason: str
    id: str


class Desk:
    """A `Control` whose commands always reach the broker. Times are in milliseconds from the start."""

    def __init__(self, *pairs: Pair, options: ControlOptions | None = None, clock: VirtualClock | None = None) -> None:
        self.clock = clock or VirtualClock()
        self.options = options or ControlOptions()
        self.told = list(pairs or (ROOM,))
        self.published: list[Publication] = []
        self.nobody_listens = False
        self._numbers = iter(range(10**9))
        self.control = Control(self.options, self.clock)
        self.control.set_pairs({pair.actuator: pair for pair in self.told})
        self.settle()

    def settle(self) -> None:
        """The retained messages are in."""
        self.control.set_ready([pair.actuator for pair in self.told])
        self.turn()

    @property
    def now(self) -> int:
        return self.clock.now_ms() - START_MS

    @property
    def values(self) -> list[Any]:
        """The values that were published."""
        return [publication.value for publication in self.published]

    @property
    def timed(self) -> list[tuple[int, Any]]:
        return [(publication.at_ms, publication.value) for publication in self.published]

    def actuator(self, pair: Pair = ROOM) -> Actuator:
        return self.control.actuators[pair.actuator]

    # -- the bus speaks

    def take(self, topic: str, content: Any, retained: bool = False) -> None:
        payload = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.control.take(topic, payload, retained)
        self.turn()

    def setpoint(self, *items: dict[str, Any], pair: Pair = ROOM) -> None:
        """Items with times from the start."""
        self.take(pair.setpoint, {"setpoint": [shifted(item) for item in items], "timestamp": self.clock.now_ms()})

    def schedule(self, *items: dict[str, Any], pair: Pair = ROOM) -> None:
        self.take(pair.schedule, {"schedule": [shifted(item) for item in items], "timestamp": self.clock.now_ms()})

    def sensor(self, value: Any, quality: str | None = None, pair: Pair = ROOM) -> None:
        message = {"value": value, "timestamp": self.clock.now_ms()}
        self.take(pair.sensor, {**message, "quality": quality} if quality else message)

    def status(self, state: str, instance: str = "i1", connector: str = "room") -> None:
        self.take(f"{connector}/status", {"state": state, "timestamp": self.clock.now_ms(), "instance": instance})

    def result(self, outcome: str, publication: Publication | None = None) -> None:
        """The connector's answer to the last command."""
        about = publication or self.published[-1]
        self.take(
            about.topic.removesuffix("/value") + "/result",
            {
                "id": about.id,
                "value": about.value,
                "command_timestamp": START_MS + about.at_ms,
                "timestamp": self.clock.now_ms(),
                "outcome": outcome,
                "detail": "",
            },
        )

    # -- time passes

    def wait(self, milliseconds: int) -> None:
        """Time passes; the controller wakes up whenever it wants to."""
        end = self.now + milliseconds
        while (left_ms := end - self.now) > 0:
            self.clock.forward(min(self.control.pause_s(), left_ms / 1000))
            self.turn()

    def until(self, at_ms: int) -> None:
        self.wait(at_ms - self.now)

    def jump(self, milliseconds: int) -> None:
        """Somebody sets the clock; the controller notices when it wakes up the next time."""
        self.clock.set_by(milliseconds / 1000)
        self.turn()

    def turn(self) -> None:
        """Once around the loop of decisions."""
        for actuator, order in self.control.due():
            self._publish(actuator, order)

    def _publish(self, actuator: Actuator, order: Order) -> None:
        number = str(next(self._numbers))
        now = self.clock.monotonic()
        actuator.begin_sending(order, number, self.clock.now_ms(), now)
        self.published.append(
            Publication(self.now, actuator.pair.actuator, order.value, order.cause, order.reason, number)
        )
        actuator.reached(self.nobody_listens, now)
        self.control.plan(actuator, self.clock.now_ms(), now)

    # -- the process ends

    def restart(self, folder: Path) -> None:
        """Another process finds what this one has left, on a broker that has lost everything."""
        directory = PairDirectory([])
        memory = StateFile(folder / "controller.json", "topic", self.clock, lambda fault: None)
        memory.save_at_the_end(self.control, self.told, directory)
        self.control = Control(self.options, self.clock)
        assert memory.restore(self.control, PairDirectory([])) == self.told
        self.settle()


def shifted(item: dict[str, Any]) -> dict[str, Any]:
    """An item with absolute times."""
    times = ("from_timestamp", "to_timestamp")
    return {key: START_MS + value if key in times and value is not None else value for key, value in item.items()}


def wish(start: int | None, end: int | None, preferred: Any, **flexibility: Any) -> dict[str, Any]:
    """An item of a setpoint."""
    return {"from_timestamp": start, "to_timestamp": end, "preferred_value": preferred, **flexibility}


def plan(start: int | None, end: int | None, value: Any) -> dict[str, Any]:
    """An item of a schedule."""
    return {"from_timestamp": start, "to_timestamp": end, "value": value}
