"""The conformance suite for the wireless M-Bus connector: at a serial port, and behind a network adapter."""

from __future__ import annotations

from typing import Any

from connectors.im871a.simulated_air import EXAMPLE_KEY, EXAMPLE_METER
from wattbus.testing.conformance import Conformance
from wattbus.testing.under_test import ConnectorUnderTest


def at(host: str, port: int) -> dict[str, Any]:
    return {"IM871A_PORT": f"socket://{host}:{port}"}


def plugged(path: str) -> dict[str, Any]:
    return {"IM871A_PORT": path}


class TestStick(Conformance):
    under = ConnectorUnderTest(
        "im871a",
        tcp=at,
        serial=plugged,
        settings={"IM871A_METERS": {EXAMPLE_METER: {"key": EXAMPLE_KEY.hex()}}},
        wrong={"IM871A_PORT": ["ttyUSB0", ""], "IM871A_METERS": ["[1", '{"1": {"key": "12"}}']},
    )
