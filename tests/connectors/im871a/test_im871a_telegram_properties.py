"""Whatever the bytes: DecodeError or values that fit on the bus. `bench/fuzz_im871a.py` does the same for millions."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from bench.fuzz_im871a import Air, attempts, run
from connectors.im871a import telegram
from connectors.im871a.telegram.meters import Proof, all_meters
from tests.connectors.im871a.telegram_data import decode_any
from wattbus.connector import Reading
from wattbus.errors import DecodeError
from wattbus.flattening import flatten
from wattbus.jsontext import dumps

GOOD = [proof for meter in all_meters() for proof in meter.file.telegrams]
keys = st.none() | st.binary(min_size=16, max_size=16)


def decoded_or_refused(frame: bytes, key: bytes | None) -> telegram.Telegram | None:
    """The telegram, or None for DecodeError; its fields must be values of the bus."""
    try:
        decoded = decode_any(frame, key) if len(frame) > 3 else telegram.decode(frame, key)
    except DecodeError:
        return None
    flat = flatten(Reading({decoded.header.id: decoded.fields}))
    assert flat.faults == []
    assert dumps(flat.values)
    assert decoded.fields.keys() >= {"status"} or decoded.header.status is None
    return decoded


@given(st.binary(max_size=300), keys)
@settings(deadline=None)
def test_any_bytes(frame: bytes, key: bytes | None) -> None:
    decoded_or_refused(frame, key)
    decoded_or_refused(bytes([max(len(frame) - 1, 0) % 256]) + frame[1:], key)


@given(st.binary(max_size=240))
@settings(deadline=None)
def test_any_records(content: bytes) -> None:
    frame = bytes.fromhex("44 5a24 78563412 01 02 78") + content
    decoded_or_refused(bytes([len(frame)]) + frame, None)


@given(st.sampled_from(GOOD), st.data())
@settings(deadline=None)
def test_every_truncation(proof: Proof, data: st.DataObject) -> None:
    whole, key = proof.telegram, proof.key
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    assert decoded_or_refused(cut, key) is None  # L tells
    decoded_or_refused(bytes([max(len(cut) - 1, 0)]) + cut[1:], key)  # L made right


@given(st.sampled_from(GOOD), st.lists(st.tuples(st.integers(0, 254), st.integers(0, 255)), min_size=1, max_size=5))
@settings(deadline=None)
def test_mutations(proof: Proof, changes: list[tuple[int, int]]) -> None:
    frame = bytearray(proof.telegram)
    for place, byte in changes:
        frame[place % len(frame)] = byte
    decoded_or_refused(bytes(frame), proof.key)


@given(st.sampled_from(GOOD))
@settings(max_examples=len(GOOD), deadline=None)
def test_decoding_is_pure(proof: Proof) -> None:
    """Twice the same, whatever was decoded in between."""
    frame, key = proof.telegram, proof.key
    first = decode_any(frame, key)
    for other in GOOD[:5]:
        decode_any(other.telegram, other.key)
    assert decode_any(frame, key) == first


def test_some_thousand_rounds_of_the_fuzzer() -> None:
    next_attempt, air = attempts(random.Random(20_260_101)), Air()
    outcomes = Counter(run(*next_attempt(), air) for _ in range(3000))
    assert outcomes["decoded"] > 300
    assert outcomes["refused"] > 300
