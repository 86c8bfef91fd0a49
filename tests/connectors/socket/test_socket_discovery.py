"""Invented nodes and keys: they are bounded, and cost nobody else a value."""

from __future__ import annotations

import socket

import pytest

from connectors.socket.admission import MOST_REMEMBERED, Rate
from connectors.socket.codec import Rules, decode
from connectors.socket.discovery import Discovery
from tests.connectors.socket.conftest import connect, counted, running, settings_for
from wattbus.connector import Reading
from wattbus.flattening import flatten
from wattbus.testing.clock import VirtualClock


async def test_invented_nodes_are_left_out_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    before = counted("socket_refused", limit="datapoints")
    nodes = '{"7": {"name": "attic", "names": ["temp"], "units": ["Cel"], "scales": [0.1]}}'
    async with running(SOCKET_MAX_DATAPOINTS="4", SOCKET_NODES=nodes, SOCKET_SILENCE_SECONDS="60") as run:
        with connect(run.port) as client:
            client.sendall(b"14 15 26\r\n15 1 2 3\r\n")  # the last value has no place any more
            client.sendall(b"".join(b"%d 1\r\n" % node for node in range(100, 150)))
            client.sendall(b"14 16 27\r\n7 215 9\r\n")
            await run.link.until(lambda link: len(link.raw) == 54)
    assert run.link.readings == [
        {"14__1": 15, "14__2": 26},
        {"15__1": 1, "15__2": 2},
        {"14__1": 16, "14__2": 27},
        {"attic__temp": 21.5},
    ]
    assert run.link.faults == []
    assert run.link.raw[1] == {"peer": "127.0.0.1", "text": "15 1 2 3", "without": ["15__3"]}
    assert counted("socket_refused", limit="datapoints") - before == 52
    said = [record.message for record in caplog.records if "SOCKET_MAX_DATAPOINTS" in record.message]
    assert said == [
        "127.0.0.1: brings datapoints beyond the first 4 (SOCKET_MAX_DATAPOINTS); '15__3' is left out (said once)"
    ]


async def test_an_invented_node_is_no_device_that_could_fall_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.socket.devices.LOOK_EVERY_S", 0.05)
    async with running(SOCKET_MAX_DATAPOINTS="1", SOCKET_SILENCE_SECONDS="0.3") as run:
        with connect(run.port) as client:
            client.sendall(b"15 1\n14 1\n")
            await run.link.until(lambda link: link.away)
    assert [name for name, _, _ in run.link.units] == ["15"]


@pytest.mark.parametrize("mode", ["listener", "udp"])
async def test_invented_keys_of_json_are_left_out_and_the_known_ones_beside_them_are_taken(mode: str) -> None:
    async with running(SOCKET_MODE=mode, PARSE_AS="JSON", SOCKET_MAX_DATAPOINTS="2") as run:
        kind = socket.SOCK_DGRAM if mode == "udp" else socket.SOCK_STREAM
        with socket.socket(socket.AF_INET, kind) as sender:
            sender.connect(("127.0.0.1", run.port))
            for number in range(10):
                sender.send(b'{"power": {"l": [%d, 2]}, "invented %d": 5}' % (number, number))
            readings = await run.link.until_values(10)
    assert readings == [{"power__l__0": number, "power__l__1": 2} for number in range(10)]


def test_a_raw_message_says_itself_what_is_left_out_so_that_it_means_the_same_years_later() -> None:
    raw = {"peer": "p", "text": '{"a": {"b": 1, "c": 2}, "d": 3}', "without": ["a__b", "d"]}
    assert [flatten(reading).values for reading in decode(raw, Rules())] == [{"a__c": 2}]
    assert decode({**raw, "without": ["a__b", "a__c", "d"]}, Rules()) == []


def test_what_has_a_place_keeps_it() -> None:
    discovery = Discovery(2, {"named"})
    assert discovery.beyond([Reading({"a": 1}), Reading({"b": 1, "c": 1, "named": 1})]) == ["c"]
    assert discovery.beyond([Reading({"c": 1, "b": 2, "a": {"x": 1}, "named": 3})]) == ["c", "a__x"]
    assert discovery.beyond([Reading({"a": 1, "b": 1})]) == []


def test_the_bound_is_a_setting_with_a_default() -> None:
    assert settings_for().socket_max_datapoints == 2000


def test_forged_addresses_do_not_fill_the_memory_of_the_rate() -> None:
    clock = VirtualClock()
    rate = Rate(0.01, clock)
    assert rate.allows("10.0.0.1")
    for number in range(3 * MOST_REMEMBERED):
        assert rate.allows(f"forged {number}")
        assert not rate.allows("10.0.0.1"), "whoever goes on sending is not forgotten"
    assert len(rate._buckets) <= MOST_REMEMBERED
