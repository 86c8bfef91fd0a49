"""`wattbus datapoints`: what the bus announces, as a table."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import completed, publish
from tests.support.ports import free_port
from wattbus.cli.datapoint_table import DatapointTable, as_text
from wattbus.mqtt.embedded_broker import Mosquitto

NOW_MS = 1_700_000_000_000


def table(**messages: object) -> DatapointTable:
    """A table that has heard these messages; `__` in a name stands for `/`."""
    heard = DatapointTable()
    for topic, message in messages.items():
        heard.take(topic.replace("__", "/"), b"" if message is None else json.dumps(message).encode())
    return heard


def value(number: object, age_ms: int = 0, **more: object) -> dict[str, object]:
    return {"value": number, "timestamp": NOW_MS - age_ms, **more}


DESCRIBED = [
    {"key": "P", "type": "sensor", "topic": "meter/messages/P/value", "unit": "W"},
    {"key": "P", "type": "actuator", "topic": "meter/messages/P-set/value", "unit": "W"},
]


def test_a_described_datapoint_with_its_value() -> None:
    heard = table(
        meter__datapoints=DESCRIBED,
        meter__status={"state": "degraded", "timestamp": 1},
        meter__messages__P__value=value(12.3456789, 90_000, quality="stale"),
    )
    sensor, actuator = heard.rows(NOW_MS)
    assert (sensor.connector, sensor.state, sensor.key, sensor.unit) == ("meter", "degraded", "P", "W")
    assert (sensor.value, sensor.quality, sensor.age_s) == (12.3456789, "stale", 90)
    assert (actuator.type, actuator.topic, actuator.age_s) == ("actuator", "meter/messages/P-set/value", None)
    assert " ".join(as_text([sensor])[1].split()) == (
        "meter degraded sensor P 12.3457 W stale 90 s meter/messages/P/value"
    )


def test_a_connector_of_bemcom_announces_less() -> None:
    heard = table(old__available_datapoints={"sensor": {"T": 21.0, "U": 1}, "actuator": {"S": "22"}})
    assert [(row.type, row.key, row.topic, row.age_s) for row in heard.rows(NOW_MS)] == [
        ("sensor", "T", "", None),
        ("sensor", "U", "", None),
        ("actuator", "S", "", None),
    ]
    mapped = {"sensor": {"T": "old/messages/1/value"}, "actuator": {"old/messages/2/value": "S"}}
    heard.take("old/datapoint_map", json.dumps(mapped).encode())
    heard.take("old/messages/1/value", json.dumps(value("21.5")).encode())
    told = {row.key: (row.topic, row.value) for row in heard.rows(NOW_MS)}
    assert told == {"T": ("old/messages/1/value", "21.5"), "U": ("", None), "S": ("old/messages/2/value", None)}


def test_values_that_nobody_announced_are_shown_by_their_topic() -> None:
    [row] = table(x__messages__7__value=value(None)).rows(NOW_MS)
    assert (row.connector, row.state, row.key, row.topic) == ("x", "?", "7", "x/messages/7/value")
    assert "null" in as_text([row])[1]


def test_both_announcements_of_one_connector_are_one_row() -> None:
    heard = table(meter__datapoints=DESCRIBED, meter__available_datapoints={"sensor": {"P": 1}, "actuator": {"P": 1}})
    assert len(heard.rows(NOW_MS)) == 2


def test_what_is_cleared_goes() -> None:
    heard = table(meter__datapoints=DESCRIBED, x__messages__7__value=value(1))
    heard.take("meter/datapoints", b"")
    heard.take("x/messages/7/value", b"")
    assert heard.rows(NOW_MS) == []


def test_nonsense_changes_nothing() -> None:
    heard = table(meter__datapoints=DESCRIBED)
    for topic in ("meter/datapoints", "meter/status", "meter/available_datapoints", "meter/messages/P/value"):
        heard.take(topic, b"\xff{")
        heard.take(topic, b'{"a": NaN}')
    assert len(heard.rows(NOW_MS)) == 2


def test_a_filter_looks_at_connector_key_and_topic() -> None:
    heard = table(meter__datapoints=DESCRIBED, attic__messages__T__value=value(1))
    assert len(heard.rows(NOW_MS, "METER")) == 2
    assert [row.key for row in heard.rows(NOW_MS, "attic/T")] == ["T"]
    assert [row.type for row in heard.rows(NOW_MS, "p-set")] == ["actuator"]
    assert len(heard.rows(NOW_MS, "m*r/p")) == 2
    assert heard.rows(NOW_MS, "nothing") == []


def test_payloads_cannot_command_the_terminal() -> None:
    [row] = table(x__messages__7__value=value("\x1b[2J\n")).rows(NOW_MS)
    assert "\x1b" not in as_text([row])[1] and "\n" not in as_text([row])[1]


async def test_once_prints_what_is_retained(tmp_path: Path, mosquitto: Mosquitto) -> None:
    for number in (0, 199):
        await publish(mosquitto.port, f"meter/messages/v{number}/value", json.dumps(value(number)), "-r")
    await publish(mosquitto.port, "meter/datapoints", json.dumps(DESCRIBED), "-r")
    command = await completed("datapoints", "--port", str(mosquitto.port), "--once", cwd=tmp_path)
    assert command.process.returncode == 0
    assert [line.split()[3] for line in command.output] == ["KEY", "P", "v0", "v199", "P"]
    command = await completed(
        "datapoints", "--json", "v199", cwd=tmp_path, MQTT_BROKER_HOST="127.0.0.1", MQTT_BROKER_PORT=str(mosquitto.port)
    )
    [row] = [json.loads(line) for line in command.output]
    assert (row["key"], row["value"], row["topic"]) == ("v199", 199, "meter/messages/v199/value")


async def test_no_broker_is_told(tmp_path: Path) -> None:
    nobody = free_port()
    command = await completed("datapoints", "--port", str(nobody), "--wait", "0.2", cwd=tmp_path)
    assert command.process.returncode == 1
    assert command.faults == [f"no connection to the broker at 127.0.0.1:{nobody} within 0.2 s"]
