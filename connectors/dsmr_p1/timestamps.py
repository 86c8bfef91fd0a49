"""When something was measured: what the meter's clock says, whether it can be believed, and what is missing. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from connectors.dsmr_p1 import meter_time
from connectors.dsmr_p1.meter_time import CENTRAL, DAY_MS, HOUR_MS, WallTime, Zone
from connectors.dsmr_p1.profiles import Profile

# Factory defaults of clocks that were never set: 1970 (read as 2070), 2000 and the years after it.
FIRST_MS = 1_199_145_600_000  # 2008-01-01, when the first DSMR meters came
LAST_MS = 2_840_140_800_000  # 2060-01-01
# Before this program was written a machine's clock is not set: it does not tell that the meter's is wrong.
MACHINE_CLOCK_FROM_MS = 1_735_689_600_000  # 2025-01-01
FAR_AHEAD_MS = 31 * DAY_MS
CLOCKS_DIFFER_MS = 10 * 60_000  # what two good clocks may differ by, with the way of a telegram


@dataclass(frozen=True, slots=True)
class Reference:
    """What the times in one telegram are measured by.

    `clock_ms` is the time of the telegram, None where the meter has no clock that can be believed; `received` that of
    its reception, None where that is not known or the machine's clock was not set yet. `wrong_clock`: no time that the
    meter prints is believed. `standard_time`: its clock does not know summer time. `zone` is the meter's.
    """

    clock_ms: int | None
    received: int | None
    wrong_clock: bool = False
    standard_time: bool = False
    zone: Zone = CENTRAL

    @property
    def ms(self) -> int | None:
        return self.received if self.clock_ms is None else self.clock_ms


def reference(
    clock: str, received: int | None, profile: Profile, policy: str, *, zone_is_known: bool = True
) -> Reference:
    """The time of a telegram; `policy` as in DSMR_METER_CLOCK. Hours off are believed only in a zone that is known."""
    received = None if received is None or received < MACHINE_CLOCK_FROM_MS else received
    if policy == "never":
        return Reference(None, received, wrong_clock=True)
    if not clock:
        return Reference(None, received, standard_time=profile.standard_time, zone=profile.zone)
    wall = meter_time.parse(clock, profile.zone)
    if wall is None:
        return Reference(None, received, wrong_clock=True)
    clock_ms = _clock_ms(wall, received, profile)
    hours_off = None if zone_is_known or received is None else whole_hours(clock_ms - received)
    if hours_off or not _makes_sense(clock_ms, received, policy):
        return Reference(None, received, wrong_clock=True)
    keeps_standard_time = profile.standard_time or clock_ms not in wall.candidates
    standard_time = keeps_standard_time and clock_ms == wall.by_standard_time
    return Reference(clock_ms, received, standard_time=standard_time, zone=profile.zone)


def whole_hours(difference_ms: int) -> int | None:
    """How many hours this is, within what good clocks may differ by; None when it is no whole number of them."""
    hours = round(difference_ms / HOUR_MS)
    return hours if abs(difference_ms - hours * HOUR_MS) <= CLOCKS_DIFFER_MS else None


def _clock_ms(wall: WallTime, received: int | None, profile: Profile) -> int:
    """Where season, flag and profile contradict each other, the time of reception decides."""
    likely = wall.by_standard_time if profile.standard_time else wall.candidates[-1]
    if received is None:
        return likely
    possible = {likely, *wall.candidates, likely if wall.by_flag is None else wall.by_flag}
    return min(sorted(possible), key=lambda ms: abs(ms - received))


def _makes_sense(clock_ms: int, received: int | None, policy: str) -> bool:
    if not FIRST_MS <= clock_ms < LAST_MS:
        return False
    if policy == "always" or received is None:
        return True
    return abs(clock_ms - received) <= DAY_MS


def when(code: str, text: str, now: Reference, learnt: Mapping[str, int]) -> int | None:
    """The moment of a value that has a time of its own; None where it cannot be told (the telegram's counts then)."""
    if code in learnt:
        return learnt[code]
    possible = moments(text, now)
    if not possible:
        return None
    return latest_that_was(possible, now)


def moments(text: str, now: Reference) -> tuple[int, ...]:
    """The moments that a time of its own can mean: none when it cannot be believed, two in the repeated hour.

    It cannot when it lies far ahead of the telegram (gas meters a year ahead were seen in January), and when the
    meter's clock is wrong: it is the meter that stamps what its M-Bus devices send.
    """
    wall = meter_time.parse(text, now.zone)
    if wall is None or now.wrong_clock:
        return ()
    limit = LAST_MS if now.ms is None else min(LAST_MS, now.ms + FAR_AHEAD_MS)
    possible = (wall.by_standard_time,) if now.standard_time else wall.candidates
    return tuple(ms for ms in possible if FIRST_MS <= ms < limit)


def latest_that_was(possible: tuple[int, ...], now: Reference) -> int:
    """The latest that does not lie ahead of the telegram; the first when it is not known when that was."""
    if len(possible) == 1 or now.ms is None:
        return possible[0]
    past = [ms for ms in possible if ms <= now.ms + CLOCKS_DIFFER_MS]
    return past[-1] if past else possible[0]
