"""Time as meters print it: `YYMMDDhhmmssX`, local time with S (summer) or W (winter). Pure.

[DSMR P1 companion standard 5.0.2, format TST.] All meters with a P1 port stand in the Central European zone: winter is
UTC+1, summer UTC+2, from the last Sunday of March to the last of October, 01:00 UTC (Directive 2000/84/EC). The flag
tells the two repeated hours of the night in October apart. Elsewhere the date tells, and the flag is not always right:
Belgian meters print past months with the flag of today; see `moments.py` for clocks that do not know summer time.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

HOUR_MS = 3_600_000
WINTER_MS = HOUR_MS  # what local time is ahead of UTC
SUMMER_MS = 2 * HOUR_MS
DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1).toordinal()


class WallTime(NamedTuple):
    """What the meter printed: milliseconds since 1970 if its local time were UTC; S, W, or nothing."""

    wall_ms: int
    flag: str

    @property
    def candidates(self) -> tuple[int, ...]:
        """The moments (ms UTC) it means, in rising order: two in the repeated hour without a flag, else one."""
        summer, winter = self.wall_ms - SUMMER_MS, self.wall_ms - WINTER_MS
        if offset_ms(summer) != SUMMER_MS:
            return (winter,)
        if offset_ms(winter) != WINTER_MS:
            return (summer,)
        return {"S": (summer,), "W": (winter,)}.get(self.flag, (summer, winter))

    @property
    def by_flag(self) -> int | None:
        """The moment (ms UTC) if the flag is taken at its word; None without one."""
        if not self.flag:
            return None
        return self.wall_ms - (SUMMER_MS if self.flag == "S" else WINTER_MS)

    @property
    def by_standard_time(self) -> int:
        """The moment (ms UTC) for a clock that does not know summer time."""
        return self.wall_ms - WINTER_MS


def parse(text: str) -> WallTime | None:
    """What `text` says; None when it is no time, as `632525252525W`, which meters print before they know it."""
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
    return WallTime(day_ms + (hour * 3600 + minute * 60 + second) * 1000, flag)


@lru_cache(maxsize=64)
def _day_ms(text: str) -> int | None:
    try:
        day = date(2000 + int(text[:2]), int(text[2:4]), int(text[4:6]))
    except ValueError:
        return None
    return (day.toordinal() - _EPOCH) * DAY_MS


def offset_ms(utc_ms: int) -> int:
    """What Central European local time is ahead of UTC at a moment."""
    return _offset_in_hour(utc_ms // HOUR_MS)


@lru_cache(maxsize=1024)
def _offset_in_hour(hour: int) -> int:
    """It changes at full hours."""
    moment = hour * HOUR_MS
    year = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=moment)).year
    return SUMMER_MS if _last_sunday_ms(year, 3) <= moment < _last_sunday_ms(year, 10) else WINTER_MS


def _last_sunday_ms(year: int, month: int) -> int:
    last = date(year, month, 31)  # March and October both have 31 days
    sunday = last.toordinal() - (last.weekday() + 1) % 7
    return (sunday - _EPOCH) * DAY_MS + WINTER_MS  # 01:00 UTC


def local_day(utc_ms: int) -> int:
    """The number of the local calendar day, counted from 1970-01-01."""
    return (utc_ms + offset_ms(utc_ms)) // DAY_MS


def iso(utc_ms: int) -> str:
    """`2017-01-02T18:20:02Z`."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=utc_ms)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def printed(utc_ms: int) -> str:
    """As a meter prints it: `170102192002W`."""
    offset = offset_ms(utc_ms)
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=utc_ms + offset)
    return f"{moment:%y%m%d%H%M%S}{'S' if offset == SUMMER_MS else 'W'}"


def printed_in_standard_time(utc_ms: int) -> str:
    """As a meter prints it whose clock does not know summer time."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=utc_ms + WINTER_MS)
    return f"{moment:%y%m%d%H%M%S}W"
