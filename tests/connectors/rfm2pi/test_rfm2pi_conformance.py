"""The conformance suite for the radio board connector: at a serial port, and behind a network adapter."""

from __future__ import annotations

from typing import Any

from wattbus.testing.conformance import Conformance
from wattbus.testing.under_test import ConnectorUnderTest


def at(host: str, port: int) -> dict[str, Any]:
    return {"RFM2PI_PORT": f"socket://{host}:{port}"}


def plugged(path: str) -> dict[str, Any]:
    return {"RFM2PI_PORT": path}


class TestBoard(Conformance):
    under = ConnectorUnderTest(
        "rfm2pi", tcp=at, serial=plugged, write=("board__group", 100, 101), wrong={"RFM2PI_PORT": ["ttyUSB0", ""]}
    )
