"""Which receiver the settings name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NoReturn

from connectors.im871a.receivers.amb8465 import Amb8465Codec
from connectors.im871a.receivers.cul import CulCodec
from connectors.im871a.receivers.heard import Take
from connectors.im871a.receivers.iu891a import Iu891aCodec
from connectors.im871a.receivers.line_sources import (
    LineOverPort,
    LinesFromClients,
    LinesFromDatagrams,
    LinesFromStandardInput,
    LinesFromTopic,
    LineSource,
)
from connectors.im871a.receivers.questions import ReceiverCodec, SerialReceiver
from connectors.im871a.receivers.text import telegrams_in
from connectors.im871a.settings import Settings
from links.serial_port import SerialPort
from links.serial_silence import SilenceWatch
from wattbus import metrics
from wattbus.connector import Link
from wattbus.errors import DecodeError
from wattbus.settings import BrokerSettings

log = logging.getLogger(__name__)

UNREADABLE = metrics.counter("im871a_unreadable_lines", "Lines of text in which there was no whole telegram.")
CODECS: dict[str, Callable[[], ReceiverCodec]] = {"iu891a": Iu891aCodec, "amb8465": Amb8465Codec, "cul": CulCodec}


class LineReceiver:
    """Telegrams as lines of text."""

    def __init__(self, source: LineSource, name: str, silence: SilenceWatch) -> None:
        self._source = source
        self._name = name
        self._silence = silence

    async def run(self, link: Link, take: Take) -> NoReturn:
        """Listen. Raises LinkDown."""

        def connected() -> None:
            if not self._silence.is_silent:  # else it is there and says nothing, as before
                link.connected()

        def take_line(line: bytes) -> None:
            text = line.decode("utf-8", "replace")
            try:
                telegrams = telegrams_in(text)
            except DecodeError as fault:
                UNREADABLE.labels(self._name).inc()
                log.debug("%.120r: %s", text, fault)
                return
            for telegram in telegrams:
                take(telegram)

        async with asyncio.TaskGroup() as tasks:
            await self._silence.opened()
            tasks.create_task(self._source.run(connected, take_line), name="lines with telegrams")
            await self._silence.guard()


def choose(settings: Settings, silence: SilenceWatch) -> SerialReceiver | LineReceiver:
    """For every receiver but the iM871A. Contacts nothing."""
    if settings.im871a_receiver == "lines":
        return LineReceiver(_source(settings), settings.connector_name, silence)
    return SerialReceiver(settings.port, CODECS[settings.im871a_receiver], settings.im871a_link_mode, silence)


def _source(settings: Settings) -> LineSource:
    address = settings.lines_from
    match address.scheme:
        case "serial":
            return LineOverPort(settings.port)
        case "stdin":
            return LinesFromStandardInput()
        case "tcp":
            return LineOverPort(SerialPort(f"socket://{_in_url(address.host)}:{address.port}"))
        case "tcp-listen":
            return LinesFromClients(address.host, address.port)
        case "udp-listen":
            return LinesFromDatagrams(address.host, address.port)
    return LinesFromTopic(_broker(settings), f"{settings.connector_name}-telegrams", address.topic)


def _broker(settings: Settings) -> BrokerSettings:
    """The connector's own, or the one that the address names: with nothing of the own one's but its certificates."""
    address = settings.lines_from
    if not address.host:
        return settings
    return BrokerSettings.model_construct(
        mqtt_broker_host=address.host,
        mqtt_broker_port=address.port,
        mqtt_username=settings.im871a_lines_username or None,
        mqtt_password=settings.im871a_lines_password or None,
        mqtt_tls=address.scheme == "mqtts",
        mqtt_ca_file=settings.mqtt_ca_file if address.scheme == "mqtts" else None,
    )


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
