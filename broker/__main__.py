"""`python -m broker`: set up, show, rotate, remove."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from broker.set_up import Report, set_up
from broker.settings import Settings
from broker.showing import authority, credentials
from wattbus.errors import ConfigError
from wattbus.settings import from_environment, load

CANNOT_WRITE, WRONG_SETTINGS = 1, 2  # exit codes

EXAMPLE = """\
settings come from the environment and .env: broker/README.md. Without a command: set up.

examples:
  python -m broker --environment-folder connectors
  python -m broker show                 what people need: users, passwords, lines to copy
  python -m broker show modbus-heatpump one user, for a connector on another machine
  python -m broker ca > ca.crt
  python -m broker rotate reader
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    parsed = _parser().parse_args(arguments)
    try:
        settings = _settings(parsed)
        return int(parsed.execute(settings, parsed) or 0)
    except ConfigError as error:
        for line in str(error).splitlines():
            _tell(line)
        return WRONG_SETTINGS
    except OSError as error:
        _tell(f"cannot read or write what is needed: {error}")
        return CANNOT_WRITE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m broker", epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--secrets-folder", metavar="FOLDER", help="instead of SECRETS_FOLDER")
    parser.add_argument(
        "--environment-folder", metavar="FOLDER", action="append", help="instead of ENVIRONMENT_FOLDER; may be repeated"
    )
    parser.set_defaults(execute=_set_up)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, execute, text, operand in (
        ("setup", _set_up, "make what is missing", ""),
        ("show", _show, "show credentials", "?"),
        ("ca", _authority, "print the CA certificate that clients need", ""),
        ("rotate", _rotate, "make a new password for a user, or at a place like database/password", "USER"),
        ("remove", _remove, "take a user's access away", "USER"),
    ):
        command = commands.add_parser(name, help=text)
        command.set_defaults(execute=execute)
        if operand:
            command.add_argument("user", metavar="USER", nargs="?" if operand == "?" else None, default="")
    return parser


def _settings(parsed: argparse.Namespace) -> Settings:
    variables = from_environment()
    if parsed.secrets_folder:
        variables["SECRETS_FOLDER"] = parsed.secrets_folder
    if parsed.environment_folder:
        variables["ENVIRONMENT_FOLDER"] = ",".join(parsed.environment_folder)
    return load(Settings, variables)


def _now() -> datetime:
    return datetime.now(UTC)


def _set_up(settings: Settings, parsed: argparse.Namespace) -> None:
    _report(set_up(settings, _now()))


def _rotate(settings: Settings, parsed: argparse.Namespace) -> None:
    _report(set_up(settings, _now(), rotate=parsed.user))
    if "/" in parsed.user:
        _print("Start again what uses it.\n")
    else:
        _print(f"The broker lets the old password go within seconds; start again what signs in as {parsed.user}.\n")


def _remove(settings: Settings, parsed: argparse.Namespace) -> None:
    _report(set_up(settings, _now(), remove=parsed.user))


def _show(settings: Settings, parsed: argparse.Namespace) -> None:
    _print(credentials(settings, parsed.user))


def _authority(settings: Settings, parsed: argparse.Namespace) -> None:
    _print(authority(settings))


def _report(report: Report) -> None:
    for remark in report.remarks:
        _tell(remark)
    _print("".join(f"{line}\n" for line in report.done or ["everything is there"]))


def _print(text: str) -> None:
    sys.stdout.write(text)


def _tell(line: str) -> None:
    sys.stderr.write(f"broker: {line}\n")


if __name__ == "__main__":
    sys.exit(main())
