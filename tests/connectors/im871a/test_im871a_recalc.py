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
from connectors.im871a.recalc_command import MOST_METERS, read_command
from connectors.im871a.settings import Settings
from connectors.im871a.simulated_air import EXAMPLE_KEY, EXAMPLE_METER, ExampleMeter
from links.serial_pty import PseudoTerminal
from tests.connectors.im871a.conftest import hear, stick_on, until_set
from wattbus.errors import ConfigError, StopAsked, causes
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.settings import load
from wattbus.testing.link import entered
from wattbus.testing.mqtt import PlainClient, plain_client
from wattbus.testing.waiting import PATIENCE_S

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
    """What is beside `run()` runs, and has a connection to the broker."""
    task = asyncio.create_task(connector.accompany())
    assert connector._recalc is not None
    async with asyncio.timeout(PATIENCE_S):
        await connector._recalc._bus.wait_connected()
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def answer(client: PlainClient, command: Any, **manner: Any) -> Any:
    """Send a command, and wait for its answer."""
    before = len(client.on(ANSWER))
    await client.publish(SET, command, **{"qos": 0, **manner})
    return (await client.messages(ANSWER, before + 1))[before]


@contextlib.asynccontextmanager
async def at_broker(broker: Mosquitto, folder: Path, **more: str) -> AsyncIterator[tuple[Im871a, PlainClient]]:
    connector = connector_at(broker, folder, **more)
    async with plain_client(broker.port) as client, accompanied(connector):
        yield connector, client


@contextlib.asynccontextmanager
async def at_stick(broker: Mosquitto, folder: Path, **more: str) -> AsyncIterator[tuple[Any, PlainClient]]:
    """A connector at broker and stick."""
    async with PseudoTerminal() as terminal, stick_on(terminal) as stick, plain_client(broker.port) as client:
        connector = connector_at(broker, folder, terminal.path, **more)
        async with accompanied(connector), entered(connector):
            await until_set(stick)
            yield stick, client


async def test_from_the_command_to_the_channels(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with at_stick(mosquitto, tmp_path) as (stick, client):
        assert await answer(client, [COMMAND]) == {"accepted": [EXAMPLE_METER], "rejected": []}
        configuration = await client.message(f"v2/{GATEWAY}/kam-{EXAMPLE_METER}/config")
        assert configuration["Channels"] == [
            {"ChannelNumber": 1, "DataType": "accumulated-power", "ChannelName": "A+ / Active positive energy"},
            {"ChannelNumber": 2, "DataType": "accumulated-power", "ChannelName": "A- / Active negative energy"},
            {"ChannelNumber": 3, "DataType": "power", "ChannelName": "P+ / Active positive power"},
            {"ChannelNumber": 4, "DataType": "power", "ChannelName": "P- / Active negative power"},
        ]
        stick.receives(ExampleMeter().telegram())
        data = await client.messages(f"v2/{GATEWAY}/kam-{EXAMPLE_METER}/data", 4)
        assert [(one["channelNumber"], one["dataType"], one["value"]) for one in data] == [
            (1, "accumulated-power", 1234.57),
            (2, "accumulated-power", 0),
            (3, "power", 2000),
            (4, "power", 0),
        ]
        assert all(one["aggregateType"] == "Raw" and one["timestamp"].endswith("Z") for one in data)


async def test_a_key_that_changes_while_telegrams_come(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with at_stick(mosquitto, tmp_path) as (stick, client):
        meter = ExampleMeter()
        await answer(client, [{**COMMAND, "encryptionKey": "00" * 16}])
        await hear(stick, meter.telegram())
        await answer(client, [COMMAND])
        await hear(stick, meter.telegram())
        data = await client.messages(f"v2/{GATEWAY}/kam-{EXAMPLE_METER}/data", 4)
        assert data[0]["value"] == 1234.58


async def test_a_meter_that_the_settings_know_under_its_makers_name_too(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """What people have configured here counts; ReCalc gets its values all the same."""
    meters = json.dumps({f"KAM-{EXAMPLE_METER}": {"key": EXAMPLE_KEY.hex(), "name": "main"}})
    async with at_stick(mosquitto, tmp_path, IM871A_METERS=meters) as (stick, client):
        await answer(client, [{**COMMAND, "encryptionKey": "00" * 16}])
        stick.receives(ExampleMeter().telegram())
        await client.messages(f"v2/{GATEWAY}/kam-{EXAMPLE_METER}/data", 4)


async def test_a_key_of_the_settings_stays_theirs(tmp_path: Path, mosquitto: Mosquitto) -> None:
    meters = json.dumps({EXAMPLE_METER: EXAMPLE_KEY.hex()})
    async with at_stick(mosquitto, tmp_path, IM871A_METERS=meters) as (stick, client):
        await answer(client, [{**COMMAND, "encryptionKey": ""}])
        stick.receives(ExampleMeter().telegram())
        await client.messages(f"v2/{GATEWAY}/kam-{EXAMPLE_METER}/data", 4)
        await answer(client, [])
    assert not any(EXAMPLE_KEY.hex() in file.read_text() for file in tmp_path.glob("*.json"))
    assert connector_at(mosquitto, tmp_path, IM871A_METERS=meters).meters.ids == [EXAMPLE_METER]


async def test_topics_and_answers_repeat_what_was_written(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """A number as JSON number, without its leading zero; the maker in capitals."""
    async with at_stick(mosquitto, tmp_path) as (stick, client):
        command = {**COMMAND, "deviceId": 1234567, "manufacturerKey": "KAM"}
        assert await answer(client, [command]) == {"accepted": ["1234567"], "rejected": []}
        stick.receives(ExampleMeter("01234567").telegram())
        await client.messages(f"v2/{GATEWAY}/KAM-1234567/data", 4)


async def test_pascal_case_as_the_ancestors_code_reads_it(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with at_broker(mosquitto, tmp_path) as (_, client):
        pascal = {key[0].upper() + key[1:]: value for key, value in COMMAND.items()}
        assert (await answer(client, [pascal]))["accepted"] == [EXAMPLE_METER]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"encryptionKey": "00"}, "32 hexadecimal digits"),
        ({"deviceId": "meter"}, "deviceId: 'meter' is no meter"),
        ({"deviceId": "KAM-20000001"}, "deviceId: 'KAM-20000001' is no meter"),
        ({"deviceId": None}, "deviceId is missing"),
        ({"deviceId": True}, "deviceId is missing"),
        ({"deviceId": 1.5}, "deviceId is missing"),
        ({"deviceId": EXAMPLE_KEY.hex()}, "deviceId: a text of 32 characters is no meter"),
        ({"manufacturerKey": "k/m"}, "manufacturerKey"),
        ({"manufacturerKey": ""}, "manufacturerKey"),
    ],
)
async def test_what_is_wrong_is_named_and_the_others_count(
    change: dict[str, Any], fault: str, tmp_path: Path, mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    async with at_broker(mosquitto, tmp_path) as (_, client):
        said = await answer(client, [{**COMMAND, **change}, {**COMMAND, "deviceId": "20000002"}])
        assert said["accepted"] == ["20000002"]
        assert fault in said["rejected"][0]["error"]
        assert EXAMPLE_KEY.hex() not in json.dumps(said) + caplog.text
        assert caplog.text.count("ReCalc's command: 1 rejected") == 1


@pytest.mark.parametrize("payload", [b"", b"{", b"{}", b"[1]", b'["x"]', b"null", b"[" * 2000, b"\xff"])
async def test_nonsense_is_answered_and_changes_nothing_else(
    payload: bytes, tmp_path: Path, mosquitto: Mosquitto
) -> None:
    async with at_broker(mosquitto, tmp_path) as (_, client):
        said = await answer(client, payload)
        assert said["accepted"] == []
        assert len(said["rejected"]) == 1
        assert (await answer(client, [COMMAND]))["accepted"] == [EXAMPLE_METER]


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (json.dumps([COMMAND] * (MOST_METERS + 1)).encode(), "at most 1000 meters"),
        (b" " * 2**20 + b"[]", "at most 1048576 bytes"),
    ],
)
def test_what_is_too_much(payload: bytes, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read_command(payload)


async def test_every_one_of_many_commands_is_answered_and_the_last_one_rules(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    async with at_broker(mosquitto, tmp_path) as (connector, client):
        for number in range(50):
            await client.publish(SET, [{**COMMAND, "deviceId": str(number)}], qos=0)
        answers = await client.messages(ANSWER, 50)
        assert [one["accepted"] for one in answers] == [[str(number)] for number in range(50)]
        assert connector.meters.ids == ["00000049"]


async def test_a_thousand_meters_get_their_channels(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with at_broker(mosquitto, tmp_path) as (connector, client):
        wanted = [{**COMMAND, "deviceId": str(number)} for number in range(MOST_METERS)]
        assert len((await answer(client, wanted))["accepted"]) == MOST_METERS
        assert len(connector.meters) == MOST_METERS
        await client.until(
            lambda: len({one.topic for one in client.seen if one.topic.endswith("/config")}) == MOST_METERS
        )


async def test_the_same_list_again_is_answered_and_changes_nothing(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with at_broker(mosquitto, tmp_path) as (connector, client):
        await answer(client, [COMMAND, {**COMMAND, "deviceId": "2"}])
        file = tmp_path / "meters-recalc-meters.json"
        before, changes = file.stat(), []
        connector.meters.on_change = changes.append  # type: ignore[assignment]
        await answer(client, [{**COMMAND, "deviceId": "2"}, COMMAND])
        assert changes == []
        assert file.stat().st_mtime_ns == before.st_mtime_ns


async def test_a_second_meter_of_the_same_number_is_named(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with at_broker(mosquitto, tmp_path) as (_, client):
        said = await answer(client, [COMMAND, {**COMMAND, "manufacturerKey": "elv"}])
        assert said["accepted"] == [EXAMPLE_METER]
        assert "there twice" in said["rejected"][0]["error"]


# -- restarts and brokers that go away --------------------------------------------------------------------------------


async def test_its_meters_survive_a_restart_in_a_file_that_nobody_else_reads(
    tmp_path: Path, mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    async with at_broker(mosquitto, tmp_path) as (connector, client):
        await answer(client, [COMMAND])
        before = connector.meters.get(EXAMPLE_METER)
    file = tmp_path / "meters-recalc-meters.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert connector_at(mosquitto, tmp_path).meters.get(EXAMPLE_METER) == before
    content = file.read_text()
    for broken in ("[]", "{}", "", content[: len(content) // 2], '{"meters": [{}]}'):
        file.write_text(broken)
        assert connector_at(mosquitto, tmp_path).meters.ids == []
    assert caplog.text.count("ReCalc has to send its meters again") == 5
    assert EXAMPLE_KEY.hex() not in caplog.text


async def test_a_file_that_cannot_be_written_costs_the_restart_only(
    tmp_path: Path, mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "meters-recalc-meters.new").mkdir()
    async with at_broker(mosquitto, tmp_path) as (connector, client):
        assert (await answer(client, [COMMAND]))["accepted"] == [EXAMPLE_METER]
        assert connector.meters.ids == [EXAMPLE_METER]
    assert "cannot be kept over a restart" in caplog.text


async def test_a_command_sent_while_this_process_is_away_is_executed_when_it_is_back(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    async with at_broker(mosquitto, tmp_path):
        pass
    async with plain_client(mosquitto.port) as client:
        await client.publish(SET, [COMMAND], qos=1)
        connector = connector_at(mosquitto, tmp_path)
        async with accompanied(connector):
            assert (await client.message(ANSWER))["accepted"] == [EXAMPLE_METER]


async def test_a_retained_command_rules_at_every_connection(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with plain_client(mosquitto.port) as client:
        await client.publish(SET, [COMMAND], retain=True)
        for _ in range(2):
            connector = connector_at(mosquitto, tmp_path)
            async with accompanied(connector):
                await client.until(lambda connector=connector: connector.meters.ids == [EXAMPLE_METER])


async def test_the_broker_goes_and_comes_back(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with at_stick(mosquitto, tmp_path) as (stick, client):
        await answer(client, [COMMAND])
        await mosquitto.stop()
        meter = ExampleMeter()
        await hear(stick, meter.telegram())  # nobody is there to take it: ReCalc's data are QoS 0
        await mosquitto.start()
        async with plain_client(mosquitto.port) as again:
            async with asyncio.timeout(PATIENCE_S):
                while not again.on(ANSWER):
                    await again.publish(SET, [COMMAND], qos=0)
                    await asyncio.sleep(0.2)
            stick.receives(meter.telegram())
            [first, *_] = await again.messages(f"v2/{GATEWAY}/kam-{EXAMPLE_METER}/data", 4)
            assert first["value"] == 1234.58


# -- the end ----------------------------------------------------------------------------------------------------------


async def test_stop_ends_it_only_where_it_may(tmp_path: Path, mosquitto: Mosquitto) -> None:
    connector = connector_at(mosquitto, tmp_path)
    async with plain_client(mosquitto.port) as client, accompanied(connector) as task:
        await client.publish("STOP", b"", qos=0)
        await answer(client, [COMMAND])
        assert not task.done()
    connector = connector_at(mosquitto, tmp_path, RECALC_ALLOW_STOP="TRUE")
    async with plain_client(mosquitto.port) as client, accompanied(connector) as task:
        await client.publish("STOP", b"", qos=1)
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.wait([task])
        error = task.exception()
        assert error is not None
        assert isinstance(causes(error)[0], StopAsked)


async def test_a_stop_does_not_end_the_next_start(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """Neither one that was sent in between, nor one that somebody has retained."""
    may = {"RECALC_ALLOW_STOP": "TRUE"}
    async with at_broker(mosquitto, tmp_path, **may):
        pass
    async with plain_client(mosquitto.port) as client:
        await client.publish("STOP", b"now", qos=1)
        await client.publish("STOP", b"now", qos=1, retain=True)
        connector = connector_at(mosquitto, tmp_path, **may)
        async with accompanied(connector) as task:
            await answer(client, [COMMAND])
            assert not task.done()


async def test_a_session_of_other_settings_commands_nothing(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """The broker keeps subscriptions for a while: those to STOP and to another gateway's commands."""
    async with at_broker(mosquitto, tmp_path, RECALC_ALLOW_STOP="TRUE", RECALC_GATEWAY_ID="1"):
        pass
    connector = connector_at(mosquitto, tmp_path)
    async with plain_client(mosquitto.port) as client:
        await client.publish("v2/1/sensors/set", [{**COMMAND, "deviceId": "1"}], qos=1)
        async with accompanied(connector) as task:
            await client.publish("STOP", b"", qos=0)
            await client.publish("v2/1/sensors/set", [{**COMMAND, "deviceId": "1"}], qos=1)
            await answer(client, [COMMAND])
            assert connector.meters.ids == [EXAMPLE_METER]
            assert not task.done()
            assert not client.on("v2/1/sensors/answer")


def test_stop_without_recalc_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="RECALC_ALLOW_STOP needs RECALC_GATEWAY_ID"):
        load(Settings, {"CONNECTOR_NAME": "meters", "RECALC_ALLOW_STOP": "TRUE"})
