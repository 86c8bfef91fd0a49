"""Which ranges are read together, and what happens when a device does not like it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from links.modbus import ModbusLink, ModbusTarget
from links.modbus_errors import ExceptionAnswer, NoAnswer
from links.modbus_ranges import Range, UnitReader, plan
from links.modbus_server import ModbusServer, NumberBank, Refused, Table

HOLDING = "read_holding_registers"


def pieces(*ranges: Range, most: int = 125, merge: bool = True) -> list[tuple[int, int]]:
    return [piece for read in plan(ranges, most, merge=merge) for piece in read.pieces]


def test_ranges_that_touch_or_overlap_are_one_request() -> None:
    assert pieces(Range(HOLDING, 10, 2), Range(HOLDING, 12, 3), Range(HOLDING, 13, 4)) == [(10, 7)]


def test_a_gap_of_one_register_is_not_read() -> None:
    assert pieces(Range(HOLDING, 10, 2), Range(HOLDING, 13, 1)) == [(10, 2), (13, 1)]


def test_methods_are_not_mixed() -> None:
    assert pieces(Range(HOLDING, 10, 2), Range("read_input_registers", 12, 2)) == [(10, 2), (12, 2)]


def test_no_request_is_longer_than_the_standard_or_the_device_allows() -> None:
    assert pieces(Range(HOLDING, 0, 100), Range(HOLDING, 100, 26)) == [(0, 100), (100, 26)]
    assert pieces(Range(HOLDING, 0, 20), Range(HOLDING, 20, 20), most=32) == [(0, 20), (20, 20)]
    assert pieces(Range("read_coils", 0, 2500)) == [(0, 2000), (2000, 500)]


def test_a_long_range_is_cut_between_values() -> None:
    assert pieces(Range(HOLDING, 5, 250, frozenset(range(2, 250, 2)))) == [(5, 124), (129, 124), (253, 2)]


def test_without_merging_each_range_is_its_own_request() -> None:
    assert pieces(Range(HOLDING, 10, 2), Range(HOLDING, 12, 2), merge=False) == [(10, 2), (12, 2)]


@given(
    st.lists(
        st.tuples(st.sampled_from([HOLDING, "read_coils"]), st.integers(0, 400), st.integers(1, 300)),
        max_size=12,
        unique=True,
    ),
    st.integers(1, 125),
)
def test_every_word_is_read_and_none_that_was_not_asked_for(raw: list[tuple[str, int, int]], most: int) -> None:
    ranges = [Range(*one) for one in raw]
    wanted = {(one.method, number) for one in ranges for number in range(one.address, one.end)}
    reads = plan(ranges, most)
    asked = {(read.method, n) for read in reads for start, count in read.pieces for n in range(start, start + count)}
    assert asked == wanted
    for read in reads:
        assert all(count <= (2000 if read.method == "read_coils" else most) for _, count in read.pieces)
        words = [n for start, count in read.pieces for n in range(start, start + count)]
        assert all(read.part(words, one) == list(range(one.address, one.end)) for one in read.ranges)


@pytest.fixture
async def server() -> AsyncIterator[ModbusServer]:
    async with ModbusServer({1: NumberBank()}) as server:
        yield server


def reader(server: ModbusServer, *ranges: Range) -> UnitReader:
    return UnitReader(ModbusLink(ModbusTarget(server.host, server.port, timeout_s=0.15)), 1, ranges)


def asked(server: ModbusServer) -> list[tuple[int, int]]:
    requests = [(request.address, request.count) for request in server.requests]
    server.requests.clear()
    return requests


async def test_a_merged_request_that_is_refused_is_taken_apart_and_stays_apart(server: ModbusServer) -> None:
    whole: frozenset[int] = frozenset()
    good, bad, far = Range(HOLDING, 10, 2, whole), Range(HOLDING, 12, 2, whole), Range(HOLDING, 50, 1)
    server.faults.exceptions[13] = 2
    unit = reader(server, good, bad, far)

    result = await unit.read()

    assert result.words == {good: [10, 11], far: [50]}
    assert isinstance(result.failures[bad], ExceptionAnswer)
    assert asked(server) == [(10, 4), (10, 2), (12, 2), (50, 1)]

    await unit.read()
    assert asked(server) == [(10, 2), (12, 2), (50, 1)]


async def test_a_busy_device_does_not_end_merging(server: ModbusServer) -> None:
    unit = reader(server, Range(HOLDING, 10, 2, frozenset()), Range(HOLDING, 12, 2, frozenset()))
    server.faults.exceptions.update({10: 6, 13: 6})
    assert len((await unit.read()).failures) == 2
    server.faults.exceptions.clear()
    asked(server)
    assert len((await unit.read()).words) == 2
    assert asked(server) == [(10, 4)]


async def test_one_silent_register_costs_one_time_out_and_the_others_are_read(server: ModbusServer) -> None:
    silent, good = Range(HOLDING, 10, 1), Range(HOLDING, 20, 1)
    server.faults.ignored.add(10)
    result = await reader(server, silent, good).read()
    assert result.words == {good: [20]}
    assert isinstance(result.failures[silent], NoAnswer)
    assert result.alive


async def test_a_silent_unit_is_not_asked_for_every_range(server: ModbusServer) -> None:
    server.faults.silent_units.add(1)
    ranges = [Range(HOLDING, 10 * number, 1) for number in range(8)]
    result = await reader(server, *ranges).read()
    assert not result.alive
    assert set(result.failures) == set(ranges)
    assert len(asked(server)) == 2


async def test_registers_passed_over_in_silence_do_not_hide_the_others(server: ModbusServer) -> None:
    ranges = [Range(HOLDING, 10 * number, 1) for number in range(4)]
    server.faults.ignored.update({0, 10})
    unit = reader(server, *ranges)
    assert not (await unit.read()).alive
    assert (await unit.read()).words == {ranges[2]: [20], ranges[3]: [30]}


async def test_bits_and_registers_come_with_their_ranges(server: ModbusServer) -> None:
    coils, registers = Range("read_coils", 3, 11), Range("read_input_registers", 0, 130)
    result = await reader(server, coils, registers).read()
    assert result.words[coils] == [bool(number & 1) for number in range(3, 14)]
    assert result.words[registers] == list(range(130))


class Short(NumberBank):
    """A device that answers requests of `most` words at most, and has no registers in `missing`."""

    def __init__(self, most: int, code: int = 3, missing: frozenset[int] = frozenset()) -> None:
        super().__init__()
        self.most, self.code, self.missing = most, code, missing

    def read(self, table: Table, address: int, count: int) -> Sequence[int]:
        if count > self.most:
            raise Refused(self.code)
        if not self.missing.isdisjoint(range(address, address + count)):
            raise Refused(2)
        return super().read(table, address, count)


@pytest.mark.parametrize("method", [HOLDING, "read_input_registers", "read_coils", "read_discrete_inputs"])
@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
async def test_merging_never_costs_a_value_whatever_the_device_says_to_its_length(code: int, method: str) -> None:
    ranges = [Range(method, 0, 40), Range(method, 40, 40)]
    async with ModbusServer({1: Short(50, code)}) as server:
        unit = reader(server, *ranges)
        assert set((await unit.read()).words) == set(ranges)
        asked(server)
        assert set((await unit.read()).words) == set(ranges)
        assert asked(server) == [(0, 40), (40, 40)]


@pytest.mark.parametrize("fault", ["ignored", "hang_up", "short", "garbage", "wrong_function", "wrong_unit"])
async def test_merging_never_costs_a_value_whatever_happens(server: ModbusServer, fault: str) -> None:
    """The register between is read only when both are read together."""
    ranges = [Range(HOLDING, 0, 40, gap=1), Range(HOLDING, 41, 40, gap=1)]
    getattr(server.faults, fault).add(40)
    unit = reader(server, *ranges)
    assert set((await unit.read()).words) == set(ranges)
    asked(server)
    assert set((await unit.read()).words) == set(ranges)
    assert asked(server) == [(0, 40), (41, 40)]


@pytest.mark.parametrize("code", [2, 3, 6, 11])
async def test_an_entry_that_is_too_long_for_the_device_is_cut_at_its_own_values(code: int) -> None:
    whole = Range(HOLDING, 0, 80, frozenset(range(2, 80, 2)))
    async with ModbusServer({1: Short(30, code)}) as server:
        unit = reader(server, whole)
        for _ in range(2):
            result = await unit.read()
            got = sorted((one.address, words) for one, words in result.words.items())
            assert [word for _, words in got for word in words] == list(range(80))
            assert all(address % 2 == 0 for address, _ in got)
            assert result.failures == {}
        asked(server)
        await unit.read()
        assert len(asked(server)) == 4


async def test_one_register_that_is_refused_costs_its_own_value_alone() -> None:
    whole = Range(HOLDING, 0, 40, frozenset(range(2, 40, 2)))
    async with ModbusServer({1: Short(125, missing=frozenset({13}))}) as server:
        unit = reader(server, whole)
        for _ in range(3):
            result = await unit.read()
            assert {word for words in result.words.values() for word in words} == set(range(40)) - {12, 13}
            assert [(one.address, one.count) for one in result.failures] == [(12, 2)]
        asked(server)
        await unit.read()
        assert len(asked(server)) < 10


async def test_an_entry_that_is_refused_altogether_is_not_searched_at_every_poll() -> None:
    whole = Range(HOLDING, 0, 40, frozenset(range(1, 40)))
    async with ModbusServer({1: Short(125, missing=frozenset(range(40)))}) as server:
        unit = reader(server, whole)
        assert list((await unit.read()).failures) == [whole]
        asked(server)
        assert list((await unit.read()).failures) == [whole]
        assert asked(server) == [(0, 40)]


async def test_gaps_that_may_be_read_save_requests() -> None:
    ranges = [Range(HOLDING, 4 * number, 2, gap=2) for number in range(20)]
    assert pieces(*ranges) == [(0, 78)]
    assert len(pieces(*ranges, Range(HOLDING, 85, 1, gap=9))) == 2  # both sides must allow it
    async with ModbusServer({1: Short(125, missing=frozenset({30}))}) as server:
        unit = reader(server, *ranges)
        assert len((await unit.read()).words) == 20
        asked(server)
        assert len((await unit.read()).words) == 20
        assert len(asked(server)) <= 6


async def test_half_of_the_polls_busy_costs_nothing(server: ModbusServer) -> None:
    """Busy at every second request."""
    bank = Alternating()
    server.banks[1] = bank
    unit = reader(server, Range(HOLDING, 0, 2), Range(HOLDING, 20, 2))
    for _ in range(4):
        result = await unit.read()
        assert len(result.words) == 2


class Alternating(NumberBank):
    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def read(self, table: Table, address: int, count: int) -> Sequence[int]:
        self.asked += 1
        if self.asked % 2:
            raise Refused(6)
        return super().read(table, address, count)
