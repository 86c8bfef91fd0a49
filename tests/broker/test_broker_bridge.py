"""The bridges of `bridge.conf.example`, between two real Mosquittos, over TLS."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker.installation import NOT_AUTHORISED, Client, Installation

EXAMPLE = Path(__file__).parents[2] / "broker" / "bridge.conf.example"
GATEWAY = "v2/706462169"


def example(number: int) -> str:
    """One of the bridges in the file, as it is shipped."""
    return "connection" + EXAMPLE.read_text(encoding="utf-8").split("\nconnection")[number]


def bridge(text: str, here: Installation, there: Installation, user: str) -> None:
    """Let `here` have this bridge, with the address and the password of `there`."""
    changes = {
        "address": f"localhost:{there.settings.broker_tls_port}",
        "bridge_cafile": str(there.secrets / "public" / "ca.crt"),
        "remote_password": there.password(user),
        "restart_timeout": "1",
    }
    for word, value in changes.items():
        text, times = re.subn(rf"^{word} .*$", f"{word} {value}", text, flags=re.MULTILINE)
        assert times == 1, word
    here.option(text, file="bridge.conf")


@contextlib.contextmanager
def houses(
    tmp_path: Path, number: int, user: str, rules: str, connector: str
) -> Iterator[tuple[Installation, Installation]]:
    there = Installation(tmp_path / "there", BROKER_USERS=user, BROKER_EXTRA_RULES=rules)
    here = Installation(tmp_path / "here", BROKER_USERS=connector)
    there.set_up()
    here.set_up()
    bridge(example(number), here, there, user)
    with there.running(), here.running():
        yield here, there


def line_is(client: Client, name: str, state: bytes) -> None:
    """Wait until the bridge says so. What it said before does not count."""
    client.until(lambda: dict(client.seen).get(f"{name}/bridge") == state, f"{name}/bridge is {state!r}")


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[tuple[Installation, Installation]]:
    rules = f"user house1\ntopic readwrite {GATEWAY}/#"
    with houses(tmp_path, 1, "house1", rules, "heatpump,meters:recalc") as both:
        yield both


@pytest.fixture
def annex(tmp_path: Path) -> Iterator[tuple[Installation, Installation]]:
    rules = "user annex\ntopic readwrite boiler/#\ntopic read history/receipts/boiler"
    with houses(tmp_path, 2, "annex", rules, "boiler") as both:
        yield both


def test_values_go_out_and_plans_come_in(cloud: tuple[Installation, Installation]) -> None:
    here, there = cloud
    with here.client("admin") as local, there.client("admin") as remote:
        local.subscribe("#")
        remote.subscribe("#")
        line_is(remote, "house1", b"1")
        local.publish("heatpump/values", "heatpump/messages/x/value", "heatpump/logs", f"{GATEWAY}/kam-1/data")
        remote.publish("house1/heatpump/messages/x-set/schedule", f"{GATEWAY}/sensors/set")
        expected = {"house1/heatpump/values", "house1/heatpump/messages/x/value", f"{GATEWAY}/kam-1/data"}
        remote.until(lambda: expected <= set(remote.topics()), "what goes out")
        wanted = {"heatpump/messages/x-set/schedule", f"{GATEWAY}/sensors/set"}
        local.until(lambda: wanted <= set(local.topics()), "what comes in")
        assert not {"house1/heatpump/logs", "heatpump/logs"} & set(remote.topics())
        for client, other in ((local, remote), (remote, local)):  # nothing goes round in circles
            client.publish("the/end")
            client.until(lambda client=client: "the/end" in client.topics())
            other.publish("the/end")
        for topic in expected | wanted:
            assert local.topics().count(topic) <= 1
            assert remote.topics().count(topic) <= 1


def test_what_is_said_while_the_line_is_down_arrives_later(cloud: tuple[Installation, Installation]) -> None:
    here, there = cloud
    with here.client("heatpump") as connector, here.client("reader") as local:
        local.subscribe("house1/bridge")
        line_is(local, "house1", b"1")
        there.end()
        line_is(local, "house1", b"0")
        for number in range(300):
            connector.publish("heatpump/values", payload=b"%d" % number)
        connector._paho.publish("heatpump/messages/x/value", b"newest", 0, retain=True)  # as the runtime does it
        there.start()
        with there.client("admin", client_id="archive", session_s=1000) as remote:
            remote.subscribe("house1/#")
            remote.until(lambda: b"299" in dict(remote.seen).get("house1/heatpump/values", b""), "the last reading")
            numbers = [int(payload) for topic, payload in remote.seen if topic == "house1/heatpump/values"]
            remote.until(lambda: dict(remote.seen).get("house1/heatpump/messages/x/value") == b"newest", "the state")
    assert len(numbers) == len(set(numbers))
    assert numbers == sorted(numbers)


def test_the_far_side_subscribed_before_and_misses_nothing(cloud: tuple[Installation, Installation]) -> None:
    """As the one above, with a reader that the far broker keeps messages for."""
    here, there = cloud
    with there.client("admin", client_id="archive", session_s=1000) as archive:
        archive.subscribe("house1/+/values", "house1/bridge")
        line_is(archive, "house1", b"1")
    with here.client("heatpump") as connector:
        connector.publish(*["heatpump/values"] * 10, payload=b"0")
        there.end()
        for number in range(1, 200):
            connector.publish("heatpump/values", payload=b"%d" % number)
        here.end()  # even this one may be restarted meanwhile: it keeps what waits on the disk
        here.start()
        there.start()
    with there.client("admin", client_id="archive", session_s=1000) as archive:
        archive.until(lambda: ("house1/heatpump/values", b"199") in archive.seen, "the last reading")
        assert {int(payload) for topic, payload in archive.seen if topic.endswith("values")} == set(range(200))


def test_commands_and_receipts_of_a_second_building(annex: tuple[Installation, Installation]) -> None:
    here, there = annex
    with (
        here.client("boiler") as boiler, there.client("history") as history, there.client("operator") as person,
        there.client("reader") as reader,
    ):  # fmt: skip
        boiler.subscribe("boiler/messages/x-set/value", "history/receipts/boiler", "+/status")
        history.subscribe("+/values")
        reader.subscribe("#")
        line_is(reader, "annex", b"1")
        boiler.publish("boiler/values")
        history.until(lambda: "boiler/values" in history.topics(), "the reading")
        history.publish("history/receipts/boiler", retain=True)
        history.publish("history/status", retain=True)
        boiler.until(lambda: {"history/receipts/boiler", "history/status"} <= set(boiler.topics()), "the receipt")
        command = {"MessageExpiryInterval": 60, "CorrelationData": b"4711"}
        person.publish("boiler/messages/x-set/value", payload=b'{"value": 60}', **command)
        boiler.until(lambda: "boiler/messages/x-set/value" in boiler.topics(), "the command")
        given = boiler.properties["boiler/messages/x-set/value"]
        assert given.CorrelationData == b"4711"
        assert 0 < given.MessageExpiryInterval <= 60
        boiler.publish("boiler/messages/x-set/result", payload=b"{}", CorrelationData=b"4711")
        reader.until(lambda: "boiler/messages/x-set/result" in reader.topics(), "the outcome")
        assert reader.topics().count("boiler/messages/x-set/value") == 1
        assert boiler.topics().count("boiler/messages/x-set/value") == 1


def test_the_second_building_speaks_for_its_own_connectors_only(annex: tuple[Installation, Installation]) -> None:
    here, there = annex
    with here.client("admin") as local, there.client("reader") as reader:
        reader.subscribe("#")
        line_is(reader, "annex", b"1")
        local.publish("heatpump/values", "boiler/values")
        reader.until(lambda: "boiler/values" in reader.topics())
        assert "heatpump/values" not in reader.topics()
    with there.client("annex") as line:
        assert line.publish("heatpump/values") == [NOT_AUTHORISED]
