"""Lines that hold a table: the log of power failures, and the peaks of past months. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from connectors.dsmr_p1 import meter_time
from connectors.dsmr_p1.meter_time import Zone
from connectors.dsmr_p1.profiles import Row
from connectors.dsmr_p1.values import described, number, value_of
from wattbus.connector import Quantity, Scalar


def failures(row: Row, fields: list[str], zone: Zone) -> Iterator[tuple[str, Quantity]]:
    """`(2)(0-0:96.7.19)(end)(duration*s)(end)(duration*s)`; meters without failures also print `()`."""
    entries: list[tuple[int, str, Scalar]] = []
    for end, duration in zip(fields[2::2], fields[3::2], strict=False):
        wall, seconds = meter_time.parse(end, zone), number(duration.partition("*")[0])
        if wall is not None and seconds is not None:
            entries.append((wall.candidates[0], meter_time.iso(wall.candidates[0]), seconds))
    entries.sort(key=lambda entry: entry[0], reverse=True)
    text = described(row.text, row.code)
    yield f"{row.name}s_logged", Quantity(len(entries), "", text)
    if entries:
        _, end, seconds = entries[0]
        log = "; ".join(f"{end} {seconds} s" for _, end, seconds in entries)
        yield f"{row.name}_last_end", Quantity(end, "", f"end of the last long power failure ({row.code})")
        yield f"{row.name}_last_s", Quantity(seconds, "s", f"duration of the last long power failure ({row.code})")
        yield f"{row.name}_log", Quantity(log, "", f"{text}: end and duration, latest first")


def peaks(row: Row, fields: list[str], zone: Zone) -> tuple[str, tuple[tuple[str, Quantity], ...]] | None:
    """`(2)(code)(code)(end of month)(moment)(power*kW)(end of month)(moment)(power*kW)`, at the latest month's end."""
    entries: list[tuple[int, str, str, str]] = []
    for month, moment, power in zip(fields[3::3], fields[4::3], fields[5::3], strict=False):
        wall = meter_time.parse(month, zone)
        if wall is not None and number(power.partition("*")[0]) is not None:
            entries.append((wall.candidates[0], month, moment, power))
    if not entries:
        return None
    entries.sort(reverse=True)
    _, month, moment, power = entries[0]
    texts = []
    for ends_ms, _, at, peak in entries:
        wall = meter_time.parse(at, zone)
        figure, _, unit = peak.partition("*")
        when = meter_time.iso(wall.candidates[0]) if wall else "unknown"
        texts.append(f"month to {meter_time.iso(ends_ms)}: {number(figure)} {unit} at {when}")
    last = Row(row.code, f"{row.name}_last_month", "highest quarter of an hour of the last month")
    values = [value for value in [value_of(last.name, last, power)] if value]
    wall = meter_time.parse(moment, zone)
    if wall is not None:
        when = meter_time.iso(wall.candidates[0])
        values.append((f"{last.name}_at", Quantity(when, "", described("when that was", row.code))))
    values.append((f"{row.name}_months", Quantity("; ".join(texts), "", described(row.text, row.code))))
    return month, tuple(values)
