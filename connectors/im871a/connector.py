"""The wireless M-Bus connector: a receiver that hears every meter around, and the few that are ours."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import NoReturn

from connectors.im871a import codec
from connectors.im871a.formats_file import FormatsFile
from connectors.im871a.hci import HciFrame, rssi_dbm
from connectors.im871a.meters_file import MetersFile
from connectors.im871a.recalc import ReCalc
from connectors.im871a.receivers.choosing import choose
from connectors.im871a.receivers.heard import HeardTelegram
from connectors.im871a.reception import Reception
from connectors.im871a.registry import MeterRegistry
from connectors.im871a.settings import Settings
from connectors.im871a.stick import Stick
from links.serial_line import open_line
from links.serial_silence import SilenceWatch
from wattbus import metrics
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.connector import Datapoint, Link, Reading, Scalar
from wattbus.errors import CommandRejected
from wattbus.jsontext import JsonValue

log = logging.getLogger(__name__)

CHECK_EVERY_S = 60.0
LOOK_EVERY_S = 1.0
SOURCES = ("recalc", "settings", "file")  # of meters; what a later one says counts

DAMAGED = metrics.counter("im871a_damaged_frames", "Frames of the stick whose CRC was wrong.")


def create(settings: Settings) -> Im871a:
    """The connector for these settings. Raises ConfigError; contacts nothing."""
    return Im871a(settings)


class Im871a:
    """Hears telegrams through one receiver, and keeps those of the configured meters."""

    def __init__(self, settings: Settings, clock: Clock = SYSTEM_CLOCK) -> None:
        self._settings = settings
        self._clock = clock
        self._silence = SilenceWatch(settings.im871a_silent_seconds or None, clock, what=_what(settings))
        self.meters = MeterRegistry(SOURCES)
        self.meters.replace("settings", settings.im871a_meters)
        self._file = self._meters_file()
        self._recalc = ReCalc(settings, self.meters, clock) if settings.recalc_gateway_id else None
        self._formats_file = FormatsFile(settings.data_directory / f"{settings.connector_name}-formats.json")
        self._receiver = None if settings.im871a_receiver == "im871a" else choose(settings, self._silence)
        self._reception = Reception(settings, self.meters, self._recalc, clock)
        self.meters.on_change = self._reception.meters_changed

    def _meters_file(self) -> MetersFile | None:
        path = self._settings.im871a_meters_file
        if path is None:
            return None
        file = MetersFile(path, self.meters, self._clock)
        file.start()
        return file

    def datapoints(self) -> Iterable[Datapoint]:
        """None beforehand: what a meter sends is known when it has sent it."""
        return []

    async def accompany(self) -> None:
        """Follow the file of meters, and talk to ReCalc, whether the stick is there or not."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_formats(), name="learnt formats")
            if self._file is not None:
                tasks.create_task(self._file.follow(), name="file of meters")
            if self._recalc is not None:
                tasks.create_task(self._recalc.run(), name="ReCalc")

    async def _keep_formats(self) -> NoReturn:
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            if news := self._reception.formats.news():
                await asyncio.to_thread(self._formats_file.write, news)

    async def run(self, link: Link) -> None:
        """Listen. Raises LinkDown when the receiver is away, does not answer, or hears nothing for long."""
        self._reception.formats.recall(await asyncio.to_thread(self._formats_file.read))
        if self._receiver is None:
            await self._through_stick(link)
            return
        async with asyncio.TaskGroup() as tasks:
            with self._reception.on(link):
                tasks.create_task(self._look_around(), name="meters that come and go")
                await self._receiver.run(link, self._heard)

    async def _through_stick(self, link: Link) -> NoReturn:
        async with open_line(self._settings.port) as line, asyncio.TaskGroup() as tasks:
            with self._reception.on(link):
                stick = Stick(line, self._heard_by_stick, self._clock)
                tasks.create_task(stick.read(), name="stick")
                await self._silence.opened(stick.reset)
                information = await stick.listen(self._settings.im871a_link_mode)
                log.debug("%s, firmware 0x%02X", information.module_name, information.firmware)
                if not self._silence.is_silent:  # else the stick answers and hears nothing, as before
                    link.connected()
                tasks.create_task(self._check(stick), name="check")
                tasks.create_task(self._look_around(), name="meters that come and go")
                await self._silence.guard()

    def decode(self, raw: JsonValue) -> Iterable[Reading]:
        """The values of a meter's telegram, or the announcement of a meter that is not configured."""
        return codec.decode(raw, self.meters)

    async def write(self, key: str, value: Scalar) -> None:
        """Meters take no commands."""
        raise CommandRejected(f"{key}: meters on the radio link take no commands")

    def _heard_by_stick(self, frame: HciFrame) -> None:
        self._heard(HeardTelegram(frame.telegram, None if frame.rssi is None else rssi_dbm(frame.rssi)))

    def _heard(self, heard: HeardTelegram) -> None:
        self._silence.fed()
        self._reception.take(heard)

    async def _check(self, stick: Stick) -> NoReturn:
        counted = 0
        while True:
            await self._clock.sleep(CHECK_EVERY_S)
            await stick.check(self._settings.im871a_link_mode)
            DAMAGED.labels(self._settings.connector_name).inc(stick.frames.damaged - counted)
            counted = stick.frames.damaged

    async def _look_around(self) -> NoReturn:
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            self._reception.look_around()


def _what(settings: Settings) -> str:
    is_line = settings.im871a_receiver == "lines" and settings.im871a_lines_from != "serial"
    return settings.im871a_lines_from if is_line else settings.im871a_port
