"""`wattbus decode CONNECTOR [FILE|-]`: raw messages to values, one JSON line each."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, TextIO

from wattbus.cli import discovery
from wattbus.cli.commands import Commands, add_env_file, command
from wattbus.cli.environment import placeholders, read_variables
from wattbus.connector import Connector
from wattbus.errors import ConfigError, DecodeError
from wattbus.flattening import flatten
from wattbus.jsontext import JsonValue, dumps, loads
from wattbus.mqtt.messages import BadMessage, RawMessage, parse
from wattbus.service.lifecycle import configure_logging
from wattbus.settings import load

TextReader = Callable[[Iterable[str]], Iterable[JsonValue]]


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "decode",
        "raw messages to values",
        "Decode raw messages as the connector does: JSON, one per line, bare or as it is on …/raw_message_to_db, or\n"
        'the protocol\'s own text where the connector reads that. Prints {"values": {key: value}} or {"error": "…"}\n'
        "for each. The connector's settings come from the environment over .env; those that only say how to reach a\n"
        "device may be missing. Exit code 1: at least one could not be decoded.",
        "  mosquitto_sub -t heatpump/raw_message_to_db | wattbus decode modbus_tcp --env-file heatpump.env",
        execute,
    )
    parser.add_argument("connector", metavar="CONNECTOR")
    parser.add_argument("file", metavar="FILE", nargs="?", default="-", help="default: - (standard input)")
    add_env_file(parser)


def execute(arguments: argparse.Namespace) -> int:
    connector, read_text, encoding = _decoder(arguments.connector, arguments.env_file)
    failed = False
    with _opened(arguments.file) as file:
        lines = (_as_text(line, encoding) for line in file)
        for result in results(lines, connector, read_text):
            failed = failed or "error" in result
            sys.stdout.write(dumps(result).decode() + "\n")
            sys.stdout.flush()
    return 1 if failed else 0


def _decoder(name: str, env_file: Path | None) -> tuple[Connector, TextReader | None, str]:
    service, create = discovery.find_connector(name)
    given = read_variables(env_file).given
    made = placeholders(service.settings_class, given)
    settings = load(service.settings_class, {**given, **made})
    configure_logging(settings.level)
    if made:
        print(f"wattbus: not set, and not needed unless decoding needs it: {', '.join(made)}", file=sys.stderr)
    codec = discovery.part(name, "codec")
    return create(settings), getattr(codec, "raw_messages", None), getattr(codec, "FALLBACK_ENCODING", "utf-8")


@contextlib.contextmanager
def _opened(name: str) -> Iterator[TextIO]:
    if name == "-":
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
        yield sys.stdin
        return
    try:
        file = Path(name).open(encoding="utf-8", errors="surrogateescape")  # noqa: SIM115 - the next line closes it
    except OSError as error:
        raise ConfigError(f"cannot read {name}: {error.strerror}") from None
    with file:
        yield file


def _as_text(line: str, encoding: str) -> str:
    """A line that is no UTF-8 is in the protocol's own encoding."""
    if line.isascii():
        return line
    data = line.encode("utf-8", errors="surrogateescape")
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode(encoding, errors="replace")


def results(lines: Iterable[str], connector: Connector, read_text: TextReader | None) -> Iterator[dict[str, Any]]:
    """`{"values": …}` (with `"timestamp"` for a reading's own time) or `{"error": …}`, in the order of the lines."""
    if read_text is None:
        for line in lines:
            if line.strip():
                yield from _from_json(line, connector)
        return
    for is_json, group in groupby(lines, _is_json):
        if is_json:
            for line in group:
                yield from _from_json(line, connector)
        else:
            yield from _from_text(group, connector, read_text)


def _is_json(line: str) -> bool:
    """Whether the line is a JSON object, list or text; a bare number may be the protocol's own."""
    if not line.lstrip().startswith(("{", "[", '"')):
        return False
    with contextlib.suppress(ValueError):
        loads(line)
        return True
    return False


def _from_text(lines: Iterable[str], connector: Connector, read_text: TextReader) -> Iterator[dict[str, Any]]:
    try:
        for raw in read_text(lines):
            yield from _decoded(raw, connector)
    except DecodeError as error:
        yield {"error": str(error)}


def _from_json(line: str, connector: Connector) -> Iterator[dict[str, Any]]:
    try:
        raw = _without_envelope(line)
    except (ValueError, BadMessage) as error:
        yield {"error": f"no JSON: {error}"}
        return
    yield from _decoded(raw, connector)


def _without_envelope(line: str) -> JsonValue:
    """The raw message itself; `…/raw_message_to_db` has it in `raw_message`, the reference's template deeper."""
    message = loads(line)
    inner = message.get("payload", message) if isinstance(message, dict) else None
    if isinstance(inner, dict) and inner.keys() >= {"raw_message", "timestamp"}:
        return parse(RawMessage, line.encode()).raw_message
    return message


def _decoded(raw: JsonValue, connector: Connector) -> Iterator[dict[str, Any]]:
    """One result for all readings without an own time, one for each own time."""
    by_time: dict[int | None, dict[str, Any]] = {}
    faults: list[str] = []
    try:
        for reading in connector.decode(raw):
            flat = flatten(reading)
            by_time.setdefault(reading.timestamp_ms, {}).update(flat.values)
            faults += flat.faults
    except DecodeError as error:
        yield {"error": str(error)}
        return
    more = {"faults": faults} if faults else {}
    for timestamp_ms, values in (by_time or {None: {}}).items():
        yield {"values": values, **({} if timestamp_ms is None else {"timestamp": timestamp_ms}), **more}
