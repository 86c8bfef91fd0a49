"""The Modbus/TCP connector: one connection, a poll task per unit, commands between the polls."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext

from connectors.modbus_tcp import codec
from connectors.modbus_tcp.config import WriteCoil, WriteCoils, WriteRegisters, key_of
from connectors.modbus_tcp.datapoints import datapoints
from connectors.modbus_tcp.decoder import Decoder
from connectors.modbus_tcp.poller import PollRules, UnitPoller
from connectors.modbus_tcp.repetition import Repetition
from connectors.modbus_tcp.settings import Settings
from connectors.modbus_tcp.writer import RegisterWriter
from links.modbus import ModbusLink, ModbusTarget
from links.modbus_ranges import Range, UnitReader
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.connector import Datapoint, Link, Reading, Scalar
from wattbus.errors import CommandRejected, ConfigError, LinkDown, LinkSilent
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
            key_of(method, entry): (method, entry) for method, _, entry in self._config.writes()
        }
        self._decoder = Decoder(self._config, swap_floats=settings.modbus_lsrf_word_order)
        self._writer = RegisterWriter(self._modbus, clock)
        self._repetitions = {
            key: Repetition(key, entry.repeat_seconds, entry.repeat_timeout_seconds, clock, self._write_once)
            for key, (_, entry) in self._writable.items()
            if entry.repeat_seconds is not None
        }
        self._readers = list(self._unit_readers())  # what they learn outlives the connection
        self._pollers: list[UnitPoller] = []

    def datapoints(self) -> Iterable[Datapoint]:
        """Every value and command in MODBUS_CONFIG."""
        return datapoints(self._config, self._settings.poll_seconds)

    async def run(self, link: Link) -> None:
        """Poll every unit. Raises LinkDown when the connection cannot be had, or no unit answers on it."""
        self._pollers = [self._poller(reader, link) for reader in self._readers]
        try:
            if not self._settings.modbus_disconnect_between_polls:
                await self._modbus.open()
            async with asyncio.TaskGroup() as tasks:
                for poller in self._pollers:
                    tasks.create_task(poller.run(), name=f"modbus unit {poller.name}")
                for key, repetition in self._repetitions.items():
                    tasks.create_task(repetition.run(), name=f"modbus repetition of {key}")
                if not self._pollers:  # nothing to read: the connection waits for commands, and no answer is due
                    link.connected()
                    await asyncio.Event().wait()
        finally:
            for poller in self._pollers:
                poller.withdraw_reports()
            self._modbus.close()

    def decode(self, raw: JsonValue) -> Iterable[Reading]:
        """One reading per unit in the message."""
        return [Reading(unit.values, device=str(unit.unit)) for unit in self._decoder.decode(raw)]

    async def write(self, key: str, value: Scalar) -> None:
        """Write registers or coils, and wait for the device's confirmation."""
        await self._write_once(key, value)
        if key in self._repetitions:
            self._repetitions[key].applied(value)

    async def _write_once(self, key: str, value: Scalar) -> None:
        if key not in self._writable:
            raise CommandRejected(f"{key} is not in MODBUS_CONFIG")
        method, entry = self._writable[key]
        words = codec.encode(entry, value, swap_floats=self._settings.modbus_lsrf_word_order)
        async with self._session():
            await self._writer.write(method, entry, words)

    def _unit_readers(self) -> Iterator[UnitReader]:
        ranges: dict[int, list[Range]] = {}
        for method, _, entry in self._config.reads():
            layout = entry.layout(swap_floats=False)
            cuts = layout.cuts if layout else None
            ranges.setdefault(entry.unit, []).append(
                Range(method, entry.address, entry.count, cuts, entry.gap, entry.poll_seconds)
            )
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

    def _unit_gone(self) -> None:
        """No unit gives a value on an open connection: half-open, a stuck gateway, or wrong settings."""
        if all(poller.fault for poller in self._pollers):
            faults = list(dict.fromkeys(poller.fault for poller in self._pollers))
            what = "; ".join(faults[:3]) + (f"; and {len(faults) - 3} more" if len(faults) > 3 else "")
            if all(poller.breaker.is_open for poller in self._pollers):
                raise LinkDown(f"no unit answers: {what}")
            raise LinkSilent(f"no value can be read: {what}")

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
