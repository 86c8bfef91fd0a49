"""What the field sends beside the standard: mode 10, stray bytes, frames that are longer or shorter than they say.

Each telegram was reported by somebody who has such a meter, where nothing else is said.
"""

from __future__ import annotations

from typing import Any

import pytest
from Crypto.Cipher import AES

from connectors.im871a import codec, telegram
from connectors.im871a.registry import MeterRegistry
from connectors.im871a.telegram import Damaged, KeyNeeded, WrongKey
from connectors.im871a.telegram.security import DERIVE_ENCRYPTION, derive
from wattbus.errors import DecodeError

MODE_10_KEY = bytes.fromhex("BF902DD6DFADAFE83E4AE6832B5FA14C")
MODE_10 = bytes.fromhex(
    "4544372c060382533c168c20307a3010ff2a10018c570e006da7632471f42b0a3ceccd461353573ed02b87118bc5ffe982f7f00a0274543b"
    "c51938f8b9c8bb8928114d60788a"
)
STRAY_BYTES = bytes.fromhex("1a44ae4c4225222068077a55000000041389e20100023b0000de47")
LINK_CRC_LEFT = "30442d2c576859571b168d20cc44616a23f5f7cae4b938fe8f14f1178b549eaf19c92e163570982470a5a79d154352"


def values(decoded: telegram.Telegram) -> dict[str, Any]:
    return {name: quantity.value for name, quantity in decoded.fields.items()}


def frame(body: str) -> bytes:
    data = bytes.fromhex(body)
    return bytes([len(data)]) + data


# -- security mode 10 -------------------------------------------------------------------------------------------------


def test_mode_10() -> None:
    decoded = telegram.decode(MODE_10, MODE_10_KEY)
    assert "".join(record.raw for record in decoded.records) == (
        "046d1c2a2f3c04150000000002ff25010406ff1bffffffffffff446d0020213c441500000000"
    )
    fields = values(decoded)
    assert fields["datetime"] == "2025-12-15T10:28"
    assert (fields["volume_m3"], fields["volume_storage_1_m3"]) == (0, 0)
    assert decoded.header.security == "mode_10"
    assert telegram.read_header(MODE_10).needs_key


def test_mode_10_needs_its_key_and_says_when_it_is_another() -> None:
    with pytest.raises(KeyNeeded):
        telegram.decode(MODE_10, accept_plain=True)
    with pytest.raises(WrongKey):
        telegram.decode(MODE_10, bytes(16))


@pytest.mark.parametrize("at", [15, 20, 30, len(MODE_10) - 1])
def test_mode_10_header_counter_content_and_code_are_authenticated(at: int) -> None:
    changed = bytearray(MODE_10)
    changed[at] ^= 1
    with pytest.raises(WrongKey):
        telegram.decode(bytes(changed), MODE_10_KEY)


def test_mode_10_with_the_counter_in_the_authentication_layer_a_long_header_and_a_plain_rest() -> None:
    """By pycryptodome, from the same facts: no telegram of this kind was found."""
    counter, meter = bytes.fromhex("25b30a00"), bytes.fromhex("93157856341233 03")
    header = bytes.fromhex("72 78563412 9315 33 03 75 00 06 0a 10 00")
    derived = derive(MODE_10_KEY, DERIVE_ENCRYPTION, counter, meter[2:6])
    cipher = AES.new(derived, AES.MODE_CCM, nonce=meter + bytes(1) + counter[::-1], mac_len=8).update(header)
    content, code = cipher.encrypt_and_digest(bytes.fromhex("0413 89e20100"))
    data = frame("44 8448 44332211 03 37" + "90 07 0028 00 25b30a00" + (header + content + code).hex() + "023b0000")
    assert values(telegram.decode(data, MODE_10_KEY)) == {
        "volume_m3": 123.529, "volume_flow_m3_h": 0, "status": "ok",
    }  # fmt: skip


# -- stray bytes ------------------------------------------------------------------------------------------------------


def test_two_stray_bytes_cost_nothing_of_what_stands_before_them() -> None:
    decoded = telegram.decode(STRAY_BYTES)
    assert values(decoded) == {"volume_m3": 123.529, "volume_flow_m3_h": 0, "unreadable": "de47", "status": "ok"}
    assert decoded.unreadable == "de47"


@pytest.mark.parametrize(
    "tail",
    [
        "0413aa",  # a value that ends early
        "3f",  # a reserved DIF
        "0dfd0fff",  # a reserved length
        "8c",  # an endless header
        "0d785f",  # a text that is not there
    ],
)
def test_no_tail_costs_the_records_before_it(tail: str) -> None:
    decoded = telegram.decode(frame("44 ae4c 42252220 68 07 7a 55000000 0413 89e20100" + tail))
    assert decoded.fields["volume_m3"].value == 123.529
    assert decoded.unreadable == tail


def test_a_profile_that_makes_no_sense_costs_only_itself() -> None:
    bad = "8d 01 93 1e 04 10 01 aa bb"  # 16 bit elements, and an odd number of bytes
    decoded = telegram.decode(frame(f"44 ae4c 42252220 68 07 7a 55000000 0413 89e20100 {bad} 023b 0100"))
    fields = values(decoded)
    assert fields["volume_m3"] == 123.529
    assert fields["volume_flow_m3_h"] == 0.001


def test_nothing_readable_at_all_is_still_refused() -> None:
    with pytest.raises(DecodeError):
        telegram.decode(frame("44 ae4c 42252220 68 07 7a 55000000 de47"))


def test_what_has_an_unreadable_tail_shows_no_format() -> None:
    assert telegram.decrypt_frame(STRAY_BYTES).seen_format() is None


# -- frames that are longer or shorter than they say ------------------------------------------------------------------


def decoded_line(text: str) -> list[dict[str, Any]]:
    registry = MeterRegistry(("settings",))
    return [
        {key: quantity.value for key, quantity in reading.values.items()}  # type: ignore[union-attr]
        for raw in codec.raw_messages([text])
        for reading in codec.decode(raw, registry)
    ]


def test_an_l_that_still_counts_two_link_crc_bytes_is_mended_and_a_key_is_asked_for() -> None:
    with pytest.raises(KeyNeeded):
        decoded_line(LINK_CRC_LEFT)


def test_so_is_one_that_counts_both_crcs_of_a_long_frame() -> None:
    records = "0413 89e20100" * 22
    whole = frame("44 ae4c 42252220 68 07 7a 55000000" + records)
    [line] = decoded_line((bytes([whole[0] + 4]) + whole[1:]).hex())
    assert line["20222542__volume_m3_22"] == 123.529


def test_two_bytes_that_were_left_behind_a_telegram_in_clear() -> None:
    [line] = decoded_line(STRAY_BYTES.hex() + "55b2")
    assert line["20222542__volume_m3"] == 123.529


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (STRAY_BYTES.hex()[:-8], "23 bytes, but the first one, L = 26, says 27, or 33 with link CRCs: 4 are missing"),
        (STRAY_BYTES.hex() + "000000", "30 bytes, .* L = 26, says 27, .*: 3 are left over"),
        (STRAY_BYTES.hex() + "000000000000", "the link CRC of bytes 0 to 10 is wrong .as long as a frame of format A"),
    ],
)
def test_a_wrong_length_says_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(Damaged, match=says):
        decoded_line(text)


@pytest.mark.parametrize("between", ["", ",", " ", ", "])
def test_two_frames_in_one_line(between: str) -> None:
    other = frame("44 2d2c 99873476 1b 16 78 0413 e8030000").hex()
    first, second = decoded_line(STRAY_BYTES.hex() + between + other)
    assert first["20222542__volume_m3"] == 123.529
    assert second["76348799__volume_m3"] == 1


def test_two_messages_of_the_stick_in_one_line() -> None:
    text = "a5820327442d2c5768663230028d20cd12340720519df247ff65e751662a300bc4e5c67da86477f0182637c1ab"
    assert [raw["hex"] for raw in codec.raw_messages([text * 2])] == [text, text]  # type: ignore[index,call-overload]
