"""The real services, each with its own user, at a broker with the rules: everything flows, nothing is refused."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from broker.rules import rules_for
from broker.users import read_register
from tests.broker.installation import Installation
from tests.e2e.house import COUNTER, MODBUS_CONFIG, SETPOINT, TEMPERATURE, Process
from tests.support.ports import free_port
from wattbus.testing.waiting import PATIENCE_S

SOON_S = PATIENCE_S
ACTUATOR = f"room/messages/{SETPOINT}-set"
SESSION = "0123456789abcdef"


class Suite:
    """Every service as a process, signed in with the files that the set-up wrote for it."""

    def __init__(self, folder: Path) -> None:
        self.installation = Installation(folder, BROKER_USERS="second-history:history,solar")
        self.installation.env_file("modbus_tcp/.env", CONNECTOR_NAME="room")
        self.installation.set_up()
        self.device_port, self.api_port = free_port(), free_port()
        settings = self.installation.settings
        over_tls = {
            "MQTT_BROKER_HOST": "localhost",
            "MQTT_BROKER_PORT": str(settings.broker_tls_port),
            "MQTT_CA_FILE": str(self.installation.secrets / "connectors" / "modbus_tcp" / "ca.crt"),
        }
        self.processes = [
            Process("demo_device", {"DEMO_DEVICE_PORT": str(self.device_port)}, folder / "demo_device.log"),
            self._service("modbus_tcp", "connectors/modbus_tcp", **over_tls, **self._room()),
            self._service("history", "history", HISTORY_CONNECTORS="room"),
            self._service("history", "second-history", SERVICE_NAME="second-history", HISTORY_CONNECTORS="solar"),
            self._service("raw_db", "raw-db"),
            self._service("controller", "controller", CONTROLLER_SETTLE_SECONDS="0.2"),
            self._service("api", "api", API_PORT=str(self.api_port), API_PAGE="FALSE"),
        ]

    def _service(self, service: str, place: str, **variables: str) -> Process:
        own = self.installation.secrets / place
        common = {
            "MQTT_BROKER_PORT": str(self.installation.port),
            "MQTT_USERNAME_FILE": str(own / "mqtt_username"),
            "MQTT_PASSWORD_FILE": str(own / "mqtt_password"),
            "DATA_DIRECTORY": str(self.installation.folder / ("second" if "second" in place else "data")),
        }
        return Process(service, {**common, **variables}, self.installation.folder / f"{Path(place).name}.log")

    def _room(self) -> dict[str, str]:
        return {
            "CONNECTOR_NAME": "room",
            "SEND_RAW_MESSAGE_TO_DB": "TRUE",
            "MODBUS_MASTER_IP": "127.0.0.1",
            "MODBUS_MASTER_PORT": str(self.device_port),
            "MODBUS_CONFIG": json.dumps(MODBUS_CONFIG),
            "MODBUS_RETRY_WAIT_SECONDS": "1",
            "POLL_SECONDS": "0.2",
            "HEARTBEAT_SECONDS": "0.5",
        }

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Suite]:
        with self.installation.running():
            for process in self.processes:
                await process.start()
            try:
                yield self
                assert all(process.alive for process in self.processes)
            except (AssertionError, TimeoutError) as error:
                raise AssertionError(f"{error}\n{self.tell()}") from None
            finally:
                codes = [await process.stop() for process in reversed(self.processes)]
            assert set(codes) == {0}, self.tell()

    def tell(self) -> str:
        """The ends of all logs, for a failed test."""
        logs = [f"--- {process.service}\n{process.log[-2000:]}" for process in self.processes]
        return "\n".join([*logs, *self.installation.denied()[-20:]])


async def until(found: Any, what: str) -> Any:
    """Wait until `found()`, or what it awaits, gives something."""
    end = time.monotonic() + SOON_S
    while True:
        result = found()
        if result := await result if asyncio.iscoroutine(result) else result:
            return result
        assert time.monotonic() < end, f"not within {SOON_S:g} s: {what}"
        await asyncio.sleep(0.05)


class Rest:
    """The API over HTTP; no answer counts as none yet."""

    def __init__(self, port: int, session: aiohttp.ClientSession) -> None:
        self._address = f"http://127.0.0.1:{port}"
        self._session = session

    async def get(self, path: str, **parameters: Any) -> Any:
        with contextlib.suppress(aiohttp.ClientConnectionError):
            async with self._session.get(self._address + path, params=parameters) as answer:
                return await answer.json() if answer.status == 200 else None
        return None

    async def send(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        async with self._session.request(method, self._address + path, json=body) as answer:
            return answer.status, await answer.json(content_type=None)

    async def id_of(self, key: str) -> int:
        found = await until(lambda: self.get("/datapoint/", key_in_connector=key), key)
        return int(found[0]["id"])


@pytest.fixture
async def suite(tmp_path: Path) -> AsyncIterator[Suite]:
    async with Suite(tmp_path).running() as suite:
        yield suite


async def test_everything_flows_and_nothing_is_refused(suite: Suite) -> None:
    installation = suite.installation
    async with aiohttp.ClientSession() as session:
        with installation.client("reader") as reader, installation.client("operator") as person:
            reader.subscribe("#")
            await until(lambda: "api/status" in seen(reader), "every service is there")

            # up: values, receipts, raw messages
            rest = Rest(suite.api_port, session)
            temperature, setpoint = await rest.id_of(TEMPERATURE), await rest.id_of(SETPOINT)
            await until(lambda: rest.get(f"/datapoint/{temperature}/value/"), "values in the database")
            await until(lambda: rest.get("/raw_message/connectors/"), "raw messages in the database")
            receipt = "history/receipts/room"
            await until(lambda: json.loads(seen(reader).get(receipt, b'{"upto": 0}'))["upto"] > 3, receipt)

            # down: a command, over REST and from a person
            command = {"value": 17.0, "timestamp": now_ms()}
            status, answer = await rest.send("POST", f"/datapoint/{setpoint}/value/", command)
            assert (status, answer["outcome"]) == (200, "applied"), answer
            person.publish(f"{ACTUATOR}/value", payload=b'{"value": 18.0}')
            await until(lambda: b"18.0" in seen(reader).get(f"{ACTUATOR}/result", b""), "the outcome")

            # down: a plan, by way of the controller
            pair = {"sensor": temperature, "actuator": setpoint}
            status, answer = await rest.send("POST", "/controlled_datapoint/", pair)
            assert status == 201, answer
            plan = [{"from_timestamp": None, "to_timestamp": None, "value": 19.5}]
            path = f"/datapoint/{setpoint}/schedule/"
            status, answer = await rest.send("POST", path, {"schedule": plan, "timestamp": now_ms()})
            assert status in (200, 201), answer
            await until(lambda: b"19.5" in seen(reader).get("controller/decisions", b""), "the decision")
            await until(lambda: b"19.5" in seen(reader).get(f"{ACTUATOR}/result", b""), "its outcome")
            wish = [{"from_timestamp": None, "to_timestamp": None, "preferred_value": 21.5,
                     "min_value": None, "max_value": None}]  # fmt: skip
            person.publish(f"{ACTUATOR}/setpoint", payload=message(setpoint=wish), retain=True)
            await until(lambda: f"controller/preview/{ACTUATOR}/value" in seen(reader), "the preview")
            for kind in ("schedule", "setpoint"):
                await until(lambda kind=kind: rest.get(f"/datapoint/{setpoint}/{kind}/"), f"the {kind} in the database")

            # a choice of datapoints
            chosen = {"sensor": [TEMPERATURE], "actuator": [SETPOINT]}
            status, answer = await rest.send("PUT", "/connector/room/datapoint_map/", chosen)
            assert status == 200, answer
            await until(lambda: seen(reader).get("room/datapoint_map"), "the map")
            dropped = f"room/messages/{COUNTER}/value"
            await until(lambda: seen(reader).get(dropped) == b"", "the connector follows: its state is cleared")

        # a second history, for the connectors of another part of the house
        with installation.client("solar") as solar, installation.client("reader") as reader:
            solar.subscribe("history/receipts/solar")
            reading = {"session": SESSION, "sequence": 1, "timestamp": now_ms(), "values": {"power": 1}}
            solar.publish("solar/values", payload=json.dumps(reading).encode())
            await until(lambda: solar._paho.loop(0.02) or solar.seen, "the receipt of the second history")

    assert installation.denied() == []
    for process in suite.processes:
        assert not re.search(r" (ERROR|CRITICAL) ", process.log), process.log
    assert_readable(installation)


def seen(reader: Any) -> dict[str, bytes]:
    """The last message of every topic so far."""
    reader._paho.loop(0.02)
    return dict(reader.seen)


def now_ms() -> int:
    return time.time_ns() // 10**6


def message(**content: Any) -> bytes:
    return json.dumps({**content, "timestamp": now_ms()}).encode()


def assert_readable(installation: Installation) -> None:
    """What services subscribed to, according to the broker's log, they may read: it would not tell them otherwise."""
    users = read_register(installation.secrets / "users.json")
    asked = set(re.findall(r"\t\S+ \(QoS \d\)\n\S+: (\S+) \d (\S+)\n", installation.log.read_text()))
    subscriptions = {(client, topic) for client, topic in asked if client in users}
    assert {client for client, _ in subscriptions} >= {
        "room",
        "history",
        "second-history",
        "raw-db",
        "controller",
        "api",
    }
    for client, topic in subscriptions:
        readable = [rule.topic for rule in rules_for(client, users[client].role) if rule.access.startswith("read")]
        assert any(covers(wide, topic) for wide in readable), f"{client} subscribes to {topic}, and may not read it"


def covers(wide: str, narrow: str) -> bool:
    """Whether everything that `narrow` matches is matched by `wide`."""
    for index, level in enumerate(levels := wide.split("/")):
        if level == "#":
            return True
        rest = narrow.split("/")[index:]
        if not rest or rest[0] == "#" or level not in ("+", rest[0]):
            return False
    return len(levels) == len(narrow.split("/"))
