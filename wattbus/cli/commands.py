"""What all subcommands share on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Execute = Callable[[argparse.Namespace], int]


class AnyOrderParser(argparse.ArgumentParser):
    """Takes options and arguments in any order: `decode CONNECTOR --env-file F FILE`, which argparse refuses."""

    _is_within = False

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        if self._is_within:
            return super().parse_known_args(args, namespace)
        self._is_within = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_within = False


def command(
    commands: Commands, name: str, summary: str, text: str, example: str, execute: Execute
) -> argparse.ArgumentParser:
    """Add a subcommand with its description and its example."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=text,
        epilog=f"example:\n{example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(execute=execute)
    return parser


def add_env_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--env-file", type=Path, metavar="FILE", help="read settings from FILE instead of .env; the environment wins"
    )
