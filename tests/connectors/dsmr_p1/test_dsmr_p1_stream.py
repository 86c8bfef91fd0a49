"""Streams that are cut, doubled and noisy: never a wrong value, and the next whole telegram is found."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connectors.dsmr_p1.cipher import LONGEST_FRAME, TAG, TITLE_BYTES, Keys, encrypt_frame
from connectors.dsmr_p1.codec import Options, decode
from connectors.dsmr_p1.encrypted_frames import FrameFinder, KeyDoubt
from connectors.dsmr_p1.framing import LONGEST_TELEGRAM, Found, TelegramFinder
from connectors.dsmr_p1.simulated_manners import MANNERS
from connectors.dsmr_p1.simulated_meter import SimulatedMeter, signed
from connectors.dsmr_p1.simulator import meters_telegrams
from connectors.dsmr_p1.validation import Trust
from tests.connectors.dsmr_p1.conftest import telegram

START_MS = 1_793_000_000_000
WITH_CRC = ("netherlands 5", "belgium", "sweden")
WITHOUT_CRC = ("netherlands 3", "easymeter")
TITLE = b"SYSTEMID"
KEYS = Keys(b"k" * 16, b"a" * 16)
EVERY_S = 10.0


def series(name: str, number: int) -> list[str]:
    """What a simulated meter says one after the other; every value differs from those before."""
    return list(islice(meters_telegrams(SimulatedMeter(MANNERS[name], START_MS), 733.0), number))


def values(text: str) -> Any:
    return [
        (one.timestamp_ms, tuple((key, said.value) for key, said in one.values.items()))
        for one in decode(text, Options())
    ]


@dataclass
class Ear:
    """The way of bytes to telegrams that are believed, as in the connector."""

    finder: TelegramFinder = field(default_factory=TelegramFinder)
    trust: Trust = field(default_factory=Trust)
    found: list[Found] = field(default_factory=list)
    believed: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    def hear(self, data: bytes, at_s: float = 0.0) -> list[str]:
        new = []
        for found in self.finder.feed(data, at_s):
            self.found.append(found)
            verdict = self.trust.judge(found, round(at_s * 1000))
            new += [one.text for one in verdict.believed]
            self.damaged += [reason for _, reason in verdict.damaged]
        self.believed += new
        return new


# -- damage ------------------------------------------------------------------------------------------------------------

Damage = tuple[str, int, int, bytes]
damages = st.tuples(
    st.sampled_from(["cut", "half", "double", "noise"]),
    st.integers(0, 2000),
    st.integers(1, 400),
    st.binary(max_size=40),
)


def damaged(data: bytes, damage: Damage) -> bytes:
    """One thing that happened to a telegram on its way: a piece lost, the rest lost, a piece doubled, noise in it."""
    kind, place, length, noise = damage
    place %= len(data)
    if kind == "cut":
        return data[:place] + data[place + length :]
    if kind == "half":
        return data[:place]
    if kind == "double":
        return data[: place + length] + data[place:]
    return data[:place] + noise + data[place:]


def chunks(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, place = [], 0
    while place < len(data):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(data[place : place + size])
        place += size
    return pieces


streams = {
    "what": st.lists(st.none() | damages, min_size=2, max_size=8),
    "sizes": st.lists(st.integers(1, 1500), min_size=1, max_size=5),
}


@pytest.mark.parametrize("name", WITH_CRC)
@settings(max_examples=150, deadline=None)
@given(**streams)
@example(what=[("cut", 884, 4, b""), ("cut", 884, 4, b""), None], sizes=[100])
def test_with_a_crc(name: str, what: list[Damage | None], sizes: list[int]) -> None:
    texts = series(name, len(what))
    ear = Ear()
    for number, (text, damage) in enumerate(zip(texts, what, strict=True)):
        data = text.encode() if damage is None else damaged(text.encode(), damage)
        for piece in chunks(data, sizes):
            ear.hear(piece, number * EVERY_S)
    possible = [values(text) for text in texts]
    assert all(values(text) in possible for text in ear.believed), "a wrong value"
    whole = [text for text, damage in zip(texts, what, strict=True) if damage is None]
    assert [text for text in ear.believed if text in whole] == whole, "each whole telegram, once, in order"


@pytest.mark.parametrize("name", WITHOUT_CRC)
@settings(max_examples=150, deadline=None)
@given(**streams)
def test_without_a_crc(name: str, what: list[Damage | None], sizes: list[int]) -> None:
    """What cannot be noticed: two telegrams running that are damaged in the same way. So every other one is whole."""
    what = [damage for one in what for damage in (one, None)]
    texts = series(name, len(what))
    ear = Ear()
    two_whole_running = False
    for number, (text, damage) in enumerate(zip(texts, what, strict=True)):
        data = text.encode() if damage is None else damaged(text.encode(), damage)
        new = [one for piece in chunks(data, sizes) for one in ear.hear(piece, number * EVERY_S)]
        before_is_whole = number > 0 and what[number - 1] is None
        two_whole_running = two_whole_running or (damage is None and before_is_whole)
        if damage is None and two_whole_running:
            assert text in new, "recovers with the next telegram"
    possible = [values(text) for text in texts]
    assert all(values(text) in possible for text in ear.believed), "a wrong value"


@settings(max_examples=150, deadline=None)
@given(what=st.lists(st.none() | st.tuples(st.integers(0, 2000), st.integers(0, 7)), min_size=3, max_size=8))
def test_seven_bits_and_parity_tell_a_wrong_bit(what: list[tuple[int, int] | None]) -> None:
    texts = series("netherlands 3", len(what) + 2)
    ear = Ear()
    for number, text in enumerate(texts):
        data = bytearray(with_parity(text))
        flip = what[number - 2] if number >= 2 else None
        if flip is not None:
            data[flip[0] % len(data)] ^= 1 << flip[1]
        new = ear.hear(bytes(data), number * EVERY_S)
        if number >= 2 and flip is None:
            assert new == [text]
    assert all(text in texts for text in ear.believed), "a wrong value"
    assert ear.believed[:2] == texts[:2]


def with_parity(text: str) -> bytes:
    """As 7E1 looks to who listens with 8N1."""
    return bytes(byte | (byte.bit_count() % 2) << 7 for byte in text.encode())


@settings(max_examples=150, deadline=None)
@given(**streams)
def test_encrypted(what: list[Damage | None], sizes: list[int]) -> None:
    texts = series("luxembourg", len(what))
    finder, ear = FrameFinder(KEYS), Ear()
    opened, failed = [], []
    for number, (text, damage) in enumerate(zip(texts, what, strict=True)):
        frame = encrypt_frame(text, KEYS, TITLE, number)
        for piece in chunks(frame if damage is None else damaged(frame, damage), sizes):
            ear.hear(piece, number * EVERY_S)
            for found in finder.feed(piece):
                (opened if found.fault is None else failed).append(found)
    assert ear.believed == [], "ciphertext is not a telegram"
    assert all(found.text in texts for found in opened), "a wrong value"
    whole = [text for text, damage in zip(texts, what, strict=True) if damage is None]
    assert [found.text for found in opened if found.text in whole] == whole
    doubt = KeyDoubt()
    doubt.opened()
    assert {doubt.failed(found) for found in failed} <= {""}, "damage is not taken for a wrong key"


@settings(max_examples=100, deadline=None)
@given(noise=st.lists(st.binary(max_size=300), min_size=1, max_size=4), sizes=st.lists(st.integers(1, 700), min_size=1))
def test_plain_and_encrypted_telegrams_between_noise(noise: list[bytes], sizes: list[int]) -> None:
    plain, hidden = series("netherlands 5", len(noise)), series("austria", len(noise))
    finder, ear = FrameFinder(KEYS), Ear()
    opened: list[str] = []
    for number, sound in enumerate(noise):
        frame = encrypt_frame(hidden[number], KEYS, TITLE, number)
        for piece in chunks(sound + plain[number].encode() + sound + frame, sizes):
            ear.hear(piece, number * EVERY_S)
            opened += [found.text for found in finder.feed(piece) if found.fault is None]
    assert ear.believed == plain
    assert opened == hidden


@settings(max_examples=300)
@given(st.lists(st.text("/!\r\n\0A0(1-:*)", max_size=30)))
def test_whatever_noise_looks_like(pieces: list[str]) -> None:
    text = telegram("V5")
    ear, finder = Ear(), FrameFinder(KEYS)
    for number, piece in enumerate(pieces):
        ear.hear(piece.encode(), number)
        finder.feed(b"\xdb\x08" + piece.encode())
    ear.hear(b"\n" + text.encode(), 1000)
    assert ear.believed[-1:] == [text]
    assert all(decode(one, Options()) or True for one in ear.believed)


# -- single cases ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["V4_2", "V5", "FLUVIUS_V171", "SAGEMCOM_T210_D_R", "UNPADDED_CRC"])
def test_recorded_telegrams_byte_by_byte(name: str) -> None:
    text = telegram(name)
    ear = Ear()
    for byte in (text * 3).encode():
        ear.hear(bytes((byte,)))
    assert ear.believed == [text] * 3
    assert ear.finder.dropped_bytes == 0


@pytest.mark.parametrize("name", ["V2_2", "V3", "ESY5Q3DA1004_V304"])
def test_recorded_telegrams_without_crc_wait_for_the_second(name: str) -> None:
    text = telegram(name)
    text = text[: text.rindex("!") + 3]
    ear = Ear()
    assert ear.hear(text.encode(), 0) == []
    assert ear.hear(text.encode(), 10) == [text, text]
    assert ear.hear(text.encode(), 20) == [text]


@pytest.mark.parametrize("crc", ["0B9F", "B9F", "b9f", "0b9f", "0B9F\x00"])
def test_ways_to_print_a_crc(crc: str) -> None:
    text = telegram("UNPADDED_CRC").replace("!B9F", f"!{crc}")
    assert Ear().hear(text.encode()) == [text]


@pytest.mark.parametrize("crc", ["0B9E", "9F", ""])
def test_wrong_and_lost_crcs(crc: str) -> None:
    good = telegram("UNPADDED_CRC")
    ear = Ear()
    assert ear.hear(good.encode()) == [good]
    assert ear.hear(good.replace("!B9F", f"!{crc}").encode()) == []
    assert ear.damaged == ["it has lost its CRC" if not crc else "its CRC is wrong"]
    assert ear.hear(good.encode()) == [good]


def test_a_telegram_that_lost_its_crc_right_at_the_start_is_not_believed_later() -> None:
    text = telegram("V5")
    ear = Ear()
    assert ear.hear(text.replace("!6EEE", "!").encode(), 0) == []
    assert ear.hear(text.encode(), 10) == [text]
    assert ear.damaged == ["a telegram without CRC from a meter that has one"]


def test_two_halves_of_two_telegrams_without_crc_do_not_make_one() -> None:
    """Just as many bytes lost as a telegram has: only the pause in the middle tells."""
    texts = series("netherlands 3", 4)
    ear = Ear()
    for number, text in enumerate(texts[:2]):
        ear.hear(text.encode(), number * 10.0)
    assert ear.hear(texts[2][:120].encode(), 20.0) == []
    assert ear.hear(texts[3][120:].encode(), 30.0) == []
    assert ear.damaged == ["there was a pause in the middle of it"]


def test_without_a_crc_a_code_is_not_taken_for_another_one() -> None:
    """One line lost, and another one twice: as many lines and digits as before."""
    texts = series("netherlands 3", 3)
    lines = texts[2].splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if line.startswith("1-0:1.8.2"))
    lines[place] = lines[place + 1].replace("2.8.1", "2.8.2")
    ear = Ear()
    for number, text in enumerate([*texts[:2], "".join(lines)]):
        ear.hear(text.encode(), number * 10.0)
    assert ear.believed == texts[:2]


def test_a_message_to_the_customer_changes_the_form_of_a_telegram_without_crc() -> None:
    text = telegram("V2_2")
    with_message = text.replace("0-0:96.13.0()", "0-0:96.13.0(48616C6C6F)")
    ear = Ear()
    for number, one in enumerate([text, text, with_message, with_message, text, with_message]):
        ear.hear(one.encode(), number * 10.0)
    assert ear.believed == [text, text, with_message, with_message, text, with_message]


def test_noise_without_end_is_not_kept() -> None:
    ear = Ear()
    for _ in range(100):
        ear.hear(b"/" + b"x" * 5000)
        ear.hear(b"noise" * 1000)
    assert len(ear.finder._plain) <= LONGEST_TELEGRAM + 10_001
    text = telegram("V5")
    assert ear.hear(text.encode()) == [text]
    assert ear.finder.dropped_bytes > 900_000


def test_heads_of_frames_without_end_are_not_kept() -> None:
    """Each promises the longest frame that there can be."""
    finder = FrameFinder(KEYS)
    head = bytes((TAG, TITLE_BYTES)) + TITLE + b"\x82" + (LONGEST_FRAME - 13).to_bytes(2, "big") + b"\x30"
    for _ in range(12):
        assert all(found.fault for found in finder.feed(head * 70))
        assert len(finder._bytes) <= LONGEST_FRAME + 70 * len(head)
    text = series("luxembourg", 1)[0]
    found = [
        one.text for one in finder.feed(encrypt_frame(text, KEYS, TITLE, 1) + b"\0" * LONGEST_FRAME) if not one.fault
    ]
    assert found == [text]


def test_a_slash_inside_a_telegram_is_no_beginning() -> None:
    text = telegram("V5").rpartition("!")[0].replace("0-0:96.13.0()", "0-0:96.13.9(a/b)") + "!"
    assert Ear().hear(signed(text).encode()) == [signed(text)]
