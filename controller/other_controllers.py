"""Other controllers on the bus, and what they drive: no actuator takes its orders from two. Pure; time is given."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from wattbus.clock import Clock
from wattbus.mqtt.messages import ControlsMessage, StatusMessage, parse

GONE_AFTER_S = 60.0  # a controller may restart without others taking its actuators over
MOST_RIVALS = 100


@dataclass(slots=True)
class _Rival:
    """Another controller. `gone_at` (monotonic seconds): from then on it counts as gone; None: it works."""

    drives: frozenset[str]
    gone_at: float | None


class OtherControllers:
    """Knows who else drives an actuator. `name` is our own."""

    def __init__(self, name: str, clock: Clock) -> None:
        self._name = name
        self._clock = clock
        self._others: dict[str, _Rival] = {}

    @property
    def names(self) -> frozenset[str]:
        """The controllers whose status is of interest."""
        return frozenset(self._others)

    def take_controls(self, service: str, payload: bytes) -> bool:
        """A message on `${service}/controls`; whether it is news. Raises BadMessage."""
        if service == self._name:
            return False
        drives = frozenset(parse(ControlsMessage, payload).actuators) if payload else frozenset()
        known = self._others.get(service)
        if known is None:
            if not drives or len(self._others) >= MOST_RIVALS:
                return False
            self._others[service] = _Rival(drives, self._clock.monotonic() + GONE_AFTER_S)
            return True
        changed, known.drives = known.drives != drives, drives
        return changed

    def take_status(self, service: str, payload: bytes, retained: bool) -> bool:
        """A message on `${service}/status`; whether that controller came or went. Raises BadMessage.

        One that was away before we looked has gone; one that goes while we look may come back.
        """
        rival = self._others.get(service)
        if rival is None:
            return False
        offline = not payload or parse(StatusMessage, payload).state == "offline"
        before, now = rival.gone_at, self._clock.monotonic()
        if not offline:
            rival.gone_at = None
        elif retained:
            rival.gone_at = now
        elif before is None:
            rival.gone_at = now + GONE_AFTER_S
        return rival.gone_at != before

    def holder(self, actuator: str, *, ours: bool) -> str:
        """Who drives this actuator instead of us, "" when nobody does.

        Who came first keeps it. `ours`: we drive it already; of two that came at the same time the name decides.
        """
        now = self._clock.monotonic()
        return next(
            (
                name
                for name, rival in sorted(self._others.items())
                if actuator in rival.drives and self._lives(rival, now) and not (ours and self._name < name)
            ),
            "",
        )

    @staticmethod
    def _lives(rival: _Rival, now: float) -> bool:
        return rival.gone_at is None or now < rival.gone_at

    def next_at(self) -> float:
        """When (monotonic seconds) somebody who is away will count as gone; infinity: never."""
        now = self._clock.monotonic()
        ends = (rival.gone_at for rival in self._others.values() if rival.gone_at is not None)
        return min((end for end in ends if end > now), default=float("inf"))


def told(holders: Iterable[tuple[str, str]]) -> str:
    """`controller-2 drives 3 actuators, they are left to it`, from (actuator, holder)."""
    numbers: dict[str, int] = {}
    for _, holder in holders:
        numbers[holder] = numbers.get(holder, 0) + 1
    return "; ".join(
        f"{holder} drives {number} of the actuators, they are left to it" for holder, number in sorted(numbers.items())
    )
