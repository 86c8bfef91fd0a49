"""Lines of radio boards: those that emonHub decoded, published ones of old and new firmware, and nonsense."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.rfm2pi.codec import (
    BadFrame,
    Chatter,
    Info,
    RadioFrame,
    SentPacket,
    Unknown,
    decode,
    raw_messages,
    text_of,
    understand,
)
from connectors.rfm2pi.layout import SIGNED_16_BIT, PayloadLayout, Scale
from connectors.rfm2pi.nodes import Nodes
from connectors.rfm2pi.ready import ready_decoders
from tests.connectors.rfm2pi.conftest import reference, settings_for
from wattbus.connector import Quantity, Reading
from wattbus.errors import CommandRejected, ConfigError, DecodeError
from wattbus.flattening import flatten


def values(raw: Any, *, plain: bool = False, **variables: Any) -> dict[str, Any]:
    settings = settings_for(**variables)
    [reading] = decode(raw, settings.nodes, plain=plain)
    return flatten(reading).values


SCALARS = st.none() | st.integers() | st.text() | st.booleans()

# -- emonHub's own values ---------------------------------------------------------------------------------------------

EMONHUB_NODES = {  # emonhub.conf in the reference data, as one writes it here
    "10": {
        "nodename": "emontx1",
        "rx": {
            "names": "power1, power2, power3, power4, vrms, temp1, temp2, temp3, temp4, temp5, temp6, pulse",
            "datacodes": "h,h,h,h,h,h,h,h,h,h,h,L",
            "scales": "1,1,1,1,0.01,0.01,0.01,0.01,0.01,0.01,0.01,1",
            "units": "W,W,W,W,V,C,C,C,C,C,C,p",
        },
    },
    "19": {
        "nodename": "emonth",
        "rx": {
            "names": "temp, external temp, humidity, battery",
            "datacodes": "h,h,h,h",
            "scales": "0.1,0.1,0.1,0.1",
            "units": "C,C,%,V",
        },
    },
}


def test_every_frame_that_emonhub_decoded_gives_its_values() -> None:
    nodes = settings_for(RFM2PI_NODES=EMONHUB_NODES).nodes
    entries = reference("emonhub/decoded_by_emonhub.json")
    assert entries
    for entry in entries:
        [reading] = decode(entry["line"], nodes)
        name = nodes[int(entry["node"])].name
        found = dict(reading.values[name])
        rssi = found.pop("rssi")
        assert list(found.values()) == pytest.approx(entry["emonhub_values"]), entry["line"]
        # emonHub takes an RSSI of 0 for none and drops it: there is no `rssi` in its answer to "(-0)".
        assert rssi == Quantity(entry.get("rssi", 0), "dBm")
        assert reading.device == name


def test_what_is_29_tenths_is_2_9() -> None:
    """emonHub gives 2.9000000000000004."""
    assert values("OK 19 205 0 0 0 210 1 29 0 (-61)", RFM2PI_NODES=EMONHUB_NODES)["emonth__battery"] == 2.9


def test_units_are_announced_in_ucum() -> None:
    layout = settings_for(RFM2PI_NODES=EMONHUB_NODES).nodes[10].rx
    assert [layout.unit(index) for index in (0, 4, 5, 11)] == ["W", "V", "Cel", "{pulse}"]


def test_every_decoder_of_emonhub_can_be_written_down_here() -> None:
    """Its `available.conf` brings one per kind of node; the words in it are understood as they are."""
    sections = reference("emonhub/available.conf").split("\n[[")[1:]
    assert len(sections) == 16
    for section in sections:
        pairs = [line.split("=", 1) for line in section.splitlines() if "=" in line]
        words = {word.strip(): value.strip().removesuffix(",") for word, value in pairs}
        rx = {word: value for word, value in words.items() if word not in ("nodename", "nodeids")}
        written = {"7": {"nodename": words["nodename"], "nodeids": words["nodeids"], "rx": rx}}
        if words["nodename"] == "emonTx6_temp_pulse":
            with pytest.raises(ConfigError, match="names: T7 twice"):  # in emonHub one of the two gets lost
                settings_for(RFM2PI_NODES=written)
            continue
        node = settings_for(RFM2PI_NODES=written).nodes[7]
        count = words["datacodes"].count(",") + 1
        assert node.name == words["nodename"]
        assert (len(node.rx.codes), len(node.rx.names), len(node.rx.scales)) == (count, count, count), node.name


def test_scales_that_are_missing_at_the_end_are_1() -> None:
    nodes = {"10": {"datacodes": "h,h,h", "scales": "0.1,10"}}
    assert values("OK 10 1 0 1 0 1 0", RFM2PI_NODES=nodes) == {"10__1": 0.1, "10__2": 10, "10__3": 1}


# -- ready decoders ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ready_decoders())
def test_a_ready_decoder_reads_the_frames_that_prove_it(name: str) -> None:
    for proof in ready_decoders()[name].proofs:
        frame = understand(proof.line)
        assert isinstance(frame, RadioFrame)
        given = {str(frame.node): {"name": "it", "decoder": name}}
        expected = {f"it__{value}": number for value, number in proof.values.items()}
        assert values(proof.line, RFM2PI_NODES=given) == {**expected, "it__rssi": proof.rssi}


# -- lines as they were published --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # emonHub's log in the OpenEnergyMonitor forum archive, node 11097: values as emonHub gave them
        (
            "OK 10 41 255 0 0 0 0 0 0 242 96 0 0 (-53)",
            {"10__1": -215, "10__2": 0, "10__3": 0, "10__4": 0, "10__5": 24818, "10__6": 0, "10__rssi": -53},
        ),
        # RFM12Pi: without OK and RSSI (forum archive, node 5712)
        (" 10 55 6 75 253", {"10__1": 1591, "10__2": -693}),
        # group 0, all groups (forum archive, node 1098: 102 8 is 21.50 degrees)
        ("OKG 210 20 102 8", {"20__1": 2150}),
        # firmware of RFM69Pi in group 0
        (" G210 20 102 8 (-60) ", {"20__1": 2150, "20__rssi": -60}),
        # hexadecimal reporting (community forum, 2693): four integers of an emonTx V2
        (
            "OKX 0A150033002D002C0D (3A)",
            {"10__1": 21, "10__2": 51, "10__3": 45, "10__4": 3372, "10__rssi": -29},
        ),
        # RSSI 0, which emonHub drops
        ("OK 11 1 0 255 255 (-0)", {"11__1": 1, "11__2": -1, "11__rssi": 0}),
    ],
)
def test_frames_of_old_and_new_firmware(line: str, expected: dict[str, Any]) -> None:
    assert values(line) == expected


@pytest.mark.parametrize(
    ("line", "info"),
    [
        # emonHub's log in the OpenEnergyMonitor documentation, 2020
        ("[RF12demo.14] E i5 g210 @ 433 MHz q1", Info("RF12demo.14", 210, 433, 5, True)),
        # documentation of the RFM69Pi; from version 12 on, no q1 means not quiet
        ("[RF12demo.12] O i15 g210 @ 433 MHz", Info("RF12demo.12", 210, 433, 15, False)),
        ("[RF12demo.12] _ i31* g5 @ 868 MHz c1 q1", Info("RF12demo.12", 5, 868, 31, True)),
        # older versions do not tell
        ("[RF12demo.7] A i1 g212 @ 915 MHz ", Info("RF12demo.7", 212, 915, 1, None)),
        # emonPi
        (" E i5 g210 @ 433 MHz USA 0", Info(None, 210, 433, 5, None)),
        ("[emonPi.2.80] E i5 g210 @ 433 MHz q0 USA 0 ", Info("emonPi.2.80", 210, 433, 5, False)),
        # the first RFM12Pi, which can be locked
        ("79 i15 g210 @ 433 MHz  Lock: 1", Info(None, 210, 433, 15, None)),
        ("79 i15 g210 @ 433 MHz  Lock: 0", Info(None, 210, 433, 15, None, locked=True)),
        # the newer firmware for RFM69Pi, line by line
        ("|RF Band: 433MHz", Info(frequency=433, speaks_letters=True)),
        ("|RF Band = 868MHz", Info(frequency=868, speaks_letters=True)),
        ("|Group: 210", Info(group=210, speaks_letters=True)),
        ("|Group 210", Info(group=210, speaks_letters=True)),
        ("|Node ID: 5", Info(base_id=5, speaks_letters=True)),
    ],
)
def test_how_boards_say_how_they_are_set(line: str, info: Info) -> None:
    assert understand(line) == info


def test_an_information_line_is_a_reading_of_the_board() -> None:
    assert values("[RF12demo.14] E i5 g210 @ 433 MHz q1") == {
        "board__firmware": "RF12demo.14",
        "board__group": 210,
        "board__frequency": 433,
        "board__base_id": 5,
        "board__quiet": True,
    }


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("? G0 33 251 14 8 32 156 10 72 23 (-82)", BadFrame()),  # community forum, 11431
        (" ? 2 102 2 5 1 0 0", BadFrame()),
        (" -> 4 b", SentPacket(4)),
        ("test 0 -> 66 b", SentPacket(66)),
        (" -> ack", Chatter()),
        ("> 210g", Chatter()),
        (">\x00 4b", Chatter()),
        ("\x01", Chatter()),
        (".", Chatter()),
        ("?", Chatter()),
        ("Available commands:", Chatter()),
        ("  <nn> i     - set node ID (standard node ids are 1..26)", Chatter()),
        ("               (or enter an uppercase 'A'..'Z' to set id)", Chatter()),
        ("Current configuration:", Chatter()),
        ("[RFM2Pi]", Chatter()),
        ("config save failed", Chatter()),
        ("OK 197 (-60)", Chatter()),  # an acknowledgement
        ("|emonPi CM V1.1.1", Chatter(speaks_letters=True)),
    ],
)
def test_what_else_boards_say(line: str, said: object) -> None:
    assert understand(line) == said


@pytest.mark.parametrize(
    "line",
    [
        "K 10 1 2 (-45)",
        "OK 10 1 2OK 10 1 2 (-45)",
        "OK 10 1 256 (-45)",
        "OK 300 1 2",
        "OK 10 1 -2",
        "OK 10 1_0 2",
        "OK 10 1 2 (-45",
        "OK",
        "17",
        "\\xff\\xfe garbage",
        "OKX 0A1 (3A)",
        # the end of a line was lost, and the next one came right after it
        "OK 10 228 89 0 0 1OK 10 228 89 0 0 12 0 (-45)",
        "> 210gOK 10 1 2 (-45)",
        "? 33 251OK 10 1 2 (-45)",
        " -> 4 bOK 10 1 2 (-45)",
        "[RF12demo.14] E i5 g210 @ 433 MHz q1OK 10 1 2 (-45)",
        "OK 10 1 2 (-45)[RF12demo.14] E i5 g210 @ 433 MHz q1",
        "[RF12demo.14] E i5 g260 @ 433 MHz",
    ],
)
def test_nonsense_is_known_as_such(line: str) -> None:
    assert understand(line) == Unknown()
    with pytest.raises(DecodeError, match="not a line of a radio board"):
        decode(line, Nodes())


def test_bytes_that_are_no_text_become_text() -> None:
    assert text_of(b"OK 10 \xff\x00 1") == "OK 10 \\xff\x00 1"


# -- lengths and data codes -------------------------------------------------------------------------------------------


def test_a_frame_that_does_not_fit_its_decoder_says_so() -> None:
    """The 24 bytes that the RFM69Pi's documentation shows, against the 26 of later firmware."""
    line = "OK 10 129 0 0 0 0 0 0 0 55 93 200 0 0 0 0 0 0 0 0 0 0 0 0 0 (-65)"
    with pytest.raises(DecodeError, match=r"node 10 \(tx\): 24 bytes, but its decoder takes 26"):
        values(line, RFM2PI_NODES={"10": {"name": "tx", "decoder": "emontx3"}})
    with pytest.raises(DecodeError, match=r"node 10: 3 bytes are no whole number of values of 2 bytes \(data code h\)"):
        values("OK 10 1 2 3 (-45)")
    with pytest.raises(DecodeError, match=r"values of 4 bytes \(data code L\)"):
        values("OK 10 1 2 3 (-45)", RFM2PI_DATACODE="L")


def test_another_default_for_unknown_nodes() -> None:
    assert values("OK 10 255 255 1 (-45)", RFM2PI_DATACODE="B") == {
        "10__1": 255,
        "10__2": 255,
        "10__3": 1,
        "10__rssi": -45,
    }
    assert values("OK 10 7 8 9", RFM2PI_DATACODE="0") == {"10__1": 7, "10__2": 8, "10__3": 9}


def test_every_data_code_is_little_endian_as_struct_has_it() -> None:
    codes = ["b", "B", "?", "h", "H", "i", "I", "l", "L", "q", "Q", "f", "d"]
    numbers = (-1, 255, True, -2, 65535, -3, 4294967295, -4, 7, -(2**40), 2**60, 0.5, 2.5)
    data = struct.pack("<bB?hHiIlLqQfd", *numbers)
    line = "OK 10 " + " ".join(map(str, data)) + " (-45)"
    found = values(line, RFM2PI_NODES={"10": {"datacodes": codes}})
    assert list(found.values())[:-1] == list(numbers)


def test_values_without_names_are_numbered() -> None:
    nodes = {"10": {"name": "tx", "datacodes": "h,h,h", "names": "power"}}
    assert values("OK 10 1 0 2 0 3 0", RFM2PI_NODES=nodes) == {"tx__power": 1, "tx__2": 2, "tx__3": 3}


def test_one_scale_for_all_values() -> None:
    assert values("OK 10 1 0 2 0", RFM2PI_NODES={"10": {"scale": 0.1}}) == {"10__1": 0.1, "10__2": 0.2}


@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=30))
def test_signed_16_bit_against_struct(numbers: list[int]) -> None:
    data = struct.pack(f"<{len(numbers)}h", *numbers)
    assert SIGNED_16_BIT.decode(data) == numbers
    assert SIGNED_16_BIT.encode(numbers) == data


@given(st.integers(-(2**31), 2**31 - 1), st.sampled_from([0.1, 0.01, 0.001, 0.5, 10, 0.25]), st.booleans())
def test_scaled_values_come_back_as_they_were_sent(number: int, factor: float, whitening: bool) -> None:
    layout = PayloadLayout(("l",), repeats=False, scales=(Scale.of(factor),), whitening=whitening)
    [value] = layout.decode(layout.encode([Scale.of(factor).apply(number)]))
    assert value == Scale.of(factor).apply(number)
    assert math.isclose(value, number * factor, rel_tol=1e-12)


@pytest.mark.parametrize("value", [300, -129, math.inf, math.nan])
def test_what_does_not_fit_is_not_sent(value: float) -> None:
    with pytest.raises(CommandRejected, match=r"1: \S+ does not fit into data code b"):
        PayloadLayout(("b",), repeats=False).encode([value])


@given(st.binary(max_size=80))
def test_any_line_is_understood_or_refused(line: bytes) -> None:
    text = text_of(line)
    understand(text)
    try:
        readings = decode(text, Nodes())
    except DecodeError as error:
        assert str(error)
    else:
        assert all(isinstance(reading, Reading) for reading in readings)


@given(st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_any_raw_json_is_decoded_or_refused(raw: Any) -> None:
    try:
        decode(raw, Nodes())
    except DecodeError as error:
        assert str(error)


# -- plain lines ------------------------------------------------------------------------------------------------------


def test_plain_lines_have_finished_values() -> None:
    """OemGateway's SerialListener: `NodeID val1 val2 …`; the line is of emonHub's socket example."""
    assert values("98 3.8 1.6 5.2 80.3", plain=True) == {"98__1": 3.8, "98__2": 1.6, "98__3": 5.2, "98__4": 80.3}
    named = {"98": {"name": "boiler", "names": "flow, return", "units": "C,C", "scale": 10}}
    found = values("98 -3 1.5e1", plain=True, RFM2PI_NODES=named)
    assert found == {"boiler__flow": -30, "boiler__return": 150.0}


@pytest.mark.parametrize("line", ["98", "98 a", "OK 98 1", "300 1", "98 1 nan", "98 1 inf", "98 1_0", ""])
def test_plain_lines_that_make_no_sense(line: str) -> None:
    with pytest.raises(DecodeError, match="not a line"):
        values(line, plain=True)


# -- what else there is -----------------------------------------------------------------------------------------------


def test_counts_and_cut_lines_are_raw_messages_too() -> None:
    assert values({"counts": {"bad_frames": 3, "unknown_lines": 1}}) == {
        "board__bad_frames": 3,
        "board__unknown_lines": 1,
    }
    with pytest.raises(DecodeError, match=r"a cut line, its beginning is missing: '10 1 2 \(-45\)'"):
        values({"cut": "10 1 2 (-45)", "because": "its beginning is missing"})
    with pytest.raises(DecodeError, match="neither a line nor counts"):
        values({"else": 1})


def test_recorded_text_for_the_decode_command() -> None:
    recorded = [
        "> 0v\r\n",
        "[RF12demo.14] E i5 g210 @ 433 MHz q1\r\n",
        "OK 10 1 0 (-45)\r\n",
        " -> 4 b\n",
        "? 1\n",
        "\n",
        "??",
    ]
    assert list(raw_messages(recorded)) == ["[RF12demo.14] E i5 g210 @ 433 MHz q1", "OK 10 1 0 (-45)"]
