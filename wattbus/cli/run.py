"""`wattbus run SERVICE`: one service, until it is told to end."""

from __future__ import annotations

import argparse
import logging

from wattbus import __version__
from wattbus.cli import discovery
from wattbus.cli.commands import Commands, add_env_file, command
from wattbus.cli.discovery import Service
from wattbus.cli.environment import load_settings, read_variables
from wattbus.cli.process import health_served, run_process
from wattbus.errors import StopAsked
from wattbus.service.lifecycle import in_service, supervise
from wattbus.settings import ServiceSettings

log = logging.getLogger(__name__)


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "run",
        "run one service",
        "Run one service until SIGTERM or Ctrl-C. Its settings come from the environment, over those in .env in the\n"
        "current folder. Wrong settings end it with code 2 before anything is contacted.",
        "  CONNECTOR_NAME=heatpump POLL_SECONDS=5 MODBUS_MASTER_IP=192.168.1.20 \\\n"
        '    MODBUS_CONFIG=\'{"read_coils": [{"address": 1, "count": 8, "unit": 1}]}\' wattbus run modbus_tcp',
        execute,
    )
    parser.add_argument("service", metavar="SERVICE", help=", ".join(discovery.names()))
    add_env_file(parser)


def execute(arguments: argparse.Namespace) -> int:
    service = discovery.find(arguments.service)
    settings = load_settings(service, read_variables(arguments.env_file))
    service.verify(settings)
    run_process(lambda: _serve(service, settings))
    return 0


async def _serve(service: Service, settings: ServiceSettings) -> None:
    name = settings.name or service.name

    async def work() -> None:
        await supervise("service", lambda: service.run(settings))

    async with health_served(settings) as address:
        log.info("%s runs as %s, Wattbus %s%s", service.name, name, __version__, address and f", health on {address}")
        try:
            await in_service(name, work)
        except StopAsked as reason:
            log.warning("%s ends: %s", name, reason)
