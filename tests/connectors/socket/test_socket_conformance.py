"""The conformance suite for the socket connector as a client; as a listener it has no device to reach."""

from __future__ import annotations

import json
from typing import Any

from wattbus.testing.conformance import Conformance
from wattbus.testing.under_test import ConnectorUnderTest


def at(host: str, port: int) -> dict[str, Any]:
    return {"SERVER_IP": host, "SERVER_PORT": port}


def many(number: int) -> tuple[dict[str, Any], Any]:
    text = json.dumps({f"value {index}": index for index in range(number)})
    return {}, {"peer": "192.168.0.7", "text": text}


def many_values(number: int) -> tuple[dict[str, Any], Any]:
    return {}, {"peer": "192.168.0.7", "text": " ".join(map(str, range(number + 1)))}


class TestJson(Conformance):
    under = ConnectorUnderTest("socket", tcp=at, many=many)


class TestValues(Conformance):
    under = ConnectorUnderTest("socket", tcp=at, settings={"PARSE_AS": "VALUES"}, many=many_values)


class TestYaml(Conformance):
    under = ConnectorUnderTest("socket", tcp=at, settings={"PARSE_AS": "YAML"}, many=many)
