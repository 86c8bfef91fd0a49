"""What can go wrong with a Modbus request, told apart."""

from __future__ import annotations

from links.modbus_frames import EXCEPTION_NAMES
from wattbus.errors import LinkDown, WattbusError

ACKNOWLEDGE, BUSY = 5, 6


class ModbusError(WattbusError):
    """One request failed. `alive`: the unit itself gave a sign of life; `refused`: it will say the same again."""

    alive = False
    refused = False


class ExceptionAnswer(ModbusError):  # noqa: N818 - the names say what came, or did not
    """The device answered with an exception (V1.1b3 section 7); 10 and 11 are a gateway speaking for a dead unit."""

    def __init__(self, what: str, code: int) -> None:
        super().__init__(f"{what}: {EXCEPTION_NAMES.get(code, 'unknown exception')} ({code})")
        self.code = code
        self.alive = code not in (10, 11)
        self.refused = code in (1, 2, 3, 4)

    @property
    def reason(self) -> str:
        """The exception's standard name and code: `illegal data value (3)`."""
        return f"{EXCEPTION_NAMES.get(self.code, 'unknown exception')} ({self.code})"

    @property
    def is_busy(self) -> bool:
        """It was not executed, and can be in a moment (6)."""
        return self.code == BUSY

    @property
    def is_acknowledged(self) -> bool:
        """It was accepted, and takes long (5)."""
        return self.code == ACKNOWLEDGE

    @property
    def says_no(self) -> bool:
        """Whether the request is at fault, and not the state of the device: it will never do this."""
        return self.code not in (4, 5, 6, 8, 10, 11)


class NoAnswer(ModbusError):  # noqa: N818
    """Nothing that answers the request came within the time-out."""


class BadAnswer(ModbusError):  # noqa: N818
    """The answer is too short, of another function, or no Modbus at all."""

    alive = True
    refused = True


class OddConfirmation(BadAnswer):
    """A write was confirmed, and not as it must be: it was executed, or something else was."""


class WrongUnit(BadAnswer):
    """The answer carries the transaction of the request and another unit."""

    alive = False
    refused = False


class ConnectionLost(ModbusError):  # noqa: N818
    """The device or the network closed the connection instead of answering."""


class ConnectFailed(LinkDown):
    """The connection cannot be opened."""
