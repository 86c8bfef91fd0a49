"""The smart meter connector: a line that only listens, and what is made of what it hears."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import NoReturn

from connectors.dsmr_p1 import codec
from connectors.dsmr_p1.clock_zone import ClockZone
from connectors.dsmr_p1.codec import DEVICE, Telegram
from connectors.dsmr_p1.damage_share import DamageShare
from connectors.dsmr_p1.downsampling import Thinning
from connectors.dsmr_p1.encrypted_frames import FrameFinder, KeyDoubt, Opened, Replays
from connectors.dsmr_p1.framing import TelegramFinder, whole
from connectors.dsmr_p1.line_settings import Modes, serial_port
from connectors.dsmr_p1.memory import Announcements, OwnTimes, Rates
from connectors.dsmr_p1.meter_time import CENTRAL
from connectors.dsmr_p1.odd_lines import OddLines
from connectors.dsmr_p1.settings import Settings
from connectors.dsmr_p1.validation import Received, Trust, Verdict
from links.serial_line import Line, open_line
from links.serial_silence import SilenceWatch
from wattbus import metrics
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.connector import Datapoint, Link, Reading, Scalar
from wattbus.errors import CommandRejected, DecodeError, LinkSilent
from wattbus.jsontext import JsonValue

log = logging.getLogger(__name__)

DAMAGED_TO_TELL = 10  # telegrams in a row

NOISE = metrics.counter("p1_noise_bytes", "Bytes from a P1 port that belonged to no telegram.")
ODD_LINES = metrics.counter("p1_odd_lines", "Lines of telegrams that have no known form and are left out.")
REPLAYS = metrics.counter("p1_replays", "Encrypted telegrams that were heard before and are left out.")


def create(settings: Settings) -> DsmrP1:
    """The connector for these settings; contacts nothing."""
    return DsmrP1(settings)


class DsmrP1:
    """Listens to one meter. What it learns about the meter outlives the line."""

    def __init__(self, settings: Settings, clock: Clock = SYSTEM_CLOCK) -> None:
        self._settings = settings
        self._options = settings.options
        self._clock = clock
        self._modes = Modes(settings.dsmr_port, settings.dsmr_version)
        self._silence = SilenceWatch(settings.dsmr_timeout_seconds, clock, what="the meter")
        self._trust = Trust(form_is_enough=self._options.form_is_enough)
        self._share = DamageShare()
        self._odd_lines = OddLines()
        self._zone = ClockZone(self._options.zone)
        self._key_doubt = KeyDoubt()
        self._replays = Replays()
        self._own_times = OwnTimes()
        self._rates = Rates()
        self._announcements = Announcements(settings.dsmr_interval_seconds)
        self._thinning: Thinning[tuple[JsonValue, int]] = Thinning(
            settings.dsmr_interval_seconds, self._options.zone or CENTRAL
        )
        self._damaged = 0  # in a row
        self._bytes_to_last_telegram = 0
        self._clock_is_wrong = False

    def datapoints(self) -> Iterable[Datapoint]:
        """None: the telegrams tell."""
        return []

    def decode(self, raw: JsonValue) -> Iterable[Reading]:
        """Electricity at the meter's time, M-Bus devices at theirs."""
        return codec.decode(raw, self._options)

    async def write(self, key: str, value: Scalar) -> NoReturn:
        """A P1 port only speaks. Raises CommandRejected."""
        raise CommandRejected("a P1 port takes no commands")

    async def run(self, link: Link) -> None:
        """Listen. Raises LinkDown when the line cannot be had, breaks, or is silent for too long."""
        settings = self._settings
        port = serial_port(
            settings.dsmr_port,
            self._modes.current,
            xonxoff=settings.dsmr_xonxoff,
            data_request=settings.dsmr_data_request,
        )
        try:
            async with open_line(port) as line, asyncio.TaskGroup() as tasks:
                log.debug("%s is open, at %s", port.url, self._modes.current.name)
                tasks.create_task(self._listen(line, link), name="p1 telegrams")
                await self._silence.opened()
                tasks.create_task(self._guard(line), name="p1 silence")
        except asyncio.CancelledError:  # this is the end; after LinkDown the next telegram can still confirm the last
            self._take_verdict(self._trust.rest(), link)
            raise
        finally:
            self._rates.paused()
            for raw, received in self._thinning.rest():
                link.emit(raw, received)

    async def _guard(self, line: Line) -> None:
        try:
            await self._silence.guard()
        except LinkSilent as silent:
            tried = self._modes.current.name
            self._modes.silent()
            at = f" at {tried}" if self._modes.has_choice else ""
            since = line.bytes_received - self._bytes_to_last_telegram
            came = f"{since} bytes came{at}, and no telegram in them" if since else f"nothing came{at}"
            raise LinkSilent(f"{silent} ({came})") from None

    async def _listen(self, line: Line, link: Link) -> None:
        telegrams, frames = TelegramFinder(), FrameFinder(self._options.keys)
        self._bytes_to_last_telegram = 0
        while True:
            data = await line.read()
            received, at_s, dropped = self._clock.now_ms(), self._clock.monotonic(), telegrams.dropped_bytes
            for opened in frames.feed(data):
                self._heard(line, link)
                self._take_frame(opened, received, link)
            for found in telegrams.feed(data, at_s):
                self._heard(line, link)
                self._take_verdict(self._trust.judge(found, received), link)
            if not frames.found:  # what is encrypted is no noise
                noise = telegrams.dropped_bytes - dropped
                NOISE.labels(self._settings.connector_name).inc(noise)
                if self._bytes_to_last_telegram:  # before the first one it may be the wrong speed
                    self._share.dropped(noise)
            self._tell("damage", self._share.fault, link)

    def _heard(self, line: Line, link: Link) -> None:
        """A telegram: a meter that only speaks gives no other answer."""
        link.connected()
        self._silence.fed()
        self._modes.heard()
        self._bytes_to_last_telegram = line.bytes_received

    # -- telegrams --------------------------------------------------------------------------------------------------

    def _take_verdict(self, verdict: Verdict, link: Link) -> None:
        for telegram, reason in verdict.damaged:
            self._damaged += 1
            self._share.damaged(reason)
            link.emit({"damaged": telegram.text, "reason": reason, "received": telegram.received}, telegram.received)
            if self._damaged == DAMAGED_TO_TELL:
                link.unit(DEVICE, False, f"the last {DAMAGED_TO_TELL} telegrams were damaged: {reason}")
        for telegram in verdict.believed:
            self._damaged = 0
            self._share.good(len(telegram.text))
            link.unit(DEVICE, True)
            self._take_telegram(telegram, link)

    @staticmethod
    def _tell(about: str, fault: str, link: Link) -> None:
        """Something is not well while values come: no datapoint belongs to this unit, so none turns offline."""
        link.unit(about, not fault, fault)

    def _take_telegram(self, received: Received, link: Link) -> None:
        raw: dict[str, JsonValue] = {"telegram": received.text, "received": received.received}
        if received.unverified:
            raw["unverified"] = True
        try:
            telegram = self._parsed(received)
            if self._zone.compare(codec.moment(telegram, received.received, self._options).clock_ms, received.received):
                telegram = self._parsed(received)
        except DecodeError:
            link.emit(raw, received.received)  # the runtime counts it
            return
        self._take_odd_lines(telegram.odd, link)
        self._tell("clock", self._zone.fault, link)
        if (hours := self._zone.winter_hours) is not None:
            raw["zone_hours"] = hours
        now = codec.moment(telegram, received.received, self._options, zone_is_known=self._zone.zone is not None)
        self._tell_wrong_clock(telegram, now.wrong_clock)
        times = self._own_times.learn(telegram, now, received.received)
        if times:
            raw["times"] = times
        at_ms = received.received if now.clock_ms is None else now.clock_ms
        self._learn_rates(telegram)
        for ready, ready_ms in self._thinning.take((raw, received.received), at_ms):
            link.announce(self._announcements.news(telegram, self._rates))
            link.emit(ready, ready_ms)

    def _parsed(self, received: Received) -> Telegram:
        check = not received.unverified
        return codec.parse(received.text, self._options.profile, self._zone.zone, check=check)

    def _take_odd_lines(self, lines: list[str], link: Link) -> None:
        if lines:
            ODD_LINES.labels(self._settings.connector_name).inc(len(lines))
        self._odd_lines.take(lines)
        self._tell("lines", self._odd_lines.fault, link)

    def _learn_rates(self, telegram: Telegram) -> None:
        self._rates.heard(self._clock.monotonic())
        for line in telegram.mbus:
            own_ms = self._own_times.of(line.code)
            if own_ms is not None:
                self._rates.reading(line.code, own_ms)

    def _tell_wrong_clock(self, telegram: Telegram, is_wrong: bool) -> None:
        is_wrong = is_wrong and self._options.meter_clock != "never"
        if is_wrong == self._clock_is_wrong:
            return
        self._clock_is_wrong = is_wrong
        if is_wrong:
            log.warning("the meter's clock says %s: its values get the time of reception instead", telegram.clock)
        else:
            log.info("the meter's clock is right again")

    # -- encrypted telegrams ----------------------------------------------------------------------------------------

    def _take_frame(self, opened: Opened, received: int, link: Link) -> None:
        if opened.fault is not None:
            link.emit({"frame": opened.frame.hex(), "received": received}, received)
            if self._key_doubt.is_over:
                self._share.damaged("it does not open under the keys that opened those before")
            reason = self._key_doubt.failed(opened)
            if reason:
                link.unit(DEVICE, False, reason)
            return
        self._key_doubt.opened()
        if self._replays.is_replay(opened.parts, self._clock_in(opened.text, received)):
            REPLAYS.labels(self._settings.connector_name).inc()
            return
        self._take_verdict(self._trust.judge(whole(opened.text), received), link)

    def _clock_in(self, text: str, received: int) -> int | None:
        try:
            return codec.moment(
                codec.parse(text, self._options.profile, self._zone.zone), received, self._options
            ).clock_ms
        except DecodeError:
            return None
