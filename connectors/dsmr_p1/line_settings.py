"""How the serial line is set: which of the two ways a P1 port speaks. Pure, with a memory."""

from __future__ import annotations

from dataclasses import dataclass

from links.serial_port import NetworkAddress, SerialPort, parse_url

TRIES_OF_KNOWN = 3  # beside a way that worked once, the other one is tried every third time: meters get exchanged


@dataclass(frozen=True, slots=True)
class Mode:
    """One way. Parity is checked in `framing.py`: 7E1 is opened as 8N1, which is the same ten bits."""

    name: str
    baudrate: int


FAST = Mode("115200 bit/s (DSMR 4 and 5)", 115_200)
SLOW = Mode("9600 bit/s, 7E1 (DSMR 2 and 3)", 9600)


class Modes:
    """The way to try next. `auto` alternates in silence, and comes back to the one that worked."""

    def __init__(self, url: str, version: str) -> None:
        address = parse_url(url)
        has_rate = not (isinstance(address, NetworkAddress) and address.scheme == "socket")
        self._modes = {"auto": [FAST, SLOW] if has_rate else [FAST]}.get(version, [SLOW if version in "23" else FAST])
        self._worked = False
        self._silences = 0
        self.current = self._modes[0]

    @property
    def has_choice(self) -> bool:
        return len(self._modes) > 1

    def heard(self) -> None:
        """Telegrams come this way."""
        self._modes.sort(key=lambda mode: mode is not self.current)  # it comes first from now on
        self._worked, self._silences = True, 0

    def silent(self) -> None:
        """No telegram came this way for too long: choose what is tried next."""
        self._silences += 1
        if self._worked:
            self.current = self._modes[-1 if self._silences % TRIES_OF_KNOWN == 0 else 0]
        else:
            self.current = self._modes[self._silences % len(self._modes)]


def serial_port(url: str, mode: Mode, *, xonxoff: bool, data_request: bool) -> SerialPort:
    return SerialPort(url, baudrate=mode.baudrate, xonxoff=xonxoff, rts=data_request)
