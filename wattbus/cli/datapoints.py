"""`wattbus datapoints`: a live table of what the bus announces."""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wattbus.cli.commands import Commands, add_env_file, command
from wattbus.cli.datapoint_table import FILTERS, DatapointTable, as_text
from wattbus.cli.environment import read_variables
from wattbus.cli.process import run_process
from wattbus.clock import SYSTEM_CLOCK
from wattbus.errors import BrokerAway
from wattbus.jsontext import dumps
from wattbus.mqtt.client import MqttClient
from wattbus.settings import BrokerSettings, load

REDRAW_S = 1.0
NEVER_USED = "wattbus/datapoints/nothing"
HOME, REST_OF_LINE, REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "datapoints",
        "a live table of the datapoints on the bus",
        "Show what connectors announce, with value, unit, quality and age, and redraw it every second. Without a\n"
        "terminal, with --once or with --json it is printed once. The broker comes from the options, else from the\n"
        "MQTT_… variables in the environment over .env.",
        "  wattbus datapoints --port 1883 heatpump\n  wattbus datapoints --json 'meter*power'",
        execute,
    )
    parser.add_argument("pattern", metavar="FILTER", nargs="?", default="", help="only what has this in its name")
    parser.add_argument("--host", metavar="HOST", help="MQTT_BROKER_HOST")
    parser.add_argument("--port", metavar="PORT", help="MQTT_BROKER_PORT")
    parser.add_argument("--username", metavar="USER", help="MQTT_USERNAME")
    parser.add_argument("--password", metavar="PASSWORD", help="MQTT_PASSWORD; the variable hides it from other users")
    add_env_file(parser)
    parser.add_argument("--wait", type=float, default=10.0, metavar="S", help="for the broker, at most (%(default)g s)")
    parser.add_argument("--once", action="store_true", help="print the table once")
    parser.add_argument("--json", action="store_true", help="print one JSON object per datapoint, once")


def execute(arguments: argparse.Namespace) -> int:
    settings = _broker_settings(arguments)
    logging.getLogger("wattbus.mqtt.client").setLevel(logging.CRITICAL)  # a line of log would tear the table
    once = arguments.once or arguments.json or not sys.stdout.isatty()
    try:
        run_process(lambda: _once(settings, arguments) if once else _for_ever(settings, arguments))
    except BrokerAway as error:
        print(f"wattbus: {error}", file=sys.stderr)
        return 1
    return 0


def _broker_settings(arguments: argparse.Namespace) -> BrokerSettings:
    options = {
        "MQTT_BROKER_HOST": arguments.host,
        "MQTT_BROKER_PORT": arguments.port,
        "MQTT_USERNAME": arguments.username,
        "MQTT_PASSWORD": arguments.password,
    }
    given = {name: value for name, value in options.items() if value is not None}
    return load(BrokerSettings, {**read_variables(arguments.env_file).given, **given})


@asynccontextmanager
async def _watching(settings: BrokerSettings, wait_s: float) -> AsyncIterator[tuple[MqttClient, DatapointTable]]:
    """A table that follows the bus, with the retained messages in it already."""
    bus = MqttClient(settings, f"wattbus-datapoints-{secrets.token_hex(4)}")
    table = DatapointTable()
    await bus.subscribe(FILTERS, qos=0)  # no window of the broker stands between us and the retained messages
    tasks = [asyncio.create_task(bus.run()), asyncio.create_task(_follow(bus, table))]
    try:
        try:
            async with asyncio.timeout(wait_s):
                await bus.wait_connected()
                # The broker answers in order: after this answer all retained messages have arrived.
                await bus.subscribe([NEVER_USED], qos=0)
                await bus.drained()
        except (TimeoutError, BrokerAway):
            where = f"{settings.mqtt_broker_host}:{settings.mqtt_broker_port}"
            raise BrokerAway(f"no connection to the broker at {where} within {wait_s:g} s") from None
        yield bus, table
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _follow(bus: MqttClient, table: DatapointTable) -> None:
    async for delivery in bus.deliveries():
        table.take(delivery.topic, delivery.payload)
        delivery.acknowledge()


async def _once(settings: BrokerSettings, arguments: argparse.Namespace) -> None:
    async with _watching(settings, arguments.wait) as (_, table):
        rows = table.rows(SYSTEM_CLOCK.now_ms(), arguments.pattern)
        lines = [dumps(row.as_json()).decode() for row in rows] if arguments.json else as_text(rows)
        print("\n".join(lines), flush=True)


async def _for_ever(settings: BrokerSettings, arguments: argparse.Namespace) -> None:
    async with _watching(settings, arguments.wait) as (bus, table):
        sys.stdout.write(HOME + REST_OF_SCREEN)
        while True:
            _draw(table, arguments.pattern, "" if bus.connected else "  (no connection to the broker)")
            await asyncio.sleep(REDRAW_S)


def _draw(table: DatapointTable, pattern: str, remark: str) -> None:
    """Over the old table, so that nothing flickers."""
    width, height = shutil.get_terminal_size()
    rows = table.rows(SYSTEM_CLOCK.now_ms(), pattern)
    header, *lines = as_text(rows, width)
    shown = lines[: max(0, height - 3)]
    rest = (
        f", {len(lines) - len(shown)} of them below the screen's end: give a FILTER" if len(shown) < len(lines) else ""
    )
    footer = f"{len(lines)} datapoints{rest}{remark}  Ctrl-C ends it."[:width]
    screen = "".join(f"{line}{REST_OF_LINE}\n" for line in (header, *shown, footer))
    sys.stdout.write(HOME + screen.removesuffix("\n") + REST_OF_SCREEN)
    sys.stdout.flush()
