"""Layouts against vectors from elsewhere, then round trips over every struct type."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from links.modbus_layout import DoesNotFit, parse, scaled, unscaled


def values_of(datatypes: str, *registers: int, **options: object) -> list[object]:
    return list(parse(datatypes, **options).decode(registers))  # type: ignore[arg-type]


def addresses_of(datatypes: str) -> list[int]:
    return [field.address for field in parse(datatypes).fields]


@pytest.mark.parametrize(
    ("datatypes", "registers", "value"),
    [
        # BEMCom's demo device: 21.0 is register 0x404D; its example configuration says "e" and "<e".
        ("e", [0x404D], 21.0),
        ("<e", [0x404D], 21.0),
        # mbpoll -t 4:float -B writes 50.24 as 4248 F5C3.
        (">f", [0x4248, 0xF5C3], pytest.approx(50.24, rel=1e-7)),
        # IEEE 754-2008: 1.0 in half, single and double precision.
        (">e", [0x3C00], 1.0),
        (">f", [0x3F80, 0x0000], 1.0),
        (">d", [0x3FF0, 0, 0, 0], 1.0),
        # SunSpec "SunS" at the base address, and its not-implemented int16.
        (">L", [0x5375, 0x6E53], 0x53756E53),
        (">4s", [0x5375, 0x6E53], "SunS"),
        (">h", [0x8000], -32768),
        (">h", [0xFFFF], -1),
        (">Q", [0, 1, 0, 0], 2**32),
        (">q", [0xFFFF, 0xFFFF, 0xFFFF, 0xFFFE], -2),
        (">x?", [1], True),
        (">10s", [0x4142, 0x4300, 0, 0, 0], "ABC"),
        (">4p", [0x0241, 0x4258], "AB"),
        (">xc", [0x0041], "A"),
    ],
)
def test_registers_mean_what_other_implementations_say(datatypes: str, registers: list[int], value: object) -> None:
    assert values_of(datatypes, *registers) == [value]


@pytest.mark.parametrize(
    ("datatypes", "word_order", "registers"),
    [
        (">f", "big", [0x4248, 0xF5C3]),  # ABCD
        (">f", "little", [0xF5C3, 0x4248]),  # CDAB
        ("<f", "big", [0xC3F5, 0x4842]),  # DCBA
        ("<f", "little", [0x4842, 0xC3F5]),  # BADC
    ],
)
def test_the_four_orders_of_a_float(datatypes: str, word_order: str, registers: list[int]) -> None:
    assert values_of(datatypes, *registers, word_order=word_order) == [pytest.approx(50.24, rel=1e-7)]


def test_lsrf_swaps_floats_alone_and_word_order_overrides_it() -> None:
    assert values_of(">fI", 0xF5C3, 0x4248, 0, 5, swap_floats=True) == [pytest.approx(50.24, rel=1e-7), 5]
    assert values_of(">fI", 0xF5C3, 0x4248, 5, 0, word_order="little") == [pytest.approx(50.24, rel=1e-7), 5]
    assert values_of(">f", 0x4248, 0xF5C3, word_order="big", swap_floats=True) == [pytest.approx(50.24, rel=1e-7)]


def test_words_of_text_and_single_registers_keep_their_place() -> None:
    assert values_of(">h4s", 7, 0x5375, 0x6E53, word_order="little") == [7, "SunS"]


def test_repeat_counts_give_that_many_values_and_pads_give_none() -> None:
    assert values_of(">2f", 0x3F80, 0, 0x4000, 0) == [1.0, 2.0]
    assert values_of("> 2x h 2x H", 1, 2, 3, 4) == [2, 4]


def test_a_values_address_is_its_first_register() -> None:
    assert addresses_of(">2fhQ2xHe") == [0, 2, 4, 5, 10, 11]
    assert addresses_of(">6s2xI") == [0, 4]
    assert addresses_of(">xBxB") == [0, 1]


def test_the_second_of_two_bytes_in_a_register_has_the_next_address_as_in_bemcom() -> None:
    assert addresses_of(">BB") == [0, 1]
    assert values_of(">bB", 0xFFFE) == [-1, 254]


@pytest.mark.parametrize("datatypes", [">f", ">d", ">e"])
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_json_cannot_carry_is_null(datatypes: str, number: float) -> None:
    data = struct.pack(datatypes, number)
    registers = struct.unpack(f">{len(data) // 2}H", data)
    assert values_of(datatypes, *registers) == [None]


@pytest.mark.parametrize(
    ("datatypes", "words"),
    [
        ("", "holds no value"),
        (">xx", "holds no value"),
        (">0f", "holds no value"),
        (">b", "add a pad byte"),
        (">n", "no struct type"),
        (">P", "no struct type"),
        ("f>", "no struct type"),
        (">f,f", "no struct type"),
        (">99999999H", "longer than"),
    ],
)
def test_a_bad_struct_string_is_refused_in_words(datatypes: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse(datatypes)


def test_word_order_needs_values_that_start_at_a_register() -> None:
    with pytest.raises(ValueError, match="word order"):
        parse(">BfB", "little")


def test_a_range_may_be_cut_between_values_only() -> None:
    assert parse(">fHd").cuts == {2, 3}
    assert parse(">6sH").cuts == {3}


def test_missing_registers_are_an_error() -> None:
    with pytest.raises(ValueError, match="1 registers instead of 2"):
        parse(">f").decode([1])


@pytest.mark.parametrize(
    ("datatypes", "value", "words"),
    [
        (">h", 40000, "takes -32768 to 32767"),
        (">H", -1, "takes 0 to 65535"),
        (">e", 1e6, "too large"),
        (">f", 1e300, "too large"),
        (">H", "warm", "not a number"),
        (">H", math.nan, "cannot be written"),
        (">f", math.inf, "cannot be written"),
        (">H", None, "cannot be written"),
        (">4s", "Hello", "room for 4"),
        (">4p", "Hell", "room for 3"),
        (">4s", 5, "not text"),
        (">x?", 2, "neither true nor false"),
    ],
)
def test_what_does_not_fit_is_told_in_words(datatypes: str, value: object, words: str) -> None:
    with pytest.raises(DoesNotFit, match=words):
        parse(datatypes).encode([value])  # type: ignore[list-item]


def test_integers_are_rounded_and_text_is_filled_with_zeros() -> None:
    assert parse(">h").encode([21.6]) == [22]
    assert parse(">h").encode(["-3"]) == [0xFFFD]
    assert parse(">6s").encode(["SunS"]) == [0x5375, 0x6E53, 0]
    assert parse("<e").encode([21.0]) == [0x404D]
    assert parse(">f", "little").encode([50.24]) == [0xF5C3, 0x4248]
    assert parse(">2xH").encode([5]) == [0, 5]


NUMBERS = {
    "b": st.integers(-(2**7), 2**7 - 1),
    "B": st.integers(0, 2**8 - 1),
    "h": st.integers(-(2**15), 2**15 - 1),
    "H": st.integers(0, 2**16 - 1),
    "i": st.integers(-(2**31), 2**31 - 1),
    "I": st.integers(0, 2**32 - 1),
    "l": st.integers(-(2**31), 2**31 - 1),
    "L": st.integers(0, 2**32 - 1),
    "q": st.integers(-(2**63), 2**63 - 1),
    "Q": st.integers(0, 2**64 - 1),
    "e": st.floats(width=16, allow_nan=False, allow_infinity=False),
    "f": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "d": st.floats(allow_nan=False, allow_infinity=False),
    "?": st.booleans(),
}


@given(data=st.data())
def test_what_is_written_is_read_back(data: st.DataObject) -> None:
    codes = data.draw(st.lists(st.sampled_from(sorted(NUMBERS)), min_size=1, max_size=6))
    prefix = data.draw(st.sampled_from(["", "<", ">", "!", "=", "@"]))
    order = data.draw(st.sampled_from([None, "big", "little"]))
    body = "".join(f"x{code}" if code in "bB?" else code for code in codes)
    layout = parse(prefix + body, order, swap_floats=data.draw(st.booleans()))
    values = [data.draw(NUMBERS[code]) for code in codes]
    assert layout.decode(layout.encode(values)) == values


@given(data=st.data())
def test_big_endian_layouts_agree_with_struct(data: st.DataObject) -> None:
    codes = data.draw(st.lists(st.sampled_from("hHiIlLqQefd"), min_size=1, max_size=6))
    values = [data.draw(NUMBERS[code]) for code in codes]
    packed = struct.pack(">" + "".join(codes), *values)
    assert parse(">" + "".join(codes)).encode(values) == list(struct.unpack(f">{len(packed) // 2}H", packed))


@pytest.mark.parametrize(
    ("register", "factor", "value"),
    [(2315, 0.1, 231.5), (3, 0.1, 0.3), (50, 10, 500.0), (7, -0.01, -0.07), (3, 1, 3.0)],
)
def test_scaling_gives_the_number_that_a_person_expects(register: int, factor: float, value: float) -> None:
    assert scaled(register, factor) == value
    assert round(float(unscaled(value, factor))) == register  # type: ignore[arg-type]


def test_only_numbers_are_scaled() -> None:
    assert scaled("text", 0.1) == "text"
    assert scaled(None, 0.1) is None
    assert scaled(True, 0.1) is True
    assert scaled(5, None) == 5
    with pytest.raises(DoesNotFit, match="not a number"):
        unscaled("warm", 0.1)
