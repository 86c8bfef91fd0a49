"""The conformance suite for the Modbus/TCP connector."""

from __future__ import annotations

from typing import Any

from wattbus.testing.conformance import Conformance
from wattbus.testing.under_test import ConnectorUnderTest

CONFIG = {
    "read_holding_registers": [{"address": 1, "count": 1, "unit": 1, "datatypes": ">H"}],
    "write_register": [{"address": 2, "unit": 1, "datatypes": ">H", "example_value": "22"}],
}


def at(host: str, port: int) -> dict[str, Any]:
    return {"MODBUS_MASTER_IP": host, "MODBUS_MASTER_PORT": port}


def many(number: int) -> tuple[dict[str, Any], Any]:
    entries = [{"address": 10 * i, "count": 1, "unit": 1, "datatypes": ">H"} for i in range(number)]
    registers = {str(10 * i): [i] for i in range(number)}
    return {"MODBUS_CONFIG": {"read_holding_registers": entries}}, {"unit": 1, "read_holding_registers": registers}


UNDER = ConnectorUnderTest(
    "modbus_tcp",
    tcp=at,
    settings={"MODBUS_CONFIG": CONFIG, "POLL_SECONDS": 1},
    write=("write_register__1__2", 22, 23),
    many=many,
    wrong={
        "MODBUS_MASTER_IP": [""],
        "MODBUS_CONFIG": ["[1", "[]", '{"read_coils": 1}', '{"read_holding_registers": [{"address": 70000}]}'],
        "MODBUS_CA_FILE": ["/not/there.pem"],
    },
)


class TestTcp(Conformance):
    under = UNDER


class TestRtuOverTcp(Conformance):
    """Frames without a transaction number."""

    under = ConnectorUnderTest(
        "modbus_tcp", tcp=at, settings={**UNDER.settings, "MODBUS_FRAMING": "rtu"}, write=UNDER.write
    )


class TestOnePollOneConnection(Conformance):
    under = ConnectorUnderTest(
        "modbus_tcp",
        tcp=at,
        settings={**UNDER.settings, "MODBUS_DISCONNECT_BETWEEN_POLLS": "TRUE"},
        write=UNDER.write,
    )
