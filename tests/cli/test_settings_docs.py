"""docs/settings.md follows the code."""

from __future__ import annotations

from wattbus.cli.settings_docs import FILE, document


def test_the_page_is_up_to_date() -> None:
    assert FILE.read_text(encoding="utf-8") == document(), "run: python -m wattbus.cli.settings_docs"


def test_shared_settings_are_listed_once() -> None:
    page = document()
    for name in ("MQTT_BROKER_HOST", "DATA_DIRECTORY", "CONNECTOR_NAME", "READ_ONLY", "MODBUS_CONFIG"):
        assert page.count(f"\n| `{name}` |") == 1


def test_every_setting_says_what_it_means() -> None:
    rows = [line for line in document().splitlines() if line.startswith("| `")]
    assert [row for row in rows if row.endswith("|  |")] == []
