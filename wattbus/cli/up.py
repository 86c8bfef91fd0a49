"""`wattbus up [DIRECTORY]`: all services of a folder in one process, with a broker of their own."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from wattbus.cli.broker import embedded_broker, only_user, remembered_port
from wattbus.cli.commands import Commands, command
from wattbus.cli.process import health_served_when_free, run_process
from wattbus.cli.suite import Faulty, Member, Suite, read_suite
from wattbus.cli.systemd import Reports
from wattbus.errors import AddressTaken, ConfigError, ReadingsLost, StopAsked
from wattbus.retry import Backoff
from wattbus.service import health
from wattbus.service.lifecycle import SERVICE, configure_logging, in_service, supervise
from wattbus.service.systemd_notify import Notifier

log = logging.getLogger(__name__)

SERVICES_END_S = 8.0
BROKER_ENDS_S = 12.0

NOBODY = Notifier()

Started = Callable[[Suite, str], None]


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "up",
        "run all services of a folder in one process",
        "Run one service for each NAME.env in DIRECTORY: the one that SERVICE= in it says, else NAME up to its first\n"
        "dot. common.env is what they share; these files are the only source of settings, and paths in them are\n"
        "relative to DIRECTORY. Without MQTT_BROKER_HOST in common.env, a Mosquitto is started on the loopback\n"
        "address and ended with the services.",
        "  mkdir house; echo > house/history.env\n"
        "  printf 'MODBUS_MASTER_IP=192.168.1.20\\n…' > house/modbus_tcp.heatpump.env\n"
        "  wattbus up house",
        execute,
    )
    parser.add_argument("directory", metavar="DIRECTORY", nargs="?", type=Path, default=Path(), help="default: here")


def execute(arguments: argparse.Namespace) -> int:
    notifier = Notifier.taken_from(os.environ)
    try:
        run_directory(arguments.directory, summary, notifier=notifier)
    except ConfigError as error:
        notifier.tell(STATUS=str(error))
        raise
    finally:
        notifier.close()
    return 0


def run_directory(directory: Path, started: Started, seconds: float | None = None, notifier: Notifier = NOBODY) -> None:
    """Run the services of a folder until told to end, or for some seconds; `started` is called when they start.

    `notifier` is told how they are.

    Raises ConfigError before anything is contacted, or when the last service gave up because of its settings.
    """
    suite = read_suite(
        directory, lambda common: remembered_port(common.data_directory.absolute()), leave_out_faulty=True
    )
    _configure_logging(suite)
    for remark in suite.remarks:
        log.warning("%s", remark)
    for faulty in suite.faulty:
        _leave_out(faulty)
    os.chdir(suite.directory)
    with only_user(suite.common.data_directory):
        run_process(lambda: _serve(suite, started, seconds, notifier), grace_s=SERVICES_END_S + BROKER_ENDS_S)


async def _serve(suite: Suite, started: Started, seconds: float | None, notifier: Notifier) -> None:
    async with health_served_when_free(suite.common) as address, _broker(suite):
        tasks = [asyncio.create_task(_run(member), name=member.name) for member in suite.members]
        reports = Reports(notifier, [member.name for member in suite.members])
        reporting = asyncio.create_task(supervise("reports", reports.run, forever=notifier.listens), name="reports")
        started(suite, address)
        try:
            await asyncio.wait(tasks, timeout=seconds)
        finally:
            reporting.cancel()
            await asyncio.wait({reporting})
            notifier.tell(STOPPING=1, STATUS="stopping")
            for task in tasks:
                task.cancel()
            _, late = await asyncio.wait(tasks, timeout=SERVICES_END_S)
            if late:
                log.error("did not end within %g s: %s", SERVICES_END_S, ", ".join(task.get_name() for task in late))
        ended = [task for task in tasks if task.done() and not task.cancelled()]
        if lost := [str(error) for task in ended if isinstance(error := task.exception(), ReadingsLost)]:
            raise ReadingsLost("; ".join(lost))
        if not any(task.cancelled() for task in tasks) and not late:
            raise ConfigError("no service is left: each of them gave up because of its settings, see above")


def _leave_out(faulty: Faulty) -> None:
    """One wrong file of many: the others are worth running, and nobody shall overlook this one."""
    for fault in faulty.faults:
        log.error("%s: %s; it is not run, the other services are", faulty.file, fault)
    text = f"{faulty.file}: {'; '.join(faulty.faults)}"
    health.of(faulty.name).ready("settings", lambda: text)


def _broker(suite: Suite) -> contextlib.AbstractAsyncContextManager[None]:
    if suite.broker_port is None:
        return contextlib.nullcontext()
    return embedded_broker(suite.common.data_directory, suite.broker_port)


async def _run(member: Member) -> None:
    """Until cancelled. A service that finds its settings wrong only now, or is told to end, ends alone.

    One whose port is taken waits until it is free.
    """
    backoff = Backoff()

    async def work() -> None:
        while True:
            try:
                await supervise("service", lambda: member.service.run(member.settings))
            except AddressTaken as error:
                if not backoff.failures:
                    log.error("%s: %s; it is tried again, the other services go on", member.file, error)
                health.of(member.name).ready("port", partial(str, error))
                await asyncio.sleep(backoff.next_s())
                health.of(member.name).ready("port", str)

    try:
        await in_service(member.name, work)
    except ConfigError as error:
        fault = f"{member.file}: {error}"
        log.error("it ends, the other services go on: %s", fault)
        health.of(member.name).ready("settings", lambda: fault)
    except StopAsked as reason:
        log.warning("%s ends, the other services go on: %s", member.name, reason)


class _OwnLevels(logging.Filter):
    """Every service logs from its own level on, though they share a process."""

    def __init__(self, levels: dict[str, int], others: int) -> None:
        super().__init__()
        self._levels = levels
        self._others = others

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= self._levels.get(SERVICE.get(), self._others)


def _configure_logging(suite: Suite) -> None:
    numbers = logging.getLevelNamesMapping()
    levels = {member.name: numbers[member.settings.level] for member in suite.members}
    others = numbers[suite.common.level]
    configure_logging(logging.getLevelName(min([*levels.values(), others])))
    for handler in logging.getLogger().handlers:
        handler.addFilter(_OwnLevels(levels, others))


def summary(suite: Suite, health_address: str) -> None:
    """Say what runs, and what to type to look inside."""
    host, port = suite.broker
    width = max(len(member.name) for member in suite.members)
    print(f"Wattbus runs {len(suite.members)} service(s) of {suite.directory}:")
    for member in suite.members:
        print(f"  {member.name:{width}}  {member.service.name}, {member.file}")
    for faulty in suite.faulty:
        print(f"NOT RUN: {faulty.file}: {'; '.join(faulty.faults)}")
    print(f"broker: {host}:{port}" + (" (embedded)" if suite.broker_port is not None else ""))
    print(f"data:   {suite.common.data_directory}")
    if health_address:
        print(f"health: {health_address}/readyz and /metrics")
    print(f"look inside with:\n  {watch_line(suite)}\nCtrl-C ends it.", flush=True)


def watch_line(suite: Suite) -> str:
    """The command that shows everything on the bus."""
    host, port = suite.broker
    user = f" -u {suite.common.mqtt_username} -P …" if suite.broker_port is None and suite.common.mqtt_username else ""
    return f"mosquitto_sub -h {host} -p {port}{user} -v -t '#'"
