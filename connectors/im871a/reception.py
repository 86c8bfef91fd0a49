"""The way of a telegram: from the receiver to the raw message, and what is learnt on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from connectors.im871a import codec
from connectors.im871a.announcements import Announcements
from connectors.im871a.duplicates import Duplicates
from connectors.im871a.hearing import Formats, Neighbours, Quiet
from connectors.im871a.recalc import ReCalc
from connectors.im871a.receivers.heard import HeardTelegram
from connectors.im871a.registry import Change, Meter, MeterRegistry
from connectors.im871a.settings import Settings
from connectors.im871a.telegram import Header, Telegram, decrypt_frame, read_header, read_link_header
from connectors.im871a.trust import Trust
from wattbus import metrics
from wattbus.clock import Clock
from wattbus.connector import Link
from wattbus.errors import DecodeError

TELEGRAMS = metrics.counter("im871a_telegrams", "Telegrams that the stick heard, by whose they are.", "of")

UNREADABLE_TAILS = metrics.counter("im871a_unreadable_tails", "Telegrams of ours that end in what makes no sense.")


class Reception:
    """Kept over all entries of `run()`; hears while it is `on` a link."""

    def __init__(self, settings: Settings, meters: MeterRegistry, recalc: ReCalc | None, clock: Clock) -> None:
        self._name = settings.connector_name
        self._announces_unconfigured = settings.im871a_unknown_meters
        self._meters = meters
        self._recalc = recalc
        self._link: Link | None = None
        self._gone: set[str] = set()  # meters that are not listened to any more, which the link has not been told yet
        self._has_changed = False  # the meters have, since unconfigured ones were looked through
        self._duplicates = Duplicates(settings.im871a_duplicate_seconds, clock)
        self._neighbours = Neighbours(clock)
        self._quiet = Quiet(settings.im871a_meter_silent_seconds, clock)
        self._trust = Trust()
        self.formats = Formats()
        self._announcements = Announcements()

    @contextlib.contextmanager
    def on(self, link: Link) -> Iterator[None]:
        """What is heard goes to this link."""
        self._link = link
        self._quiet.start()
        try:
            yield
        finally:
            self._link = None
            self._quiet.stop()

    def take(self, heard: HeardTelegram) -> None:
        """A telegram from the receiver."""
        link, telegram = self._link, heard.telegram
        if link is None:
            return
        link.connected()  # after a silence the stick's own answers do not say so
        header = _header(telegram)
        if header is None:
            self._count("unreadable")
            return
        meter = self._meters.find(header)
        is_ours = meter is not None and not self._trust.is_another(meter, header)
        if meter is not None and is_ours:
            self._quiet.heard(meter.id)
        if self._duplicates.is_known(telegram, header):
            self._count("repeaters")
        elif meter is not None and is_ours:
            self._count("meters")
            self._ours(link, meter, header, heard)
        else:
            self._count("unconfigured")
            self._unconfigured(link, header, meter)

    def meters_changed(self, change: Change) -> None:
        """The registry has other meters, or other keys, now."""
        for meter_id in change.gone | change.rekeyed:
            self._trust.forget(meter_id)
        self._gone = (self._gone | change.gone) - set(self._meters.ids)
        self._has_changed = True

    def look_around(self) -> None:
        """Report meters not heard for too long or ours no longer, and unconfigured ones that are ours now.

        To be called now and then while the stick listens.
        """
        link = self._link
        if link is None:
            return
        for meter_id, limit_s in self._quiet.gone(self._meters.meters):
            link.unit(meter_id, up=False, reason=f"not heard for {limit_s:g} s")
        gone, self._gone = self._gone, set()
        for meter_id in gone:
            # Its values turn offline; that nobody listens to it is nothing that is wrong with this connector.
            link.unit(meter_id, up=False, reason="not listened to any more")
            link.unit(meter_id, up=True)
        if self._has_changed:
            self._has_changed = False
            for header in self._neighbours.no_longer(self._is_configured):
                link.emit(codec.raw_unconfigured(header, known=True))

    def _is_configured(self, header: Header) -> bool:
        meter = self._meters.find(header)
        return meter is not None and not self._trust.is_another(meter, header)

    # -- whose it is ------------------------------------------------------------------------------------------------

    def _unconfigured(self, link: Link, header: Header, same_number: Meter | None) -> None:
        if self._announces_unconfigured and self._neighbours.is_news(header):
            link.emit(codec.raw_unconfigured(header, like=same_number.id if same_number else ""))

    def _ours(self, link: Link, meter: Meter, header: Header, heard: HeardTelegram) -> None:
        telegram = heard.telegram
        learnt = None
        try:
            codec.check_encrypted(meter, header)
            opened = decrypt_frame(telegram, meter.key)
            learnt = self.formats.learn(opened.seen_format())
            decoded = opened.telegram(learnt)
        except DecodeError as fault:  # the runtime meets it again while decoding: kept raw, counted, logged there
            if reason := self._trust.refused(meter, fault):
                link.unit(meter.id, up=False, reason=reason)
        else:
            self._trust.opened(meter, header)
            if decoded.unreadable:
                UNREADABLE_TAILS.labels(self._name).inc()
            link.unit(meter.id, up=True)
            self._read(link, meter, decoded, heard)
        link.emit(codec.raw_telegram(telegram, heard.rssi_dbm, learnt))

    def _read(self, link: Link, meter: Meter, decoded: Telegram, heard: HeardTelegram) -> None:
        link.announce(self._announcements.news(codec.reading(decoded, meter, heard.rssi_dbm), decoded))
        if self._recalc is not None:
            self._recalc.telegram(decoded)

    def _count(self, whose: str) -> None:
        TELEGRAMS.labels(self._name, whose).inc()


def _header(telegram: bytes) -> Header | None:
    """Who speaks; of what cannot be read as far as the link layer tells. None where not even that does."""
    try:
        return read_header(telegram)
    except DecodeError:
        with contextlib.suppress(DecodeError):
            return read_link_header(telegram)
    return None
