"""The command `wattbus`: one small module per subcommand, each with `add(commands)` and what it calls."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from wattbus import __version__
from wattbus.cli.check import add as add_check
from wattbus.cli.commands import AnyOrderParser
from wattbus.cli.datapoints import add as add_datapoints
from wattbus.cli.decode import add as add_decode
from wattbus.cli.demo import add as add_demo
from wattbus.cli.new import add as add_new
from wattbus.cli.raw import add as add_raw
from wattbus.cli.run import add as add_run
from wattbus.cli.simulate import add as add_simulate
from wattbus.cli.up import add as add_up
from wattbus.errors import ConfigError, ReadingsLost
from wattbus.service import journal

READINGS_LOST = 1  # exit code
WRONG_SETTINGS = 2  # exit code, the same as for a wrong command line

EXAMPLE = """\
examples:
  wattbus demo                       everything at once, with a simulated room
  wattbus up /etc/wattbus            one service for each NAME.env in a folder
  wattbus run modbus_tcp             one service, from the environment and .env
  wattbus COMMAND --help             more about one of them, with an example
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.execute(parsed))
    except ConfigError as error:
        level = journal.prefix(logging.ERROR) if journal.is_journal(sys.stderr) else ""
        for line in str(error).splitlines():
            print(f"{level}wattbus: {line}", file=sys.stderr)
        return WRONG_SETTINGS
    except ReadingsLost as error:
        logging.getLogger(__name__).error("%s", error)
        return READINGS_LOST
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `wattbus decode … | head`
        sys.stderr.close()
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wattbus",
        description="Energy devices on one MQTT bus: connectors, history and what to look inside with.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"wattbus {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=AnyOrderParser)
    for add in (add_run, add_up, add_demo, add_check, add_datapoints, add_decode, add_raw, add_simulate, add_new):
        add(commands)  # type: ignore[arg-type]
    return parser
