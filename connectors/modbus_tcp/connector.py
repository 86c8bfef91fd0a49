"""The Modbus/TCP connector: one connection, a poll task per unit, commands between the polls."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext

from connectors.modbus_tcp import codec
from connectors.modbus_tcp.config import WriteCoil, WriteCoils, WriteRegisters, key
from connectors.modbus_tcp.datapoints import datapoints
from connectors.modbus_tcp.poller import PollRules, UnitPoller
from connectors.modbus_tcp.settings import Settings
from connectors.modbus_tcp.writer import Writer
from links.modbus import ModbusLink, ModbusTarget
from links.modbus_ranges import Range, UnitReader
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.connector import Datapoint, Link, Reading, Scalar
from wattbus.errors import CommandRejected, ConfigError, LinkDown
from wattbus.jsontext import JsonValue


def create(settings: Settings) -> ModbusTcp:
    """The connector for these settings. Raises ConfigError; contacts nothing."""
    if settings.modbus_config.is_empty:
        raise ConfigError("MODBUS_CONFIG: there is nothing to read or write in it")
    return ModbusTcp(settings)


class ModbusTcp:
    """Reads and writes registers and coils of the units behind one Modbus/TCP address."""

    def __init__(self, settings: Settings, clock: Clock = SYSTEM_CLOCK) -> None:
        self._settings = settings
        self._config = settings.modbus_config
        self._clock = clock
        self._modbus = ModbusLink(_target(settings), clock)
        self._writable: dict[str, tuple[str, WriteCoil | WriteCoils | WriteRegisters]] = {
            key(method, entry.unit, entry.address): (method, entry) for method, _, entry in self._config.writes()
        }
        self._writer = Writer(self._modbus, clock)
        self._pollers: list[UnitPoller] = []

    def datapoints(self) -> Iterable[Datapoint]:
        """Every value and command in MODBUS_CONFIG."""
        return datapoints(self._config, self._settings.poll_seconds)

    async def run(self, link: Link) -> None:
        """Poll every unit. Raises LinkDown when the connection cannot be had, or no unit answers on it."""
        self._pollers = [self._poller(reader, link) for reader in self._readers()]
        try:
            if not self._settings.modbus_disconnect_between_polls:
                await self._modbus.open()
            async with asyncio.TaskGroup() as tasks:
                for poller in self._pollers:
                    tasks.create_task(poller.run(), name=f"modbus unit {poller.name}")
                if not self._pollers:  # nothing to read: the connection waits for commands, and no answer is due
                    link.connected()
                    await asyncio.Event().wait()
        finally:
            self._modbus.close()

    def decode(self, raw: JsonValue) -> Iterable[Reading]:
        """One reading per unit in the message."""
        return [
            Reading(unit.values, device=str(unit.unit))
            for unit in codec.decode(raw, self._config, swap_floats=self._settings.modbus_lsrf_word_order)
        ]

    async def write(self, key: str, value: Scalar) -> None:
        """Write registers or coils, and wait for the device's confirmation."""
        if key not in self._writable:
            raise CommandRejected(f"{key} is not in MODBUS_CONFIG")
        method, entry = self._writable[key]
        words = codec.encode(entry, value, swap_floats=self._settings.modbus_lsrf_word_order)
        async with self._session():
            await self._writer.write(method, entry, words)

    def _readers(self) -> Iterator[UnitReader]:
        ranges: dict[int, list[Range]] = {}
        for method, _, entry in self._config.reads():
            layout = entry.layout(swap_floats=False)
            cuts = layout.cuts if layout else None
            ranges.setdefault(entry.unit, []).append(Range(method, entry.address, entry.count, cuts))
        for unit, own in ranges.items():
            yield UnitReader(
                self._modbus,
                unit,
                own,
                self._settings.modbus_max_registers_per_request,
                merge=self._settings.modbus_merge_requests,
            )

    def _poller(self, reader: UnitReader, link: Link) -> UnitPoller:
        settings = self._settings
        rules = PollRules(settings.poll_seconds, settings.modbus_max_retries, settings.modbus_retry_wait_seconds)
        return UnitPoller(reader, link, rules, self._clock, self._session, self._unit_gone)

    def _unit_gone(self, reason: str) -> None:
        """All units silent on an open connection: it may be half-open, or the gateway is stuck."""
        if all(poller.breaker.is_open for poller in self._pollers):
            raise LinkDown(f"no unit answers: {reason}")

    def _session(self) -> AbstractAsyncContextManager[None]:
        return self._modbus.session() if self._settings.modbus_disconnect_between_polls else nullcontext()


def _target(settings: Settings) -> ModbusTarget:
    return ModbusTarget(
        host=settings.modbus_master_ip,
        port=settings.modbus_master_port,
        framing=settings.modbus_framing,
        timeout_s=settings.modbus_timeout_seconds,
        wait_after_connect_s=settings.modbus_wait_after_connect,
        pause_s=settings.modbus_poll_break,
        tls=_tls(settings) if settings.modbus_tls else None,
        workarounds=settings.workarounds,
    )


def _tls(settings: Settings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.modbus_ca_file)
    except (OSError, ValueError) as error:
        raise ConfigError(f"MODBUS_CA_FILE: cannot use {settings.modbus_ca_file}: {error}") from None
    context.check_hostname = settings.modbus_tls_check_hostname
    if settings.modbus_cert_file:
        try:
            context.load_cert_chain(settings.modbus_cert_file, settings.modbus_key_file)
        except (OSError, ValueError) as error:
            raise ConfigError(f"MODBUS_CERT_FILE, MODBUS_KEY_FILE: cannot use them: {error}") from None
    return context
