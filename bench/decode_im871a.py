"""How fast wireless M-Bus telegrams are decoded: AES telegrams per second on one core.

    bench/decode im871a [--seconds 2] [--meters 1 10 270]

Telegrams: Kamstrup OmniPower's (extended link layer, AES-CTR; seven compact ones to a full one), OMS mode 5 and mode 7
examples with three records, and a heat meter's in mode 5 with 25 records. They are encrypted anew for every meter, with
its own number and key.

The decoder: keys lie in a dictionary by identification number; every telegram is looked up, decrypted, decoded and
flattened to keys as the runtime does. The connector: from the bytes of the serial line to flat values, with everything
that stands between (frames of the stick, repeated telegrams, look-up, trust, formats, announcements). There a telegram
is decrypted and decoded twice: to know what is wrong with its meter, and by the runtime, whose decoding is pure.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from Crypto.Cipher import AES
from Crypto.Hash import CMAC

from connectors.im871a import hci, telegram
from connectors.im871a.connector import Im871a
from connectors.im871a.hci import Frames, HciFrame
from connectors.im871a.settings import Settings
from connectors.im871a.telegram.crc import crc16
from wattbus.connector import Datapoint, Reading
from wattbus.flattening import flatten
from wattbus.jsontext import JsonValue
from wattbus.settings import load

METERS = (1, 10, 270)
FRAMES_FOR_FEW, FRAMES_FOR_MANY = 80, 8  # of each meter
OMNIPOWER = bytes.fromhex("040404843c042b04ab3c")
GAS = bytes.fromhex("0c1427048502046d32371f1502fd170000")
HEAT = bytes.fromhex(
    "046d2e26c62a040643160000041310f0050001fd1700426cbf2c4406570e00008401061f160000840206f6150000840306f5150000840406f3"
    "150000840506ea150000840606bf1500008407065214000084080692120000840906c5100000840a06570e0000840b06ca0b0000840c06da09"
    "0000840d06d2080000840e06c8080000840f06c6080000043b39000000042d380000000259e719025d05140c78345678900422e8030000"
)


@dataclass(frozen=True)
class Meter:
    """Somebody who sends."""

    number: int

    @property
    def id(self) -> str:
        return f"{30_000_000 + self.number:08d}"

    @property
    def key(self) -> bytes:
        return bytes([self.number % 256, self.number // 256]) * 8

    def link(self, manufacturer: bytes, version: int, device_type: int) -> bytes:
        return b"\x44" + manufacturer + bytes.fromhex(self.id)[::-1] + bytes([version, device_type])


def omnipower(meter: Meter, n: int) -> bytes:
    """Telegram `n` of an OmniPower: every eighth is a full frame, the others are compact."""
    values = [(1000 * meter.number + n).to_bytes(4, "little"), bytes(4), (3 + n).to_bytes(4, "little"), bytes(4)]
    headers = [OMNIPOWER[:2], OMNIPOWER[2:5], OMNIPOWER[5:7], OMNIPOWER[7:]]
    full = b"".join(header + value for header, value in zip(headers, values, strict=True))
    compact = crc16(OMNIPOWER).to_bytes(2, "little") + crc16(full).to_bytes(2, "little") + b"".join(values)
    content = b"\x78" + full if n % 8 == 0 else b"\x79" + compact
    link = meter.link(b"\x2d\x2c", 0x30, 0x02)
    session = (0x20000000 | n << 4).to_bytes(4, "little")
    counter = link[1:] + b"\x20" + session + bytes(3)
    cipher = AES.new(meter.key, AES.MODE_CTR, nonce=b"", initial_value=counter)
    encrypted = cipher.encrypt(crc16(content).to_bytes(2, "little") + content)
    return _with_length(link + b"\x8d\x20" + bytes([n % 256]) + session + encrypted)


def mode_5(records: bytes, device_type: int) -> Callable[[Meter, int], bytes]:
    """Telegrams with `records` in security mode 5."""

    def telegram_of(meter: Meter, n: int) -> bytes:
        link = meter.link(b"\x93\x15", 0x33, device_type)
        plain = _padded(b"\x2f\x2f" + records)
        encrypted = AES.new(meter.key, AES.MODE_CBC, link[1:] + bytes([n % 256]) * 8).encrypt(plain)
        return _with_length(link + bytes([0x7A, n % 256, 0, len(plain) // 16 << 4, 0x05]) + encrypted)

    return telegram_of


def mode_7(meter: Meter, n: int) -> bytes:
    """A telegram in security mode 7: key derivation, encryption, message authentication code."""
    link = meter.link(b"\x93\x15", 0x33, 0x03)
    counter, number = n.to_bytes(4, "little"), link[3:7]
    encryption, authentication = (
        CMAC.new(meter.key, constant + counter + number + 7 * b"\x07", ciphermod=AES).digest()
        for constant in (b"\0", b"\1")
    )
    plain = _padded(b"\x2f\x2f" + GAS)
    header = bytes([0x7A, n % 256, 0, len(plain) // 16 << 4, 0x07, 0x10])
    covered = header + AES.new(encryption, AES.MODE_CBC, bytes(16)).encrypt(plain)
    mac = CMAC.new(authentication, b"\x25" + counter + covered, ciphermod=AES).digest()[:8]
    return _with_length(link + b"\x8c\x20\x00" + b"\x90\x0f\x00\x2c\x25" + counter + mac + covered)


def _padded(plain: bytes) -> bytes:
    return plain + b"\x2f" * (-len(plain) % 16)


def _with_length(frame: bytes) -> bytes:
    return bytes([len(frame)]) + frame


KINDS = {
    "OmniPower, AES-CTR, 4 records": omnipower,
    "mode 5, 3 records": mode_5(GAS, 0x03),
    "mode 5, 25 records": mode_5(HEAT, 0x04),
    "mode 7 with MAC, 3 records": mode_7,
}


def frames_of(make: Callable[[Meter, int], bytes], meters: int) -> list[bytes]:
    """What so many meters send, in turn."""
    each = FRAMES_FOR_MANY if meters > 10 else FRAMES_FOR_FEW
    return [make(meter, n) for n in range(each) for meter in map(Meter, range(1, meters + 1))]


def decoder(make: Callable[[Meter, int], bytes], meters: int) -> Callable[[], int]:
    """One round through the decoder; gives how many telegrams that was."""
    keys = {meter.id: meter.key for meter in map(Meter, range(1, meters + 1))}
    frames = frames_of(make, meters)

    def round_() -> int:
        for frame in frames:
            decoded = telegram.decode(frame, keys[telegram.read_header(frame).id])
            flat = flatten(Reading({decoded.header.id: decoded.fields}, device=decoded.header.id))
            assert len(flat.values) >= len(decoded.fields)
        return len(frames)

    return round_


class RuntimesLink:
    """Decodes and flattens, as the runtime does."""

    def __init__(self, connector: Im871a) -> None:
        self.readings = 0
        self._connector = connector

    def emit(self, raw: JsonValue, timestamp_ms: int | None = None) -> None:
        for reading in self._connector.decode(raw):
            assert flatten(reading).values
            self.readings += 1

    def connected(self) -> None:
        pass

    def announce(self, datapoints: Iterable[Datapoint]) -> None:
        list(datapoints)

    def unit(self, name: str, up: bool, reason: str = "") -> None:
        assert up, reason


class Clock:
    """Every round is a minute later, so that no telegram of the last one counts as repeated."""

    now_s = 0.0

    def now_ms(self) -> int:
        return int(self.now_s * 1000)

    def monotonic(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError


def whole_connector(make: Callable[[Meter, int], bytes], meters: int) -> Callable[[], int]:
    """One round through the connector, from the bytes of the stick on; gives how many telegrams that was."""
    known = {meter.id: {"key": meter.key.hex()} for meter in map(Meter, range(1, meters + 1))}
    variables = {"CONNECTOR_NAME": "bench", "IM871A_METERS": json.dumps(known), "IM871A_DUPLICATE_SECONDS": "60"}
    clock = Clock()
    connector = Im871a(load(Settings, variables), clock)
    link, stick = RuntimesLink(connector), Frames()
    said = [
        HciFrame(hci.RADIO_LINK, hci.TELEGRAM_RECEIVED, frame[1:], rssi=100).encode(crc=True)
        for frame in frames_of(make, meters)
    ]

    def round_() -> int:
        clock.now_s += 61
        before = link.readings
        with connector._reception.on(link):
            for data in said:
                for frame in stick.feed(data):
                    connector._heard_by_stick(frame)
        assert link.readings == before + len(said)
        return len(said)

    return round_


def per_second(round_: Callable[[], int], seconds: float) -> float:
    """Telegrams per second of processor time."""
    start, count = time.process_time(), 0
    while time.process_time() - start < seconds:
        count += round_()
    return count / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="of processor time per number")
    parser.add_argument("--meters", type=int, nargs="+", default=METERS, help="how many meters there are")
    arguments = parser.parse_args()
    for what, measured in (("decoder", decoder), ("whole connector", whole_connector)):
        title = f"{what}, telegrams/s on one core"
        print(f"{title:42}" + "".join(f"{meters:>8} meters" for meters in arguments.meters))
        for name, make in KINDS.items():
            rates = [per_second(measured(make, meters), arguments.seconds) for meters in arguments.meters]
            print(f"{name:42}" + "".join(f"{rate:>15,.0f}" for rate in rates))


if __name__ == "__main__":
    main()
