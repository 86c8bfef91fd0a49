"""Which meter a telegram is from, and what counts where several sources name the same one."""

from __future__ import annotations

from connectors.im871a.meters_config import MeterConfig, read_meters
from connectors.im871a.registry import Change, Meter, MeterRegistry
from connectors.im871a.simulated_air import ExampleMeter
from connectors.im871a.telegram import read_header
from tests.connectors.im871a.conftest import telegram_in_clear

KEY, OTHER = "000102030405060708090a0b0c0d0e0f", "ff" * 16


def meters(text: str) -> dict[str, MeterConfig]:
    return read_meters(text)


def registry() -> tuple[MeterRegistry, list[Change]]:
    changes: list[Change] = []
    return MeterRegistry(("recalc", "settings", "file"), changes.append), changes


def test_a_meter_is_found_by_maker_and_number_first() -> None:
    known, _ = registry()
    header = read_header(ExampleMeter(meter="12345678").telegram())
    assert known.find(header) is None
    known.replace("settings", meters(f'{{"12345678": "{KEY}", "ELV-12345678": ""}}'))
    assert known.find(header) == Meter("12345678", bytes.fromhex(KEY), "")
    known.replace("file", meters("kam-12345678: {name: ours}"))
    assert known.find(header) == Meter("KAM-12345678", None, "ours")
    known.replace("file", {})
    assert known.find(header) == Meter("12345678", bytes.fromhex(KEY), "")


def test_a_radio_module_that_speaks_for_a_meter() -> None:
    """The meter's own number goes first; the module's does where the meter's is not configured."""
    header = read_header(telegram_in_clear("11111111", "72 78563412 2d2c 30 02 2a 00 0000 0406 d2040000"))
    known, _ = registry()
    known.replace("settings", meters("'11111111': {name: module}"))
    assert known.find(header) == Meter("11111111", None, "module")
    known.replace("settings", meters("'11111111': {name: module}\n'12345678': {name: meter}"))
    assert known.find(header) == Meter("12345678", None, "meter")


def test_what_one_source_leaves_open_another_one_says() -> None:
    known, _ = registry()
    known.replace("recalc", meters(f"'1': {{key: {OTHER}, name: of ReCalc}}\n'2': {{key: {OTHER}}}"))
    known.replace("settings", meters(f"'1': {{key: {KEY}, silent_seconds: 60}}"))
    known.replace("file", meters("'1': {silent_seconds: 0}"))
    assert known.get("00000001") == Meter("00000001", bytes.fromhex(KEY), "of ReCalc", 0)
    assert known.get("00000002") == Meter("00000002", bytes.fromhex(OTHER), "")
    known.replace("recalc", {})
    assert known.get("00000001") == Meter("00000001", bytes.fromhex(KEY), "", 0)
    assert known.ids == ["00000001"]


def test_changes_are_told_and_only_changes() -> None:
    known, changes = registry()
    first = meters(f"'1': {KEY}\n'2': {KEY}")
    known.replace("recalc", first)
    assert changes.pop() == Change(frozenset(), frozenset())
    known.replace("recalc", meters(f"'2': {KEY}\n'1': {KEY}"))
    known.replace("settings", meters("'1':"))
    assert changes == []
    known.replace("recalc", meters(f"'1': {OTHER}\n'3': {KEY}"))
    assert changes.pop() == Change(gone=frozenset({"00000002"}), rekeyed=frozenset({"00000001"}))
    known.replace("recalc", {})
    assert changes.pop() == Change(gone=frozenset({"00000003"}), rekeyed=frozenset({"00000001"}))


def test_no_key_is_shown() -> None:
    assert KEY not in repr(Meter("1", bytes.fromhex(KEY), ""))
    assert repr(bytes.fromhex(KEY)) not in repr(Meter("1", bytes.fromhex(KEY), ""))
