"""Who may do what on the broker: a table of roles, and Mosquitto's access file made from it.

Every user gets a block of its own. Mosquitto's `pattern` rules (`%u`) would be fewer lines, but they hold for all
users: one who may only read could then publish below its own name, and look like a connector to history and page.

What Mosquitto does with them (2.0.11, tests/broker): a forbidden publish is answered with reason code 135 (not
authorised) to MQTT 5 clients and silently dropped for older ones; a forbidden Last Will is dropped; a subscription is
always accepted, and what may not be read is not delivered. A bridge of this broker is bound by none of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from wattbus.errors import ConfigError

Access = Literal["read", "write", "readwrite", "deny"]
ACCESS = ("read", "write", "readwrite", "deny")


@dataclass(frozen=True, slots=True)
class Rule:
    """One line: what may be done on which topics. `{name}` stands for the user's name."""

    access: Access
    topic: str


@dataclass(frozen=True, slots=True)
class Role:
    """What users of one sort may do."""

    meaning: str
    rules: tuple[Rule, ...]


def _read(*topics: str) -> tuple[Rule, ...]:
    return tuple(Rule("read", topic) for topic in topics)


def _write(*topics: str) -> tuple[Rule, ...]:
    return tuple(Rule("write", topic) for topic in topics)


VALUE = "+/messages/+/value"  # of a sensor: its state; of an actuator: a command
SETPOINT, SCHEDULE, RESULT = "+/messages/+/setpoint", "+/messages/+/schedule", "+/messages/+/result"
METER_KEYS = "v2/+/sensors/set"  # ReCalc's commands carry the keys of encrypted meters

# Every service: all that is below its own name, and how the others are.
SERVICE = (Rule("readwrite", "{name}/#"), *_read("+/status"))
# The same, for those that have no say in who controls what: a controller leaves alone what another one claims.
NO_CONTROLLER = (Rule("deny", "{name}/controls"), *SERVICE)
PERSON = (Rule("deny", METER_KEYS), *_read("#", "$SYS/#"))

ROLES: dict[str, Role] = {
    "connector": Role("a connector", (*NO_CONTROLLER, *_read("history/receipts/{name}"))),
    "history": Role(
        "records values, setpoints, schedules and outcomes; gives receipts",
        (
            *SERVICE,
            *_read("+/values", VALUE, RESULT, SETPOINT, SCHEDULE, "+/datapoints", "+/datapoint_map"),
            *_write("history/receipts/+"),
        ),
    ),
    "raw-db": Role("records raw messages", (*SERVICE, *_read("+/raw_message_to_db"))),
    "controller": Role(
        "reads setpoints, schedules and sensors; commands actuators",
        (
            *SERVICE,
            *_read("+/controlled_datapoints", "+/controls", "+/datapoints", "+/heartbeat"),
            *_read(VALUE, RESULT, SETPOINT, SCHEDULE),
            *_write(VALUE),
        ),
    ),
    "api": Role(
        "reads all that pages show; commands, plans, and says which datapoints are used",
        (
            *SERVICE,
            *_read("+/heartbeat", "+/logs", "+/datapoints", "+/available_datapoints", "+/datapoint_map", "+/preview/#"),
            *_read(VALUE, RESULT, SETPOINT, SCHEDULE),
            *_write(VALUE, SETPOINT, SCHEDULE, "+/datapoint_map", "+/controlled_datapoints"),
        ),
    ),
    "forwarder": Role(
        "reads readings and values for another server",
        (*NO_CONTROLLER, *_read("+/values", VALUE, "+/datapoints", "+/available_datapoints")),
    ),
    "discovery": Role(
        "announces datapoints to Home Assistant",
        (*NO_CONTROLLER, *_read("+/values", VALUE, "+/datapoints"), Rule("readwrite", "homeassistant/#")),
    ),
    "home-assistant": Role(
        "Home Assistant itself: reads values, commands actuators",
        (
            *NO_CONTROLLER,
            *_read("homeassistant/#", VALUE, RESULT, "+/datapoints"),
            *_write("homeassistant/status", VALUE),
        ),
    ),
    "recalc": Role("tells ReCalc gateways their meters", (*_read("v2/#"), *_write(METER_KEYS, "STOP"))),
    "reader": Role("a person who reads everything", PERSON),
    "operator": Role("a person who reads everything and commands", (*PERSON, *_write(VALUE, SETPOINT, SCHEDULE))),
    "admin": Role("a person who may do everything", (Rule("readwrite", "#"), *_read("$SYS/#"))),
    "health": Role("the health check of the container", _read("$SYS/broker/uptime")),
}

# What services of one kind need outside their own name, beside their role.
KINDS: dict[str, tuple[Rule, ...]] = {
    "im871a": (*_read(METER_KEYS, "STOP"), *_write("v2/+/+/config", "v2/+/+/data", "v2/+/sensors/answer")),  # ReCalc's
    "dsmr_reader": _read("+/raw_message_to_db"),  # it takes telegrams, not values
}

# Services whose role is not `connector`, by the name of their package.
ROLE_OF_KIND = {
    "history": "history",
    "raw_db": "raw-db",
    "controller": "controller",
    "api": "api",
    "emoncms": "forwarder",
    "dsmr_reader": "forwarder",
    "home_assistant": "discovery",
}


def rules_for(name: str, role: str, kind: str = "") -> list[Rule]:
    """The rules of one user, denials first, as Mosquitto reads them."""
    rules = (*ROLES[role].rules, *KINDS.get(kind, ()))
    named = [Rule(rule.access, rule.topic.replace("{name}", name)) for rule in rules]
    return sorted(dict.fromkeys(named), key=lambda rule: rule.access != "deny")


def access_file(users: Iterable[tuple[str, str, str]], extra: Sequence[str] = ()) -> str:
    """Mosquitto's access file: a block for each (name, role, kind), then the lines of `extra`."""
    lines = ["# Written by the set-up at every run. Rules of your own belong into BROKER_EXTRA_RULES."]
    for name, role, kind in users:
        lines += ["", f"# {ROLES[role].meaning}", f"user {name}"]
        lines += [f"topic {rule.access} {rule.topic}" for rule in rules_for(name, role, kind)]
    if extra:
        lines += ["", "# BROKER_EXTRA_RULES", *extra]
    return "\n".join(lines) + "\n"


def extra_rules(text: str, users: Iterable[str]) -> list[str]:
    """The lines of BROKER_EXTRA_RULES. Raises ConfigError at the first that Mosquitto would not take.

    At a reload Mosquitto 2.0.11 answers a line that it does not understand by dropping all rules: everybody may do
    everything. So nothing gets there unread.
    """
    known, user, lines = set(users), "", []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split(maxsplit=2)
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "user" and len(words) == 2:
            user = words[1]
            if user not in known:
                raise ConfigError(f"BROKER_EXTRA_RULES: line {number}: there is no user {user}")
        else:
            _check_topic_line(number, words, user)
        lines.append(" ".join(words))
    return lines


def _check_topic_line(number: int, words: list[str], user: str) -> None:
    where = f"BROKER_EXTRA_RULES: line {number}"
    if words[0] != "topic" or len(words) != 3 or words[1] not in ACCESS:
        raise ConfigError(f"{where}: expected `user NAME` or `topic {'|'.join(ACCESS)} TOPIC`")
    if not user:
        raise ConfigError(f"{where}: a rule needs a `user NAME` line before it")
    if not is_subscription(words[2]):
        raise ConfigError(f"{where}: {words[2]} is not a topic: + and # stand for whole levels, # comes last")


def is_subscription(topic: str) -> bool:
    """Whether MQTT takes it as a topic filter (MQTT 5, 4.7.1)."""
    levels = topic.split("/")
    whole = all(level in ("+", "#") or not set(level) & set("+#") for level in levels)
    printable = topic.isprintable() and len(topic.encode()) <= 65535
    return bool(topic) and whole and printable and "#" not in levels[:-1]
