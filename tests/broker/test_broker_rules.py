"""Who may do what, asked of a real Mosquitto: every user below every other's name."""

from __future__ import annotations

import subprocess

import pytest

from broker.rules import KINDS, ROLES, extra_rules, is_subscription
from broker.users import BUILT_IN, named_in_setting
from tests.broker.installation import EVERYBODY, NOT_AUTHORISED, Client, Installation
from wattbus.errors import ConfigError
from wattbus.testing.waiting import PATIENCE_S

CONNECTORS = {"heatpump": "connector", "meters-cellar": "connector"}
USERS = {user.name: user.role for user in (*BUILT_IN, *named_in_setting(EVERYBODY))} | CONNECTORS

# Everything that is published below a service's name (docs/wire.md), and something that is not.
BELOW_A_NAME = (
    "available_datapoints", "datapoints", "datapoint_map", "values", "messages/x/value", "messages/x-set/value",
    "messages/x/result", "messages/x/setpoint", "messages/x/schedule", "raw_message_to_db", "heartbeat", "logs",
    "status", "preview/a/messages/b/value", "decisions", "controlled_datapoints", "receipts/x", "controls", "who",
    "something/else",
)  # fmt: skip
VALUES = {"messages/x/value", "messages/x-set/value"}
PLANS = {"messages/x/setpoint", "messages/x/schedule"}

# What a role may publish below somebody else's name: the promise, written down once more by hand.
MAY: dict[str, set[str]] = {
    "controller": VALUES,
    "api": VALUES | PLANS | {"datapoint_map", "controlled_datapoints"},
    "operator": VALUES | PLANS,
    "home-assistant": VALUES,
    "admin": set(BELOW_A_NAME),
}
# Roles without a name of their own on the bus, and those that may not say what they control.
NAMELESS = {"reader", "operator", "health", "recalc"}
NO_CONTROLLERS = {"connector", "forwarder", "discovery", "home-assistant"}


def allowed(user: str, other: str) -> set[str]:
    may = MAY.get(USERS[user], set())
    if user == other and USERS[user] not in NAMELESS:
        may = set(BELOW_A_NAME) - ({"controls"} if USERS[user] in NO_CONTROLLERS else set())
    if other == "history" and USERS[user] == "history":
        may = may | {"receipts/x"}
    return may


def test_every_role_has_a_user_here() -> None:
    assert set(USERS.values()) == set(ROLES)


@pytest.mark.parametrize("user", USERS)
def test_nobody_publishes_below_another_name(everybody: Installation, user: str) -> None:
    wanted = [(other, below) for other in USERS for below in BELOW_A_NAME]
    with everybody.client("admin") as observer, everybody.client(user) as client:
        observer.subscribe("#")
        codes = client.publish(*(f"{other}/{below}" for other, below in wanted))
        observer.publish("the/end")
        observer.until(lambda: "the/end" in observer.topics())
    expected = {f"{other}/{below}" for other in USERS for below in allowed(user, other)}
    refused = {f"{other}/{below}" for (other, below), code in zip(wanted, codes, strict=True) if code >= 128}
    assert set(observer.topics()) - {"the/end"} == expected
    assert refused == {f"{other}/{below}" for other, below in wanted} - expected
    assert set(codes) <= {0, 16, NOT_AUTHORISED}


@pytest.mark.parametrize("user", USERS)
def test_nobody_leaves_a_will_below_another_name(everybody: Installation, user: str) -> None:
    with everybody.client("admin") as observer:
        observer.subscribe("+/status")
        for who, other in ((user, "heatpump"), (user, "solar"), (user, user), ("admin", "end")):
            with everybody.client(who, will=f"{other}/status") as client:
                client.drop()
        observer.until(lambda: "end/status" in observer.topics())
    own = set() if USERS[user] in NAMELESS else {f"{user}/status"}
    others = {"heatpump/status", "solar/status"} if user == "admin" else set()
    assert set(observer.topics()) == own | others | {"end/status"}


@pytest.mark.parametrize(
    ("user", "reads", "does_not_read"),
    [
        ("heatpump", "heatpump/messages/x-set/value", "solar/messages/x/value"),
        ("heatpump", "history/receipts/heatpump", "history/receipts/solar"),
        ("heatpump", "solar/status", "solar/values"),
        ("heatpump", "history/status", "history/values"),
        ("history", "solar/values", "solar/raw_message_to_db"),
        ("raw-db", "solar/raw_message_to_db", "solar/values"),
        ("controller", "python_controller/controlled_datapoints", "solar/values"),
        ("api", "solar/messages/x/result", "solar/values"),
        ("cloud", "solar/values", "solar/logs"),
        ("finder", "homeassistant/status", "solar/logs"),
        ("ha", "homeassistant/sensor/x/config", "solar/logs"),
        ("meters-cellar", "v2/706462169/sensors/set", "v2/706462169/kam-32666857/data"),
        ("meters", "v2/706462169/kam-32666857/data", "solar/values"),
        ("solar", "solar/x", "v2/706462169/sensors/set"),
        ("reader", "solar/raw_message_to_db", "v2/706462169/sensors/set"),
        ("operator", "anything/at/all", "v2/706462169/sensors/set"),
        ("admin", "v2/706462169/sensors/set", "$SYS/nothing"),
        ("health", "$SYS/broker/uptime", "solar/status"),
    ],
)  # fmt: skip
def test_who_reads_what(everybody: Installation, user: str, reads: str, does_not_read: str) -> None:
    """Every subscription is accepted: what may not be read does not arrive."""
    with everybody.client(user) as client, everybody.client("admin") as admin:
        assert client.subscribe("#", "$SYS/#", does_not_read) == [1, 1, 1]
        admin.publish(does_not_read)
        if not reads.startswith("$SYS"):
            assert admin.publish(reads) == [0]
        client.until(lambda: reads in client.topics(), reads)
        assert does_not_read not in client.topics()


def test_a_reader_publishes_nothing(everybody: Installation) -> None:
    with everybody.client("reader") as client:
        assert set(client.publish("x", "reader/status", "anna/status", "$SYS/x", "STOP")) == {NOT_AUTHORISED}


def test_recalcs_topics(everybody: Installation) -> None:
    """Of the connectors, the M-Bus receiver alone; meters are told by a user for that."""
    gateway = "v2/706462169"
    given = [f"{gateway}/kam-32666857/config", f"{gateway}/kam-32666857/data", f"{gateway}/sensors/answer"]
    told = [f"{gateway}/sensors/set", "STOP"]
    with everybody.client("meters-cellar") as gives, everybody.client("meters") as tells:
        gives.subscribe(*told)
        tells.subscribe("v2/#")
        assert gives.publish(*given, *told) == [0] * 3 + [NOT_AUTHORISED] * 2
        assert tells.publish(*told, *given) == [0] * 2 + [NOT_AUTHORISED] * 3
        gives.until(lambda: set(gives.topics()) == set(told))
        tells.until(lambda: set(tells.topics()) >= set(given))


def test_an_old_client_is_not_told_that_it_was_refused(everybody: Installation) -> None:
    """MQTT 3.1.1 has no reason codes: an observer must look."""
    arguments = ["-p", str(everybody.port), "-u", "heatpump", "-P", everybody.password("heatpump"), "-q", "1"]
    sent = subprocess.run(
        ["mosquitto_pub", "-V", "mqttv311", *arguments, "-t", "solar/values", "-m", "old"],
        check=True, capture_output=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert (sent.stdout, sent.stderr) == (b"", b"")
    with everybody.client("admin") as observer:
        observer.subscribe("#")
        observer.publish("the/end")
        observer.until(lambda: "the/end" in observer.topics())
        assert "solar/values" not in observer.topics()


@pytest.mark.parametrize(
    ("user", "password"), [("heatpump", "wrong"), ("heatpump", ""), ("nobody", "x"), ("", ""), (None, None)]
)
def test_who_is_not_known_stays_outside(everybody: Installation, user: str | None, password: str | None) -> None:
    client = Client(everybody.port, user, password)
    assert client.connected == NOT_AUTHORISED
    client.until(lambda: client.lost)


def test_one_users_password_is_not_anothers(everybody: Installation) -> None:
    with everybody.client("heatpump", everybody.password("admin")) as client:
        assert client.connected == NOT_AUTHORISED


def test_kinds_need_nothing_that_others_have() -> None:
    assert set(KINDS) == {"im871a", "dsmr_reader"}
    assert not any(rule.topic in ("#", "+/#") for rules in KINDS.values() for rule in rules)


# -- rules of one's own -----------------------------------------------------------------------------------------------


def test_more_rules_are_added_to_a_users_own(installation: Installation) -> None:
    installation.variables["BROKER_EXTRA_RULES"] = "# Shellies\nuser heatpump\ntopic read shellies/+/power x/#\n"
    installation.set_up()
    with installation.running(), installation.client("heatpump") as client, installation.client("admin") as admin:
        client.subscribe("#")
        assert client.publish("heatpump/x", "shellies/1/power x/1") == [0, NOT_AUTHORISED]
        admin.publish("shellies/1/power x/1")
        client.until(lambda: "shellies/1/power x/1" in client.topics())


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("topic read x/#", "line 1: a rule needs a `user NAME` line before it"),
        ("user nobody\ntopic read x/#", "line 1: there is no user nobody"),
        ("user a\ntopic reads x/#", "line 2: expected"),
        ("user a\n\ntopic read x/##", "line 3: x/## is not a topic"),
        ("user a\ntopic read x/#/y", "is not a topic"),
        ("user a\ntopic read a+/y", "is not a topic"),
        ("user a\npattern read %u/y", "line 2: expected"),
        ("user a\ntopic x", "line 2: expected"),
        ("user a\ntopic read \x00", "is not a topic"),
        ("user a b\ntopic read x", "line 1: expected"),
    ],
)
def test_a_rule_that_mosquitto_would_not_take_is_refused(text: str, fault: str) -> None:
    with pytest.raises(ConfigError, match="BROKER_EXTRA_RULES") as error:
        extra_rules(text, ["a"])
    assert fault in str(error.value)


def test_a_broken_rules_file_would_open_mosquitto(installation: Installation) -> None:
    """Why rules are checked before they are written: what a reload of 2.0.11 makes of a line it does not take."""
    rules = installation.secrets / "mosquitto" / "acl"
    with installation.running():
        rules.chmod(0o640)
        rules.write_text("user heatpump\ntopic read x/##\n")
        with installation.client("health") as client:
            client.until(lambda: client.publish("heatpump/status")[0] != NOT_AUTHORISED, "everybody may do everything")


@pytest.mark.parametrize(
    ("topic", "good"),
    [("#", True), ("+/#", True), ("a/+/b", True), ("", False), ("a#", False), ("#/a", False), ("a/+b", False)],
)
def test_what_is_a_topic_filter(topic: str, good: bool) -> None:
    assert is_subscription(topic) is good
