"""The conformance suite for the smart meter connector: at a serial port, and behind a network adapter."""

from __future__ import annotations

from typing import Any

from wattbus.testing.conformance import Conformance
from wattbus.testing.under_test import ConnectorUnderTest


def at(host: str, port: int) -> dict[str, Any]:
    return {"DSMR_PORT": f"socket://{host}:{port}"}


def plugged(path: str) -> dict[str, Any]:
    return {"DSMR_PORT": path}


class TestMeter(Conformance):
    under = ConnectorUnderTest(
        "dsmr_p1",
        tcp=at,
        serial=plugged,
        simulator={"DSMR_SIMULATE_PTY": "FALSE"},
        wrong={"DSMR_PORT": ["ttyUSB0", ""], "DSMR_ENCRYPTION_KEY": ["12"], "DSMR_AUTHENTICATION_KEY": ["12"]},
    )
