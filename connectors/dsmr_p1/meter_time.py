"""Time as meters print it: `YYMMDDhhmmssX`, local time with S (summer) or W (winter). Pure.

[DSMR P1 companion standard 5.0.2, format TST.] Most meters with a P1 port stand in the Central European zone: winter is
UTC+1, summer UTC+2, from the last Sunday of March to the last of October, 01:00 UTC (Directive 2000/84/EC); Lithuanian
and Finnish ones in the Eastern, an hour ahead of it, with the same days. The flag tells the two repeated hours of the
night in October apart. Elsewhere the date tells, and the flag is not always right: Belgian meters print past months
with the flag of today; see `timestamps.py` for clocks that do not know summer time.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

HOUR_MS = 3_600_000
DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1).toordinal()


class Zone(NamedTuple):
    """A zone of Europe: what its local time is ahead of UTC in winter, and whether summer is an hour more."""

    winter_ms: int
    has_summer: bool = True

    @property
    def summer_ms(self) -> int:
        return self.winter_ms + HOUR_MS

    def offset_ms(self, utc_ms: int) -> int:
        """What local time is ahead of UTC at a moment."""
        return self.winter_ms + (HOUR_MS if self.has_summer and _is_summer(utc_ms // HOUR_MS) else 0)

    def local_day(self, utc_ms: int) -> int:
        """The number of the local calendar day, counted from 1970-01-01."""
        return (utc_ms + self.offset_ms(utc_ms)) // DAY_MS


CENTRAL = Zone(HOUR_MS)


@lru_cache(maxsize=64)
def zone(name: str) -> Zone:
    """The zone with this name (`Europe/Vilnius`). Raises ValueError where there is none that is like Europe's."""
    try:
        info = ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(f"there is no time zone {name!r}; expected a name such as Europe/Vilnius") from None
    change_ms = _last_sunday_ms(2025, 3)
    january, before, after = (_offset_of(info, ms) for ms in (1_735_689_600_000, change_ms - 1, change_ms))
    found = Zone(january, after != january)
    if (
        before != january
        or after - january not in (0, HOUR_MS)
        or _offset_of(info, _last_sunday_ms(2025, 10)) != january
    ):
        raise ValueError(
            f"{name} changes to summer time on other days than Europe; expected a name such as Europe/Vilnius"
        )
    return found


def _offset_of(info: ZoneInfo, utc_ms: int) -> int:
    offset = datetime.fromtimestamp(utc_ms / 1000, info).utcoffset()
    return round((offset or timedelta()).total_seconds() * 1000)


class WallTime(NamedTuple):
    """What the meter printed: milliseconds since 1970 if its local time were UTC; S, W, or nothing; its zone."""

    wall_ms: int
    flag: str
    zone: Zone = CENTRAL

    @property
    def candidates(self) -> tuple[int, ...]:
        """The moments (ms UTC) it means, in rising order: two in the repeated hour without a flag, else one."""
        zone = self.zone
        summer, winter = self.wall_ms - zone.summer_ms, self.wall_ms - zone.winter_ms
        if zone.offset_ms(summer) != zone.summer_ms:
            return (winter,)
        if zone.offset_ms(winter) != zone.winter_ms:
            return (summer,)
        return {"S": (summer,), "W": (winter,)}.get(self.flag, (summer, winter))

    @property
    def by_flag(self) -> int | None:
        """The moment (ms UTC) if the flag is taken at its word; None without one."""
        if not self.flag:
            return None
        return self.wall_ms - (self.zone.summer_ms if self.flag == "S" else self.zone.winter_ms)

    @property
    def by_standard_time(self) -> int:
        """The moment (ms UTC) for a clock that does not know summer time."""
        return self.wall_ms - self.zone.winter_ms


def parse(text: str, zone: Zone = CENTRAL) -> WallTime | None:
    """What `text` says in this zone; None when it is no time: `632525252525W`, which meters print before they know."""
    if len(text) == 13:
        flag = text[12]
        if flag not in "SW":
            return None
    elif len(text) == 12:
        flag = ""
    else:
        return None
    if not (text[:12].isdigit() and text.isascii()):
        return None
    day_ms = _day_ms(text[:6])
    hour, minute, second = int(text[6:8]), int(text[8:10]), int(text[10:12])
    if day_ms is None or hour > 23 or minute > 59 or second > 59:
        return None
    return WallTime(day_ms + (hour * 3600 + minute * 60 + second) * 1000, flag, zone)


@lru_cache(maxsize=64)
def _day_ms(text: str) -> int | None:
    try:
        day = date(2000 + int(text[:2]), int(text[2:4]), int(text[4:6]))
    except ValueError:
        return None
    return (day.toordinal() - _EPOCH) * DAY_MS


def offset_ms(utc_ms: int) -> int:
    """What Central European local time is ahead of UTC at a moment."""
    return CENTRAL.offset_ms(utc_ms)


@lru_cache(maxsize=1024)
def _is_summer(hour: int) -> bool:
    """It changes at full hours."""
    moment = hour * HOUR_MS
    year = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=moment)).year
    return _last_sunday_ms(year, 3) <= moment < _last_sunday_ms(year, 10)


def _last_sunday_ms(year: int, month: int) -> int:
    last = date(year, month, 31)  # March and October both have 31 days
    sunday = last.toordinal() - (last.weekday() + 1) % 7
    return (sunday - _EPOCH) * DAY_MS + HOUR_MS  # 01:00 UTC


def iso(utc_ms: int) -> str:
    """`2017-01-02T18:20:02Z`."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=utc_ms)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def printed(utc_ms: int, zone: Zone = CENTRAL) -> str:
    """As a meter in this zone prints it: `170102192002W`."""
    offset = zone.offset_ms(utc_ms)
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=utc_ms + offset)
    return f"{moment:%y%m%d%H%M%S}{'W' if offset == zone.winter_ms else 'S'}"


def printed_in_standard_time(utc_ms: int) -> str:
    """As a meter prints it whose clock does not know summer time."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=utc_ms + CENTRAL.winter_ms)
    return f"{moment:%y%m%d%H%M%S}W"
