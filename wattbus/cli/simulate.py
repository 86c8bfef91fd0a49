"""`wattbus simulate CONNECTOR`: a device to talk to when there is none."""

from __future__ import annotations

import argparse
import sys

from wattbus.cli import discovery
from wattbus.cli.commands import Commands, add_env_file, command
from wattbus.cli.environment import placeholders, read_variables
from wattbus.cli.process import run_process
from wattbus.errors import ConfigError
from wattbus.service.lifecycle import configure_logging
from wattbus.settings import load


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "simulate",
        "a simulated device for a connector",
        "Run the device that a connector brings for trying it out, with what the connector's settings read and write.\n"
        "Settings that only say how to reach a real device may be missing.",
        "  wattbus simulate modbus_tcp --port 5020\n  mbpoll -m tcp -p 5020 -a 1 -0 -r 100 -c 4 -1 127.0.0.1",
        execute,
    )
    parser.add_argument("connector", metavar="CONNECTOR")
    add_env_file(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: any free one)")


def execute(arguments: argparse.Namespace) -> int:
    name = arguments.connector
    own_settings = discovery.settings_class(name)
    simulator = discovery.part(name, "simulator")
    if simulator is None:
        raise ConfigError(f"{name} brings no simulated device")
    given = read_variables(arguments.env_file).given
    settings = load(own_settings, {**given, **placeholders(own_settings, given, objects=True)})
    configure_logging(settings.level)

    def started(host: str, port: int) -> None:
        where = f"listens on {host}:{port}" if port else f"is {host}"  # a serial device is a path
        print(f"the simulated device {where}; Ctrl-C ends it", flush=True)

    try:
        run_process(lambda: simulator.simulate(settings, arguments.host, arguments.port, started))
    except OSError as error:
        print(f"wattbus: cannot listen on {arguments.host}:{arguments.port}: {error.strerror}", file=sys.stderr)
        return 1
    return 0
