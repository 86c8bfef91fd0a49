"""Raw messages and recorded text; `wattbus decode im871a` as people call it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.im871a import codec
from connectors.im871a.registry import MeterRegistry
from connectors.im871a.simulated_air import EXAMPLE_KEY, EXAMPLE_METER, ExampleMeter
from tests.connectors.im871a.conftest import METERS, connector_for
from tests.connectors.im871a.telegram_data import reference
from wattbus.errors import DecodeError
from wattbus.testing.waiting import PATIENCE_S


def decode(text: str) -> dict[str, object]:
    command = [sys.executable, "-m", "wattbus.cli", "decode", "im871a"]
    environment = {**os.environ, "CONNECTOR_NAME": "x", "IM871A_METERS": json.dumps(METERS)}
    done = subprocess.run(
        command, input=text, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    [line] = done.stdout.splitlines()
    result: dict[str, object] = json.loads(line)
    return result


def test_the_command_takes_hexadecimal_telegrams() -> None:
    result = decode(f"# a comment\n\n{ExampleMeter().telegram().hex(' ').upper()}\n")
    assert result["values"] == {
        f"{EXAMPLE_METER}__energy_kwh": 1234.57,
        f"{EXAMPLE_METER}__energy_backward_kwh": 0,
        f"{EXAMPLE_METER}__power_w": 2000,
        f"{EXAMPLE_METER}__power_backward_w": 0,
    }


def test_the_command_says_what_is_wrong() -> None:
    telegram = ExampleMeter(key=bytes(16)).telegram()
    assert "key" in str(decode(telegram.hex())["error"])


def test_every_spelling_of_one_telegram_says_the_same() -> None:
    captured = json.loads(reference("wmbus-omnipower/omnipower_captured.json").read_text())
    one = next(one for one in captured["telegrams"] if one["im871a_frame"] and one["wmbusmeters_json"])
    connector = connector_for(IM871A_METERS={captured["id"]: captured["key"]})
    [from_stick, plain] = codec.raw_messages([one["im871a_frame"], one["telegram"]])
    assert list(connector.decode(from_stick)) == list(connector.decode(plain))
    assert list(connector.decode(plain)) == list(connector.decode({"telegram": one["telegram"]}))


def test_a_wired_frame() -> None:
    vectors = json.loads(reference("wmbus-oms/vectors.json").read_text())
    wired = next(text for text in _texts(vectors) if text.startswith("68") and text.endswith("16"))
    [reading] = codec.decode({"hex": wired}, MeterRegistry(()))
    assert reading.device
    assert len(reading.values) > 2


def _texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _texts(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _texts(inner)]
    return [value.replace(" ", "").lower()] if isinstance(value, str) else []


def test_an_unconfigured_meter() -> None:
    header = codec.read_header(ExampleMeter().telegram())
    [reading] = codec.decode(codec.raw_unconfigured(header), MeterRegistry(()))
    [(key, quantity)] = reading.values.items()
    assert (key, quantity.value) == (
        "unconfigured_meter__KAM-20000001",
        "KAM 20000001, version 48, electricity, needs a key",
    )


def test_a_telegram_whose_length_is_that_of_a_start_byte() -> None:
    telegram = bytes([0xA5]) + bytes.fromhex("442d2c01000020 3002 78") + b"\x2f" * (0xA5 - 10)
    [reading] = codec.decode({"hex": telegram.hex()}, MeterRegistry(()))
    assert reading.device == "20000001"


@pytest.mark.parametrize("frame", ["a58203", "a5820301440000", "a58110083300 1301f13a000053d9"])
def test_what_is_no_telegram_of_the_stick_is_said_so(frame: str) -> None:
    with pytest.raises(DecodeError, match="not one telegram of the stick"):
        codec.decode({"hex": frame}, MeterRegistry(()))


@pytest.mark.parametrize(
    "raw",
    [
        None, 1, "x", [], {}, {"telegram": 1}, {"telegram": "zz"}, {"telegram": ""}, {"hex": ""}, {"hex": "a5"},
        {"stranger": 1}, {"stranger": {}}, {"wired": "68"}, {"telegram": "2c44", "format": 1},
    ],
)  # fmt: skip
def test_nonsense_is_a_decode_error(raw: object) -> None:
    with pytest.raises(DecodeError):
        codec.decode(raw, MeterRegistry(()))  # type: ignore[arg-type]


NAMES = ["telegram", "hex", "wired", "stranger", "unconfigured_meter", "format", "rssi", "id", "manufacturer"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
)


@given(JSON)
def test_any_json_decodes_or_is_a_decode_error(raw: object) -> None:
    with contextlib.suppress(DecodeError):
        codec.decode(raw, MeterRegistry(()))  # type: ignore[arg-type]


def test_decoding_is_pure_given_the_meters() -> None:
    meter = ExampleMeter()
    full, compact = meter.telegram(), meter.telegram()
    connector = connector_for(IM871A_METERS={EXAMPLE_METER: EXAMPLE_KEY.hex()})
    later = list(connector.decode({"telegram": compact.hex()}))
    list(connector.decode({"telegram": full.hex()}))
    assert list(connector.decode({"telegram": compact.hex()})) == later
