"""Serial ports on USB, in a /sys that is laid out as Linux 6 lays it out."""

import errno
from pathlib import Path

import pytest

from links.serial_port import UsbDevice
from links.serial_usb import find_usb_port, usb_ports


def plug_in(sys: Path, tty: str, ids: dict[str, str], kind: str = "usb-serial", bus: str = "1-1.2") -> None:
    """A USB serial chip (`usb-serial`: one folder more below the interface) or a CDC ACM device (`acm`)."""
    usb = sys / "devices/platform/soc/usb1" / bus
    interface = usb / f"{bus}:1.0"
    port = interface / tty if kind == "usb-serial" else interface
    (port / "tty" / tty).mkdir(parents=True)
    for name, value in ids.items():
        (usb / name).write_text(value + "\n")
    (port / "tty" / tty / "device").symlink_to("../../../" + tty if kind == "usb-serial" else "../..")
    tty_class = sys / "class/tty"
    tty_class.mkdir(parents=True, exist_ok=True)
    (tty_class / tty).symlink_to(port / "tty" / tty)


@pytest.fixture
def sys(tmp_path: Path) -> Path:
    root = tmp_path / "sys"
    console = root / "devices/virtual/tty/tty0"
    console.mkdir(parents=True)
    on_board = root / "devices/platform/serial8250/tty/ttyS0"
    on_board.mkdir(parents=True)
    (on_board / "device").symlink_to("../..")
    (root / "class/tty").mkdir(parents=True)
    (root / "class/tty/tty0").symlink_to(console)
    (root / "class/tty/ttyS0").symlink_to(on_board)
    return root


FTDI = {"idVendor": "0403", "idProduct": "6001", "serial": "A50285BI", "product": "FT232R USB UART"}
STICK = {"idVendor": "10C4", "idProduct": "EA60", "serial": "0001", "product": "CP2102 USB to UART"}


def test_a_chip_and_a_cdc_device_are_found(sys: Path) -> None:
    plug_in(sys, "ttyUSB0", FTDI)
    plug_in(sys, "ttyACM0", STICK, kind="acm", bus="1-1.3")
    assert [port.path for port in usb_ports(sys)] == ["/dev/ttyACM0", "/dev/ttyUSB0"]
    assert find_usb_port(UsbDevice("0403", "6001", None), sys) == "/dev/ttyUSB0"
    assert find_usb_port(UsbDevice("10c4", "ea60", "0001"), sys) == "/dev/ttyACM0"


def test_what_is_not_there_is_said_with_what_is_there(sys: Path) -> None:
    with pytest.raises(OSError, match="serial ports on USB: none") as caught:
        find_usb_port(UsbDevice("0403", "6001", None), sys)
    assert caught.value.errno == errno.ENODEV
    plug_in(sys, "ttyUSB0", FTDI)
    with pytest.raises(OSError, match=r"/dev/ttyUSB0 \(usb://0403:6001:A50285BI FT232R USB UART\)"):
        find_usb_port(UsbDevice("0403", "6001", "OTHER"), sys)


def test_two_that_fit_are_not_guessed_between(sys: Path) -> None:
    plug_in(sys, "ttyUSB0", FTDI)
    plug_in(sys, "ttyUSB1", {**FTDI, "serial": "A700"}, bus="1-1.3")
    with pytest.raises(OSError, match="give the serial number too") as caught:
        find_usb_port(UsbDevice("0403", "6001", None), sys)
    assert caught.value.errno == errno.ENOTUNIQ
    assert find_usb_port(UsbDevice("0403", "6001", "A700"), sys) == "/dev/ttyUSB1"


def test_a_device_without_a_serial_number(sys: Path) -> None:
    plug_in(sys, "ttyUSB0", {"idVendor": "1a86", "idProduct": "7523"})
    assert find_usb_port(UsbDevice("1a86", "7523", None), sys) == "/dev/ttyUSB0"


def test_a_system_without_sys(tmp_path: Path) -> None:
    assert usb_ports(tmp_path / "nowhere") == []
