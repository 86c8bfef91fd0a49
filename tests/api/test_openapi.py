"""The documentation of the API, and whatever people send: an answer, never a failure of ours."""

from __future__ import annotations

import json
import random
import re
from typing import Any

from api.settings import Settings
from tests.api.conftest import Api, connected, now_ms
from tests.support.connector import ScriptedConnector
from wattbus.connector import Datapoint

PATHS = {
    "/datapoint/": {"get", "post", "put"},
    "/datapoint/{datapoint_id}/": {"get", "put"},
    "/datapoint/last_value/": {"get"},
    "/datapoint/last_setpoint/": {"get"},
    "/datapoint/last_schedule/": {"get"},
    "/datapoint/{datapoint_id}/value/": {"get", "post", "put"},
    "/datapoint/{datapoint_id}/value/{timestamp}/": {"delete"},
    "/datapoint/{datapoint_id}/setpoint/": {"get", "post", "put"},
    "/datapoint/{datapoint_id}/setpoint/{timestamp}/": {"delete"},
    "/datapoint/{datapoint_id}/schedule/": {"get", "post", "put"},
    "/datapoint/{datapoint_id}/schedule/{timestamp}/": {"delete"},
    "/connector/": {"get"},
    "/connector/{name}/": {"get"},
    "/connector/{name}/datapoint_map/": {"get", "put", "delete"},
    "/controller/": {"get", "post"},
    "/controller/preview/": {"get"},
    "/controller/{controller_id}/": {"get", "put", "delete"},
    "/controlled_datapoint/": {"get", "post"},
    "/controlled_datapoint/{pair_id}/": {"get", "put", "delete"},
    "/raw_message/": {"get"},
    "/raw_message/connectors/": {"get"},
    "/healthz/": {"get"},
    "/readyz/": {"get"},
    "/metrics/": {"get"},
}
DATAPOINTS = (
    Datapoint("power", data_format="generic_numeric"),
    Datapoint("heating", "actuator", data_format="continuous_numeric", min_value=15, max_value=30),
    Datapoint("mode", "actuator", data_format="discrete_text", allowed_values=("on", "off")),
    Datapoint("pump", "actuator", data_format="bool"),
)
ROUNDS = 1500


async def test_the_schema_names_every_path(api: Api) -> None:
    schema = await api.get("/schema/")
    assert {path: set(methods) for path, methods in schema["paths"].items()} == PATHS
    assert schema == await api.get("/schema") == await api.get("/openapi.json")
    page = await api.ask("GET", "/docs")
    assert page.status == 200
    assert "/openapi.json" in page.body
    assert all(f"<code>{path}</code>" in page.body for path in PATHS)
    assert not re.search(r"(src|href)=.?(https?:)?//", page.body), "a building may have no internet"


async def test_health_and_numbers(api: Api) -> None:
    assert await api.get("/healthz") == {"ok": True, "faults": {}}
    assert await api.get("/readyz/") == {"ok": True, "faults": {}}
    numbers = await api.get("/metrics")
    assert 'wattbus_mqtt_connected{service="api"} 1.0' in numbers
    assert "wattbus_api_datapoints" in numbers


async def test_what_is_not_there(api: Api) -> None:
    assert (await api.ask("GET", "/nothing")).status == 404
    assert (await api.ask("GET", "/datapoint/one/value/")).body == {"detail": "Not found."}
    assert (await api.ask("PATCH", "/datapoint/")).status == 405
    assert (await api.ask("GET", "/connector/nobody/")).status == 404
    assert (await api.ask("GET", "/raw_message/", connector="nobody")).status == 503  # raw_db never ran here
    assert (await api.ask("GET", "/raw_message/")).status == 400


NAMES = [
    "value", "timestamp", "setpoint", "schedule", "from_timestamp", "to_timestamp", "preferred_value", "min_value",
    "max_value", "acceptable_values", "allowed_values", "connector", "name", "topic", "key_in_connector", "type",
    "data_format", "short_name", "unit", "is_active", "sensor", "actuator", "controller",
]  # fmt: skip
SCALARS: list[Any] = [
    None, True, False, 0, 1, 2, 3, 4, -1, 2**63, 2**70, 10**400, 1e308, 20.5, "", "on", "17.0", "null", "NaN", "1e400",
    "meter", "heating", "sensor", "actuator", "continuous_numeric",
    "\x00", "\x01", "\ufffe", "ü", "%", [], {}, [[]], [None], "a/b", "+",
]  # fmt: skip
BROKEN = [b"", b"{", b"NaN", b'{"value": Infinity}', b'"\\ud800"', b"\xff\xfe", b"[" * 5000, b"1e999", b"[1e999]"]
PARAMETERS = [
    "timestamp__gte", "timestamp__lt", "limit", "order", "interval", "aggregate", "id__in", "datapoint__id__in", "type",
    "unit__icontains", "is_active", "connector", "after",
]  # fmt: skip


class Nonsense:
    """Requests that a fuzzer would make, from a seed: bodies and parameters of the right names and wrong contents."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def json(self, depth: int = 0) -> Any:
        kind = self.random.random()
        if depth > 3 or kind < 0.4:
            return self.random.choice([*SCALARS, now_ms()])
        if kind < 0.55:
            return [self.json(depth + 1) for _ in range(self.random.randrange(4))]
        return {self.random.choice(NAMES): self.json(depth + 1) for _ in range(self.random.randrange(6))}

    def body(self) -> bytes:
        if self.random.random() < 0.1:
            return self.random.choice(BROKEN)
        return json.dumps(self.json()).encode()

    def path(self, path: str) -> str:
        for name in ("datapoint_id", "timestamp", "controller_id", "pair_id", "name"):
            odd = self.random.choice(["0", "-1", "x", "9" * 30, "%00", "%F0%9F", "1.5"])
            known = "meter" if name == "name" else self.random.choice("1234")
            path = path.replace(f"{{{name}}}", odd if self.random.random() < 0.3 else known)
        return path

    def parameters(self) -> dict[str, str]:
        values = ["", "0", "1", "-1", "9" * 25, "x", "1,2", "1,,x", "15 minutes", "PT0S", "P1D", "desc", "avg", "\x00"]
        return {name: self.random.choice(values) for name in self.random.sample(PARAMETERS, self.random.randrange(4))}


async def test_no_nonsense_makes_it_fail(api: Api, settings: Settings) -> None:
    operations = [(method, path) for path, methods in PATHS.items() for method in sorted(methods)]
    async with connected(settings, ScriptedConnector(*DATAPOINTS)):
        await api.datapoint("pump", "actuator")
        for seed in range(ROUNDS):
            nonsense = Nonsense(seed)
            method, path = operations[seed % len(operations)]
            body = nonsense.body() if method in ("post", "put") else None
            path, parameters = nonsense.path(path), nonsense.parameters()
            answer = await api.ask(method.upper(), path, body, **parameters)
            faulty = answer.status >= 500 and answer.status != 503
            assert not faulty, f"{seed}: {method} {path} {parameters} {body!r} → {answer}"
        assert (await api.ask("GET", "/healthz/")).status == 200
        assert api.core.bus.counters.connects == 1  # nothing of it made the broker throw us out
