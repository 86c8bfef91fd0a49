"""The conformance suite for the socket connector as a client; as a listener it has no device to reach."""

from __future__ import annotations

import json
from typing import Any

from wattbus.testing.conformance import Conformance
from wattbus.testing.under_test import ConnectorUnderTest


def at(host: str, port: int) -> dict[str, Any]:
    return {"SERVER_IP": host, "SERVER_PORT": port}


def raw_of(values: dict[str, Any]) -> Any:
    raise NotImplementedError(json.dumps(values))


class TestJson(Conformance):
    under = ConnectorUnderTest("socket", tcp=at)


class TestValues(Conformance):
    under = ConnectorUnderTest("socket", tcp=at, settings={"PARSE_AS": "VALUES"})


class TestYaml(Conformance):
    under = ConnectorUnderTest("socket", tcp=at, settings={"PARSE_AS": "YAML"})
