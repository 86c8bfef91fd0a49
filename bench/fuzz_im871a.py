"""Whatever the bytes: the telegram decoder raises DecodeError alone, the connector nothing, and values fit on the bus.

    python -m bench.fuzz_im871a [--count 1000000] [--seed 1]

Random bytes, and telegrams of the meters' data files with bits flipped, bytes inserted, lost, repeated or exchanged; as
they are, with L and link CRCs made right again, with their content decrypted first, and as wired frames with a right
checksum. Prints how many were decoded and refused; a failure prints the bytes and ends with exit code 1.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable

from connectors.im871a import hci, telegram
from connectors.im871a.connector import Im871a
from connectors.im871a.hci import Frames, HciFrame
from connectors.im871a.settings import Settings
from connectors.im871a.telegram.crc import crc16
from connectors.im871a.telegram.frames import strip_wired
from connectors.im871a.telegram.layers import Opening, peel, peel_wired
from connectors.im871a.telegram.layout import compile_header
from connectors.im871a.telegram.meters import all_meters, known_formats
from connectors.im871a.telegram.records import header_at
from wattbus.connector import Datapoint, Reading
from wattbus.errors import DecodeError
from wattbus.flattening import flatten
from wattbus.jsontext import JsonValue, dumps
from wattbus.settings import load

KEY = bytes(range(16))
LINK = bytes.fromhex("442d2c5768663230 02")
WIRED_START = 0x68


def corpus() -> tuple[list[tuple[bytes, bytes | None]], list[bytes]]:
    """Telegrams with their keys, and contents in plain."""
    frames, contents = [], []
    for meter in all_meters():
        for proof in meter.file.telegrams:
            frames.append((proof.telegram, proof.key))
            opening = Opening(proof.key, accept_plain=True)
            if proof.telegram[0] == WIRED_START and proof.telegram[3] == WIRED_START:
                contents.append(peel_wired(*strip_wired(proof.telegram), opening).content)
            else:
                contents.append(peel(proof.telegram, opening).content)
    return frames, contents


def mutated(data: bytes, draw: random.Random) -> bytes:
    """`data` with one to four things done to it."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        if not changed:
            changed += draw.randbytes(draw.randint(1, 20))
        at = draw.randrange(len(changed))
        match draw.randrange(7):
            case 0:
                changed[at] ^= 1 << draw.randrange(8)
            case 1:
                changed[at] = draw.choice((0x00, 0x0D, 0x0F, 0x1F, 0x2F, 0x7C, 0x7F, 0x80, 0xFB, 0xFC, 0xFD, 0xFF))
            case 2:
                del changed[at:]
            case 3:
                del changed[at : at + draw.randint(1, 8)]
            case 4:
                changed[at:at] = draw.randbytes(draw.randint(1, 8))
            case 5:
                changed[at:at] = changed[at : at + draw.randint(1, 40)]
            case _:
                other = draw.randrange(len(changed))
                changed[at], changed[other] = changed[other], changed[at]
    return bytes(changed)


def with_length(frame: bytes) -> bytes:
    """L made right, as far as a byte goes."""
    return bytes([min(len(frame) - 1, 255)]) + frame[1:256] if frame else frame


def format_b(frame: bytes) -> bytes:
    """With the CRC of format B (frames of one CRC only)."""
    body = bytes([min(len(frame) + 1, 255)]) + frame[1:125]
    return body + crc16(body).to_bytes(2, "big")


def wired(body: bytes) -> bytes:
    """A wired frame with right lengths and checksum."""
    body = body[:252]
    return bytes([0x68, len(body), len(body), 0x68]) + body + bytes([sum(body) & 0xFF, 0x16])


def compact(record_format: bytes, draw: random.Random) -> bytes:
    """The content of a compact frame with right CRCs, as far as the format can be read, with random values."""
    full, values, at = b"", b"", 0
    while at < len(record_format):
        try:
            header = header_at(record_format, at)
            length = compile_header(header).length
        except DecodeError:
            break
        value = draw.randbytes(length) if length >= 0 else bytes([5]) + draw.randbytes(5)
        full, values, at = full + header + value, values + value, at + len(header)
    return crc16(record_format).to_bytes(2, "little") + crc16(full).to_bytes(2, "little") + values


def attempts(draw: random.Random) -> Callable[[], tuple[str, bytes, bytes | None, bytes | None]]:
    """Gives kind, bytes, key, format of the next attempt."""
    frames, contents = corpus()
    formats = list(known_formats().values())

    def next_attempt() -> tuple[str, bytes, bytes | None, bytes | None]:
        frame, key = draw.choice(frames)
        key = draw.choice((key, None, KEY))
        match draw.randrange(8):
            case 0:
                return "random bytes", draw.randbytes(draw.randint(0, 60)), key, None
            case 1:
                return (
                    "random content",
                    with_length(b"\0" + LINK + b"\x78" + draw.randbytes(draw.randint(0, 80))),
                    None,
                    None,
                )
            case 2:
                return "mutated frame", mutated(frame, draw), key, None
            case 3:
                return "mutated frame, right length", with_length(mutated(frame, draw)), key, None
            case 4:
                content = mutated(draw.choice(contents), draw)
                return "mutated content", with_length(b"\0" + frame[1:10] + b"\x78" + content), None, None
            case 5:
                chosen = draw.choice(formats)
                learnt = draw.choice((chosen, chosen, mutated(chosen, draw), None))
                content = compact(learnt or chosen, draw)
                return "compact", with_length(b"\0" + LINK + b"\x79" + content), None, learnt
            case 6:
                return "format B", format_b(mutated(frame, draw)), key, None
            case _:
                body = b"\x08\x01\x72" + draw.randbytes(8) + b"\x01\x00\x00\x00" + mutated(draw.choice(contents), draw)
                return "wired", wired(mutated(body, draw)), key, None

    return next_attempt


class Air:
    """A connector that hears everything, and the runtime's side of it."""

    def __init__(self) -> None:
        frames, _ = corpus()
        meters = {frame[4:8][::-1].hex(): {"key": key.hex() if key else ""} for frame, key in frames}
        variables = {"CONNECTOR_NAME": "fuzz", "IM871A_METERS": json.dumps(meters), "IM871A_DUPLICATE_SECONDS": "0"}
        self._connector = Im871a(load(Settings, variables))
        self._stick = Frames()

    def hears(self, data: bytes) -> None:
        """These bytes come from the stick, bare and as a telegram."""
        whole = HciFrame(hci.RADIO_LINK, hci.TELEGRAM_RECEIVED, data[1:256]).encode(crc=True)
        with self._connector._reception.on(self):
            for frame in self._stick.feed(data) + self._stick.feed(whole) + self._stick.give_up():
                if frame.is_telegram:
                    self._connector._heard_by_stick(frame)

    def emit(self, raw: JsonValue, timestamp_ms: int | None = None) -> None:
        dumps(raw)
        try:
            for reading in self._connector.decode(raw):
                dumps(flatten(reading).values)
        except DecodeError:
            return

    def connected(self) -> None:
        pass

    def announce(self, datapoints: Iterable[Datapoint]) -> None:
        list(datapoints)

    def unit(self, name: str, up: bool, reason: str = "") -> None:
        dumps([name, reason])


def run(kind: str, data: bytes, key: bytes | None, learnt: bytes | None, air: Air) -> str:
    """Decode in every way; what became of it. Raises when something is wrong with us."""
    air.hears(data)
    outcomes = []
    ways: tuple[Callable[[], object], ...] = (
        lambda: telegram.read_header(data),
        lambda: telegram.decrypt_frame(data, key, accept_plain=True).seen_format(),
        lambda: telegram.strip_crcs(data),
        lambda: _decode(kind, data, key, learnt),
    )  # fmt: skip
    for way in ways:
        try:
            outcomes.append(way())
        except DecodeError:
            outcomes.append(None)
    decoded = outcomes[-1]
    if not isinstance(decoded, telegram.Telegram):
        return "refused"
    flat = flatten(Reading({"meter": decoded.fields}))
    if flat.faults:
        raise ValueError(f"no values: {flat.faults}")
    dumps(flat.values)
    return "decoded"


def _decode(kind: str, data: bytes, key: bytes | None, learnt: bytes | None) -> telegram.Telegram:
    if kind == "wired":
        return telegram.decode_wired(data, key, accept_plain=True)
    frame = telegram.strip_crcs(data) if kind == "format B" else data
    return telegram.decode(frame, key, learnt, accept_plain=key is None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    next_attempt, air = attempts(random.Random(arguments.seed)), Air()
    outcomes: Counter[tuple[str, str]] = Counter()
    start = time.monotonic()
    for _ in range(arguments.count):
        attempt = next_attempt()
        try:
            outcomes[attempt[0], run(*attempt, air)] += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what we look for
            kind, data, key, learnt = attempt
            print(
                f"{kind}: {error!r}\n  bytes {data.hex()}\n  key {key and key.hex()} format {learnt and learnt.hex()}"
            )
            return 1
    print(f"{arguments.count:,} attempts in {time.monotonic() - start:.0f} s, nothing but DecodeError")
    for (kind, outcome), count in sorted(outcomes.items()):
        print(f"{kind:30} {outcome:10} {count:>10,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
