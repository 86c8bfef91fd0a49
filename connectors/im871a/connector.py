"""The wireless M-Bus connector: a stick that hears every meter around, and the few that are ours."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from connectors.im871a import codec, hci
from connectors.im871a.hearing import Duplicates, Neighbours, Quiet
from connectors.im871a.meters_file import MetersFile
from connectors.im871a.recalc import ReCalc
from connectors.im871a.registry import Meter, Registry
from connectors.im871a.settings import Settings
from connectors.im871a.stick import Stick
from connectors.im871a.telegram import Header, KeyNeeded, SeenFormat, WrongKey, read_header, seen_format
from links.serial_line import open_line
from links.serial_silence import SilenceWatch
from wattbus import metrics
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.connector import Datapoint, Link, Reading, Scalar
from wattbus.errors import CommandRejected, DecodeError
from wattbus.jsontext import JsonValue

log = logging.getLogger(__name__)

PING_S = 60.0
QUIET_CHECK_S = 10.0
MOST_FORMATS = 1000

TELEGRAMS = metrics.counter("im871a_telegrams", "Telegrams that the stick heard, by whose they are.", "of")
DAMAGED = metrics.counter("im871a_damaged_frames", "Frames of the stick whose CRC was wrong.")


_WRONG_WITH_THE_KEY: dict[type, str] = {
    KeyNeeded: "its telegrams are encrypted: it needs a key",
    WrongKey: "the key does not open its telegrams",
    codec.NotEncrypted: "its telegrams are not encrypted, though it has a key: leave the key out if that is right",
}


def create(settings: Settings) -> Im871a:
    """The connector for these settings; contacts nothing."""
    return Im871a(settings)


class Im871a:
    """Hears telegrams through one stick, and keeps those of the configured meters."""

    def __init__(self, settings: Settings, clock: Clock = SYSTEM_CLOCK) -> None:
        self._settings = settings
        self._clock = clock
        self._link: Link | None = None
        self.meters = Registry(("settings", "recalc", "file"), self._meters_changed)
        self._neighbours = Neighbours(clock)
        self._duplicates = Duplicates(settings.im871a_duplicate_seconds, clock)
        self._quiet = Quiet(settings.im871a_meter_silent_seconds, clock)
        self._silence = SilenceWatch(
            settings.im871a_silent_seconds or None, clock, what=f"the stick at {settings.im871a_port}"
        )
        self._formats: dict[int, bytes] = {}
        self._file = MetersFile(settings.im871a_meters_file, self.meters, clock)
        self._recalc = ReCalc(settings, self.meters, clock) if settings.recalc_gateway_id else None
        self.meters.replace("settings", settings.im871a_meters)
        self._file.read()

    def datapoints(self) -> Iterable[Datapoint]:
        """None beforehand: what a meter sends is known when it has sent it."""
        return []

    async def accompany(self) -> None:
        """Follow the file of meters, and talk to ReCalc, whether the stick is there or not."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._file.follow(), name="file of meters")
            if self._recalc is not None:
                tasks.create_task(self._recalc.run(), name="ReCalc")

    async def run(self, link: Link) -> None:
        """Listen. Raises LinkDown when the stick is away, does not answer, or hears nothing for long."""
        self._link = link
        try:
            async with open_line(self._settings.port) as line, asyncio.TaskGroup() as tasks:
                stick = Stick(line, self._heard, self._clock)
                tasks.create_task(stick.read(), name="stick")
                await self._silence.opened(stick.reset)
                information = await stick.listen(self._settings.im871a_link_mode)
                log.debug("%s, firmware 0x%02X", information.module_name, information.firmware)
                self._quiet.start(self.meters.ids)
                tasks.create_task(self._silence.guard(), name="silence")
                tasks.create_task(self._ping(stick), name="ping")
                tasks.create_task(self._watch_meters(), name="quiet meters")
        finally:
            self._link = None

    def decode(self, raw: JsonValue) -> Iterable[Reading]:
        """The values of a meter's telegram, or the announcement of a meter that is not configured."""
        return codec.decode(raw, self.meters)

    async def write(self, key: str, value: Scalar) -> None:
        """Meters take no commands."""
        raise CommandRejected(f"{key}: meters on the radio link take no commands")

    # -- what is heard ----------------------------------------------------------------------------------------------

    def _heard(self, frame: hci.HciFrame) -> None:
        link, telegram = self._link, frame.telegram
        if link is None:
            return
        self._silence.fed()
        try:
            header = read_header(telegram)
        except DecodeError:
            link.emit(codec.raw_telegram(telegram, frame.rssi))  # kept raw and counted
            return
        if self._duplicates.is_known(telegram):
            self._count("repeaters")
            return
        meter = self.meters.find(header)
        if meter is None:
            self._stranger(link, header)
        else:
            self._ours(link, meter, header, frame)

    def _stranger(self, link: Link, header: Header) -> None:
        self._count("strangers")
        if self._settings.im871a_unknown_meters and self._neighbours.is_news(header):
            link.emit(codec.raw_stranger(header))

    def _ours(self, link: Link, meter: Meter, header: Header, frame: hci.HciFrame) -> None:
        self._count("meters")
        self._quiet.heard(meter.id)
        learnt, fault = None, None
        try:
            codec.check_encrypted(meter, header)
            learnt = self._learn(seen_format(frame.telegram, meter.key))
        except DecodeError as error:  # the runtime meets it again while decoding: kept, counted, logged there
            fault = error
        reason = _WRONG_WITH_THE_KEY.get(type(fault))
        if reason or fault is None:
            link.unit(meter.id, up=fault is None, reason=reason or "")
        link.emit(codec.raw_telegram(frame.telegram, frame.rssi, learnt))
        if self._recalc is not None and fault is None:
            self._recalc.telegram(meter, frame.telegram, learnt)

    def _learn(self, seen: SeenFormat | None) -> bytes | None:
        """What a compact frame needs to be read; a full frame teaches it."""
        if seen is None:
            return None
        if seen.record_format is None:
            return self._formats.get(seen.signature)
        if seen.signature in self._formats or len(self._formats) < MOST_FORMATS:
            self._formats[seen.signature] = seen.record_format
        return None

    def _count(self, whose: str) -> None:
        TELEGRAMS.labels(self._settings.connector_name, whose).inc()

    # -- what goes on -----------------------------------------------------------------------------------------------

    async def _ping(self, stick: Stick) -> None:
        counted = 0
        while True:
            await self._clock.sleep(PING_S)
            await stick.ping()
            DAMAGED.labels(self._settings.connector_name).inc(stick.frames.damaged - counted)
            counted = stick.frames.damaged

    async def _watch_meters(self) -> None:
        while True:
            await self._clock.sleep(min(QUIET_CHECK_S, self._quiet.limit_s / 4 or QUIET_CHECK_S))
            for meter_id in self._quiet.gone(self.meters.ids):
                if self._link is not None:
                    self._link.unit(meter_id, up=False, reason=f"not heard for {self._quiet.limit_s:g} s")

    def _meters_changed(self, gone: set[str]) -> None:
        self._neighbours.forget()
        for meter_id in gone:
            self._quiet.forget(meter_id)
            if self._link is not None:
                self._link.unit(meter_id, up=False, reason="not listened to any more")
