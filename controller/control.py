"""All controlled pairs: takes what the bus says, tells what is due. No bus in here, the clock is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from controller.actuator import Actuator
from controller.observed_state import ObservedState
from controller.orders import ControlOptions, Order
from controller.pairs import Pair, announced, status_topics
from controller.timer_queue import TimerQueue
from wattbus.clock import Clock
from wattbus.mqtt import topics
from wattbus.mqtt.messages import ResultMessage, ScheduleMessage, SetpointMessage, parse

LONGEST_PAUSE_S = 2.0  # the wall clock is compared with the monotonic one at least that often
JUMP_MS = 100  # of the wall clock; what it drifts meanwhile is noticed by looking at everything now and then
LOOK_AT_ALL_EVERY_S = 10.0
PUT_ASIDE_S = 300.0  # a pair that showed a bug

PASSING = ("sensor", "heartbeat")  # what is missed of these is followed by something newer

Role = Literal["sensor", "setpoint", "schedule", "result", "status", "heartbeat", "datapoints"]


class Control:
    """State of every pair. `changed` is told the actuator (its topic) of which something is new, and if it is urgent.

    `dirty` is set when something is to be remembered, `items_dirty` when it is a setpoint or schedule.
    """

    def __init__(
        self, options: ControlOptions, clock: Clock, changed: Callable[[str, bool], None] = lambda *_: None
    ) -> None:
        self.actuators: dict[str, Actuator] = {}
        self.surroundings = ObservedState(clock)
        self.dirty = self.items_dirty = False
        self._options = options
        self._clock = clock
        self._changed = changed
        self._roles: dict[str, list[tuple[Role, str]]] = {}
        self._look_at: dict[str, None] = {}  # an ordered set of actuators
        self._timers = TimerQueue()
        self._wall_offset_ms, self._all_at = self._offset_ms(), clock.monotonic()
        self._suspect: str | None = None
        self._aside: dict[str, float] = {}
        self._drives: frozenset[str] | None = None  # None: all of them
        self._once: dict[str, frozenset[str]] = {}  # connector → topics whose commands must not be repeated

    # -- pairs ------------------------------------------------------------------------------------------------------

    def set_pairs(self, pairs: Mapping[str, Pair]) -> tuple[list[Actuator], list[str]]:
        """From now on these are controlled; which are new and which (by topic) have gone, with all known of them."""
        gone = [topic for topic, actuator in self.actuators.items() if pairs.get(topic) != actuator.pair]
        for topic in gone:
            del self.actuators[topic]
            self._timers.drop(topic)
            self._aside.pop(topic, None)
        new = [Actuator(pair, self._options) for topic, pair in pairs.items() if topic not in self.actuators]
        self.actuators.update((actuator.pair.actuator, actuator) for actuator in new)
        self._note_repeatable()
        if gone or new:
            self._find_roles()
            self.dirty = True
        return new, gone

    def _find_roles(self) -> None:
        self._roles = {}
        for name, actuator in self.actuators.items():
            pair = actuator.pair
            named: dict[Role, str] = {"sensor": pair.sensor, "setpoint": pair.setpoint, "schedule": pair.schedule}
            for role, topic in {**named, "result": topics.result(pair.actuator)}.items():
                self._roles.setdefault(topic, []).append((role, name))
        for topic in self._status_topics():
            self._roles.setdefault(topic, []).append(("status", topic.rpartition("/")[0]))
        for connector in {actuator.pair.sensor_connector for actuator in self.actuators.values()}:
            self._roles.setdefault(topics.heartbeat(connector), []).append(("heartbeat", connector))
        for connector in {actuator.pair.actuator_connector for actuator in self.actuators.values()}:
            self._roles.setdefault(topics.datapoints(connector), []).append(("datapoints", connector))
        self.surroundings.keep_only(actuator.pair for actuator in self.actuators.values())

    def _status_topics(self) -> set[str]:
        return status_topics(actuator.pair for actuator in self.actuators.values())

    @property
    def topics(self) -> dict[str, int]:
        """What must be subscribed to, with the quality of service: a sensor's next value is soon there."""
        return {topic: 0 if all(role in PASSING for role, _ in users) else 1 for topic, users in self._roles.items()}

    def set_ready(self, names: Iterable[str]) -> None:
        """The retained messages of these are in: they may be decided."""
        for name in names:
            if name in self.actuators:
                self.actuators[name].ready = True
                self._look_at[name] = None

    def drive(self, names: frozenset[str], regained: frozenset[str] = frozenset()) -> None:
        """Decide these and no others. What somebody else has sent to those that are `regained` is not known."""
        self._drives = names
        for name, actuator in self.actuators.items():
            if name in regained:
                actuator.connector_returned(self._clock.monotonic())
            if name in names:
                self._look_at[name] = None
            else:
                actuator.decided = False

    def wait_for_retained(self) -> None:
        """The connection is gone: nothing is decided until the retained messages are in again."""
        self.surroundings.listen_anew()
        for actuator in self.actuators.values():
            actuator.ready = False

    # -- the bus speaks ---------------------------------------------------------------------------------------------

    def take(self, topic: str, payload: bytes, retained: bool) -> None:
        """A message on one of our topics. Raises BadMessage; then everything stays as it was.

        But a sensor that says NaN or Infinity is no longer known to be inside of anything.
        """
        users = self._roles.get(topic, ())
        self._look_at.update((name, None) for role, name in users if role == "sensor")
        if any(role == "sensor" for role, _ in users):
            self.surroundings.take_sensor(topic, payload)
        for role, name in users:
            if role == "status":
                self._take_status(name, payload, retained)
            elif role == "heartbeat":
                self._take_heartbeat(name, payload)
            elif role == "datapoints":
                self._take_announcement(name, payload)
            elif role != "sensor":
                self._take_for_actuator(self.actuators[name], role, payload, retained)

    def kind(self, topic: str) -> str:
        """What sort of topic it is, for counting."""
        return next((role for role, _ in self._roles.get(topic, ())), "other")

    def _take_for_actuator(self, actuator: Actuator, role: Role, payload: bytes, retained: bool) -> None:
        name = actuator.pair.actuator
        if role == "setpoint":
            known = actuator.setpoint_message.timestamp if actuator.setpoint_message else 0
            cleared = SetpointMessage(setpoint=None, timestamp=max(known, self._clock.now_ms()))
            new = actuator.take_setpoint(parse(SetpointMessage, payload) if payload else cleared, retained)
        elif role == "schedule":
            known = actuator.schedule_message.timestamp if actuator.schedule_message else 0
            empty = ScheduleMessage(schedule=None, timestamp=max(known, self._clock.now_ms()))
            new = actuator.take_schedule(parse(ScheduleMessage, payload) if payload else empty, retained)
        elif payload and actuator.result(parse(ResultMessage, payload), self._clock.monotonic()):
            self.dirty = True
            self._look_at_again(name)
            return
        else:
            return
        if new:
            self.dirty = self.items_dirty = True
            self._look_at_again(name)

    def _take_heartbeat(self, connector: str, payload: bytes) -> None:
        if self.surroundings.take_heartbeat(connector, payload):
            self._look_at.update(
                (name, None) for name, actuator in self.actuators.items() if actuator.pair.sensor_connector == connector
            )

    def _take_status(self, connector: str, payload: bytes, retained: bool) -> None:
        returned = self.surroundings.take_status(connector, payload, retained)
        now = self._clock.monotonic()
        self.dirty = True
        for name, actuator in self.actuators.items():
            if returned and actuator.pair.actuator_connector == connector:
                actuator.connector_returned(now)
            if connector in (actuator.pair.sensor_connector, actuator.pair.actuator_connector):
                self._look_at[name] = None

    def _take_announcement(self, connector: str, payload: bytes) -> None:
        actuators = [told for told in announced(payload) if told.type == "actuator"] if payload else []
        self._once[connector] = frozenset(told.topic for told in actuators if not told.repeatable)
        self._note_repeatable()

    def _note_repeatable(self) -> None:
        for name, actuator in self.actuators.items():
            actuator.announced(name not in self._once.get(actuator.pair.actuator_connector, ()))

    def _look_at_again(self, name: str) -> None:
        self._look_at[name] = None
        self._changed(name, True)

    # -- time passes ------------------------------------------------------------------------------------------------

    def due(self) -> list[tuple[Actuator, Order]]:
        """The commands that are due now. Entered again after a bug, it leaves the pair that had it aside."""
        now_ms, now = self._clock.now_ms(), self._clock.monotonic()
        self._leave_suspect(now)
        if abs(self._offset_ms() - self._wall_offset_ms) > JUMP_MS or now >= self._all_at + LOOK_AT_ALL_EVERY_S:
            self._wall_offset_ms, self._all_at = self._offset_ms(), now
            self._look_at.update(dict.fromkeys(self.actuators))
        self._look_at.update(dict.fromkeys(self._timers.due(now)))
        orders = []
        while self._look_at:
            name = next(iter(self._look_at))
            del self._look_at[name]
            actuator = self.actuators.get(name)
            driven = self._drives is None or name in self._drives
            if actuator is not None and driven and actuator.ready and now >= self._aside.get(name, now):
                self._suspect = name
                order = self._decide(actuator, now_ms, now)
                self._suspect = None
                orders += [(actuator, order)] if order else []
        return orders

    def _leave_suspect(self, now: float) -> None:
        if self._suspect is not None:
            self._look_at = dict.fromkeys(self.actuators)  # what was found due before the bug was not sent
            self._aside[self._suspect] = now + PUT_ASIDE_S
            self._timers.set(self._suspect, now + PUT_ASIDE_S)
            self._suspect = None

    def _decide(self, actuator: Actuator, now_ms: int, now: float) -> Order | None:
        name, before = actuator.pair.actuator, actuator.decision
        decision = actuator.decide(self.surroundings.sensor_of(actuator.pair), now_ms)
        order = actuator.order(now)
        if decision != before or not actuator.decided:
            urgent = (decision.applies, decision.value) != (before.applies, before.value) or not actuator.decided
            actuator.decided = True
            self._changed(name, urgent)
        self.plan(actuator, now_ms, now)
        return order

    def plan(self, actuator: Actuator, now_ms: int, now: float) -> None:
        """Look at it again when something is due; also after its command has been sent."""
        moments = [actuator.next_at(now_ms, now)]
        lost_at = self.surroundings.sensor_lost_at(actuator.pair)
        if lost_at is not None and lost_at > now:
            moments.append(lost_at)
        if min(moments) < float("inf"):
            self._timers.set(actuator.pair.actuator, min(moments))
        else:
            self._timers.drop(actuator.pair.actuator)

    def pause_s(self) -> float:
        """How long nothing will be due (s), if the bus stays silent."""
        if self._look_at:
            return 0.0
        return min(max(0.0, self._timers.next_at() - self._clock.monotonic()), LONGEST_PAUSE_S)

    def _offset_ms(self) -> float:
        return self._clock.now_ms() - self._clock.monotonic() * 1000
