"""What `wattbus decode` and `wattbus simulate` put in for required settings that are not given."""

from __future__ import annotations

from pydantic import Field

from links.serial_port import SerialUrl
from wattbus.cli.environment import placeholders
from wattbus.settings import ConnectorSettings, load


class Stick(ConnectorSettings):
    stick_port: SerialUrl = Field(description="its validator does not take any word")
    stick_baudrate: int = Field(description="a number")
    stick_meters: dict[str, str] = Field(description="a structure")


def test_what_is_put_in_is_what_the_validators_take() -> None:
    made = placeholders(Stick, {}, objects=True)
    assert set(made) == {"CONNECTOR_NAME", "STICK_PORT", "STICK_BAUDRATE", "STICK_METERS"}
    assert load(Stick, made).stick_port.startswith("/dev/")


def test_structures_are_not_made_up_where_decoding_may_need_them() -> None:
    assert "STICK_METERS" not in placeholders(Stick, {})


def test_what_is_given_is_left_alone() -> None:
    given = {"STICK_PORT": "/dev/ttyS7", "STICK_BAUDRATE": "", "CONNECTOR_NAME_FILE": "name"}
    assert set(placeholders(Stick, given)) == {"STICK_BAUDRATE"}
