"""docs/settings.md, generated from the settings classes: `python -m wattbus.cli.settings_docs`."""

from __future__ import annotations

import argparse
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

import wattbus
from wattbus.cli import discovery
from wattbus.jsontext import dumps
from wattbus.settings import ConnectorSettings, ServiceSettings, Settings

FILE = Path(wattbus.__file__).parents[1] / "docs" / "settings.md"

HEAD = """\
# Settings

<!-- Generated from the code: python -m wattbus.cli.settings_docs -->

A setting is a variable: of the environment, of `.env` in the current folder (`wattbus run`), or of `NAME.env` in the
folder of `wattbus up`. Any setting `X` can be read from the file that `X_FILE` names, unless a setting has that name
itself. Booleans are `TRUE` or `FALSE`. JSON settings may be written as YAML. `wattbus check SERVICE --show` prints what
a service makes of them.
"""


def document() -> str:
    """The whole page."""
    sections = [
        HEAD,
        *_section("Every service", ServiceSettings, without=Settings),
        *_section("Every connector", ConnectorSettings, without=ServiceSettings),
    ]
    for name in discovery.names(own=True):
        own = discovery.settings_class(name)
        if issubclass(own, ConnectorSettings):
            sections += _section(f"{name} (connector)", own, without=ConnectorSettings)
        else:
            sections += _section(name, own, without=ServiceSettings)
    return "\n".join(sections)


def _section(title: str, own: type[Settings], without: type[Settings]) -> Iterator[str]:
    yield f"## {title}\n"
    rows = [
        f"| `{name.upper()}` | {_default(field)} | {_cell(field.description or '')} |"
        for name, field in own.model_fields.items()
        if without.model_fields.get(name) is None or _default(field) != _default(without.model_fields[name])
    ]
    yield "| setting | default | meaning |\n| --- | --- | --- |"
    yield "\n".join(rows) + "\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return _code(value) + _choices(field.annotation)


def _code(value: Any) -> str:
    if value is None or value == "":
        return "empty"
    if isinstance(value, bool):
        return f"`{str(value).upper()}`"
    if isinstance(value, BaseModel):
        return f"`{dumps(value.model_dump(mode='json', exclude_unset=True)).decode()}`"
    if isinstance(value, float):
        return f"`{value:g}`"
    if isinstance(value, list | tuple | dict):
        return f"`{dumps(value).decode()}`"
    return f"`{value}`"


def _choices(annotation: Any) -> str:
    """` (of …)` for a setting that takes one of a few words."""
    if get_origin(annotation) is types.UnionType:
        return next((choices for inner in get_args(annotation) if (choices := _choices(inner))), "")
    if get_origin(annotation) is not Literal:
        return ""
    return " (of " + ", ".join(f"`{choice}`" for choice in get_args(annotation)) + ")"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> int:
    parser = argparse.ArgumentParser(description="Write docs/settings.md from the code.")
    parser.add_argument("--check", action="store_true", help="only say whether the page is out of date (exit code 1)")
    arguments = parser.parse_args()
    text = document()
    if arguments.check:
        current = FILE.read_text(encoding="utf-8") if FILE.exists() else ""
        if current != text:
            print(f"{FILE} is out of date: python -m wattbus.cli.settings_docs", file=sys.stderr)
        return int(current != text)
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
