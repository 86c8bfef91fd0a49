"""Which services are histories of a connector, and what that means for its readings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from wattbus.mqtt.messages import BadMessage
from wattbus.runtime.known_histories import KnownHistories


def status(state: str = "online", **fields: Any) -> bytes:
    return json.dumps({"state": state, "timestamp": 1, "instance": "i", **fields}).encode()


@pytest.mark.parametrize(
    ("service", "payload", "state"),
    [
        ("history", status(), "online"),  # an older one, which does not say what it records
        ("history", status("degraded"), "away"),
        ("history", status("offline"), "away"),
        ("history-2", status(records=[], recording=True), "online"),
        ("history-2", status(records=["meter", "x"], recording=True), "online"),
        ("history-2", status("degraded", records=["meter"], recording=True), "online"),  # it complains of something
        ("history-2", status("degraded", records=["meter"], recording=False), "away"),
        ("history-2", status("offline", records=["meter"], recording=True), "away"),
        ("history-2", status(records=["meter"]), "online"),
        ("history-2", status(records=["others"], recording=True), "none"),
        ("history", status(records=["others"], recording=True), "none"),
        ("history-2", status(), "none"),
        ("api", status(detail='says "records"'), "none"),
    ],
)  # fmt: skip
def test_whose_status_counts(service: str, payload: bytes, state: str) -> None:
    histories = KnownHistories("meter")
    assert histories.take(service, payload) == (state != "none")
    assert histories.state == state
    assert not histories.take(service, payload), "the same again is no news"


def test_one_of_several_that_works_is_enough() -> None:
    histories = KnownHistories("meter")
    histories.take("history", status(records=["meter"], recording=True))
    histories.take("history-2", status(records=[], recording=True))
    assert histories.take("history", status("offline", records=["meter"], recording=False))
    assert histories.state == "online"
    histories.take("history-2", status("offline", records=[], recording=False))
    assert histories.state == "away"


def test_statuses_of_others_are_not_even_parsed() -> None:
    histories = KnownHistories("meter")
    assert not histories.take("api", b"{ this is not JSON")
    for service in ("history", "history-2"):
        with pytest.raises(BadMessage):
            histories.take(service, b'{"records": ')
    assert histories.state == "none"


def test_one_that_is_cleared_is_forgotten_over_restarts_too(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "history-seen"
    histories = KnownHistories("meter", file)
    histories.take("history", status())
    histories.take("history-2", status(records=[]))
    assert KnownHistories("meter", file).state == "away", "nothing is known of it but that there is one"
    assert histories.take("history", b"")
    assert histories.state == "online"
    assert not histories.take("other", b"")
    again = KnownHistories("meter", file)
    assert again.take("history-2", b"")
    assert (again.state, KnownHistories("meter", file).state) == ("none", "none")


def test_a_file_of_an_earlier_version_stands_for_the_usual_name(tmp_path: Path) -> None:
    file = tmp_path / "history-seen"
    file.touch()
    histories = KnownHistories("meter", file)
    assert histories.state == "away"
    assert histories.take("history", b"")
    assert not file.exists()


def test_one_that_records_us_no_more_lets_readings_wait(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its list was changed: another one is about to take over, or will never come."""
    histories = KnownHistories("meter", tmp_path / "seen")
    histories.take("history", status(records=["meter"]))
    assert histories.take("history", status(records=["others"]))
    assert histories.state == "away"
    assert caplog.text.count("mosquitto_pub -r -n -t history/status") == 1
    assert not histories.take("history", status("degraded", records=["others"]))
    histories.take("history-2", status(records=["meter"]))
    assert histories.state == "online"
    histories.take("history-2", b"")
    histories.take("history", b"")  # a person says: there is none
    assert not histories.take("history", status(records=["others"])), "it lives, and says it again: none of ours"
    assert histories.state == "none"


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    histories = KnownHistories("meter", tmp_path / "file" / "seen")
    histories.take("history", status())
    assert histories.state == "online"
    assert "cannot" in caplog.text
