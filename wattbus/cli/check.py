"""`wattbus check`: are the settings right? And, if asked, does the device answer?"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from wattbus.cli import discovery
from wattbus.cli.commands import Commands, add_env_file, command
from wattbus.cli.environment import Variables, load_settings, read_variables
from wattbus.cli.probe import first_reading
from wattbus.cli.redaction import redacted_lines
from wattbus.cli.suite import read_suite
from wattbus.errors import ConfigError, LinkDown
from wattbus.settings import ServiceSettings, load

STOCK_PORT = 1883


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "check",
        "check settings; --probe asks the device",
        "Check the settings of a service, from the environment over .env, or of a whole folder of `wattbus up`.\n"
        "Contacts nothing, unless --probe is given: that talks to the device until the first reading has come, and\n"
        "changes nothing. Exit code 2: settings are wrong; 1: the device gave nothing.",
        "  wattbus check modbus_tcp --env-file heatpump.env --show\n  wattbus check --directory house",
        execute,
    )
    parser.add_argument("service", metavar="SERVICE", nargs="?", help=", ".join(discovery.names()))
    add_env_file(parser)
    parser.add_argument("--directory", type=Path, metavar="DIR", help="check every file of this folder instead")
    parser.add_argument("--show", action="store_true", help="print the settings, without secrets")
    parser.add_argument("--probe", action="store_true", help="talk to the device, and print the first reading")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="S", help="of --probe (%(default)g s)")


def execute(arguments: argparse.Namespace) -> int:
    if bool(arguments.service) == bool(arguments.directory):
        raise ConfigError("check: give either a SERVICE or --directory DIR")
    if arguments.directory:
        return _check_directory(arguments)
    service = discovery.find(arguments.service)
    variables = read_variables(arguments.env_file)
    settings = load_settings(service, variables)
    service.verify(settings)
    if arguments.show:
        _show(settings)
    if arguments.probe:
        return _probe(service.name, variables, arguments.timeout)
    print(f"{service.name}: the settings are right", file=sys.stderr)
    return 0


def _check_directory(arguments: argparse.Namespace) -> int:
    if arguments.probe:
        raise ConfigError("--probe: it asks one device: give a SERVICE and --env-file")
    suite = read_suite(arguments.directory, lambda _: STOCK_PORT)
    for remark in suite.remarks:
        print(f"wattbus: {remark}", file=sys.stderr)
    for member in suite.members:
        print(f"{member.file}: the settings of {member.name} ({member.service.name}) are right", file=sys.stderr)
        if arguments.show:
            _show(member.settings)
    return 0


def _show(settings: ServiceSettings) -> None:
    for line in redacted_lines(settings):
        print(line)


def _probe(name: str, variables: Variables, timeout_s: float) -> int:
    service, create = discovery.find_connector(name)
    settings = load(service.settings_class, {**variables.given, "READ_ONLY": "TRUE"})

    async def probe() -> dict[str, str]:
        return await first_reading(create(settings), timeout_s)

    try:
        values = asyncio.run(probe())
    except LinkDown as error:
        print(f"wattbus: {name}: {error}", file=sys.stderr)
        return 1
    width = max(len(key) for key in values)
    for key, value in values.items():
        print(f"{key:{width}}  {value}")
    return 0
