"""How fast telegrams are decoded, beside dsmr-parser, on one core, CRC included.

    python -m bench.decode_dsmr_p1 [--seconds 1.0]

Both decoders get the same texts. `again`: one recorded telegram over and over. `series`: what a meter says in 1,000
consecutive seconds (in most lines nothing changes, and the connector remembers lines). `strange`: telegrams that have
no line in common, each of them new to the connector; no meter is like that. `stream`: the series as bytes, found,
judged and decoded, as the connector does it; dsmr-parser's buffer does the same for it. Recorded telegrams are found
through WATTBUS_REFERENCE_DATA; without them the simulated ones alone are measured.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from dsmr_parser import telegram_specifications as specifications
from dsmr_parser.clients.telegram_buffer import TelegramBuffer
from dsmr_parser.parsers import TelegramParser

from connectors.dsmr_p1 import lines
from connectors.dsmr_p1.codec import Options, decode
from connectors.dsmr_p1.framing import TelegramFinder
from connectors.dsmr_p1.profiles import PROFILES
from connectors.dsmr_p1.simulated_manners import MANNERS
from connectors.dsmr_p1.simulated_meter import SimulatedMeter, signed
from connectors.dsmr_p1.simulator import meters_telegrams
from connectors.dsmr_p1.validation import Trust

FOLDER = Path(os.environ.get("WATTBUS_REFERENCE_DATA", Path(__file__).parents[2] / "shared" / "data")) / "dsmr"
RECORDED = {
    "V2_2": specifications.V2_2,
    "V3": specifications.V3,
    "V4_2": specifications.V4,
    "V5": specifications.V5,
    "FLUVIUS_V171": specifications.BELGIUM_FLUVIUS,
}
START_MS = 1_793_000_000_000
AUTO = Options()
NUMBER = re.compile(r"(?<=\()[\d.]+(?=\*)")


def series(number: int) -> list[str]:
    """Consecutive seconds of a simulated DSMR 5 meter."""
    return list(islice(meters_telegrams(SimulatedMeter(MANNERS["netherlands 5"], START_MS), 1.0), number))


def strangers(number: int) -> Iterator[str]:
    """Telegrams of a DSMR 5 meter that have hardly a line in common."""
    drawn = random.Random(1)

    def digits(match: re.Match[str]) -> str:
        return "".join(char if char == "." else str(drawn.randrange(10)) for char in match[0])

    for one in series(number):
        body = NUMBER.sub(digits, one).rpartition("!")[0]
        yield signed(re.sub(r"\(0000\d\)", lambda _: f"({drawn.randrange(99999):05d})", body) + "!")


def per_second(step: Callable[[str], Any], texts: list[str], seconds: float) -> float:
    """How many of these texts `step` takes in a second; the best of three."""
    best = 0.0
    for _ in range(3):
        done, start = 0, time.perf_counter()
        while (spent := time.perf_counter() - start) < seconds / 3:
            for text in texts:
                step(text)
            done += len(texts)
        best = max(best, done / spent)
    return best


def forget() -> None:
    for profile in PROFILES.values():
        lines.reader(profile).cache_clear()  # type: ignore[attr-defined]


def strange(texts: list[str]) -> float:
    best = 0.0
    for _ in range(3):
        forget()
        start = time.perf_counter()
        for text in texts:
            decode(text, AUTO)
        best = max(best, len(texts) / (time.perf_counter() - start))
    return best


def streamed(data: bytes, number: int) -> float:
    finder, trust, start = TelegramFinder(), Trust(), time.perf_counter()
    seen = 0
    for place in range(0, len(data), 1024):
        for found in finder.feed(data[place : place + 1024], 0.0):
            for telegram in trust.judge(found, START_MS).believed:
                decode({"telegram": telegram.text, "received": START_MS}, AUTO)
                seen += 1
    assert seen == number
    return number / (time.perf_counter() - start)


def their_stream(data: bytes, number: int, parser: TelegramParser) -> float:
    buffer, start, seen = TelegramBuffer(), time.perf_counter(), 0
    for place in range(0, len(data), 1024):
        buffer.append(data[place : place + 1024].decode("ascii"))
        for telegram in buffer.get_all():
            parser.parse(telegram)
            seen += 1
    assert seen == number
    return number / (time.perf_counter() - start)


def report(what: str, ours: float, theirs: float) -> None:
    print(f"{what:24} {ours:10,.0f} {theirs:12,.0f} {ours / theirs:8.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each measurement (%(default)s)")
    seconds = parser.parse_args().seconds
    print(f"{'telegrams per second':24} {'wattbus':>10} {'dsmr-parser':>12} {'ratio':>8}")
    for name, specification in RECORDED.items():
        path = FOLDER / f"TELEGRAM_{name}.txt"
        if path.exists():
            text = path.read_bytes().decode("ascii")
            theirs = TelegramParser(specification)
            ours = per_second(lambda one: decode(one, AUTO), [text], seconds)
            report(f"again, {name}", ours, per_second(theirs.parse, [text], seconds))
    theirs = TelegramParser(specifications.V5)
    meter = series(1000)
    report(
        "series", per_second(lambda one: decode(one, AUTO), meter, seconds), per_second(theirs.parse, meter, seconds)
    )
    odd = list(strangers(1000))
    report("strange", strange(odd), per_second(theirs.parse, odd, seconds))
    data = "".join(meter).encode()
    ours = max(streamed(data, len(meter)) for _ in range(3))
    report("stream", ours, max(their_stream(data, len(meter), theirs) for _ in range(3)))


if __name__ == "__main__":
    main()
