"""ReCalc's MQTT interface on a real broker: commands, answers, channels, the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from connectors.im871a.connector import Im871a, create
from connectors.im871a.settings import Settings
from connectors.im871a.simulator import EXAMPLE_KEY, EXAMPLE_METER, ExampleMeter
from links.serial_pty import PseudoTerminal
from tests.connectors.im871a.conftest import stick_on
from tests.support.link import entered
from tests.support.mqtt import PlainClient, plain_client
from wattbus.errors import ConfigError, StopAsked, causes
from wattbus.mosquitto import Mosquitto
from wattbus.settings import load

GATEWAY = "706462169"
SET = f"v2/{GATEWAY}/sensors/set"
ANSWER = f"v2/{GATEWAY}/sensors/answer"
COMMAND = {
    "deviceId": EXAMPLE_METER,
    "manufacturerKey": "kam",
    "encryptionKey": EXAMPLE_KEY.hex(),
    "manufacturerDeviceKey": "OmniPower1",
}


def connector_at(broker: Mosquitto, folder: Path, port: str = "/dev/ttyUSB0", **more: str) -> Im871a:
    variables = {
        "CONNECTOR_NAME": "meters",
        "IM871A_PORT": port,
        "MQTT_BROKER_HOST": broker.host,
        "MQTT_BROKER_PORT": str(broker.port),
        "DATA_DIRECTORY": str(folder),
        "RECALC_GATEWAY_ID": GATEWAY,
    }
    return create(load(Settings, {**variables, **more}))


@contextlib.asynccontextmanager
async def accompanied(connector: Im871a) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(connector.accompany())
    assert connector._recalc is not None
    async with asyncio.timeout(10):
        await connector._recalc._bus.wait_connected()
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def answer(client: PlainClient, command: Any) -> Any:
    """Send a command, and wait for its answer."""
    before = len([seen for seen in client.seen if seen.topic == ANSWER])
    payload = command if isinstance(command, bytes) else json.dumps(command).encode()
    await client.publish(SET, payload, qos=0)
    await client.until(lambda: len([seen for seen in client.seen if seen.topic == ANSWER]) > before)
    return client.last(ANSWER)


async def test_from_the_command_to_the_channels(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with PseudoTerminal() as terminal, stick_on(terminal) as stick, plain_client(mosquitto.port) as client:
        connector = connector_at(mosquitto, tmp_path, terminal.path)
        async with accompanied(connector), entered(connector):
            assert await answer(client, [COMMAND]) == {"accepted": [EXAMPLE_METER], "rejected": []}
            configuration = await client.message(f"v2/{GATEWAY}/kam-{EXAMPLE_METER}/config")
            assert [channel["ChannelName"] for channel in configuration["Channels"]] == [
                "A+ / Active positive energy",
                "A- / Active negative energy",
                "P+ / Active positive power",
                "P- / Active negative power",
            ]
            await client.until(lambda: bool(stick.asked) and stick.configuration["rssi"] == 1)
            stick.receives(ExampleMeter().telegram())
            topic = f"v2/{GATEWAY}/kam-{EXAMPLE_METER}/data"
            await client.until(lambda: len([seen for seen in client.seen if seen.topic == topic]) == 4)
            data = [seen.json for seen in client.seen if seen.topic == topic]
            assert [(one["channelNumber"], one["dataType"], one["value"]) for one in data] == [
                (1, "accumulated-power", 1234.57),
                (2, "accumulated-power", 0),
                (3, "power", 2000),
                (4, "power", 0),
            ]
            assert all(one["aggregateType"] == "Raw" and one["timestamp"].endswith("Z") for one in data)


async def test_pascal_case_as_the_ancestors_code_reads_it(tmp_path: Path, mosquitto: Mosquitto) -> None:
    connector = connector_at(mosquitto, tmp_path)
    async with plain_client(mosquitto.port) as client, accompanied(connector):
        pascal = {key[0].upper() + key[1:]: value for key, value in COMMAND.items()}
        assert (await answer(client, [pascal]))["accepted"] == [EXAMPLE_METER]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"encryptionKey": "00"}, "32 hexadecimal digits"),
        ({"deviceId": "meter"}, "is no meter"),
        ({"deviceId": None}, "deviceId is missing"),
        ({"manufacturerKey": "k/m"}, "manufacturerKey"),
    ],
)
async def test_what_is_wrong_is_named_and_the_others_count(
    change: dict[str, Any], fault: str, tmp_path: Path, mosquitto: Mosquitto
) -> None:
    connector = connector_at(mosquitto, tmp_path)
    async with plain_client(mosquitto.port) as client, accompanied(connector):
        said = await answer(client, [{**COMMAND, **change}, {**COMMAND, "deviceId": "20000002"}])
        assert said["accepted"] == ["20000002"]
        assert fault in said["rejected"][0]["error"]
        assert EXAMPLE_KEY.hex() not in json.dumps(said)


@pytest.mark.parametrize("payload", [b"", b"{", b"{}", b"[1]", b'["x"]', b"null", b"[" * 2000])
async def test_nonsense_is_answered(payload: bytes, tmp_path: Path, mosquitto: Mosquitto) -> None:
    connector = connector_at(mosquitto, tmp_path)
    async with plain_client(mosquitto.port) as client, accompanied(connector):
        said = await answer(client, payload)
        assert said["accepted"] == []
        assert len(said["rejected"]) == 1
        assert (await answer(client, [COMMAND]))["accepted"] == [EXAMPLE_METER]


async def test_every_one_of_many_commands_is_answered_and_the_last_one_rules(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    connector = connector_at(mosquitto, tmp_path)
    async with plain_client(mosquitto.port) as client, accompanied(connector):
        for number in range(50):
            await client.publish(SET, [{**COMMAND, "deviceId": str(number)}], qos=0)
        await client.until(lambda: len([seen for seen in client.seen if seen.topic == ANSWER]) == 50)
        assert connector.meters.ids == ["00000049"]


async def test_a_second_meter_of_the_same_number_is_named(tmp_path: Path, mosquitto: Mosquitto) -> None:
    connector = connector_at(mosquitto, tmp_path)
    async with plain_client(mosquitto.port) as client, accompanied(connector):
        said = await answer(client, [COMMAND, {**COMMAND, "manufacturerKey": "elv"}])
        assert said["accepted"] == [EXAMPLE_METER]
        assert "there twice" in said["rejected"][0]["error"]


async def test_its_meters_survive_a_restart_in_a_file_that_nobody_else_reads(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    connector = connector_at(mosquitto, tmp_path)
    async with plain_client(mosquitto.port) as client, accompanied(connector):
        await answer(client, [COMMAND])
    file = tmp_path / "meters-recalc-meters.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert connector_at(mosquitto, tmp_path).meters.ids == [EXAMPLE_METER]
    file.write_text("[]")
    assert connector_at(mosquitto, tmp_path).meters.ids == []


async def test_stop_ends_it_only_where_it_may(tmp_path: Path, mosquitto: Mosquitto) -> None:
    connector = connector_at(mosquitto, tmp_path)
    async with plain_client(mosquitto.port) as client, accompanied(connector) as task:
        await client.publish("STOP", b"", qos=0)
        await answer(client, [COMMAND])
        assert not task.done()
    connector = connector_at(mosquitto, tmp_path, RECALC_ALLOW_STOP="TRUE")
    async with plain_client(mosquitto.port) as client, accompanied(connector) as task:
        await client.publish("STOP", b"", qos=0)
        async with asyncio.timeout(10):
            await asyncio.wait([task])
        error = task.exception()
        assert error is not None
        assert isinstance(causes(error)[0], StopAsked)


def test_stop_without_recalc_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="RECALC_ALLOW_STOP needs RECALC_GATEWAY_ID"):
        load(Settings, {"CONNECTOR_NAME": "meters", "RECALC_ALLOW_STOP": "TRUE"})
