"""Names of ports: what they mean, and what is said when they mean nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from links.serial_port import DevicePath, NetworkAddress, SerialPort, SerialUrl, UsbDevice, parse_url


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("/dev/ttyAMA0", DevicePath("/dev/ttyAMA0")),
        ("/dev/serial/by-id/usb-FTDI_FT232R-if00-port0", DevicePath("/dev/serial/by-id/usb-FTDI_FT232R-if00-port0")),
        ("usb://0403:6001", UsbDevice("0403", "6001", None)),
        ("usb://10C4:EA60:0001", UsbDevice("10c4", "ea60", "0001")),
        ("0403:6001:A50285BI", UsbDevice("0403", "6001", "A50285BI")),
        ("0403:6001:with:colons", UsbDevice("0403", "6001", "with:colons")),
        ("socket://converter.local:8899", NetworkAddress("socket", "converter.local", 8899)),
        ("socket://[::1]:8899/", NetworkAddress("socket", "::1", 8899)),
        ("rfc2217://10.0.0.7:2217", NetworkAddress("rfc2217", "10.0.0.7", 2217)),
    ],
)
def test_a_name_is_understood(url: str, address: object) -> None:
    assert parse_url(url) == address
    assert SerialPort(url).address == address


@pytest.mark.parametrize(
    ("url", "what_is_wrong"),
    [
        ("", "empty"),
        ("ttyUSB0", "did you mean /dev/ttyUSB0?"),
        ("COM3", "is no serial port; expected a path"),
        ("http://converter:80", "http:// is not known"),
        ("usb://0403", "VENDOR:PRODUCT"),
        ("socket://converter", "has no port"),
        ("socket://:8899", "has no host"),
        ("socket://converter:70000", "must be 1 to 65535"),
        ("socket://converter:0", "has no port"),
        ("socket://converter:http", "must be 1 to 65535"),
        ("rfc2217://converter:2217?ign_set_control", "nothing beside host and port"),
    ],
)
def test_a_wrong_name_is_explained(url: str, what_is_wrong: str) -> None:
    with pytest.raises(ValueError, match=r"expected|must be|is usb|takes") as caught:
        parse_url(url)
    assert what_is_wrong in str(caught.value)


class Settings(BaseModel):
    port: SerialUrl


def test_the_type_for_settings_names_the_fault_and_strips() -> None:
    assert Settings(port=" /dev/ttyUSB0 ").port == "/dev/ttyUSB0"
    with pytest.raises(ValidationError, match="has no port"):
        Settings(port="socket://converter")


@given(st.text(max_size=40))
def test_whatever_is_written_gives_an_address_or_a_reason(url: str) -> None:
    try:
        address = parse_url(url)
    except ValueError as error:
        assert str(error)
    else:
        assert isinstance(address, DevicePath | UsbDevice | NetworkAddress)


@given(st.sampled_from(["socket://", "rfc2217://", "usb://", "/"]), st.text(max_size=40))
def test_whatever_follows_a_known_beginning_gives_an_address_or_a_reason(beginning: str, rest: str) -> None:
    try:
        parse_url(beginning + rest)
    except ValueError as error:
        assert str(error)
