"""What all subcommands share on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Execute = Callable[[argparse.Namespace], int]


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
