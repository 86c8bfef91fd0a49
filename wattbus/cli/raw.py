"""`wattbus raw [CONNECTOR]`: the stored raw messages, as lines that `wattbus decode` reads."""

from __future__ import annotations

import argparse
import asyncio
from datetime import datetime
from pathlib import Path

from wattbus.cli import discovery
from wattbus.cli.commands import Commands, add_env_file, command
from wattbus.cli.environment import read_variables
from wattbus.errors import ConfigError
from wattbus.settings import load


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "raw",
        "stored raw messages",
        "Without CONNECTOR: list the connectors that have raw messages. With it: print them in time order, one JSON\n"
        "line each, as they are on …/raw_message_to_db. Times are ISO 8601 (without a zone: this machine's) or\n"
        "milliseconds since 1970. The database comes from --database, else from DATABASE_URL and DATA_DIRECTORY in\n"
        "the environment over .env; raw_db may go on writing to it. A password is better there than in --database,\n"
        "which others on this machine can see.",
        "  wattbus raw\n"
        "  wattbus raw heatpump --from 2026-01-31T06:00 --to 2026-01-31T07:00 | wattbus decode modbus_tcp\n"
        "  wattbus raw heatpump --last 5 --database /var/lib/wattbus/raw.db",
        execute,
    )
    parser.add_argument("connector", metavar="CONNECTOR", nargs="?", help="its CONNECTOR_NAME; default: list them")
    parser.add_argument("--from", dest="begin", type=_time, metavar="TIME", help="not before this time")
    parser.add_argument("--to", dest="end", type=_time, metavar="TIME", help="before this time")
    number = parser.add_mutually_exclusive_group()
    number.add_argument("--limit", type=_number, metavar="N", help="only the first N")
    number.add_argument("--last", type=_number, metavar="N", help="only the last N")
    parser.add_argument("--database", metavar="URL|FILE", help="read this one")
    add_env_file(parser)


def execute(arguments: argparse.Namespace) -> int:
    try:
        from wattbus.cli.raw_printing import (  # an image of one connector has no database library
            RawSelection,
            print_raw,
        )
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("wattbus"):
            raise
        raise ConfigError(f"{error.name} is not installed: pip install 'wattbus[raw-db]'") from None
    url = _url(arguments.database, arguments.env_file)
    wanted = RawSelection(arguments.connector, arguments.begin, arguments.end, arguments.limit, arguments.last)
    return asyncio.run(print_raw(url, wanted))


def _time(text: str) -> int:
    """Milliseconds since 1970-01-01 UTC."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text}: neither ISO 8601 nor milliseconds") from None


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: expected how many messages")
    return int(text)


def _url(database: str | None, env_file: Path | None) -> str:
    """The database as raw_db finds it, or the one that was named."""
    if database is not None:
        return database if "://" in database else f"sqlite:///{Path(database).absolute()}"
    settings = load(discovery.settings_class("raw_db"), read_variables(env_file).given)
    return str(settings.url)  # type: ignore[attr-defined]
