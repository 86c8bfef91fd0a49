"""A site for end-to-end tests: a connector and history as their own processes, as `wattbus run` starts them."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.e2e.house import Process, until
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.testing.mqtt import PlainClient

SENT_AT_MS = 1_700_000_000_000  # what the sender of a command says; nobody judges it by that
_ROWS = """
SELECT time, number, json_value FROM (
  SELECT time, datapoint, number, json_value FROM recent
  UNION ALL SELECT time, datapoint, number, json_value FROM history
) JOIN datapoints ON datapoints.id = datapoint
WHERE connector = :connector AND key = :key AND type = 'sensor' ORDER BY time
"""


class Site:
    """Connector `name` of the kind `service` with these variables, and history, at a broker; all below one folder."""

    def __init__(self, folder: Path, broker: Mosquitto, service: str, name: str, variables: dict[str, str]) -> None:
        self.name = name
        self.database = folder / "data" / "history.db"
        common = {
            "MQTT_BROKER_HOST": broker.host,
            "MQTT_BROKER_PORT": str(broker.port),
            "DATA_DIRECTORY": str(self.database.parent),
        }
        variables = {**common, "CONNECTOR_NAME": name, **variables}
        self.connector = Process(service, variables, folder / f"{name}.log")
        self.history = Process("history", {**common, "HISTORY_RECEIPT_SECONDS": "0.1"}, folder / "history.log")

    def rows(self, key: str) -> list[tuple[int, Any]]:
        """Time (ms) and value of each row of a sensor, in the order of time."""
        if not self.database.exists():
            return []
        with contextlib.closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as database:
            try:
                found = database.execute(_ROWS, {"connector": self.name, "key": key}).fetchall()
            except sqlite3.OperationalError:
                return []  # not migrated yet
        return [(time, number if other is None else json.loads(other)) for time, number, other in found]

    def stored(self, key: str) -> list[Any]:
        """What the database has of a sensor, in the order of time."""
        return [value for _, value in self.rows(key)]

    async def until_stored(self, key: str, values: list[Any]) -> None:
        """Wait until the database has these values of a sensor, and no others."""
        what = f"{len(values)} values of {key} in the database"
        await until(lambda: self.stored(key) == values, what, lambda: f"{self.stored(key)}\n{self.tell()}")

    async def command(self, client: PlainClient, actuator: str, value: Any) -> dict[str, Any]:
        """Send a command to an actuator (its topic's level, without `-set`) and wait for its outcome."""
        topic = f"{self.name}/messages/{actuator}-set"
        before = len(client.on(f"{topic}/result"))
        await client.publish(f"{topic}/value", {"value": value, "timestamp": SENT_AT_MS})
        results = await client.messages(f"{topic}/result", before + 1)
        result: dict[str, Any] = results[before]
        assert result["value"] == value
        return result

    async def until_state(self, client: PlainClient, state: str, detail: str = "") -> None:
        """Wait until the connector's status is this, with this text in its detail."""

        def so() -> bool:
            status = client.last(f"{self.name}/status")
            return bool(status) and status["state"] == state and detail in status["detail"]

        await client.until(so)

    def tell(self) -> str:
        """The ends of the logs, for a failed test."""
        return "\n".join(process.log[-3000:] for process in (self.connector, self.history))


@contextlib.asynccontextmanager
async def site(folder: Path, broker: Mosquitto, service: str, name: str, **variables: str) -> AsyncIterator[Site]:
    """Both processes started; at the end they have to end when told to, or have ended in order before."""
    here = Site(folder, broker, service, name, variables)
    await here.history.start()
    await here.connector.start()
    try:
        yield here
    finally:
        codes = [await here.connector.stop(), await here.history.stop()]
    assert codes == [0, 0], f"exit codes {codes}\n{here.tell()}"
